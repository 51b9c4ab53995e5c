"""Bars over time: what is stacked where."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from chaperone.store.interface import Tally
from console.charts import HEIGHT, WIDTH, bars


def test_no_requests_are_no_bars() -> None:
    chart = bars([], 0, 3600, 60)
    assert chart.pieces == ()
    assert chart.highest == 0
    assert all(count == 0 for _, count in chart.totals)


def test_verdicts_are_stacked_and_the_highest_fills_the_height() -> None:
    tallies = [Tally(0, "Allow", 6), Tally(0, "Deny", 4), Tally(60, "Allow", 5), Tally(60, "", 1)]
    chart = bars(tallies, 0, 120, 60)
    first = [piece for piece in chart.pieces if piece.x < WIDTH / 2]
    assert [piece.verdict for piece in first] == ["Allow", "Deny"]
    assert first[0].y + first[0].height == HEIGHT
    assert abs(first[1].y + first[1].height - first[0].y) < 0.05
    assert first[1].y == 10
    assert dict(chart.totals) == {"Allow": 11, "Hold": 0, "Deny": 4, "none": 1}
    assert chart.highest == 10


def test_every_bar_lies_within_the_picture() -> None:
    tallies = [Tally(start, "Allow", 1 + start % 7) for start in range(0, 7200, 60)]
    chart = bars(tallies, 600, 3600, 60)
    assert len(chart.pieces) == 50
    assert all(piece.x >= 0 and piece.x + piece.width <= WIDTH and piece.y >= 0 for piece in chart.pieces)


@pytest.mark.parametrize(
    ("seconds", "bucket", "expected"),
    [
        (3600, 60, ["08:20", "08:30", "08:40", "08:50", "09:00", "09:10"]),
        (86_400, 1800, ["12:00", "16:00", "20:00", "00:00", "04:00", "08:00"]),
        (7 * 86_400, 21_600, ["25 Jan", "26 Jan", "27 Jan", "28 Jan", "29 Jan", "30 Jan", "31 Jan"]),
        (30 * 86_400, 86_400, ["01 Jan", "06 Jan", "11 Jan", "16 Jan", "21 Jan", "26 Jan", "31 Jan"]),
    ],
)
def test_words_stand_at_full_hours_and_days(seconds: float, bucket: float, expected: list[str]) -> None:
    end = datetime(2026, 1, 31, 9, 15, tzinfo=UTC).timestamp()
    begin = (end - seconds) // bucket * bucket
    chart = bars([], begin, end, bucket)
    assert [word for _, word in chart.ticks] == expected
    assert all(0 <= x < WIDTH for x, _ in chart.ticks)
