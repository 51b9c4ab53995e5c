"""What a reader could not see is shown as its escape; what can be seen stays."""

from __future__ import annotations

import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaperone.core.legible import is_visible, json_line, visible

UNSEEN = [
    ("line feed", "\n", "\\n"),
    ("carriage return", "\r", "\\r"),
    ("tab", "\t", "\\t"),
    ("escape", "\x1b[31m", "\\x1b[31m"),
    ("delete", "\x7f", "\\x7f"),
    ("C1 control", "\x9b", "\\x9b"),
    ("no-break space", "\xa0", "\\xa0"),
    ("soft hyphen", "\xad", "\\xad"),
    ("right-to-left override", "\u202e", "\\u202e"),
    ("isolate", "\u2066", "\\u2066"),
    ("zero-width joiner", "\u200d", "\\u200d"),
    ("byte order mark", "\ufeff", "\\ufeff"),
    ("line separator", "\u2028", "\\u2028"),
    ("Hangul filler", "\u3164", "\\u3164"),
    ("variation selector", "\ufe0f", "\\ufe0f"),
    ("tag letter", "\U000e0041", "\\U000e0041"),
    ("supplementary variation selector", "\U000e0100", "\\U000e0100"),
    ("private use", "\ue000", "\\ue000"),
    ("surrogate", "\ud800", "\\ud800"),
]


@pytest.mark.parametrize(("text", "shown"), [row[1:] for row in UNSEEN], ids=[row[0] for row in UNSEEN])
def test_unseen_characters_are_escaped(text: str, shown: str) -> None:
    assert not is_visible(text)
    assert visible(f"é{text}!") == f"é{shown}!"


@pytest.mark.parametrize("text", ["", "plain text", "naïve café", "日本語", "a\\b", "<b>&amp;</b>"])
def test_what_can_be_seen_stays(text: str) -> None:
    assert visible(text) == text


@pytest.mark.parametrize(
    ("text", "shown"), [("abcdef", "abc…"), ("abcd", "abcd"), ("a\x1bcd", "a\\x…"), ("", "")]
)
def test_a_limit_bounds_what_is_shown(text: str, shown: str) -> None:
    assert visible(text, 4) == shown


@given(st.text())
def test_showing_twice_changes_nothing(text: str) -> None:
    once = visible(text)
    assert is_visible(once)
    assert visible(once) == once
    assert len(visible(text, 10)) <= 10


@given(
    st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"])), st.text(st.characters(exclude_categories=["Cs"]))
    )
)
def test_a_json_line_keeps_its_value_and_hides_nothing(value: dict[str, str]) -> None:
    line = json_line(orjson.dumps(value))
    assert json.loads(line) == value
    assert is_visible(line.decode())
