"""What a recording may be called. Names come out of records and addresses: only these are ever looked for in a store."""

from __future__ import annotations

import re
from dataclasses import dataclass

from chaperone.core.timestamp import rfc3339

DAY = r"\d{4}/(?:0[1-9]|1[0-2])/(?:0[1-9]|[12]\d|3[01])"
_DAY = re.compile(DAY, re.ASCII)
_NAME = re.compile(rf"({DAY})/([0-9a-z](?:[0-9a-z-]{{0,62}}[0-9a-z])?)\.(cast|jsonl)", re.ASCII)


@dataclass(frozen=True, slots=True)
class RecordingName:
    """text: the whole name, as records have it. day: `2026/11/23`, when the stream began (UTC); days compare as texts.
    audit_id: of the stream's request."""

    text: str
    day: str
    audit_id: str


def recording_name(audit_id: str, started_at: float, *, terminal: bool) -> str:
    """`2026/11/23/<audit id>.cast`, or `.jsonl`: by the day (UTC), in one folder or bucket."""
    return f"{day_of(started_at)}/{audit_id}.{'cast' if terminal else 'jsonl'}"


def named(text: str) -> RecordingName | None:
    """None: no recording is called that; neither does it lead anywhere else."""
    found = _NAME.fullmatch(text)
    return RecordingName(text, found[1], found[2]) if found is not None else None


def is_day(text: str) -> bool:
    return _DAY.fullmatch(text) is not None


def day_of(moment: float) -> str:
    """moment: Unix seconds. Raises ValueError outside years 1 to 9999."""
    return rfc3339(moment)[:10].replace("-", "/")
