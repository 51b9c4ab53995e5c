"""Recordings in a folder: `YYYY/MM/DD/<audit id>.cast`, with `.part` behind it until it is sealed.

Private to its account: folders 0700, files 0600. A lock on a file tells one that is still being written; what the end of
a process cut off is sealed up to its last whole line.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from chaperone.core.recording.naming import is_day, named
from chaperone.core.recording.reading import LONGEST_LINE
from chaperone.store.recording_sink import RecordingWriter
from chaperone.store.recording_store import (
    BLOCK,
    PART,
    Cut,
    Recording,
    Stored,
    about_of,
    checked,
    counted,
    recent_days,
)

log = logging.getLogger(__name__)

FILE_MODE = 0o600
FOLDER_MODE = 0o700
OTHERS = 0o077
YOUNG = 60.0
"""Seconds for which a file that holds no line yet belongs to somebody who is about to write one."""
READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW


class FolderRecordings:
    """Implements chaperone.store.recording_store.Recordings."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._looked = False

    # Writing

    def open(self, name: str, _meta: Mapping[str, str]) -> RecordingWriter:
        """A folder keeps no meta data beside the recording's own header. Raises FileExistsError when there is such a
        recording already."""
        path = self._path(name)
        try:
            return self._begun(path)
        except FileNotFoundError:
            return self._begun(path)  # the day's folder was just found empty, and removed

    def _begun(self, path: Path) -> FolderWriter:
        self._make_day(path.parent)
        self._check_inside(path)
        if path.exists():
            raise FileExistsError(f"there is a recording {path.name} already")
        return FolderWriter(path)

    def _make_day(self, day: Path) -> None:
        """A folder that was given to us keeps its rights; those below are ours alone, also when an earlier release made
        them."""
        if not self.folder.is_dir():
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            _make(self.folder)
        for folder in (day.parents[1], day.parent, day):
            _make(folder)
            about = folder.stat()
            if about.st_mode & OTHERS and about.st_uid == os.geteuid():
                folder.chmod(FOLDER_MODE)

    def is_open_to_others(self) -> bool:
        """Whether other accounts of this machine may enter the folder itself. Raises nothing."""
        try:
            return bool(self.folder.stat().st_mode & OTHERS)
        except OSError:
            return False

    # Reading

    def stored(self, name: str) -> Stored:
        path = self._path(name)
        self._check_inside(path)
        for found in (path, part_of(path), path):  # it may be sealed just now
            try:
                file = os.fdopen(os.open(found, READ), "rb")
            except FileNotFoundError:
                continue
            size = os.fstat(file.fileno()).st_size
            return Stored(size, found is path, counted(_chunks(file), size, name))
        raise FileNotFoundError(f"there is no recording {name}")

    def days(self) -> Iterator[str]:
        for year in _names(self.folder):
            for month in _names(self.folder / year):
                for day in _names(self.folder / year / month):
                    if is_day(found := f"{year}/{month}/{day}"):
                        yield found

    def sealed(self, day: str) -> Iterator[Recording]:
        names = _names(self.folder / day) if is_day(day) else []
        under_way = {name for name in names if name.endswith(PART)}
        for name in names:
            found = named(f"{day}/{name}")
            if found is None or name + PART in under_way:
                continue
            with suppress(FileNotFoundError):
                about = (self.folder / found.text).lstat()
                if stat.S_ISREG(about.st_mode):
                    yield Recording(found, about.st_size, about.st_mtime)

    # Removing

    def remove(self, names: Sequence[str]) -> None:
        days: dict[Path, None] = {}
        for name in names:
            path = self._path(name)
            self._check_inside(path)
            path.unlink(missing_ok=True)
            days[path.parent] = None
        for day in days:
            if day.exists():
                _sync_folder(day)
            self._remove_empty(day)

    def _remove_empty(self, day: Path) -> None:
        with suppress(OSError):  # it is not empty, or somebody else was quicker
            for folder in (day, day.parent, day.parents[1]):
                folder.rmdir()

    # Mending

    def cut_off(self, now: float) -> Iterator[Cut]:
        """Raises nothing: what cannot be sealed is logged, and stays."""
        for day in recent_days(now) if self._looked else self.days():
            for file in _names(self.folder / day):
                name = f"{day}/{file.removesuffix(PART)}"
                if file.endswith(PART) and named(name) and (found := self._sealed(name, now)):
                    yield found
        self._looked = True

    def _sealed(self, name: str, now: float) -> Cut | None:
        part = part_of(self.folder / name)
        try:
            self._check_inside(part)
            return _seal(part, name, now)
        except OSError as error:
            log.warning("a recording could not be repaired", extra={"file": part.name, "error": str(error)})
            return None

    def _path(self, name: str) -> Path:
        return self.folder / checked(name).text

    def _check_inside(self, path: Path) -> None:
        """Raises FileNotFoundError where a link leads out of the folder."""
        if not path.parent.resolve().is_relative_to(self.folder.resolve()):
            raise FileNotFoundError(f"{path.parent} leads out of the folder of recordings")


class FolderWriter:
    """One file. Implements RecordingWriter."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._part = part_of(path)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        self._file = os.open(self._part, flags, FILE_MODE)
        fcntl.flock(self._file, fcntl.LOCK_EX)  # whoever looks whether it is abandoned has it for a moment

    def append(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._file, view) :]

    def sync(self) -> None:
        os.fdatasync(self._file)
        _sync_folder(self._path.parent)

    def close(self) -> None:
        try:
            os.fsync(self._file)
            self._part.rename(self._path)
            _sync_folder(self._path.parent)
        finally:
            os.close(self._file)

    def abort(self) -> None:
        try:
            self._part.unlink(missing_ok=True)
            os.close(self._file)
        except OSError:
            log.warning("a recording that never began could not be removed", extra={"file": self._part.name})


def part_of(path: Path) -> Path:
    return path.with_name(path.name + PART)


def _seal(part: Path, name: str, now: float) -> Cut | None:
    """None: it is being written, or held not even a header."""
    file = os.open(part, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return None
        if not _is_still(part, file):
            return None
        length = _whole_lines(file)
        if not length:
            if now - os.fstat(file).st_mtime >= YOUNG:
                part.unlink()
            return None
        os.ftruncate(file, length)
        os.fsync(file)
        part.rename(part.with_name(part.name.removesuffix(PART)))
        _sync_folder(part.parent)
        return _cut(file, name, length)
    finally:
        os.close(file)


def _is_still(part: Path, file: int) -> bool:
    """Whether the name still means the file that was opened: it may have been sealed meanwhile."""
    try:
        return os.path.samestat(part.lstat(), os.fstat(file))
    except FileNotFoundError:
        return False


def _cut(file: int, name: str, length: int) -> Cut:
    with os.fdopen(os.dup(file), "rb") as reading:
        reading.seek(0)
        about = about_of(reading.readline(LONGEST_LINE)) or {}
        reading.seek(0)
        digest = hashlib.file_digest(reading, "sha256").hexdigest()
    return Cut(name, checked(name).audit_id, length, digest, about)


def _whole_lines(file: int) -> int:
    """The length up to the end of the last whole line."""
    at = os.fstat(file).st_size
    while at:
        start = max(0, at - BLOCK)
        found = os.pread(file, at - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        at = start
    return 0


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        while chunk := file.read(BLOCK):
            yield chunk


def _names(folder: Path) -> list[str]:
    """[] where there is no such folder."""
    try:
        return sorted(path.name for path in folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _make(folder: Path) -> None:
    with suppress(FileExistsError):
        folder.mkdir(mode=FOLDER_MODE)


def _sync_folder(folder: Path) -> None:
    """The name itself is on stable storage."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
