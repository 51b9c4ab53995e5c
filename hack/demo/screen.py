"""The story on the screen: chapters, and two people's panes told apart by a label and a colour (none when piped)."""

import os
import sys
import textwrap
from dataclasses import dataclass

WIDTH = 118
LABEL = 11


@dataclass(frozen=True)
class Voice:
    """Who types: its label and its ANSI colour."""

    label: str
    colour: str


AGENT = Voice("agent", "36")
APPROVER = Voice("approver", "35")
SECOND = Voice("approver 2", "34")
ADMIN = Voice("admin", "33")
ATTACKER = Voice("attacker", "31")


def colours() -> bool:
    return sys.stdout.isatty() and "NO_COLOR" not in os.environ


def paint(code: str, text: str) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if colours() else text


def chapter(number: int, title: str, why: str) -> None:
    print()
    print(paint("1", f"{number}. {title}"))
    for line in textwrap.wrap(why, WIDTH - 3):
        print(f"   {line}")
    print(flush=True)


def typed(voice: Voice, command: str) -> None:
    _lines(voice, paint("1", f"$ {command}"))


def shown(voice: Voice, text: str, *, most: int = 14) -> None:
    """Real output, wrapped to the pane; the middle of long output is left out, and said so."""
    lines = [part for line in text.rstrip("\n").splitlines() for part in _wrapped(line)]
    if len(lines) > most:
        left_out = len(lines) - most + 1
        lines = [*lines[: most - 4], f"… ({left_out} more lines)", *lines[-3:]]
    for line in lines:
        _lines(voice, line)


def verdict(ok: bool, text: str) -> None:
    mark = paint("32", "ok  ") if ok else paint("31", "WRONG")
    print(f"   {mark} {text}", flush=True)


def _wrapped(line: str) -> list[str]:
    return textwrap.wrap(line, WIDTH - LABEL - 4, subsequent_indent="    ", drop_whitespace=False) or [""]


def _lines(voice: Voice, text: str) -> None:
    print(f"   {paint(voice.colour, voice.label.ljust(LABEL) + '│')} {text}", flush=True)
