"""Finds in a text become parts of a line of bytes."""

from __future__ import annotations

from collections.abc import Sequence

from chaperone.core.masking.detection import Span
from chaperone.core.masking.marks import Find, Mark, marks, text_of, without
from chaperone.core.masking.placeholder import Mint
from chaperone.core.masking.terminal import unfinished_at
from chaperone.core.masking.text_finder import TextFinder


class Everything:
    """A detector that finds each text whole."""

    def spans(self, text: str) -> list[Span]:
        return [Span(0, len(text), "all")]

    def scan(self, texts: Sequence[str]) -> list[tuple[int, Span]]:
        return [(index, Span(0, len(text), "all")) for index, text in enumerate(texts)]

    def hits(self, raw: bytes) -> bool:
        return True


def test_finds_that_overlap_are_one_in_the_name_of_the_longest() -> None:
    found = marks(b"0123456789", [Find(1, 4, "short", "s"), Find(2, 8, "long", "l"), Find(8, 9, "next", "n")])
    assert found == [Mark(1, 8, "long", "l"), Mark(8, 9, "next", "n")]


def test_a_find_of_nothing_marks_nothing() -> None:
    assert marks(b"0123456789", [Find(3, 3, "none", "n")]) == []


def test_offsets_lead_through_escape_sequences_and_characters_of_many_bytes() -> None:
    line = "ä\x1b[1mö".encode() + b"\xffSECRET"
    start = text_of(line).index("SECRET")
    (mark,) = marks(line, [Find(start, start + 6, "r", "p")])
    assert line[mark.start : mark.end] == b"SECRET"


def test_a_part_of_a_line_shows_its_part_of_a_mark() -> None:
    found = [Mark(-3, 2, "r", "<p>"), Mark(4, 6, "r", "<q>")]
    assert without(b"abcdefgh", found, 0, 5, keep_length=True) == b"**cd*"
    assert without(b"abcdefgh", found, 0, 8, keep_length=False) == b"<p>cd<q>gh"


def test_a_placeholder_is_not_masked_again() -> None:
    mint = Mint(b"0123456789abcdef")
    finder = TextFinder(Everything(), mint)
    placeholder = mint.placeholder("a", "b", "c")
    assert [index for index, _ in finder.finds([placeholder, "other"])] == [1]


def test_a_sequence_that_has_not_ended_is_known_as_one() -> None:
    assert unfinished_at(b"ab\x1b[3") == 2
    assert unfinished_at(b"ab\x1b[31m") == 7
    assert unfinished_at(b"ab\x1b]0;title") == 2
    assert unfinished_at(b"ab\x1b]0;title\x1b") == 2
    assert unfinished_at(b"\x1b[31mab\x1b") == 7
    assert unfinished_at(b"\x1b") == 0
    assert unfinished_at(b"plain") == 5
