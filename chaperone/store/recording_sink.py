"""Where recordings go, as a protocol: a folder, an object store. Called from a thread that may wait, never concurrently
for one writer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class RecordingWriter(Protocol):
    """One recording under way. Every method raises OSError (or a kind of it) when it could not do what it says."""

    def append(self, data: bytes) -> None:
        """Whole lines, in order."""
        ...

    def sync(self) -> None:
        """Return when what was appended survives the end of this process and of this machine, as far as the store can
        promise that before `close`."""
        ...

    def close(self) -> None:
        """Seal it: whole, durable, under its own name, not to be changed any more."""
        ...

    def abort(self) -> None:
        """There is nothing worth keeping. Raises nothing."""
        ...


class RecordingSink(Protocol):
    def open(self, name: str, meta: Mapping[str, str]) -> RecordingWriter:
        """name: as `recording_name` makes it. meta: auditID, run, user, kind, for stores that keep such. Raises
        OSError."""
        ...
