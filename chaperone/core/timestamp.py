"""Moments as objects write them (RFC 3339, UTC) and as the core counts them (Unix seconds). No clock is
read here.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import lru_cache

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.ASCII)


def rfc3339(seconds: float) -> str:
    """Whole seconds, as metav1.Time writes them: "2026-01-31T09:00:00Z". Raises ValueError outside years 1
    to 9999.
    """
    return _moment(seconds).strftime("%Y-%m-%dT%H:%M:%SZ")


def rfc3339_micro(seconds: float) -> str:
    """Six digits of a second, as metav1.MicroTime writes them: "2026-01-31T09:00:00.000000Z"."""
    try:
        whole, micro = divmod(round(seconds * 1_000_000), 1_000_000)
    except (OverflowError, ValueError) as error:
        raise ValueError(f"not a moment that can be written: {seconds!r}") from error
    return f"{_second(whole)}.{micro:06d}Z"


def unix_seconds(text: str) -> float:
    """The moment that an RFC 3339 text names. Raises ValueError when it is not one."""
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise ValueError(f"not an RFC 3339 time: {text[:40]!r}")
    fraction = match[1] or ""
    whole = text.replace(fraction, "", 1) if fraction else text
    return datetime.fromisoformat(whole).timestamp() + float(f"0{fraction}")


@lru_cache(maxsize=64)
def _second(whole: int) -> str:
    """Of all records of one second only the first pays for its calendar."""
    return _moment(whole).strftime("%Y-%m-%dT%H:%M:%S")


def _moment(seconds: float) -> datetime:
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, OSError, ValueError) as error:
        raise ValueError(f"not a moment that can be written: {seconds!r}") from error
