from __future__ import annotations

import base64
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaperone.core.masking.placeholder import (
    LENGTH,
    MARKER,
    Found,
    Mint,
    encoded,
    find,
    holds_placeholder,
    is_placeholder,
)

MINT = Mint(b"k" * 16)
ONE = MINT.placeholder("uid", "data.x", "value")


def test_it_has_one_shape_and_one_length() -> None:
    assert re.fullmatch(r"masked-[a-z2-7]{24}", ONE)
    assert len(ONE) == LENGTH == 31
    assert len(encoded(ONE)) == 44
    assert base64.b64decode(encoded(ONE)).decode() == ONE


@given(st.tuples(st.text(), st.text(), st.text()), st.tuples(st.text(), st.text(), st.text()))
def test_each_of_uid_place_and_value_changes_it(
    first: tuple[str, str, str], second: tuple[str, str, str]
) -> None:
    assert (MINT.placeholder(*first) == MINT.placeholder(*second)) is (first == second)


def test_moving_a_letter_from_one_part_to_the_next_changes_it() -> None:
    assert MINT.placeholder("a", "bc", "d") != MINT.placeholder("ab", "c", "d")


def test_it_depends_on_the_key() -> None:
    assert Mint(b"j" * 16).placeholder("uid", "data.x", "value") != ONE


def test_an_older_value_of_a_place_is_told_from_one_of_elsewhere() -> None:
    older = MINT.placeholder("uid", "data.x", "older value")
    assert older != ONE
    assert MINT.is_of(older, "uid", "data.x")
    assert not MINT.is_of(older, "uid", "data.y")
    assert not MINT.is_of(older, "other", "data.x")
    assert not Mint(b"j" * 16).is_of(older, "uid", "data.x")


def test_bytes_that_are_no_text_have_one_too() -> None:
    assert is_placeholder(MINT.placeholder("u", "p", b"\xff\x00"))
    assert MINT.placeholder("u", "p", "é") == MINT.placeholder("u", "p", "é".encode())


def test_a_short_key_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 16"):
        Mint(b"short")


def test_the_key_is_not_shown() -> None:
    assert "kkkk" not in repr(MINT)


def test_it_is_found_plain_and_encoded() -> None:
    text = f"a={ONE};b={encoded(ONE)}"
    assert list(find(text)) == [
        Found(2, 33, ONE),
        Found(36, 80, ONE, encoded=True),
    ]
    assert holds_placeholder(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "masked",
        MARKER,
        MARKER + "A" * 24,
        MARKER + "a" * 23,
        "bWFza2Vk",
        encoded(ONE)[:-4] + "!!==",
        "bWFza2VkL" + "/" * 33,
    ],
)
def test_what_only_looks_like_one_is_none(text: str) -> None:
    assert not holds_placeholder(text)
    assert not is_placeholder(text)


def test_one_and_more_is_not_one() -> None:
    assert is_placeholder(ONE)
    assert is_placeholder(encoded(ONE))
    assert not is_placeholder(ONE + "x")
    assert not is_placeholder(" " + encoded(ONE))
    assert holds_placeholder("x" + ONE)
    assert not is_placeholder("A" * 44)
