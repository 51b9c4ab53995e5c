"""Audit records as lines of JSON: a file of one writer, or a stream. Whole lines or nothing; every failure is an OSError.

Both implement chaperone.store.interface.RecordWriter.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import stat
from collections.abc import Sequence
from pathlib import Path

from chaperone.core.chain import Link, Sealed, read_checkpoint, read_sealed

log = logging.getLogger(__name__)


SEARCHED = 16 << 20
"""Bytes from the end of a file in which the last record is looked for."""


class FileSink:
    """A file of one writer: O_APPEND, mode 0600, locked. A last line that a crash cut short is cut off: nobody was told
    that it was written."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = -1
        self._size = 0

    def open(self) -> Link | None:
        self.close()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        fd = os.open(self._path, flags, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _cut_torn_line(fd)
            end = _last_link(fd)
            _sync_folder(self._path.parent)
        except OSError as fault:
            os.close(fd)
            if fault.errno == errno.EWOULDBLOCK:
                raise OSError(errno.EBUSY, f"{self._path} is written by another process") from fault
            raise
        self._fd, self._size = fd, os.fstat(fd).st_size
        return end

    def append(self, batch: Sequence[Sealed], checkpoint: bytes | None, *, durable: bool) -> None:
        lines = _lines(batch, checkpoint)
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

    def open(self) -> None:
        """A stream remembers nothing: its chain begins anew with each process."""

    def append(self, batch: Sequence[Sealed], checkpoint: bytes | None, *, durable: bool) -> None:
        """A pipe has no stable storage: `durable` means taken by the other side's buffer."""
        lines = _lines(batch, checkpoint)
        before, self._within_line = self._within_line, True
        _write_all(self._fd, b"\n" + lines if before else lines)
        self._within_line = False

    def close(self) -> None:
        """The descriptor belongs to somebody else."""


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _lines(batch: Sequence[Sealed], checkpoint: bytes | None) -> bytes:
    lines = [sealed.line for sealed in batch]
    if checkpoint is not None:
        lines.append(checkpoint)
    return b"".join([line + b"\n" for line in lines])


def _cut_torn_line(fd: int) -> None:
    info = os.fstat(fd)
    if not stat.S_ISREG(info.st_mode):
        raise OSError(errno.EINVAL, "the audit file is not a regular file")
    if not info.st_size or os.pread(fd, 1, info.st_size - 1) == b"\n":
        return
    last = _tail(fd, info.st_size, 0).rpartition(b"\n")[2]
    if read_sealed(last) is not None or read_checkpoint(last) is not None:
        _write_all(fd, b"\n")
    else:
        log.warning("audit file ended within a line; the rest was cut off", extra={"size": len(last)})
        os.ftruncate(fd, info.st_size - len(last))
    os.fdatasync(fd)


def _last_link(fd: int) -> Link | None:
    """Of the last record or checkpoint; lines that are neither are passed over, for `audit verify` to name."""
    size, tail, lines = os.fstat(fd).st_size, b"", 0
    while len(tail) < min(size, SEARCHED):
        tail = _tail(fd, size, lines)
        for line in reversed(tail.split(b"\n")):
            found = read_sealed(line) or read_checkpoint(line)
            if found is not None:
                return found.link
        lines = tail.count(b"\n") + 1
    return None


def _tail(fd: int, size: int, lines: int) -> bytes:
    """The end of the file, with more than so many line ends in it, or as much as is searched at most."""
    piece, begin = b"", size
    while begin > 0 and len(piece) < SEARCHED and piece.count(b"\n") <= lines:
        begin = max(0, begin - 65_536)
        piece = os.pread(fd, size - begin, begin)
    return piece


def _sync_folder(folder: Path) -> None:
    """Make the file's name itself durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
