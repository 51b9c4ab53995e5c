"""Fields of objects: how two states differ, and what puts one back into the other."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaperone.core.changes_fields import (
    ABSENT,
    MOST_DEPTH,
    FieldChange,
    detailed,
    differences,
    is_controllers,
    leaves,
    named,
    placeholders,
    same,
    spelled,
    steady,
    with_values,
)
from chaperone.core.masking.placeholder import Mint, encoded
from chaperone.core.url import REDACTED

KEYS = st.sampled_from("abc")
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(0, 3), st.sampled_from(["", "x", "y"])),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(KEYS, inner, max_size=3)),
    max_leaves=8,
)
OBJECTS = st.dictionaries(KEYS, VALUES, max_size=3)
PLACEHOLDER = Mint(b"0" * 16).placeholder("uid", "/data/x", "secret")


@given(OBJECTS, OBJECTS)
def test_the_differences_lead_from_one_state_to_the_other(before: Any, after: Any) -> None:
    forward = {path: change.after for path, change in differences(before, after).items()}
    assert same(leaves(with_values(before, forward)), leaves(after))


@given(OBJECTS, OBJECTS, st.dictionaries(KEYS, st.integers(5, 9), max_size=1))
def test_what_others_added_stays_when_the_differences_are_taken_back(
    before: Any, after: Any, more: Any
) -> None:
    """Under a key of their own."""
    live = {**after, "others": more}
    back = {path: change.before for path, change in differences(before, after).items()}
    assert same(leaves(with_values(live, back)), leaves({**before, "others": more}))


@given(OBJECTS, OBJECTS)
def test_nothing_that_is_given_is_changed(before: Any, after: Any) -> None:
    kept = repr((before, after))
    with_values(before, {path: change.after for path, change in differences(before, after).items()})
    assert repr((before, after)) == kept


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (1, 1.0, True),
        (True, 1, False),
        (1, True, False),
        (False, False, True),
        ([True], [1], False),
        ([1], [1, 1], False),
        ({"a": [0]}, {"a": [0.0]}, True),
        ({"a": 1}, {"b": 1}, False),
        ({}, ABSENT, False),
        ("1", 1, False),
        (None, ABSENT, False),
    ],
)
def test_values_are_compared_as_json_has_them(one: Any, other: Any, expected: bool) -> None:
    assert same(one, other) is expected


@pytest.mark.parametrize(
    ("live", "values", "expected"),
    [
        ({"a": {"b": 1}}, {("a", "b"): ABSENT}, {}),
        ({"a": {"b": 1, "c": 2}}, {("a", "b"): ABSENT}, {"a": {"c": 2}}),
        ({"a": 1}, {("b", "c"): ABSENT}, {"a": 1}),
        ({"a": 1}, {("a", "c"): ABSENT}, {"a": 1}),
        ({"a": {"theirs": 1}}, {("a",): ABSENT}, {"a": {"theirs": 1}}),
        ({"a": {"theirs": 1}}, {("a",): {}}, {"a": {"theirs": 1}}),
        ({"a": {}}, {("a",): ABSENT}, {}),
        ({}, {("a", "b"): 1}, {"a": {"b": 1}}),
        ({"a": 1}, {("a",): ABSENT, ("a", "b"): 2}, {"a": {"b": 2}}),
        ({}, {("a",): {}}, {"a": {}}),
    ],
)
def test_values_are_put_and_taken(live: Any, values: Any, expected: Any) -> None:
    assert with_values(live, values) == expected


def test_a_list_is_one_field_and_servers_have_none() -> None:
    obj = {
        "metadata": {"name": "x", "uid": "u", "resourceVersion": "1", "managedFields": [], "labels": {}},
        "spec": {"list": [{"a": 1}], "empty": {}},
        "status": {"phase": "x"},
    }
    assert leaves(steady(obj)) == {
        ("metadata", "name"): "x",
        ("metadata", "labels"): {},
        ("spec", "list"): [{"a": 1}],
        ("spec", "empty"): {},
    }
    assert "status" in steady(obj, status=True)
    assert steady({"metadata": "broken"}) == {"metadata": "broken"}


def test_an_object_of_any_depth_has_fields() -> None:
    deep: Any = 1
    for _ in range(MOST_DEPTH + 50):
        deep = {"a": deep}
    assert [len(path) for path in leaves(deep)] == [MOST_DEPTH]


def test_what_was_masked_is_found_in_any_form() -> None:
    value = {"list": [f"url=//{PLACEHOLDER}@host", {"key": encoded(PLACEHOLDER)}, 1, None], PLACEHOLDER: True}
    assert placeholders(value) == {PLACEHOLDER}
    assert placeholders("a token: REDACTED") == {REDACTED}
    assert not placeholders({"plain": ["text", 1]})


@pytest.mark.parametrize(
    ("path", "words"),
    [
        (("spec", "replicas"), "spec.replicas"),
        (("metadata", "labels", "app.kubernetes.io/name"), "metadata.labels[app.kubernetes.io/name]"),
        (("data", "tls-key"), "data.tls-key"),
        (("spec", "ports", 0, "port"), "spec.ports[0].port"),
        (("data", "\x1b[2Jx"), "data[\\x1b[2Jx]"),
        (("data", ""), "data[]"),
    ],
)
def test_a_path_in_words(path: Any, words: str) -> None:
    assert spelled(path) == words


def test_many_names_are_cut_short() -> None:
    assert named(f"n{number}" for number in range(7)) == "n0, n1, n2, n3, n4 and 2 more"


def test_annotations_of_controllers_are_known() -> None:
    assert is_controllers(("metadata", "annotations", "deployment.kubernetes.io/revision"))
    assert not is_controllers(("metadata", "annotations", "team"))
    assert not is_controllers(("metadata", "labels", "deployment.kubernetes.io/revision"))


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (
            [{"name": "a", "image": "x"}, {"name": "b"}],
            [{"name": "a", "image": "y"}, {"name": "c"}],
            {
                "f[name=a].image": ("x", "y"),
                "f[name=b]": ({"name": "b"}, ABSENT),
                "f[name=c]": (ABSENT, {"name": "c"}),
            },
        ),
        ([1, 2], [1, 3, 4], {"f[1]": (2, 3), "f[2]": (ABSENT, 4)}),
        ([{"name": "a"}, {"name": "a"}], [{"name": "a"}, {"name": "b"}], {"f[1].name": ("a", "b")}),
        ([{"name": 1}], [{"name": 2}], {"f[0].name": (1, 2)}),
        ([{"a": {"b": 1}}], [{"a": {"b": 1, "c": 2}}], {"f[0].a.c": (ABSENT, 2)}),
        ([], [1], {"f": ([], [1])}),
        (ABSENT, "x", {"f": (ABSENT, "x")}),
        (1, 1, {}),
    ],
)
def test_a_change_in_detail(before: Any, after: Any, expected: Any) -> None:
    found = {path: tuple(change) for path, change in detailed(("f",), FieldChange(before, after))}
    assert found == expected
