"""The brief of a large record: all that lists show of it, without the objects that make it large.

Bodies and states of objects make records of hundreds of kilobytes; a page of a list has hundreds of records. So a large
record is stored with its brief beside it, and lists read that alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

LARGE = 4096
"""Bytes of a line; a shorter one is its own brief."""
LONGEST_FIELD = 2048
"""Bytes of a field, as JSON, that stays in a brief."""
OMITTED = "omitted"
"""The field of a brief that names those that were left out, with their bytes."""


def brief_of(line: bytes) -> bytes | None:
    """None for a line that is its own brief, and for one that is no record."""
    if len(line) <= LARGE:
        return None
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return orjson.dumps(shortened(record)) if isinstance(record, dict) else None


def shortened(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record without its long fields."""
    sizes = {name: len(orjson.dumps(value)) for name, value in record.items()}
    kept = {name: value for name, value in record.items() if sizes[name] <= LONGEST_FIELD}
    return kept | {OMITTED: {name: size for name, size in sizes.items() if size > LONGEST_FIELD}}


def agrees(brief: bytes, record: Mapping[str, Any]) -> bool:
    """Whether a brief says nothing that the record does not say."""
    try:
        said = orjson.loads(brief)
    except orjson.JSONDecodeError:
        return False
    return isinstance(said, dict) and all(
        name == OMITTED or (name in record and record[name] == value) for name, value in said.items()
    )
