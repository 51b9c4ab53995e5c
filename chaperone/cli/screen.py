"""What stands on the screen: columns as kubectl prints them, with colours on a terminal only.

Nothing is read as markup, so a name in square brackets stays what it is.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from chaperone.core.legible import visible

COLOURS: Mapping[str, str] = {
    "Allow": "green",
    "Approved": "green",
    "Executed": "green",
    "ok": "green",
    "Hold": "yellow",
    "Pending": "yellow",
    "Executing": "yellow",
    "medium": "yellow",
    "warning": "yellow",
    "Deny": "red",
    "Denied": "red",
    "Failed": "red",
    "Unknown": "red",
    "FAILED": "red",
    "fault": "red",
    "high": "red",
    "critical": "bold red",
    "Expired": "dim",
    "Cancelled": "dim",
}
"""Words that have a colour of their own."""

Row = Sequence[str]


def console(*, error: bool = False) -> Console:
    """Standard output or error as they are now. Colours only on a terminal, and never where NO_COLOR is set."""
    return Console(file=sys.stderr if error else sys.stdout, markup=False, emoji=False, highlight=False)


def say(text: str = "", style: str = "", *, error: bool = False) -> None:
    """One line, or more, as they are; long ones are the terminal's to break."""
    console(error=error).print(Text(text, style=style), soft_wrap=True)


def complain(sentence: str) -> None:
    """A fault, on standard error, in one line; it may carry the words of a server or of a file."""
    say(visible(" ".join(sentence.split())), error=True)


def show_table(headers: Row, rows: Sequence[Row]) -> None:
    """Columns as kubectl prints them, three spaces apart, an empty cell as a dash: `awk` can read them, and a name stays
    whole however narrow the terminal is."""
    cells = [list(headers), *([cell or "-" for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    screen = console()
    for number, line in enumerate(cells):
        style = "bold" if number == 0 else ""
        screen.print(_line(line, widths, style), soft_wrap=True)


def _line(cells: Row, widths: Sequence[int], style: str) -> Text:
    line = Text(style=style)
    for cell, width in zip(cells, widths, strict=True):
        line.append(cell, style=COLOURS.get(cell, "")).append(" " * (width - len(cell) + 3))
    line.rstrip()
    return line


def live_table(headers: Row, rows: Sequence[Row]) -> Table:
    """One that always fits the terminal; the first column is the last to be cut."""
    drawn = Table(box=None, pad_edge=False, header_style="bold")
    for at, header in enumerate(headers):
        width = max([len(header), *(len(row[at]) for row in rows)]) if at == 0 else None
        drawn.add_column(header, overflow="ellipsis", no_wrap=True, min_width=width)
    for row in rows:
        drawn.add_row(*(Text(cell, style=COLOURS.get(cell, "")) for cell in row))
    return drawn


def show_json(value: Any) -> None:
    """ASCII only: whatever the text holds, a terminal shows its escape."""
    sys.stdout.write(json.dumps(value, indent=2) + "\n")
