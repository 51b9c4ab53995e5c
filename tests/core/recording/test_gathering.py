"""What is said within a moment is one event, cut only between characters."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaperone.core.recording.gathering import GRAIN, LONGEST, Gatherer, Said, character_border

EURO = "€".encode()


def test_what_comes_within_a_moment_is_one_event() -> None:
    gatherer = Gatherer()
    assert gatherer.add("stdout", b"a", 1.0) == []
    assert gatherer.add("stdout", b"b", 1.0 + GRAIN / 2) == []
    assert gatherer.settle(1.0 + GRAIN / 2) == []
    assert gatherer.add("stdout", b"c", 1.0 + GRAIN) == [Said("stdout", 1.0, b"ab")]
    assert gatherer.settle(9.0) == [Said("stdout", 1.0 + GRAIN, b"c")]
    assert gatherer.settle(9.0) == []
    assert gatherer.end(9.0) == []


def test_another_source_ends_an_event() -> None:
    gatherer = Gatherer()
    gatherer.add("stdout", b"a", 1.0)
    assert gatherer.add("stderr", b"b", 1.0) == [Said("stdout", 1.0, b"a")]
    assert gatherer.end(1.0) == [Said("stderr", 1.0, b"b")]


def test_a_character_waits_for_its_end() -> None:
    gatherer = Gatherer()
    gatherer.add("stdout", b"a" + EURO[:2], 1.0)
    assert gatherer.settle(2.0) == [Said("stdout", 1.0, b"a")]
    assert gatherer.add("stdout", EURO[2:] + b"b", 3.0) == []
    assert gatherer.end(3.0) == [Said("stdout", 3.0, EURO + b"b")]


def test_a_character_waits_while_another_source_speaks() -> None:
    gatherer = Gatherer()
    gatherer.add("stdout", EURO[:1], 1.0)
    assert gatherer.add("stderr", b"b", 1.0) == []
    assert gatherer.add("stdout", EURO[1:], 1.0) == [Said("stderr", 1.0, b"b")]
    assert gatherer.end(1.0) == [Said("stdout", 1.0, EURO)]


def test_a_character_that_never_ends_is_not_lost() -> None:
    gatherer = Gatherer()
    gatherer.add("stdout", b"a" + EURO[:2], 1.0)
    assert gatherer.end(2.0) == [Said("stdout", 1.0, b"a"), Said("stdout", 2.0, EURO[:2])]
    assert gatherer.end(2.0) == []


def test_events_have_a_longest() -> None:
    gatherer = Gatherer()
    text = b"a" * (LONGEST - 1) + EURO + b"b" * LONGEST
    first, second = gatherer.add("stdout", text, 1.0)
    assert (len(first.data), len(second.data)) == (LONGEST - 1, LONGEST)
    assert second.data.startswith(EURO)
    (third,) = gatherer.end(1.0)
    assert first.data + second.data + third.data == text


@given(st.binary(max_size=200), st.lists(st.integers(1, 40), min_size=1))
def test_events_do_not_depend_on_the_cuts(data: bytes, sizes: list[int]) -> None:
    def events(pieces: list[bytes]) -> list[Said]:
        gatherer = Gatherer()
        said = [item for piece in pieces for item in gatherer.add("stdout", piece, 1.0)]
        return said + gatherer.end(1.0)

    pieces, at = [], 0
    for size in sizes * (len(data) // sum(sizes) + 1):
        pieces.append(data[at : at + size])
        at += size
    assert b"".join(item.data for item in events(pieces)) == data
    assert events(pieces) == events([data])


@pytest.mark.parametrize(
    ("data", "border"),
    [(b"", 0), (b"a", 1), (EURO, 3), (EURO[:2], 0), (b"a" + EURO[:1], 1), ("a😀".encode()[:4], 1),
     (b"\x80\x80\x80\x80", 4), (b"a\xff", 2), ("é".encode()[:1], 0), ("é".encode(), 2), (b"\x80", 1)],
)  # fmt: skip
def test_borders_of_characters(data: bytes, border: int) -> None:
    assert character_border(data) == border
