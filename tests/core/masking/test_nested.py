"""Documents inside texts: JSON and YAML come apart and together again, and nothing else changes."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from chaperone.core.masking import json_text, yaml_text
from chaperone.core.masking.json_text import read_json
from chaperone.core.masking.nested import Nested
from chaperone.core.masking.yaml_text import looks_like_yaml, read_yaml
from tests.core.masking.engine import MINT

PLACEHOLDER = MINT.placeholder("u", "p", "v")

LEAVES = st.one_of(st.none(), st.booleans(), st.integers(-(2**53), 2**53), st.text(max_size=30))
TREES = st.recursive(
    LEAVES,
    lambda below: st.lists(below, max_size=4) | st.dictionaries(st.text(max_size=8), below, max_size=4),
    max_leaves=12,
)


def changed(nested: Nested, old: str, new: str) -> str | None:
    for slot in nested.slots:
        if slot.value == old:
            slot.container[slot.key] = new
    return nested.rewritten()


@given(TREES, st.sampled_from([None, 1, 2]), st.booleans())
def test_json_of_any_form_stays_but_for_what_changed(tree: Any, indent: int | None, ascii_only: bool) -> None:
    text = json.dumps([tree, "secret"], indent=indent, ensure_ascii=ascii_only)
    nested = read_json(text)
    assert nested is not None
    assert nested.rewritten() == text
    nested.slots[-1].container[nested.slots[-1].key] = "new"
    assert (
        nested.rewritten() == text[: text.rindex('"secret"')] + '"new"' + text[text.rindex('"secret"') + 8 :]
    )


@given(TREES)
def test_yaml_stays_but_for_what_changed(tree: Any) -> None:
    text = yaml.safe_dump({"before": tree, "zz": "the secret"}, allow_unicode=True)
    nested = read_yaml(text)
    if nested is None:
        return
    assert nested.rewritten() == text
    again = changed(nested, "the secret", PLACEHOLDER)
    assert again is not None
    assert yaml.safe_load(again)["zz"] == PLACEHOLDER
    assert again.replace(PLACEHOLDER, "the secret") == text


@pytest.mark.parametrize("text", ["", "x", '"x"', "1", "{", '{"a":1,}', '{"a":1}{}', "[1", '{"a":"\\ud800"}'])
def test_what_is_no_json_document(text: str) -> None:
    assert read_json(text) is None


def test_duplicate_keys_are_not_taken_apart() -> None:
    assert read_json('{"a":"x","a":"y"}') is None
    assert read_yaml("a: x\na: y\n") is None


def test_deep_and_long_texts_are_not_taken_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_json("[" * 102 + "]" * 102) is None
    assert read_json("[" * 100 + "]" * 100) is not None
    assert read_yaml("[" * 102 + "]" * 102) is None
    monkeypatch.setattr(json_text, "MAX_TEXT", 10)
    monkeypatch.setattr(yaml_text, "MAX_TEXT", 10)
    assert read_json('{"a":"0123456789"}') is None
    assert read_yaml("a: 0123456789\n") is None


STYLES = """\
# a comment with a colon: x
plain: the secret
single: 'the secret'
double: "the secret"
commented: the secret # why
flow: {a: the secret, b: [the secret, 1]}
list:
- the secret
- - the secret
anchored: &a the secret
tagged: !!str the secret
literal: |
  first
  the secret

  last
keep: |+
  the secret

strip: |-
  the secret
folded: >-
  the secret
  goes on
é: the secret
"quoted key": the secret
...
---
second: the secret
"""


def test_every_style_of_yaml() -> None:
    nested = read_yaml(STYLES)
    assert nested is not None
    for slot in nested.slots:
        slot.container[slot.key] = slot.value.replace("the secret", PLACEHOLDER)
    again = nested.rewritten()
    assert again is not None
    before, after = list(yaml.safe_load_all(STYLES)), list(yaml.safe_load_all(again))
    assert after == json.loads(json.dumps(before, ensure_ascii=False).replace("the secret", PLACEHOLDER))
    assert "the secret" not in again
    assert again.splitlines()[0] == STYLES.splitlines()[0]
    assert "# why" in again


def test_every_scalar_of_yaml_is_a_string() -> None:
    nested = read_yaml("a: 123456\nb: true\nc:\n")
    assert nested is not None
    assert nested.roots == [{"a": "123456", "b": "true", "c": ""}]
    assert changed(nested, "123456", PLACEHOLDER) == f"a: {PLACEHOLDER}\nb: true\nc:\n"


@pytest.mark.parametrize(
    ("text", "new"),
    [
        ("a: x\n", "two words: here"),
        ("a: x\n", "x: # y"),
        ("a: 'x'\n", "it's"),
        ('a: "x"\n', 'say "x"\n'),
        ("a: |\n  x\n", f"{PLACEHOLDER}"),
        ("a: |\n  x\n", f"y\n{PLACEHOLDER}\n"),
        ("a: |2\n    x\n", "  y\n"),
        ("a: >\n  x\n  y\n", "x y z\n"),
        ("a: |-\n  x\n", ""),
        ("a: [x]\n", ", ]"),
        ("a: x", f"key {PLACEHOLDER} rest"),
    ],
)
def test_what_is_written_reads_as_meant_or_is_not_written(text: str, new: str) -> None:
    nested = read_yaml(text)
    assert nested is not None
    slot = nested.slots[0]
    slot.container[slot.key] = new
    again = nested.rewritten()
    assert again is None or list(yaml.safe_load_all(again)) == nested.roots
    assert again is not None or "|2" in text


def test_an_alias_of_a_text_changes_with_it() -> None:
    nested = read_yaml("a: &x the secret\nb: *x\nc: *x\n")
    assert nested is not None
    nested.roots[0]["b"] = PLACEHOLDER
    again = nested.rewritten()
    assert again is not None
    assert yaml.safe_load(again) == dict.fromkeys("abc", PLACEHOLDER)


def test_an_alias_of_a_collection_is_not_followed() -> None:
    nested = read_yaml("a: &x {p: the secret}\nb: *x\n")
    assert nested is not None
    assert nested.roots[0]["b"] is None
    assert len(nested.slots) == 1


def test_an_alias_can_be_a_key() -> None:
    nested = read_yaml("a: &k key\n? *k\n: the secret\n")
    assert nested is not None
    assert changed(nested, "the secret", PLACEHOLDER) == f"a: &k key\n? *k\n: {PLACEHOLDER}\n"


@pytest.mark.parametrize(
    "text",
    [
        "just words\n",
        "a: [\n",
        "? [a]\n: b\n",
        "- a\n b: c\n",
        "\tx: y\n",
        "a: b: c\n",
        "{{ template }}\n",
        "a: \x00\n",
    ],
)
def test_what_is_no_yaml_document(text: str) -> None:
    assert read_yaml(text) is None


def test_what_is_worth_a_try() -> None:
    assert looks_like_yaml("a: b\n")
    assert looks_like_yaml("text\n- b\n")
    assert looks_like_yaml("---\nx\n")
    assert not looks_like_yaml("A=b\nC=d\n")


def test_a_text_that_would_not_read_as_meant_is_not_written() -> None:
    nested = read_json('["x"]')
    assert nested is not None
    broken = Nested(nested.text, nested.roots, nested.slots, lambda *_: '"other"', read_json)
    nested.roots[0][0] = "y"
    assert broken.rewritten() is None
    unreadable = Nested(nested.text, nested.roots, nested.slots, lambda *_: "[", read_json)
    assert unreadable.rewritten() is None
