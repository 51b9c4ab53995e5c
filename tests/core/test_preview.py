"""What is written into spec.preview: bounded, legible, and nothing that the API server quotes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaperone.core.legible import is_visible
from chaperone.core.preview import (
    MOST_AFFECTED,
    MOST_LINE,
    MOST_WARNINGS,
    Findings,
    read_warnings,
    refusal,
    spec,
    told,
)


def test_what_was_found() -> None:
    found = Findings("-a\n+b\n", ("w", "v", "w"), ("x", "x"))
    assert spec(found) == {
        "diff": "-a\n+b\n",
        "warnings": ["w", "v"],
        "affected": ["x", "x"],
        "truncated": False,
    }


def test_no_empty_text_for_old_servers() -> None:
    assert spec(Findings(truncated=True)) == {"warnings": [], "affected": [], "truncated": True}


@pytest.mark.parametrize(("field", "most"), [("warnings", MOST_WARNINGS), ("affected", MOST_AFFECTED)])
def test_bounded_lines(field: str, most: int) -> None:
    def found(count: int) -> dict[str, Any]:
        lines = tuple(map(str, range(count)))
        return spec(Findings(warnings=lines) if field == "warnings" else Findings(affected=lines))

    full, over = found(most), found(most + 5)
    assert (len(full[field]), full[field][-1], full["truncated"]) == (most, str(most - 1), False)
    assert (len(over[field]), over[field][-1], over["truncated"]) == (most, "… and 6 more", True)


@given(st.lists(st.text(max_size=MOST_LINE * 2), max_size=4))
def test_lines_are_legible(lines: list[str]) -> None:
    shown = spec(Findings(warnings=tuple(lines), affected=tuple(lines)))
    assert all(is_visible(line) and len(line) <= MOST_LINE for line in shown["warnings"] + shown["affected"])


WARNINGS: dict[str, tuple[list[str], tuple[str, ...]]] = {
    "one": (['299 - "batch/v1beta1 is deprecated"'], ("batch/v1beta1 is deprecated",)),
    "several headers": (['299 - "a"', '299 - "b"'], ("a", "b")),
    "several in one header": (['299 - "a, b", 299 k8s "c"'], ("a, b", "c")),
    "quotes and a date": (['299 - "say \\"a\\\\b\\"" "Mon, 23 Nov 2026 05:00:00 GMT"'], ('say "a\\b"',)),
    "not of that form": (["nonsense", '299 - "open'], ()),
}


@pytest.mark.parametrize(("headers", "expected"), WARNINGS.values(), ids=WARNINGS)
def test_read_warnings(headers: list[str], expected: tuple[str, ...]) -> None:
    assert read_warnings(headers) == expected


TOLD: dict[str, tuple[str, str]] = {
    "plain words": ("policy/v1beta1 is deprecated", "policy/v1beta1 is deprecated"),
    "a known secret": ("admission said open-sesame", "admission said (hidden)"),
    "a secret too short to look for": ("abc is bad", "abc is bad"),
    "a quoted value": ('spec.x: Invalid value: "never-seen": too long', "spec.x: Invalid value: (hidden)"),
    "an immutable field": (
        'spec.x: Invalid value: {"a":"b"}: field is immutable',
        "spec.x: Invalid value: (hidden): field is immutable",
    ),
    "what looks like a credential": ("cannot use token=x", "a message that may quote a secret (hidden)"),
}


@pytest.mark.parametrize(("text", "expected"), TOLD.values(), ids=TOLD)
def test_told(text: str, expected: str) -> None:
    assert told(text, {"abc", "open-sesame", "sesame"}) == expected


REFUSALS: dict[str, tuple[dict[str, Any], str]] = {
    "with its reason": (
        {"reason": "Forbidden", "message": "no quota"},
        "the API server would refuse it (403 Forbidden): no quota",
    ),
    "without one": ({"message": "no quota"}, "the API server would refuse it (403): no quota"),
    "without a word": (
        {"reason": 7, "message": ""},
        "the API server would refuse it (403): it does not say why",
    ),
}


@pytest.mark.parametrize(("status", "expected"), REFUSALS.values(), ids=REFUSALS)
def test_refusal(status: dict[str, Any], expected: str) -> None:
    assert refusal(status, 403, ()) == expected
