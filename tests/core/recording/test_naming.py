"""Names of recordings: what is one, and what only looks like one."""

from __future__ import annotations

import pytest

from chaperone.core.recording.naming import RecordingName, day_of, is_day, named, recording_name

ID = "0197e0a2-1111-7222-a333-444455556666"


@pytest.mark.parametrize("terminal", [True, False])
def test_what_is_made_is_known(terminal: bool) -> None:
    name = recording_name(ID, 1_800_000_000.0, terminal=terminal)
    assert named(name) == RecordingName(name, "2027/01/15", ID)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/etc/passwd",
        "../../etc/passwd",
        "2026/11/23/../../../x.cast",
        "2026/11/23/..cast",
        "2026/11/23/.cast",
        "2026/11/23/-.cast",
        "2026/11/23/a-.cast",
        "2026/11/23/A.cast",
        "2026/11/23/a.cast.part",
        "2026/11/23/a.cast.part/00000000",
        "2026/11/23/a.txt",
        "2026/11/23/a.cast\n",
        "2026/11/23/a\x00.cast",
        "2026/11/23//a.cast",
        "/2026/11/23/a.cast",
        "2026/13/23/a.cast",
        "2026/00/23/a.cast",
        "2026/11/32/a.cast",
        "2026/11/23/a/b.cast",
        "٢٠٢٦/11/23/a.cast",
        f"2026/11/23/{'a' * 65}.cast",
    ],
)
def test_nothing_else_is_a_name(text: str) -> None:
    assert named(text) is None


def test_days_compare_as_texts() -> None:
    assert day_of(1_800_000_000.0) == "2027/01/15"
    assert day_of(0.0) < day_of(1_800_000_000.0)
    assert is_day("2027/01/15")
    assert not is_day("2027/01/15/")
    assert not is_day("2027/01")
