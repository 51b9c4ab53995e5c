"""Sinks for tests: one in memory, one that fails, one that does not answer."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

from chaperone.store.recording_sink import RecordingWriter


@dataclass
class MemoryWriter:
    """Implements RecordingWriter. fails_at: the name of a method, or bytes that cannot be appended."""

    fails_at: str = ""
    poison: bytes = b""
    gate: threading.Event | None = None
    content: bytes = b""
    synced: bytes | None = None
    sealed: bool = False
    aborted: bool = False

    def append(self, data: bytes) -> None:
        if self.gate is not None and self.content:
            self.gate.wait(20)
        if self.poison and self.poison in data:
            raise OSError(28, "No space left on device")
        self.content += data

    def sync(self) -> None:
        self._fail("sync")
        self.synced = self.content

    def close(self) -> None:
        self._fail("close")
        self.sealed = True

    def abort(self) -> None:
        self.aborted = True

    def _fail(self, name: str) -> None:
        if self.fails_at == name:
            raise OSError(5, "Input/output error")


@dataclass
class MemorySink:
    """Implements RecordingSink. opening: waited for before a recording is opened."""

    writer: MemoryWriter = field(default_factory=MemoryWriter)
    opening: threading.Event | None = None
    fails: bool = False
    names: list[str] = field(default_factory=list)
    meta: Mapping[str, str] = field(default_factory=dict)

    def open(self, name: str, meta: Mapping[str, str]) -> RecordingWriter:
        self.names.append(name)
        self.meta = meta
        if self.opening is not None:
            self.opening.wait(20)
        if self.fails:
            raise OSError(30, "Read-only file system")
        return self.writer
