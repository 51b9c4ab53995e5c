"""RFC 3339 texts and Unix seconds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaperone.core.timestamp import rfc3339, rfc3339_micro, unix_seconds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-01T00:00:00Z", 0.0),
        ("2026-01-31T09:00:00Z", 1769850000.0),
        ("2026-01-31T10:00:00+01:00", 1769850000.0),
        ("2026-01-31T09:00:00.25Z", 1769850000.25),
        ("2026-01-31T09:00:00.250000000Z", 1769850000.25),
    ],
)
def test_reads_what_kubernetes_writes(text: str, seconds: float) -> None:
    assert unix_seconds(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2026-01-31",
        "2026-01-31T09:00:00",
        "2026-13-31T09:00:00Z",
        "2026-01-31 09:00:00Z",
        "٢026-01-31T09:00:00Z",
    ],
)
def test_refuses_what_is_no_time(text: str) -> None:
    with pytest.raises(ValueError):
        unix_seconds(text)


def test_writes_seconds_and_microseconds() -> None:
    assert rfc3339(1769850000.9) == "2026-01-31T09:00:00Z"
    assert rfc3339_micro(1769850000.25) == "2026-01-31T09:00:00.250000Z"
    assert rfc3339_micro(1769850000.9999996) == "2026-01-31T09:00:01.000000Z"
    assert rfc3339_micro(-0.25) == "1969-12-31T23:59:59.750000Z"


@pytest.mark.parametrize("seconds", [1e20, float("inf"), float("nan")])
def test_refuses_moments_that_cannot_be_written(seconds: float) -> None:
    with pytest.raises(ValueError, match="can be written"):
        rfc3339(seconds)
    with pytest.raises(ValueError, match="can be written"):
        rfc3339_micro(seconds)


@given(st.integers(0, 4_000_000_000))
def test_there_and_back(seconds: int) -> None:
    assert unix_seconds(rfc3339(seconds)) == seconds
    assert unix_seconds(rfc3339_micro(seconds)) == seconds
