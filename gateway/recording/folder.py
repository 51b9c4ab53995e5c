"""Recordings in a folder: `YYYY/MM/DD/<audit id>.cast`, with `.part` behind it until it is sealed.

A recording that the end of its process cut off is repaired when a gateway starts: up to its last whole line, and sealed.
A lock on the file tells one that is still being written.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chaperone.core.audit import Stage, record
from chaperone.core.recording.reading import LONGEST_LINE, Reading, UnreadableError
from chaperone.core.recording.sink import RecordingWriter

log = logging.getLogger(__name__)

PART = ".part"
FILE_MODE = 0o600
FOLDER_MODE = 0o700
BLOCK = 1024 * 1024
CUT_OFF = "the gateway ended before the stream did: its recording is cut off"


class FolderSink:
    """Implements chaperone.core.recording.sink.RecordingSink."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def open(self, name: str, _meta: Mapping[str, str]) -> RecordingWriter:
        """A folder keeps no meta data beside the recording's own header. Raises OSError, also when there is such a
        recording already."""
        path = self.folder / name
        path.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        if path.exists():
            raise FileExistsError(f"there is a recording {name} already")
        return FolderWriter(path)


class FolderWriter:
    """One file. Implements RecordingWriter."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._part = part_of(path)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        self._file = os.open(self._part, flags, FILE_MODE)
        fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)

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


@dataclass(frozen=True, slots=True)
class Cut:
    """A recording whose end is missing, sealed. length: bytes. about: what its header says (scene.Scene.described)."""

    name: str
    audit_id: str
    length: int
    sha256: str
    about: Mapping[str, Any]


def repaired(folder: Path) -> Iterator[Cut]:
    """Seal what an earlier process left open. Raises nothing: what cannot be repaired is logged, and stays."""
    for part in sorted(folder.glob(f"*/*/*/*{PART}")):
        try:
            found = _repair(folder, part)
        except OSError as error:
            log.warning("a recording could not be repaired", extra={"file": part.name, "error": str(error)})
            continue
        if found is not None:
            yield found


def cut_record(cut: Cut, now: float) -> dict[str, Any]:
    """The audit record of the end of a stream whose gateway ended before it."""
    about = cut.about
    entry = record(Stage.PANIC, audit_id=cut.audit_id, received_at=now, now=now, reason=CUT_OFF)
    entry["user"] = {"username": str(about.get("user", "")), "groups": list(about.get("groups", ()))}
    entry["run"] = str(about.get("run", ""))
    entry["objectRef"] = {
        "resource": "pods",
        "apiVersion": "v1",
        "namespace": str(about.get("namespace", "")),
        "name": str(about.get("pod", "")),
        "subresource": str(about.get("kind", "")),
    }
    entry["recording"] = {"name": cut.name, "bytes": cut.length, "sha256": cut.sha256, "state": "cut"}
    return entry


def _repair(folder: Path, part: Path) -> Cut | None:
    """None: it is being written, or held not even a header."""
    file = os.open(part, os.O_RDWR | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return None
        length = _whole_lines(file)
        if not length:
            part.unlink()
            return None
        os.ftruncate(file, length)
        os.fsync(file)
        whole = part.with_name(part.name.removesuffix(PART))
        part.rename(whole)
        _sync_folder(part.parent)
        name = str(whole.relative_to(folder))
        return Cut(name, whole.stem, length, _digest(whole), _about(whole))
    finally:
        os.close(file)


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


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _about(path: Path) -> Mapping[str, Any]:
    with path.open("rb") as file:
        try:
            return Reading(iter([file.readline(LONGEST_LINE)])).opening.about
        except UnreadableError:
            return {}


def part_of(path: Path) -> Path:
    return path.with_name(path.name + PART)


def _sync_folder(folder: Path) -> None:
    """The name itself is on stable storage."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
