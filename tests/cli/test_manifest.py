"""Files of objects: read as kubectl reads them, with the line of every field, and refused where that is not clear."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaperone.cli.manifest import Document, UnreadableError, read_documents

TEXT = """\
# a comment
apiVersion: v1
kind: Thing
spec:
  rules:
  - name: first
    match:
      verbs: [get,
        list]
  - {name: second}
---
---
kind: ThingList
items:
- kind: Thing
  metadata: {name: inner}
"""


def one(text: str) -> Document:
    [document] = read_documents(text)
    return document


def test_every_field_knows_its_line() -> None:
    first, inner = read_documents(TEXT)
    places = (
        "",
        "apiVersion",
        "spec.rules",
        "spec.rules[0].name",
        "spec.rules[0].match.verbs[1]",
        "spec.rules[1].name",
    )
    assert [first.line(path) for path in places] == [2, 2, 5, 6, 9, 10]
    assert (inner.value, inner.line(""), inner.line("metadata.name")) == (
        {"kind": "Thing", "metadata": {"name": "inner"}},
        15,
        16,
    )


@pytest.mark.parametrize(
    ("path", "line"),
    [("spec.identity", 4), ("spec.rules[0].match.names", 7), ("spec.rules[7].name", 5), ("metadata.name", 2)],
)
def test_a_field_that_is_missing_stands_where_its_parent_does(path: str, line: int) -> None:
    assert next(iter(read_documents(TEXT))).line(path) == line


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: 2026-01-01", "2026-01-01"),
        ("a: 2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"),
        ("a: yes", True),
        ("a: off", False),
        ("a: 010", 8),
        ("a: ~", None),
        ("a: '010'", "010"),
        ('{"a": 1.5}', 1.5),
        ("x: &b [1]\na: *b", [1]),
    ],
)
def test_scalars_are_what_kubectl_takes_them_for(text: str, value: object) -> None:
    assert one(text).value["a"] == value


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("a: 1\nb: [", 2, "is not YAML"),
        ("a: 1\nb: 2\na: 3", 3, 'holds the key "a" twice'),
        ("a: !!python/object/apply:os.system [id]", 1, "holds the tag .*python/object/apply:os.system"),
        ("a: !secret x", 1, "holds the tag !secret"),
        ("a: !!int x", 1, "a number that cannot be read"),
        ("x: &d {a: 1}\nb:\n  <<: *d", 3, "write merged fields out"),
        ("? [a]\n: b", 1, "a key that is not plain text"),
        ("- a\n- b", 1, "is not an object with fields"),
        ("just text", 1, "is not an object"),
        ("a: &a [*a]", 1, "too large or too deep"),
        ("a: \x00", 0, "is not YAML"),
        ("a: !!map x", 1, "a value of another kind than its tag"),
        ('{"a": "\\ud83d\\ude00", "a": 1}', 0, "is not JSON: a key stands twice"),
        ('{"a": "\\ud83d"', 1, "is not JSON"),
    ],
)
def test_what_is_not_clear_is_refused_with_its_line(text: str, line: int, reason: str) -> None:
    with pytest.raises(UnreadableError, match=reason) as refused:
        list(read_documents(text))
    assert refused.value.line == line


def test_aliases_cannot_fill_the_memory() -> None:
    lines = ["a: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{at}: &a{at} [{', '.join([f'*a{at - 1}'] * 10)}]" for at in range(1, 9)]
    with pytest.raises(UnreadableError, match="aliases"):
        list(read_documents("\n".join(lines)))


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.text(st.characters(codec="utf-8", min_codepoint=32)),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.from_regex(r"[a-z]{1,5}", fullmatch=True), inner)
    ),
    max_leaves=20,
)


@given(st.dictionaries(st.from_regex(r"[a-h]{1,5}", fullmatch=True), JSON))
def test_json_is_read_as_json(value: dict[str, object]) -> None:
    assert one(json.dumps(value)).value == value


@given(st.text())
def test_no_text_raises_anything_else(text: str) -> None:
    with suppress(UnreadableError):
        assert all(document.line("spec") >= 1 for document in read_documents(text))
