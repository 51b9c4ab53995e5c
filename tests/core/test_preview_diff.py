"""The difference that people see: canonical, without noise and secrets, legible, and bounded."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaperone.core.legible import is_visible
from chaperone.core.preview_diff import CUT, MOST_BYTES, MOST_LINES, Difference, difference

WEB: dict[str, Any] = {
    "kind": "Deployment",
    "metadata": {
        "name": "web",
        "uid": "u",
        "resourceVersion": "7",
        "generation": 3,
        "managedFields": [{"manager": "x"}],
        "creationTimestamp": "2026-01-01T00:00:00Z",
    },
    "spec": {"replicas": 3, "env": [{"name": "A", "value": "open-sesame"}]},
    "status": {"replicas": 3},
}


def changed(**spec: Any) -> dict[str, Any]:
    obj = copy.deepcopy(WEB)
    obj["spec"] |= spec
    obj["metadata"] |= {"resourceVersion": "8", "generation": 4}
    obj["status"] = {"replicas": 0}
    return obj


def test_a_change() -> None:
    assert difference(WEB, changed(replicas=0)) == Difference(
        "--- live\n"
        "+++ result\n"
        "@@ -5,4 +5,4 @@\n"
        "   env:\n"
        "   - name: A\n"
        "     value: (hidden)\n"
        "-  replicas: 3\n"
        "+  replicas: 0\n"
    )


def test_what_changes_by_itself_is_no_change() -> None:
    assert difference(WEB, changed()) == Difference()


def test_a_hidden_change_is_a_change() -> None:
    text = difference(WEB, changed(env=[{"name": "A", "value": "open-barley"}])).text
    assert "-    value: (hidden)\n+    value: (hidden, changed)\n" in text


def test_what_is_created_and_what_goes() -> None:
    created, gone = difference(None, WEB).text, difference(WEB, None).text
    assert created.startswith("--- nothing\n+++ result\n@@ -0,0 +1,8 @@\n+kind: Deployment\n")
    assert gone.startswith("--- live\n+++ nothing\n@@ -1,8 +0,0 @@\n-kind: Deployment\n")
    assert "status" not in created + gone


def test_the_status_where_it_is_what_is_written() -> None:
    assert "-  replicas: 3\n+  replicas: 0\n" in difference(WEB, changed(), status=True).text


def test_a_secret() -> None:
    assert "+  a: (hidden)\n" in difference(None, {"data": {"a": "b"}}, secret=True).text


def test_metadata_that_is_none() -> None:
    assert "+metadata: x\n" in difference(None, {"metadata": "x"}).text


def test_texts_of_several_lines_are_compared_by_line() -> None:
    before, after = {"data": {"f": "one\ntwo\nthree\n"}}, {"data": {"f": "one\nzwei\nthree\n"}}
    assert "     one\n-    two\n+    zwei\n     three\n" in difference(before, after).text


def test_one_object_at_two_places_is_written_twice() -> None:
    shared = {"a": "b"}
    assert difference(None, {"x": shared, "y": shared}).text.count("+  a: b\n") == 2


BOUNDS: dict[str, dict[str, Any]] = {
    "many short lines": {"list": ["x"] * (MOST_LINES + 500)},
    "long lines": {"list": ["word " * 70] * 100},
    "too many values": {"list": ["x"] * 20_000},
    "one text that is too long": {"text": "word " * 300_000},
    "nested": {"a": [[["x"] * 100] * 100] * 2},
}


@pytest.mark.parametrize("obj", BOUNDS.values(), ids=BOUNDS)
def test_bounded_and_said_so(obj: dict[str, Any]) -> None:
    found = difference(None, obj)
    assert found.truncated
    assert len(found.text.encode()) <= MOST_BYTES
    assert found.text.endswith((CUT, "(the object is too large to be shown)\n"))


def test_a_long_line_is_cut_and_the_rest_stays() -> None:
    text = difference(None, {"a": "word " * 200, "b": "c"}).text
    assert "…\n+b: c\n" in text


objects = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


@given(
    st.dictionaries(st.text(max_size=8), objects, max_size=4),
    st.dictionaries(st.text(max_size=8), objects, max_size=4),
)
def test_whatever_is_compared_every_line_is_legible(before: dict[str, Any], after: dict[str, Any]) -> None:
    text = difference(before, after).text
    assert all(is_visible(line) for line in text.split("\n"))
    assert difference(before, copy.deepcopy(before)).text == ""


@given(st.text(alphabet="abcDEF0123456789", min_size=8, max_size=40), st.text(min_size=1, max_size=20))
def test_no_secret_in_any_difference(value: str, name: str) -> None:
    secret = {"kind": "Secret", "data": {"key": f"Q{value}Q"}}
    pod = {"spec": {"env": [{"name": f"n{name}", "value": f"Q{value}Q"}]}}
    for obj in (secret, pod):
        texts = (
            difference(None, obj),
            difference(obj, None),
            difference({"kind": "Secret"}, obj),
            difference(obj, secret),
        )
        assert not any(f"Q{value}Q" in found.text for found in texts)
