"""The search by form and by value: finds that overlap, that are masked already, or that are harmless after all."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from chaperone.core.masking import Masker, Mint, Place, Span, Terms, is_placeholder, yaml_text
from tests.core.masking.engine import AWS, MINT, STANDARD, FewForms, custom, masked, spec_of

PLACEHOLDER = MINT.placeholder("u", "p", "v")


class Fixed:
    """Finds the same spans in every text that is long enough."""

    def __init__(self, *spans: tuple[int, int]) -> None:
        self._spans = [Span(start, end, f"rule-{start}") for start, end in spans]

    def spans(self, text: str) -> list[Span]:
        return [span for span in self._spans if span.end <= len(text)]

    def scan(self, texts: Sequence[str]) -> list[tuple[int, Span]]:
        return [(index, span) for index, text in enumerate(texts) for span in self.spans(text)]

    def hits(self, raw: bytes) -> bool:
        return bool(raw)


def found(text: str, *spans: tuple[int, int]) -> tuple[str, dict[str, int]]:
    masker = Masker(Terms(), Fixed(*spans), Mint(b"k" * 16))
    after, report = masker.text(text)
    return after, report.counts


def test_finds_that_overlap_become_one() -> None:
    text, counts = found("abcdefghijklmnop", (2, 6), (4, 8), (5, 6), (12, 13), (9, 9))
    assert text[:2] + text[33:37] + text[-3:] == "ab" + "ijkl" + "nop"
    assert counts == {"rule-2": 1, "rule-12": 1}


def test_finds_side_by_side_stay_two() -> None:
    assert found("abcdefgh", (0, 4), (4, 8))[1] == {"rule-0": 1, "rule-4": 1}


def test_what_is_masked_already_stays() -> None:
    text = f"ab{PLACEHOLDER}cd"
    assert found(text, (0, len(text))) == (text, {})
    assert found(text, (5, 9)) == (text, {})


def test_a_long_rest_beside_a_placeholder_is_masked() -> None:
    text = f"{'x7' * 10}{PLACEHOLDER} and"
    after, counts = found(text, (0, len(text)))
    assert after.endswith(f"{PLACEHOLDER} and")
    assert "x7x7" not in after
    assert sum(counts.values()) == 1
    spaces = f"{' ' * 30}{PLACEHOLDER}"
    assert found(spaces, (0, len(spaces))) == (spaces, {})


def test_a_find_elsewhere_in_a_text_with_a_placeholder() -> None:
    text = f"abcd {PLACEHOLDER}"
    assert found(text, (0, 4))[0] == f"{found('abcd', (0, 4))[0]} {PLACEHOLDER}"


def test_a_find_that_is_harmless_after_all() -> None:
    assert found("$(PASSWORD)", (0, 11)) == ("$(PASSWORD)", {})
    assert found("/var/run/x", (0, 10)) == ("/var/run/x", {})


def test_finds_in_names_are_noted_by_where_they_stand() -> None:
    masker = Masker(Terms(), FewForms(), MINT)
    report = masker.document(custom({}, labels={AWS: "x"}, annotations={"y": "z"}), Place())
    assert (report.counts, report.flags) == ({}, {"secret-in-key": 1})


def test_a_text_that_cannot_be_written_goes_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yaml_text, "_write", lambda *_: "[")
    text = f"a: b\npassword: hunter2\nold: {PLACEHOLDER}\n"
    body = custom({"text": text, "inner": f"x: |\n  {text.splitlines()[1]}\n  a: b\n"})
    STANDARD.document(body, Place())
    assert is_placeholder(body["spec"]["text"])
    assert is_placeholder(body["spec"]["inner"])


def test_comments_and_forms_in_a_text_are_searched_too() -> None:
    text = f"a: b # token: abc\n# {AWS}\n? password: inside of a key\n: x\n"
    after = spec_of({"text": text})["text"]
    assert "abc" not in after
    assert AWS not in after


def test_only_comments_are_read_by_words_in_what_was_taken_apart() -> None:
    text = "secretKey: password\nremoteRef: x\nother: y # fine\n"
    assert spec_of({"text": text})["text"] == text


def test_texts_in_texts_are_put_together_from_the_innermost() -> None:
    inner = "password: 'it''s'\nlist: [a, 'b']\n"
    outer = "one: |\n  " + inner.replace("\n", "\n  ").rstrip() + "\ntwo: 'A=1\n\n  TOKEN=abc1\n\n  '\n"
    after = masked(custom({"text": outer}))["spec"]["text"]
    assert "it''s" not in after
    assert "abc1" not in after
    assert "list: [a, 'b']" in after
