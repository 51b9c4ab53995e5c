"""What stands on the screen: tables and colours on a terminal, plain columns in a pipe.

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


def coloured(word: str) -> Text:
    return Text(word, style=COLOURS.get(word, ""))


def show_table(headers: Row, rows: Sequence[Row]) -> None:
    """On a terminal a table that folds long cells; elsewhere columns that `awk` and `cut` can read."""
    screen = console()
    if screen.is_terminal:
        screen.print(table(headers, rows))
        return
    for line in plain_columns(headers, rows):
        screen.print(Text(line), soft_wrap=True)


def table(headers: Row, rows: Sequence[Row]) -> Table:
    """For a terminal."""
    drawn = Table(box=None, pad_edge=False, header_style="bold")
    for header in headers:
        drawn.add_column(header, overflow="fold")
    for row in rows:
        drawn.add_row(*(coloured(cell) for cell in row))
    return drawn


def plain_columns(headers: Row, rows: Sequence[Row]) -> list[str]:
    """Lines of equal columns, three spaces apart; an empty cell is a dash."""
    cells = [list(headers), *([cell or "-" for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["   ".join(map(str.ljust, line, widths)).rstrip() for line in cells]


def show_json(value: Any) -> None:
    """ASCII only: whatever the text holds, a terminal shows its escape."""
    sys.stdout.write(json.dumps(value, indent=2) + "\n")
