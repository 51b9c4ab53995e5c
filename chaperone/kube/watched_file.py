"""A file that somebody else renews (a projected token, a certificate): read again when it changes, never
cached blindly."""

from __future__ import annotations

from pathlib import Path

Stamp = tuple[int, int, int]

MAX_BYTES = 1024 * 1024


class WatchedFile:
    """The contents of a small file. `read` costs one stat when nothing changed.

    The stamp is of the file behind any link, so a swapped symlink (as in Kubernetes volumes) counts as a
    change.
    """

    __slots__ = ("_contents", "_stamp", "path")

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stamp: Stamp | None = None
        self._contents = b""

    def stamp(self) -> Stamp:
        """Raises OSError when the file is not there."""
        found = self.path.stat()
        return found.st_ino, found.st_mtime_ns, found.st_size

    def read(self) -> bytes:
        """Raises OSError, naming the file."""
        stamp = self.stamp()
        if stamp != self._stamp:
            if stamp[2] > MAX_BYTES:
                raise OSError(f"{self.path} is larger than {MAX_BYTES} bytes")
            self._contents = self.path.read_bytes()
            self._stamp = stamp
        return self._contents
