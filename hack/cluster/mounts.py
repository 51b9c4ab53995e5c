"""Mounts below a folder, and whether we may make a mount namespace."""

import os
import subprocess
from pathlib import Path

MOUNTS = Path("/proc/self/mountinfo")
ESCAPES = {"\\040": " ", "\\011": "\t", "\\012": "\n", "\\134": "\\"}


def mounts_below(directory: Path, mountinfo: str) -> list[str]:
    """Mount points strictly below the folder, innermost first."""
    targets = (_unescaped(line.split()[4]) for line in mountinfo.splitlines())
    return [target for target in reversed(list(targets)) if target.startswith(f"{directory}/")]


def unmount_below(directory: Path) -> list[str]:
    """Unmount everything strictly below the folder; what could not be unmounted comes back."""
    for target in mounts_below(directory, MOUNTS.read_text()):
        subprocess.run(["umount", "--lazy", target], check=False, capture_output=True)
    return mounts_below(directory, MOUNTS.read_text())


def may_make_namespace() -> bool:
    """Whether this machine lets us have a mount namespace with a bind mount in it."""
    test = ["unshare", "--mount", "--propagation", "private", "--", "mount", "--bind", "/tmp", "/tmp"]  # noqa: S108
    try:
        return os.geteuid() == 0 and subprocess.run(test, check=False, capture_output=True).returncode == 0
    except OSError:
        return False


def _unescaped(target: str) -> str:
    for escape, character in ESCAPES.items():
        target = target.replace(escape, character)
    return target
