"""The definitions: documented, structural, and in step with the code that reads the objects."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import jsonpatch
import pytest
import yaml

from chaperone.core.approval import Target, build, claim, finished, read
from chaperone.core.approval_object import Phase
from chaperone.core.guard import stamp_review
from chaperone.core.policy import BrokenPolicy, Policy, compile_policy
from chaperone.core.verdict import Finding, Risk, RiskLevel
from tests.core.policies import CALLER, ask
from tests.crds.schema import KEYWORDS, NAMES, Schema, definition, errors, schema_of, walk

EXAMPLE = Path(__file__).parents[1] / "core" / "example_policy.yaml"
UNDESCRIBED = {"metadata"}
"""The API server lets nothing but its type be said of it."""
ENDLESS = 9_999_999_999_999
NOW = 1_800_000_000.0


def example() -> dict[str, Any]:
    return copy.deepcopy(_example())


@cache
def _example() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(EXAMPLE.read_text())
    return loaded


@pytest.mark.parametrize("name", NAMES)
def test_every_field_is_described(name: str) -> None:
    silent = [path for path, schema in walk(schema_of(name)) if not schema.get("description", "").strip()]
    assert set(silent) == UNDESCRIBED


@pytest.mark.parametrize("name", NAMES)
def test_every_field_is_structural_and_known_to_the_oldest_server(name: str) -> None:
    for path, schema in walk(schema_of(name)):
        assert set(schema) <= KEYWORDS, path
        assert "type" in schema, path
        is_object = ("properties" in schema) != ("additionalProperties" in schema)
        assert is_object == (schema["type"] == "object") or path == "metadata", path
        assert ("items" in schema) == (schema["type"] == "array"), path
        assert set(schema.get("required", ())) <= set(schema.get("properties", {})), path
        for key in schema.get("x-kubernetes-list-map-keys", ()):
            assert key in schema["items"]["required"], path


@pytest.mark.parametrize("name", NAMES)
def test_columns_point_at_fields_that_are_there(name: str) -> None:
    paths = {path for path, _ in walk(schema_of(name))}
    for column in definition(name)["spec"]["versions"][0]["additionalPrinterColumns"]:
        path = re.sub(r'\[\?\(@\.type=="\w+"\)\]', "[]", column["jsonPath"].removeprefix("."))
        assert path in paths or path == "metadata.creationTimestamp", column
        assert column["description"], column["name"]


@pytest.mark.parametrize(
    ("name", "short"),
    [("agentpolicies", "agpol"), ("approvalrequests", "apreq"), ("agentsessions", "agsess")],
)
def test_names(name: str, short: str) -> None:
    spec = definition(name)["spec"]
    assert (spec["group"], spec["scope"], spec["names"]["plural"]) == ("chaperone.dev", "Cluster", name)
    assert (spec["names"]["shortNames"], spec["names"]["categories"]) == ([short], ["chaperone"])
    assert spec["versions"][0]["subresources"] == {"status": {}}


def test_columns_of_an_approval_are_what_an_approver_looks_at() -> None:
    columns = definition("approvalrequests")["spec"]["versions"][0]["additionalPrinterColumns"]
    assert [column["name"] for column in columns if not column.get("priority")] == [
        "Phase",
        "Risk",
        "Agent",
        "Verb",
        "Resource",
        "Namespace",
        "Name",
        "Approvals",
        "Expires",
        "Age",
    ]


# AgentPolicy: the schema and the compiler accept the same


def test_the_example_fits_and_compiles() -> None:
    assert errors(schema_of("agentpolicies"), example()) == []
    assert isinstance(compile_policy(example()), Policy)


def whole_policy() -> dict[str, Any]:
    """The example with every field that it leaves out, so that each can be spoiled."""
    obj = example()
    spec = obj["spec"]
    place = {
        "apiGroup": "apps",
        "kind": "Deployment",
        "namespaces": ["dev"],
        "path": "spec.x",
        "reason": "public",
    }
    spec["recording"]["objectStates"] = "Masked"
    spec["masking"] |= {"reason": "a test", "keys": ["k"], "patterns": ["p+"], "exempt": [place]}
    spec["approval"]["approvers"]["users"] = ["alice"]
    spec["approval"]["maxGrant"] = "4h"
    spec["access"].append({"roleRef": {"kind": "ClusterRole", "name": "view"}, "clusterWide": True})
    spec["rules"].append(
        {"name": "paths", "match": {"verbs": ["get"], "nonResourceURLs": ["/x"]}, "action": "Deny"}
    )
    spec["rules"].append({"name": "names", "match": {"names": ["a*"]}, "action": "Allow"})
    return obj


def test_the_whole_policy_has_every_field_but_the_other_identity() -> None:
    fields = {path for path, _ in walk(schema_of("agentpolicies")["properties"]["spec"], "spec")}
    missing = fields - {_shape(path) for path, _ in _values(whole_policy()["spec"], "spec")}
    assert missing == {"spec.identity.user", "spec.identity.groups", "spec.identity.groups[]"}
    assert errors(schema_of("agentpolicies"), whole_policy()) == []
    assert isinstance(compile_policy(whole_policy()), Policy)


def _values(value: object, path: str) -> Iterator[tuple[str, object]]:
    yield path, value
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _values(item, f"{path}.{key}")
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _values(item, f"{path}[{index}]")


def _shape(path: str) -> str:
    return "".join(
        "[]" if part.isdigit() else part for part in path.replace("[", "\0").replace("]", "\0").split("\0")
    )


def _spoilt(value: object, schema: Schema) -> Iterator[tuple[str, object]]:
    """Values that the schema of a field does not admit, each for another reason."""
    yield "another type", 1 if schema["type"] in ("string", "boolean") else "x"
    yield "an object", {"nope": 1}
    if schema["type"] == "object":
        yield "an unknown field", {**dict(value if isinstance(value, Mapping) else {}), "nope": 1}
    if "enum" in schema:
        yield "not in the list", "Nope"
    if "minimum" in schema:
        yield "too little", -1
    if "maximum" in schema:
        yield "too much", ENDLESS
    if "maxItems" in schema and isinstance(value, list):
        yield (
            "too many items",
            [value[0] if schema["items"]["type"] == "object" else f"x{at}" for at in range(300)],
        )
    if "minItems" in schema:
        yield "no items", []
    if schema.get("x-kubernetes-list-type") == "set" and isinstance(value, list):
        yield "an item twice", [value[0], value[0]]
    if schema.get("minLength"):
        yield "empty", ""
    if "maxLength" in schema:
        yield "too long", "a" * 5000
    if "pattern" in schema:
        yield "not of the form", "\x01 \n"


def _cases() -> Iterator[tuple[str, dict[str, Any]]]:
    schemas = dict(walk(schema_of("agentpolicies")["properties"]["spec"], "/spec"))
    for path, value in _values(whole_policy()["spec"], "/spec"):
        pointer = path.replace(".", "/").replace("[", "/").replace("]", "")
        for why, spoilt in _spoilt(value, schemas[_shape(path)]):
            patch = [{"op": "replace", "path": pointer, "value": spoilt}]
            yield f"{path[1:]}: {why}", jsonpatch.apply_patch(whole_policy(), patch)


CASES = dict(_cases())


@pytest.mark.parametrize("obj", CASES.values(), ids=CASES)
def test_what_the_schema_refuses_does_not_compile(obj: dict[str, Any]) -> None:
    assert errors(schema_of("agentpolicies"), obj), "the case is no case"
    assert isinstance(compile_policy(obj), BrokenPolicy)


REQUIRED = [
    (path, name)
    for path, schema in walk(schema_of("agentpolicies")["properties"]["spec"], "spec")
    for name in schema.get("required", ())
]


@pytest.mark.parametrize(("path", "name"), REQUIRED)
def test_what_the_schema_requires_is_required(path: str, name: str) -> None:
    obj = whole_policy()
    parent = next(value for found, value in _values(obj["spec"], "spec") if _shape(found) == path)
    assert isinstance(parent, dict)
    del parent[name]
    assert errors(schema_of("agentpolicies"), obj)
    assert isinstance(compile_policy(obj), BrokenPolicy)


@pytest.mark.parametrize(
    ("path", "schema"), list(walk(schema_of("agentpolicies")["properties"]["spec"], "spec"))
)
def test_every_word_of_a_list_of_words_compiles(path: str, schema: Schema) -> None:
    """So no enum of the schema names what the compiler does not know."""
    for word in schema.get("enum", ()):
        obj = whole_policy()
        for found, _ in list(_values(obj["spec"], "/spec")):
            if _shape(found)[1:] == path:
                field, _, item = found.rpartition("[") if found.endswith("]") else (found, "", "")
                pointer = field.replace(".", "/").replace("[", "/").replace("]", "")
                value = [word] if item else word
                obj = jsonpatch.apply_patch(obj, [{"op": "replace", "path": pointer, "value": value}])
                break
        assert errors(schema_of("agentpolicies"), obj) == []
        faults = compile_policy(obj)
        assert isinstance(faults, Policy), (word, faults)


@pytest.mark.parametrize(
    ("masking", "fits"),
    [
        ({"profile": "Off"}, False),
        ({"profile": "Off", "reason": "a test"}, True),
        ({"profile": "Strict"}, True),
        ({}, True),
    ],
)
def test_off_needs_its_reason(masking: dict[str, str], fits: bool) -> None:
    obj = whole_policy()
    obj["spec"]["masking"] = masking
    assert (errors(schema_of("agentpolicies"), obj) == []) is fits
    assert isinstance(compile_policy(obj), Policy) is fits


def test_users_fit_as_identity() -> None:
    obj = whole_policy()
    obj["spec"]["identity"] = {"user": "agent:coder", "groups": ["agents"]}
    assert errors(schema_of("agentpolicies"), obj) == []
    assert isinstance(compile_policy(obj), Policy)
    for spoilt in (
        {"user": "a b"},
        {"user": ""},
        {"user": "a", "groups": []},
        {"user": "a", "groups": ["ä"]},
        {},
    ):
        obj["spec"]["identity"] = spoilt
        assert errors(schema_of("agentpolicies"), obj)
        assert isinstance(compile_policy(obj), BrokenPolicy)


# ApprovalRequest: what the code writes fits


def held() -> dict[str, Any]:
    return build(
        name="apreq-1",
        request=ask("POST /api/v1/namespaces/dev/pods/p/exec?command=sh&command=-c", upgrade="spdy/3.1"),
        caller=replace(CALLER),
        target=Target("uid-1", "g4"),
        digest="sha256:" + "a" * 64,
        body_sha256="b" * 64,
        policy="p",
        policy_generation=3,
        rule="ask",
        risk=Risk((Finding("R28", RiskLevel.HIGH, "runs commands"),)),
        required=2,
        expires_at=NOW + 3600,
        use_within=600.0,
        reason="please",
        preview={"diff": "-a\n+b", "warnings": ["w"], "affected": ["pods dev/p"], "truncated": False},
    )


def merged(obj: dict[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    new = copy.deepcopy(obj)
    new["status"] = {**new.get("status", {}), **patch["status"]}
    return new


def test_what_is_written_of_an_approval_fits() -> None:
    schema = schema_of("approvalrequests")
    obj = held()
    assert errors(schema, obj) == []
    obj["metadata"] |= {"uid": "uid-1", "resourceVersion": "1"}
    obj["status"] = {"phase": "Pending"}
    for username in ("alice", "carol"):
        new = merged(obj, {"status": {"decision": "Approved", "decisionReason": "fine"}})
        assert errors(schema, new) == []
        operations = stamp_review(obj, new, username, NOW, subresource="status")
        assert isinstance(operations, tuple)
        obj = jsonpatch.apply_patch(new, list(operations))
        assert errors(schema, obj) == []
    assert obj["status"]["phase"] == "Approved"
    obj = merged(obj, claim(read(obj), "gateway-1"))
    assert errors(schema, obj) == []
    obj = merged(obj, finished(Phase.EXECUTED, audit_id="1", code=200, now=NOW))
    assert errors(schema, obj) == []


def test_every_phase_is_known_to_both() -> None:
    status = schema_of("approvalrequests")["properties"]["status"]
    assert set(status["properties"]["phase"]["enum"]) == {phase.value for phase in Phase}
    assert status["default"] == {"phase": "Pending"}


def test_every_risk_level_is_known() -> None:
    level = schema_of("approvalrequests")["properties"]["spec"]["properties"]["risk"]["properties"]["level"]
    assert level["enum"] == [level.word for level in RiskLevel]
