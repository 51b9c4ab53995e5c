"""What a patch touches, checked against what patches of that kind really do."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import jsonpatch
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaperone.core.risk import needs_live, patch_touches
from chaperone.core.risk.patches import LARGEST_PROOF, document
from chaperone.core.risk.row import NO, UNKNOWN
from tests.core.risk_requests import APPLY, JSON_PATCH, MERGE, STRATEGIC, ask, outcome

FINALIZERS = ("metadata", "finalizers")


@pytest.mark.parametrize("content_type", [MERGE, STRATEGIC, MERGE + "; charset=utf-8"])
@pytest.mark.parametrize(
    ("patch", "expected"),
    [
        ({}, False),
        ({"data": {"a": "b"}}, False),
        ({"finalizers": []}, False),
        ({"metadata": {}}, False),
        ({"metadata": {"labels": {"finalizers": "x"}}}, False),
        ({"Metadata": {"finalizers": []}}, False),
        ({"metadata": {"finalizers": []}}, True),
        ({"metadata": {"finalizers": None}}, True),
        ({"metadata": {"finalizers": ["a"]}}, True),
        ({"metadata": None}, True),
        ({"metadata": "x"}, True),
        ({"metadata": []}, True),
        ([], True),
        (None, True),
        ("x", True),
    ],
)
def test_merges(content_type: str, patch: Any, expected: bool) -> None:
    assert patch_touches(patch, content_type, [FINALIZERS]) is expected


@pytest.mark.parametrize(
    ("patch", "expected"),
    [
        ({"$patch": "replace", "metadata": {}}, True),
        ({"$patch": "delete"}, True),
        ({"metadata": {"$patch": "replace"}}, True),
        ({"metadata": {"$retainKeys": ["labels"]}}, True),
        ({"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"]}}, True),
        ({"metadata": {"$setElementOrder/finalizers": ["a"]}}, True),
        ({"spec": {"$patch": "replace"}}, False),
        ({"metadata": {"labels": {"$patch": "replace"}}}, False),
        ({"spec": {"template": {"spec": {"$setElementOrder/containers": [], "containers": []}}}}, False),
    ],
)
def test_strategic_directives(patch: Any, expected: bool) -> None:
    assert patch_touches(patch, STRATEGIC, [FINALIZERS]) is expected


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        ({"op": "add", "path": "/metadata/labels/a", "value": "b"}, False),
        ({"op": "replace", "path": "/spec/replicas", "value": 1}, False),
        ({"op": "add", "path": "/metadata/finalizersx", "value": []}, False),
        ({"op": "add", "path": "/metadata~1finalizers", "value": []}, False),
        ({"op": "remove", "path": "/finalizers"}, False),
        ({"op": "remove", "path": "/metadata/finalizers/0"}, True),
        ({"op": "remove", "path": "/metadata/finalizers"}, True),
        ({"op": "add", "path": "/metadata/finalizers/-", "value": "a"}, True),
        ({"op": "replace", "path": "/metadata", "value": {}}, True),
        ({"op": "replace", "path": "", "value": {}}, True),
        ({"op": "replace", "path": "metadata/finalizers", "value": []}, True),
        ({"op": "replace", "path": "x/metadata/finalizers", "value": []}, True),
        ({"op": "move", "from": "/metadata/finalizers", "path": "/spec/a"}, True),
        ({"op": "move", "from": "/spec/a", "path": "/metadata/finalizers"}, True),
        ({"op": "move", "from": "/spec/a", "path": "/spec/b"}, False),
        ({"op": "move", "path": "/spec/b"}, True),
        ({"op": "copy", "from": "/metadata/finalizers", "path": "/spec/a"}, False),
        ({"op": "copy", "from": "/spec/a", "path": "/metadata/finalizers"}, True),
        ({"op": "test", "path": "/metadata/finalizers", "value": []}, False),
        ({"op": "Remove", "path": "/spec/a"}, True),
        ({"op": ["add"], "path": "/spec/a"}, True),
        ({"path": "/spec/a"}, True),
        ({"op": "add"}, True),
        ({"op": "add", "path": 3}, True),
        ("remove", True),
    ],
)
def test_json_patches(step: Any, expected: bool) -> None:
    harmless = {"op": "add", "path": "/spec/x", "value": 1}
    assert patch_touches([step], JSON_PATCH, [FINALIZERS]) is expected
    assert patch_touches([harmless, step], JSON_PATCH, [FINALIZERS]) is expected


def test_pointers_are_unescaped() -> None:
    assert patch_touches([{"op": "remove", "path": "/metadata/a~1b~0c"}], JSON_PATCH, [("metadata", "a/b~c")])
    assert not patch_touches([{"op": "remove", "path": "/metadata/a~01b"}], JSON_PATCH, [("metadata", "a/b")])


@pytest.mark.parametrize(
    "content_type", [APPLY, "", "application/json", "Application/Merge-Patch+JSON", MERGE + " ;"]
)
def test_other_patches_touch_everything(content_type: str) -> None:
    assert patch_touches({}, content_type, [FINALIZERS])
    assert patch_touches([], content_type, [FINALIZERS])


def test_any_path_is_enough() -> None:
    assert patch_touches({"a": 1}, MERGE, [("b",), ("a", "c")])
    assert not patch_touches({"a": 1}, MERGE, [("b",), ("c",)])
    assert not patch_touches([], JSON_PATCH, [FINALIZERS])
    assert patch_touches({}, JSON_PATCH, [FINALIZERS])


# Against what the patches really do

keys = st.sampled_from(["metadata", "finalizers", "labels", "spec", "a"])
scalars = st.none() | st.booleans() | st.integers(0, 3) | keys
trees = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(keys, trees, max_size=3).map(
    lambda tree: {**tree, "metadata": {"finalizers": ["a", "b"], "labels": {"a": "b"}}}
)
pointers = st.lists(keys | st.just("0"), max_size=3).map(lambda parts: "".join(f"/{part}" for part in parts))
steps = st.fixed_dictionaries(
    {"op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test"]), "path": pointers},
    optional={"from": pointers, "value": trees},
)


def merge(target: Any, patch: Any) -> Any:
    """RFC 7396, section 2."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge(merged.get(key), value)
    return merged


def finalizers(obj: Any) -> Any:
    metadata = obj.get("metadata") if isinstance(obj, dict) else None
    return metadata.get("finalizers") if isinstance(metadata, dict) else None


@given(objects, trees)
def test_a_merge_patch_said_to_spare_a_field_does(obj: Any, patch: Any) -> None:
    if not patch_touches(patch, MERGE, [FINALIZERS]):
        assert finalizers(merge(obj, patch)) == finalizers(obj)


@given(objects, st.lists(steps, max_size=4))
def test_a_json_patch_said_to_spare_a_field_does(obj: Any, patch: Any) -> None:
    if patch_touches(patch, JSON_PATCH, [FINALIZERS]):
        return
    try:
        changed = jsonpatch.apply_patch(deepcopy(obj), deepcopy(patch))
    except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException, TypeError, KeyError, IndexError):
        return  # the server refuses it
    assert finalizers(changed) == finalizers(obj)


@given(trees, st.sampled_from([MERGE, STRATEGIC, JSON_PATCH, APPLY, ""]))
def test_no_patch_raises(patch: Any, content_type: str) -> None:
    assert patch_touches(patch, content_type, [FINALIZERS]) in (True, False)


# The proof inside a request


def configmap(body: bytes, content_type: str = MERGE) -> Any:
    return ask("patch", "configmaps", body=body, content_type=content_type)


def test_a_patch_that_spares_the_finalizers_needs_no_live_object() -> None:
    spared = configmap(b'{"data":{"a":"b"}}')
    assert not needs_live(spared)
    assert outcome("R36", spared) is NO
    assert not needs_live(configmap(b'[{"op":"remove","path":"/data"}]', JSON_PATCH))
    assert not needs_live(configmap(b""), {"data": {}})
    assert not needs_live(configmap(b'{"data":1}'), {"data": 1})


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff",
        b'{"metadata":{"finalizers":null}}',
        b'{"metadata":{"finalizers":[]},"metadata":{}}',
        b'{"data":{"a":1,"a":2}}',
        b'{"data":NaN}',
        b'{"data":{}} {}',
        b"[" * 100_000,
        '{"data":{}}'.encode("utf-16"),
        b'{"data":"' + b"x" * LARGEST_PROOF + b'"}',
    ],
    ids=range(11),
)
def test_a_patch_that_proves_nothing_needs_the_live_object(body: bytes) -> None:
    assert needs_live(configmap(body))
    assert outcome("R36", configmap(body)) is UNKNOWN


def test_a_patch_too_large_for_the_proof_is_not_proved_by_argument_either() -> None:
    large = configmap(json.dumps({"data": "x" * LARGEST_PROOF}).encode())
    assert needs_live(large, {"data": "x"})


def test_the_proof_counts_even_when_the_result_could_not_be_had() -> None:
    request = ask("patch", "configmaps", patch={"data": {}}, unread=("object", "oldObject"))
    assert outcome("R36", request) is NO


def test_only_patches_are_documents() -> None:
    assert document(ask("update", "configmaps", body=b"{}")) is None
    assert document(ask("patch", "configmaps", body=b"{}")) == {}


def test_the_proof_speaks_of_comparisons_alone() -> None:
    request = ask("patch", "services", patch={"metadata": {"labels": {}}})
    assert needs_live(request)
    assert outcome("R53", request) is UNKNOWN
    assert outcome("R36", request) is NO
