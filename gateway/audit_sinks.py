"""Where audit lines go: a file of one writer, or a stream. Whole lines or nothing; every failure is an OSError."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import stat
from pathlib import Path
from typing import Protocol

log = logging.getLogger(__name__)


class Sink(Protocol):
    """Where whole lines go. All methods raise OSError."""

    def open(self) -> bytes:
        """Open or reopen; returns the last whole line, b"" when there is none."""
        ...

    def append(self, lines: bytes, *, durable: bool) -> None:
        """All of it, or none of it."""
        ...

    def close(self) -> None: ...


class FileSink:
    """A file of one writer: O_APPEND, mode 0600, locked. A last line that was cut short by a crash gets its end."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = -1
        self._size = 0

    def open(self) -> bytes:
        self.close()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        fd = os.open(self._path, flags, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            last = _last_line(fd)
            _sync_folder(self._path.parent)
        except OSError as fault:
            os.close(fd)
            if fault.errno == errno.EWOULDBLOCK:
                raise OSError(errno.EBUSY, f"{self._path} is written by another process") from fault
            raise
        self._fd, self._size = fd, os.fstat(fd).st_size
        return last

    def append(self, lines: bytes, *, durable: bool) -> None:
        try:
            _write_all(self._fd, lines)
            if durable:
                os.fdatasync(self._fd)
        except OSError:
            self._cut_back()
            raise
        self._size += len(lines)

    def _cut_back(self) -> None:
        """Take back half a batch. Where even that fails, opening again repairs the last line."""
        try:
            os.ftruncate(self._fd, self._size)
        except OSError as fault:
            log.warning("audit file cannot be cut back", extra={"path": str(self._path), "cause": str(fault)})

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class StreamSink:
    """Standard output, or another descriptor that is not ours: written whole lines, never synced (a pipe cannot be)."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._within_line = False

    def open(self) -> bytes:
        return b""

    def append(self, lines: bytes, *, durable: bool) -> None:
        """A pipe has no stable storage: `durable` means taken by the other side's buffer."""
        before, self._within_line = self._within_line, True
        _write_all(self._fd, b"\n" + lines if before else lines)
        self._within_line = False

    def close(self) -> None:
        """The descriptor belongs to somebody else."""


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _last_line(fd: int) -> bytes:
    """The last whole line; a rest without line end is given one, so that the next record starts a new line."""
    info = os.fstat(fd)
    if not stat.S_ISREG(info.st_mode):
        raise OSError(errno.EINVAL, "the audit file is not a regular file")
    size = info.st_size
    if size and os.pread(fd, 1, size - 1) != b"\n":
        log.warning("audit file ended within a line; the line was ended", extra={"size": size})
        _write_all(fd, b"\n")
        os.fdatasync(fd)
    return _tail(fd, os.fstat(fd).st_size)


def _tail(fd: int, size: int) -> bytes:
    piece, begin = b"", size
    while begin > 0 and piece.rstrip(b"\n").rfind(b"\n") < 0:
        begin = max(0, begin - 65_536)
        piece = os.pread(fd, size - begin, begin)
    return piece.rstrip(b"\n").rpartition(b"\n")[2]


def _sync_folder(folder: Path) -> None:
    """Make the file's name itself durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
