"""Globs say what a simple, slow reading of them says, and no pattern makes them slow."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaperone.core.policy.globs import globs

CASES = {
    "exact": (["dev"], "dev", True),
    "case counts": (["dev"], "Dev", False),
    "everything": (["*"], "", True),
    "prefix": (["kube-*"], "kube-system", True),
    "a prefix is not found inside": (["kube-*"], "my-kube-system", False),
    "suffix": (["*-prod"], "web-prod", True),
    "both ends": (["a*b"], "ab", True),
    "ends do not overlap": (["ab*ba"], "aba", False),
    "one character": (["ns-?"], "ns-1", True),
    "one character is not none": (["ns-?"], "ns-", False),
    "a slash is nothing special": (["repo:acme/*"], "repo:acme/a/b", True),
    "nor is a bracket": (["[a]"], "a", False),
    "nor is a newline": (["a*c*d"], "a\nc\nd", True),
    "any of several": (["x", "y*", "*z"], "az", True),
    "none of several": (["x", "y*", "*z"], "za", False),
    "parts in order": (["*a*b*"], "ba", False),
    "no pattern": ([], "", False),
}


@pytest.mark.parametrize(("patterns", "text", "matches"), CASES.values(), ids=CASES)
def test_match(patterns: list[str], text: str, matches: bool) -> None:
    assert globs(patterns).match(text) is matches


@given(st.text("ab*?", max_size=12), st.text("abc", max_size=16))
def test_a_glob_is_the_regular_expression_that_it_abbreviates(pattern: str, text: str) -> None:
    plain = "".join({"*": ".*", "?": "."}.get(character, re.escape(character)) for character in pattern)
    assert globs([pattern]).match(text) is (re.fullmatch(plain, text, re.DOTALL) is not None)


def test_no_pattern_backtracks() -> None:
    """Would take longer than the world has stood, were parts tried again."""
    assert globs(["*a" * 60 + "*?b"]).match("a" * 4000) is False
