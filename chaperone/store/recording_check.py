"""Holding every recording against its seal in the audit: changed, missing, or removed by retention. Changes nothing.

The seals are believed as the records say them: verify their chains first. One seal is kept in memory for each recording
that the records name; of a recording itself, a block at a time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

import orjson

from chaperone.core.recording.naming import named
from chaperone.core.recording_seal import Match, Seal, absence, match, seal_of
from chaperone.store import json_lines
from chaperone.store.opening import open_store
from chaperone.store.recording_store import Recordings, digest_of
from chaperone.store.recordings import open_recordings
from chaperone.store.verification import is_store

_NAMED = b'"recording":{'
MOST_FAULTS = 1000
"""Findings that are kept; all are counted."""
PATIENCE = 10
"""Recordings in a row that cannot be read before the place counts as gone."""


class Kind(Enum):
    """What was found of one recording. UNRECORDED: nothing in the audit names it, so there is no seal to hold it
    against; BACK: it is there although a record says that retention removed it."""

    SEALED = "Sealed"
    REMOVED = "Removed"
    UNRECORDED = "Unrecorded"
    BACK = "Back"
    CHANGED = "Changed"
    MISSING = "Missing"
    UNREADABLE = "Unreadable"

    @property
    def is_fault(self) -> bool:
        return self in (Kind.CHANGED, Kind.MISSING, Kind.UNREADABLE)


@dataclass(frozen=True, slots=True)
class Finding:
    """About one recording."""

    kind: Kind
    name: str
    text: str


@dataclass(frozen=True, slots=True)
class CheckedRecordings:
    """counts: recordings of each kind. findings: of all but the sealed and the removed, in the order of their names."""

    counts: Mapping[Kind, int]
    findings: tuple[Finding, ...]

    @property
    def faults(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.kind.is_fault)


def check_recordings(source: str, place: str) -> CheckedRecordings:
    """source: an audit store, a file of JSON lines or a folder of them. place: of the recordings. Raises
    StoreMismatchError, and OSError when one of both does not answer."""
    recordings = open_recordings(place)
    check = _Check(recordings)
    seals = seals_of(records_naming(source))
    for name, seal in sorted(seals.items()):
        check.one(name, seal)
    for day in recordings.days():
        for found in recordings.sealed(day):
            if found.name.text not in seals:
                check.found(Kind.UNRECORDED, found.name.text, "no record of this source names it")
    return CheckedRecordings(check.counts, tuple(sorted(check.findings, key=lambda finding: finding.name)))


def seals_of(records: Iterator[Mapping[str, Any]]) -> dict[str, Seal]:
    """By name, of those that are the name of a recording."""
    seals: dict[str, Seal] = {}
    for record in records:
        said = record.get("recording")
        name = said.get("name") if isinstance(said, Mapping) else None
        if isinstance(name, str) and named(name):
            seals[name] = seal_of([record], name, seals.get(name, Seal()))
    return seals


def records_naming(source: str) -> Iterator[Mapping[str, Any]]:
    """Records that say something of a recording. Raises as `check_recordings` does."""
    for line in _lines(source):
        if _NAMED in line:
            try:
                record = orjson.loads(line)
            except orjson.JSONDecodeError:
                continue  # the verification of the chain names it
            if isinstance(record, dict):
                yield record


def _lines(source: str) -> Iterator[bytes]:
    if "://" in source or is_store(Path(source)):
        store = open_store(source)
        try:
            for writer in store.writers():
                yield from (line for line, _ in store.lines(writer))
        finally:
            store.close()
        return
    for file in json_lines.files_of(Path(source)):
        yield from (line for line, _, _ in json_lines.lines_of(file))


@dataclass
class _Check:
    recordings: Recordings
    counts: Counter[Kind] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    unreadable: int = 0

    def one(self, name: str, seal: Seal) -> None:
        try:
            size, digest = digest_of(self.recordings.stored(name).chunks)
        except FileNotFoundError:
            self._absent(name, seal)
            return
        except OSError as fault:
            self.unreadable += 1
            if self.unreadable >= PATIENCE:
                raise
            self.found(Kind.UNREADABLE, name, str(fault))
            return
        self.unreadable = 0
        self._there(name, seal, size, digest)

    def _there(self, name: str, seal: Seal, size: int, digest: str) -> None:
        verdict, words = match(seal, size, digest)
        if verdict is Match.BROKEN:
            self.found(Kind.CHANGED, name, words)
        elif seal.removed:
            self.found(Kind.BACK, name, f"it is there, and the audit says that {absence(seal)}")
        elif verdict is Match.SEALED:
            self.counts[Kind.SEALED] += 1
        else:
            self.found(Kind.UNRECORDED, name, words)

    def _absent(self, name: str, seal: Seal) -> None:
        if seal.removed:
            self.counts[Kind.REMOVED] += 1
        elif seal.sha256:
            self.found(Kind.MISSING, name, absence(seal))

    def found(self, kind: Kind, name: str, text: str) -> None:
        self.counts[kind] += 1
        if len(self.findings) < MOST_FAULTS or kind.is_fault:
            self.findings.append(Finding(kind, name, text))
