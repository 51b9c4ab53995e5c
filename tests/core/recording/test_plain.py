"""A replay shows pictures; it has no power over the terminal of whoever looks."""

from __future__ import annotations

import pytest

from chaperone.core.recording.plain import LONGEST_ESCAPE, Cleaner, plain_text

KEPT = [b"text\r\n\tx\b", b"\x1b[1;31mred\x1b[0m", b"\x1b[2J\x1b[H", b"\x1b[?1049h\x1b[?25l", b"\x1b7\x1b8\x1bM", b"\x1b(B",
        "é€😀".encode(), b"\x1b[10;20H", b"\xff\xfe"]  # fmt: skip
TAKEN = {
    "title": b"\x1b]0;evil\x07",
    "title with ST": b"\x1b]2;evil\x1b\\",
    "clipboard": b"\x1b]52;c;ZXZpbA==\x07",
    "link": b"\x1b]8;;http://evil.example\x07",
    "device control": b'\x1bP$q"p\x1b\\',
    "application command": b"\x1b_x\x1b\\",
    "privacy message": b"\x1b^x\x1b\\",
    "start of string": b"\x1bXx\x1b\\",
    "cancelled": b"\x1b]0;x\x18",
    "device attributes": b"\x1b[c",
    "secondary attributes": b"\x1b[>0c",
    "cursor report": b"\x1b[6n",
    "status report": b"\x1b[?15n",
    "window operation": b"\x1b[21t",
    "request mode": b"\x1b[?1$p",
    "printing": b"\x1b[5i",
    "enquiry": b"\x05",
    "bell": b"\x07",
    "full reset": b"\x1bc",
    "identify": b"\x1bZ",
    "C1 string": "\x9d0;evil\x9c".encode(),
    "C1 report": "\x9b6n".encode(),
    "C1 control": "\x85".encode(),
}


@pytest.mark.parametrize("text", KEPT)
def test_pictures_are_kept(text: bytes) -> None:
    assert Cleaner().feed(text) == text


@pytest.mark.parametrize("text", TAKEN.values(), ids=TAKEN.keys())
def test_power_is_taken_away_wherever_it_is_cut(text: bytes) -> None:
    for at in range(len(text) + 1):
        cleaner = Cleaner()
        assert cleaner.feed(b"a" + text[:at]) + cleaner.feed(text[at:] + b"b") == b"ab"


def test_an_escape_cut_between_events_is_whole_again() -> None:
    cleaner = Cleaner()
    assert cleaner.feed(b"a\x1b[3") == b"a"
    assert cleaner.feed(b"1mred") == b"\x1b[31mred"


def test_an_escape_that_never_ends_is_not_kept_for_ever() -> None:
    cleaner = Cleaner()
    shown = cleaner.feed(b"\x1b]0;" + b"x" * (2 * LONGEST_ESCAPE))
    assert b"\x1b" not in shown
    assert cleaner.feed(b"after") == b"after"


def test_plain_text_has_no_escapes() -> None:
    raw = b"\x1b[1mbold\x1b[0m\r\n" + b"".join(TAKEN.values()) + b"x\ry\x00\x0e" + "é".encode() + b"\xff"
    assert plain_text(raw) == "bold\nx\nyé\ufffd"
