"""The folder where unpacked binaries are kept between runs."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path


def cache_folder(environ: Mapping[str, str]) -> Path:
    """`$XDG_CACHE_HOME/kube-chaperone`, or `~/.cache/kube-chaperone`."""
    base = environ.get("XDG_CACHE_HOME") or str(Path(environ.get("HOME") or "~").expanduser() / ".cache")
    return Path(base) / "kube-chaperone"


@contextmanager
def locked(lock: Path) -> Iterator[None]:
    """Hold the lock file for ourselves; waits while another process has it."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("a") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def filled_once(folder: Path, fill: Callable[[Path], None]) -> Path:
    """`folder`, filled by `fill` if it is not there yet; a half-filled one never gets the name."""
    with locked(folder.parent / f".{folder.name}.lock"):
        if folder.exists():
            return folder
        partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        try:
            fill(partial)
            partial.chmod(0o755)
            os.rename(partial, folder)  # noqa: PTH104 - atomic, and an error if the target is not empty
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return folder
