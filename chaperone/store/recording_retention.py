"""Pruning of recordings: what is old goes, with a record of its own before it goes; what a hold keeps, stays.

The records of removals are a chain of their own, `retention`, signed like any other: so a recording that retention
removed can be told from one that somebody removed. Gateways and people who prune at the same time take turns, and so does
whoever places a hold. A recording that is still written is never removed, and neither is anything that is no recording.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

import orjson
import sqlalchemy as sa

from chaperone.core.audit import Stage, encode
from chaperone.core.chain import Reason, Sealed, origin, seal
from chaperone.core.recording.naming import day_of
from chaperone.core.recording_seal import REMOVED, described_as_record, removal_record, seal_of
from chaperone.store.engine import unavailable
from chaperone.store.interface import Pruned
from chaperone.store.opening import Store
from chaperone.store.recording_store import Recording, Recordings, about_of, lines_of
from chaperone.store.retention import turn_of_recordings
from chaperone.store.signing import Signer
from chaperone.store.tables import records
from chaperone.store.writing import StoreWriter

WRITER = "retention"
STAGES = (Stage.COMPLETE.value, Stage.PANIC.value, Stage.REMOVED.value)
"""Of records that name a recording."""
BATCH = 100
"""Recordings that go between two looks at the holds. Whoever places a hold waits for one batch at the longest."""


class _Known(NamedTuple):
    """told: the stream's own record, or what the header says of it. run: None where nobody can tell. is_recorded: its
    removal is on the record already, and was interrupted."""

    told: Mapping[str, Any]
    run: str | None
    is_recorded: bool


def prune_recordings(
    url: sa.URL, recordings: Recordings, age: float, signer: Signer, *, now: float
) -> Pruned:
    """Remove what was sealed longer ago than `age` (seconds). now: Unix seconds. Raises StoreUnavailableError, and
    OSError when the recordings cannot be reached; what was removed until then is on the record."""
    store = Store(url)
    try:
        return _Pruning(store, recordings, age, signer, now).run()
    finally:
        store.close()


class _Pruning:
    def __init__(self, store: Store, recordings: Recordings, age: float, signer: Signer, now: float) -> None:
        self._store = store
        self._recordings = recordings
        self._before = now - age
        self._because = f"older than {_words(age)}"
        self._signer = signer
        self._now = now

    def run(self) -> Pruned:
        removed = held = 0
        old = self._old()
        while batch := list(islice(old, BATCH)):
            with turn_of_recordings(self._store.engine):
                gone, kept = self._remove(batch)
            removed, held = removed + gone, held + kept
        return Pruned(removed, held)

    def _old(self) -> Iterator[Recording]:
        """A stream may have been open for days: when its recording was sealed counts."""
        last = day_of(self._before)
        for day in self._recordings.days():
            if day > last:
                return
            for recording in self._recordings.sealed(day):
                if recording.modified < self._before:
                    yield recording

    def _remove(self, batch: Sequence[Recording]) -> tuple[int, int]:
        """(removed, kept under legal hold)."""
        held = {hold.run for hold in self._store.holds()}
        told = self._told([recording.name.audit_id for recording in batch])
        known = [(each, self._known(each, told.get(each.name.audit_id, []))) for each in batch]
        going = [(recording, about) for recording, about in known if not _is_held(about.run, held)]
        fresh = [(recording, about) for recording, about in going if not about.is_recorded]
        if fresh:
            self._write([self._record(recording, about) for recording, about in fresh])
        if going:
            self._recordings.remove([recording.name.text for recording, _ in going])
        return len(going), len(known) - len(going)

    def _told(self, audit_ids: Sequence[str]) -> dict[str, list[Mapping[str, Any]]]:
        """The records that may speak of recordings, by audit id, in their order."""
        asked = (
            sa.select(records.c.audit_id, records.c.line)
            .where(records.c.audit_id.in_(audit_ids), records.c.stage.in_(STAGES))
            .order_by(records.c.at, records.c.id)
        )
        found: dict[str, list[Mapping[str, Any]]] = {}
        with unavailable("the audit store did not answer"), self._store.engine.connect() as connection:
            for row in connection.execute(asked):
                found.setdefault(row.audit_id, []).append(_read(bytes(row.line)))
        return found

    def _known(self, recording: Recording, told: Sequence[Mapping[str, Any]]) -> _Known:
        name = recording.name
        is_recorded = bool(seal_of(told, name.text).removed)
        for entry in reversed(told):
            said = entry.get("recording")
            if isinstance(said, Mapping) and said.get("name") == name.text and said.get("state") != REMOVED:
                return _Known(entry, str(entry.get("run", "")), is_recorded)
        about = self._header(name.text)
        if about is None:
            return _Known({}, None, is_recorded)
        return _Known(described_as_record(about), str(about.get("run", "")), is_recorded)

    def _header(self, name: str) -> Mapping[str, Any] | None:
        """None: it cannot be read, whatever the reason."""
        try:
            return about_of(next(lines_of(self._recordings.stored(name).chunks), b""))
        except OSError:
            return None

    def _record(self, recording: Recording, about: _Known) -> dict[str, Any]:
        name = recording.name
        return removal_record(
            name.text,
            name.audit_id,
            size=recording.size,
            told=about.told,
            now=self._now,
            because=self._because,
        )

    def _write(self, entries: Sequence[Mapping[str, Any]]) -> None:
        """Durable, and covered by a signed checkpoint."""
        writer = StoreWriter(self._store.url, WRITER, (self._signer.name, self._signer.public))
        try:
            link = writer.open() or origin(WRITER)
            batch: list[Sealed] = []
            for entry in entries:
                batch.append(seal(link, encode(entry), entry))
                link = batch[-1].link
            writer.append(batch, self._signer.checkpoint(link, self._now, Reason.INTERVAL), durable=True)
        finally:
            writer.close()


def _read(line: bytes) -> Mapping[str, Any]:
    """A record that somebody edited may be no JSON any more: it says nothing, and `verify` names it."""
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError:
        return {}
    return record if isinstance(record, dict) else {}


def _is_held(run: str | None, held: set[str]) -> bool:
    """A recording of which nobody can tell whose it is may be that of any run."""
    return bool(held) if run is None else run in held


def _words(seconds: float) -> str:
    if seconds % 86400 == 0:
        days = round(seconds / 86400)
        return f"{days} day{'s' if days != 1 else ''}"
    hours = seconds / 3600
    return f"{hours:g} hour{'s' if hours != 1 else ''}"
