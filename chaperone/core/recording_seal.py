"""What the audit says of a recording: how long it is and its digest, that there is none, or that retention removed it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from chaperone.core.audit import Stage, record
from chaperone.core.legible import visible

REMOVED = "removed"
"""`recording.state` in the record of a removal."""
_WHOSE = ("user", "run", "agent", "model", "objectRef")
"""Fields of a stream's record that the record of a removal has too: it is held, found and told with the run."""
_LONGEST = 400


@dataclass(frozen=True, slots=True)
class Seal:
    """size: bytes. sha256: hexadecimal, "" where no record has one. state: as in the record, "" where none names the
    recording. removed: RFC 3339, "" where none says so; because: why it was removed. run: whose stream it was."""

    size: int = 0
    sha256: str = ""
    state: str = ""
    reason: str = ""
    removed: str = ""
    because: str = ""
    run: str = ""


class Match(Enum):
    """What a recording is, held against its seal. UNKNOWN: there is no seal to hold it against."""

    SEALED = "sealed"
    BROKEN = "broken"
    UNFINISHED = "unfinished"
    UNKNOWN = "unknown"


NOTHING_SAID = Seal()


def seal_of(records: Iterable[Mapping[str, Any]], name: str, before: Seal = NOTHING_SAID) -> Seal:
    """records: of one request; the last one that names the recording counts, and a removal whatever comes behind it: the
    clocks of two machines need not agree. before: what earlier records said."""
    seal = before
    for entry in records:
        said = entry.get("recording")
        if isinstance(said, Mapping) and said.get("name") == name:
            seal = _told(seal, entry, said)
    return seal


def _told(before: Seal, entry: Mapping[str, Any], said: Mapping[str, Any]) -> Seal:
    sealed = _sealed(entry, said)
    if said.get("state") != REMOVED:
        return replace(sealed, removed=before.removed, because=before.because)
    known = before if before.state else sealed  # the stream's own record may be gone by now
    return replace(known, removed=_word(entry.get("stageTimestamp")), because=_word(entry.get("reason")))


def _sealed(entry: Mapping[str, Any], said: Mapping[str, Any]) -> Seal:
    size = said.get("bytes")
    return Seal(
        size=size if type(size) is int and size >= 0 else 0,
        sha256=_word(said.get("sha256")),
        state=_word(said.get("state")),
        reason=_word(said.get("reason")),
        run=_word(entry.get("run")),
    )


def _word(value: object) -> str:
    return visible(value, _LONGEST) if isinstance(value, str) else ""


def removal_record(
    name: str, audit_id: str, *, size: int, told: Mapping[str, Any], now: float, because: str
) -> dict[str, Any]:
    """The audit record that a recording is about to be removed. size: bytes. told: the stream's own record, or what the
    header of the recording says of it (`described_as_record`). now: Unix seconds."""
    entry = record(Stage.REMOVED, audit_id=audit_id, received_at=now, now=now, reason=because)
    entry.update({field: told[field] for field in _WHOSE if field in told})
    said = told.get("recording")
    digest = said.get("sha256") if isinstance(said, Mapping) else None
    entry["recording"] = {"name": name, "state": REMOVED, "bytes": size}
    if digest:
        entry["recording"]["sha256"] = digest
    return entry


def described_as_record(about: Mapping[str, Any]) -> dict[str, Any]:
    """Whose stream it was, from a recording's header (scene.Scene.described), under the names that records have.
    Somebody may have written into it: whatever it is becomes text."""
    groups = about.get("groups")
    return {
        "user": {
            "username": str(about.get("user", "")),
            "groups": [str(group) for group in groups] if isinstance(groups, list) else [],
        },
        "run": str(about.get("run", "")),
        "objectRef": {
            "resource": "pods",
            "apiVersion": "v1",
            "namespace": str(about.get("namespace", "")),
            "name": str(about.get("pod", "")),
            "subresource": str(about.get("kind", "")),
        },
    }


def match(seal: Seal, size: int, sha256: str) -> tuple[Match, str]:
    """What a recording of this length and digest is, and a sentence that says so."""
    if not seal.state:
        return Match.UNFINISHED, "The stream has not ended yet, or its record is not in this store."
    if not seal.sha256:
        return Match.UNKNOWN, f"The audit record has no seal for it: {seal.reason or seal.state}"
    if (seal.size, seal.sha256) == (size, sha256):
        return Match.SEALED, f"Length and SHA-256 are those in the audit record ({seal.state})."
    return (
        Match.BROKEN,
        f"It is NOT what the audit record sealed: somebody has changed it ({size} bytes instead of {seal.size}).",
    )


def absence(seal: Seal) -> str:
    """Why a recording that is not in its store is not there."""
    if seal.removed:
        because = f" ({seal.because})" if seal.because else ""
        return f"it was removed by retention on {seal.removed[:10]}{because}"
    if seal.sha256:
        return (
            f"it is MISSING: the audit record sealed {seal.size} bytes, and no record says that retention removed"
            " them"
        )
    if seal.state:
        return f"there is none: {seal.reason or seal.state}"
    return "neither the recordings nor the audit know of it"
