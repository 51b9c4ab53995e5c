"""Bars over time as numbers for an SVG that the template draws: no script, nothing fetched."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from chaperone.store.interface import Tally

WIDTH, HEIGHT = 960, 220
DAY = 86_400.0
STEPS = (600.0, 1800.0, 3600.0, 4 * 3600.0, DAY, 5 * DAY)
"""Seconds between two words along the bottom."""
VERDICTS = ("Allow", "Hold", "Deny")
"""In the order in which they are stacked, from below; whatever else ended without a verdict comes last."""
OTHER = "none"


@dataclass(frozen=True, slots=True)
class Piece:
    """One verdict's share of one bar, in the units of the SVG's view box."""

    x: float
    y: float
    width: float
    height: float
    verdict: str
    title: str


@dataclass(frozen=True, slots=True)
class Chart:
    """ticks: (x, words) along the bottom. totals: by verdict, for the table that says the same without the picture."""

    pieces: tuple[Piece, ...]
    ticks: tuple[tuple[float, str], ...]
    highest: int
    totals: tuple[tuple[str, int], ...]
    width: int = WIDTH
    height: int = HEIGHT


def bars(tallies: Iterable[Tally], begin: float, end: float, bucket: float) -> Chart:
    """begin, end: Unix seconds; bucket: seconds of one bar. What lies outside is left out."""
    counts: dict[tuple[int, str], int] = {}
    for tally in tallies:
        at = int((tally.start - begin) // bucket)
        if begin <= tally.start < end:
            key = (at, tally.verdict if tally.verdict in VERDICTS else OTHER)
            counts[key] = counts.get(key, 0) + tally.count
    number = max(1, int(-(-(end - begin) // bucket)))
    sums = [sum(counts.get((at, verdict), 0) for verdict in (*VERDICTS, OTHER)) for at in range(number)]
    highest = max(sums, default=0)
    step = WIDTH / number
    pieces = tuple(
        piece for at in range(number) for piece in _stack(at, step, counts, highest, begin + at * bucket)
    )
    totals = tuple(
        (verdict, sum(count for (_, word), count in counts.items() if word == verdict))
        for verdict in (*VERDICTS, OTHER)
    )
    return Chart(pieces, _ticks(begin, end, number * bucket), highest, totals)


def _stack(
    at: int, step: float, counts: dict[tuple[int, str], int], highest: int, start: float
) -> Iterable[Piece]:
    level = float(HEIGHT)
    when = f"{datetime.fromtimestamp(start, UTC):%Y-%m-%d %H:%M} UTC"
    for verdict in (*VERDICTS, OTHER):
        count = counts.get((at, verdict), 0)
        if not count:
            continue
        height = count / highest * (HEIGHT - 10)
        level -= height
        title = f"{when}: {count:,} {verdict}"
        yield Piece(
            round(at * step + 0.5, 2),
            round(level, 2),
            round(max(0.5, step - 1), 2),
            round(height, 2),
            verdict,
            title,
        )


def _ticks(begin: float, end: float, width: float) -> tuple[tuple[float, str], ...]:
    """At full hours and days, at most eight. width: seconds that the picture is wide."""
    apart = next(step for step in STEPS if step * 8 >= end - begin or step == STEPS[-1])
    words = "%H:%M" if apart < DAY else "%d %b"
    whole = min(apart, DAY)
    first = -(-begin // whole) * whole
    moments = [first + number * apart for number in range(8) if first + number * apart < end]
    return tuple(
        (round(WIDTH * (at - begin) / width, 1), f"{datetime.fromtimestamp(at, UTC):{words}}")
        for at in moments
    )
