"""The control groups of one stack: made before its node starts, its processes found, removed at the end."""

import os
import time
from pathlib import Path

MOUNTS = Path("/proc/self/mountinfo")
REMOVAL_SECONDS = 3.0
NEEDED = ("cpu", "memory", "pids")


def hierarchies(mountinfo: str) -> dict[str, Path]:
    """Mount points by controller (cgroup v1; the one of systemd is `name=systemd`), "" being the one of v2.

    Where both are there, runc uses both.
    """
    found: dict[str, Path] = {}
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split()[:3]
        target = Path(before.split()[4].replace("\\040", " "))
        if kind == "cgroup":
            found |= {name: target for name in options.split(",") if name not in ("rw", "ro")}
        elif kind == "cgroup2":
            found[""] = target
    return found


def current_hierarchies() -> dict[str, Path]:
    return hierarchies(MOUNTS.read_text()) if MOUNTS.exists() else {}


def why_not(found: dict[str, Path]) -> str:
    """Empty when pods can be limited here, else the reason."""
    if not found:
        return "no cgroups are mounted"
    if _only_v2(found):
        offered = (found[""] / "cgroup.controllers").read_text().split()
        lacking = [name for name in NEEDED if name not in offered]
    else:
        lacking = [name for name in NEEDED if name not in found]
    return f"the cgroup controllers {', '.join(lacking)} are not available" if lacking else ""


def create(name: str, found: dict[str, Path]) -> None:
    """Make the group in every hierarchy. Raises OSError where that is not permitted."""
    for folder in _folders(name, found):
        folder.mkdir(exist_ok=True)
    if _only_v2(found):
        for controller in (found[""] / "cgroup.controllers").read_text().split():
            _enable(found[""], controller)


def _only_v2(found: dict[str, Path]) -> bool:
    return set(found) == {""}


def _enable(root: Path, controller: str) -> None:
    try:
        (root / "cgroup.subtree_control").write_text(f"+{controller}")
    except OSError:
        return  # not every controller can be delegated; the kubelet says which one it misses


def pids(name: str, found: dict[str, Path]) -> list[int]:
    """Every process in the group and below, in any hierarchy."""
    groups = (group for folder in _folders(name, found) for group in _innermost_first(folder))
    return sorted({pid for group in groups for pid in _read_pids(group / "cgroup.procs")})


def remove(name: str, found: dict[str, Path]) -> list[Path]:
    """Remove the group, innermost first; comes back with what is still in use after REMOVAL_SECONDS."""
    deadline = time.monotonic() + REMOVAL_SECONDS
    while left := _remove_once(name, found):
        if time.monotonic() > deadline:
            break
        time.sleep(0.05)
    return left


def _remove_once(name: str, found: dict[str, Path]) -> list[Path]:
    groups = [group for folder in _folders(name, found) for group in _innermost_first(folder)]
    return [group for group in groups if not _removed(group)]


def _innermost_first(folder: Path) -> list[Path]:
    """The groups of a tree that may be vanishing while we look: what is gone is left out."""
    return [Path(path) for path, _, _ in os.walk(folder, topdown=False)]


def _folders(name: str, found: dict[str, Path]) -> list[Path]:
    return sorted({path.resolve() / name for path in found.values()})


def _read_pids(file: Path) -> list[int]:
    try:
        return [int(word) for word in file.read_text().split()]
    except OSError:
        return []


def _removed(folder: Path) -> bool:
    try:
        folder.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
