"""From an AgentPolicy to a compiled one, or to every fault with its path."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from chaperone.core.identity import Caller, Identity
from chaperone.core.policy import (
    Access,
    ApprovalTerms,
    BrokenPolicy,
    Capabilities,
    Limits,
    Masking,
    Policy,
    Recording,
    RiskSettings,
    compile_policy,
    policy_set,
)
from chaperone.core.policy.fields import MAX_ITEMS, duration
from chaperone.core.verdict import Action, Mode, RiskLevel
from tests.core.policies import CALLER, faults_of, policy, policy_object, rule, warnings_of

EXAMPLE = Path(__file__).with_name("example_policy.yaml")


def test_the_example_compiles_to_what_it_says() -> None:
    compiled = compile_policy(yaml.safe_load(EXAMPLE.read_text()))
    assert isinstance(compiled, Policy)
    assert (compiled.name, compiled.mode) == ("coding-agents", Mode.ENFORCE)
    assert compiled.identity == Identity("system:serviceaccount:agents:coder")
    assert compiled.access == (Access("ClusterRole", "view", ("dev", "staging")),)
    assert [item.name for item in compiled.rules.rules] == [
        "platform-off-limits",
        "scale-to-zero",
        "own-sandbox",
    ]
    assert compiled.defaults[RiskLevel.CRITICAL] is Action.DENY
    assert compiled.approval == ApprovalTerms(1, ("platform-oncall",), (), 120, 3600, 600, False)
    assert compiled.limits == Limits(50, 100, 20, 200, 8 * 3600)
    assert (compiled.masking_profile, compiled.recording_streams) == ("Standard", "Required")


def test_what_is_left_out_gets_the_careful_default() -> None:
    compiled = policy(masking=None, recording=None)
    assert compiled.mode is Mode.ENFORCE
    assert compiled.approval == ApprovalTerms()
    assert compiled.limits == Limits()
    assert compiled.masking == Masking("Standard")
    assert compiled.recording == Recording(
        "BestEffort", stdin=False, request_bodies="Masked", object_states="Masked"
    )
    assert [compiled.defaults[level] for level in RiskLevel] == [
        Action.ALLOW,
        Action.ALLOW,
        Action.ALLOW,
        Action.HOLD,
        Action.DENY,
    ]


def test_an_explicit_null_is_as_if_left_out() -> None:
    obj = policy_object(rules=[rule(verbs=None)])
    obj["spec"] |= {"mode": None, "approval": None, "access": None}
    assert isinstance(compile_policy(obj), Policy)


def test_user_and_groups_as_identity() -> None:
    compiled = policy(identity={"user": "agent:coder", "groups": ["agents", "readers"]})
    assert compiled.identity == Identity("agent:coder", ("agents", "readers"))


def test_cluster_wide_access_says_so() -> None:
    compiled = policy(access=[{"roleRef": {"kind": "ClusterRole", "name": "view"}, "clusterWide": True}])
    assert compiled.access == (Access("ClusterRole", "view", ()),)


DURATIONS = {"90s": 90, "2m": 120, "1h30m": 5400, "1.5h": 5400, "500ms": 0.5, "0s": 0}


@pytest.mark.parametrize(("text", "seconds"), DURATIONS.items())
def test_durations_are_gos(text: str, seconds: float) -> None:
    assert duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "2", "2 m", "m", "-1s", "1d", "1h 30m", "٣s", "1..5s", "9" * 80 + "s"])
def test_no_durations(text: str) -> None:
    assert duration(text) is None


ACCOUNT = {"namespace": "agents", "name": "coder"}
VIEW = {"kind": "ClusterRole", "name": "view"}

FAULTS: dict[str, tuple[dict[str, Any], str, str]] = {
    # sentence: (spec, path, part of the message)
    "an unknown field": ({"rule": []}, "spec.rule", "not a field here; known are access"),
    "an unknown mode": ({"mode": "Audit"}, "spec.mode", "Enforce, Monitor"),
    "no subjects": ({"subjects": []}, "spec.subjects", "governs nobody"),
    "subjects that are no list": ({"subjects": {}}, "spec.subjects", "must be a list"),
    "an empty subject": ({"subjects": [{}]}, "spec.subjects[0]", "match everybody"),
    "a null subject": ({"subjects": [None]}, "spec.subjects[0]", "match everybody"),
    "a subject of another kind": ({"subjects": ["ci"]}, "spec.subjects[0]", "must be an object"),
    "an issuer with a wildcard": (
        {"subjects": [{"issuer": "https://*"}]},
        "spec.subjects[0].issuer",
        "full URL",
    ),
    "an empty list of user names": (
        {"subjects": [{"usernames": []}]},
        "spec.subjects[0].usernames",
        "empty list",
    ),
    "an expression that does not compile": (
        {"subjects": [{"expression": "claims."}]},
        "spec.subjects[0].expression",
        "line 1",
    ),
    "a subject that reads the request": (
        {"subjects": [{"expression": 'request.verb == "get"'}]},
        "spec.subjects[0].expression",
        "undeclared",
    ),
    "no identity": ({"identity": None}, "spec.identity", "either a serviceAccount"),
    "two identities": ({"identity": {"serviceAccount": ACCOUNT, "user": "x"}}, "spec.identity", "either"),
    "a user of the system": ({"identity": {"user": "system:admin"}}, "spec.identity.user", "system:"),
    "a group of the system": (
        {"identity": {"user": "x", "groups": ["system:masters"]}},
        "spec.identity.groups[0]",
        "system:",
    ),
    "a user name with a line break": (
        {"identity": {"user": "x\r\ny"}},
        "spec.identity.user",
        "visible ASCII",
    ),
    "an account with groups": (
        {"identity": {"serviceAccount": ACCOUNT, "groups": ["x"]}},
        "spec.identity.groups",
        "only go with a user",
    ),
    "an account without a namespace": (
        {"identity": {"serviceAccount": {"name": "x"}}},
        "spec.identity.serviceAccount.namespace",
        "required",
    ),
    "an account with another name inside": (
        {"identity": {"serviceAccount": {"namespace": "a:b", "name": "x"}}},
        "spec.identity.serviceAccount.namespace",
        "name of a namespace",
    ),
    "an account of the control plane": (
        {"identity": {"serviceAccount": {"namespace": "kube-system", "name": "x"}}},
        "spec.identity.serviceAccount.namespace",
        "control plane",
    ),
    "access to everything by omission": (
        {"access": [{"roleRef": VIEW}]},
        "spec.access[0]",
        "clusterWide: true",
    ),
    "access to everything and some": (
        {"access": [{"roleRef": VIEW, "namespaces": ["a"], "clusterWide": True}]},
        "spec.access[0]",
        "not both",
    ),
    "a cluster-wide Role": (
        {"access": [{"roleRef": {"kind": "Role", "name": "x"}, "clusterWide": True}]},
        "spec.access[0].roleRef.kind",
        "needs a ClusterRole",
    ),
    "access by a glob": (
        {"access": [{"roleRef": VIEW, "namespaces": ["dev-*"]}]},
        "spec.access[0].namespaces[0]",
        "no wildcards",
    ),
    "access without a role": ({"access": [{"namespaces": ["a"]}]}, "spec.access[0].roleRef", "required"),
    "a role that is a path": (
        {"access": [{"roleRef": {"kind": "Role", "name": "../x"}, "namespaces": ["a"]}]},
        "spec.access[0].roleRef.name",
        "name of a role",
    ),
    "an unknown action": ({"rules": [rule("Hold")]}, "spec.rules[0].action", "Allow, RequireApproval, Deny"),
    "a rule without a match": (
        {"rules": [{"name": "a", "action": "Deny"}]},
        "spec.rules[0].match",
        "match: {}",
    ),
    "a rule without a name": ({"rules": [{"match": {}, "action": "Deny"}]}, "spec.rules[0].name", "required"),
    "a rule with the reserved name": (
        {"rules": [rule(name="defaults")]},
        "spec.rules[0].name",
        "choose another",
    ),
    "a rule with an odd name": ({"rules": [rule(name="a b")]}, "spec.rules[0].name", "rule name"),
    "two rules of one name": ({"rules": [rule(), rule()]}, "spec.rules[1].name", "earlier rule"),
    "a misspelt field of a match": (
        {"rules": [rule(namespace=["a"])]},
        "spec.rules[0].match.namespace",
        "not a field here",
    ),
    "an unknown verb": ({"rules": [rule(verbs=["read"])]}, "spec.rules[0].match.verbs[0]", "none of *, get"),
    "a verb in capitals": ({"rules": [rule(verbs=["GET"])]}, "spec.rules[0].match.verbs[0]", "none of"),
    "a verb that is no string": (
        {"rules": [rule(verbs=[1])]},
        "spec.rules[0].match.verbs[0]",
        "must be a string",
    ),
    "a verb twice": ({"rules": [rule(verbs=["get", "get"])]}, "spec.rules[0].match.verbs[1]", "twice"),
    "no verbs at all": ({"rules": [rule(verbs=[])]}, "spec.rules[0].match.verbs", "empty list"),
    "the core group by a nickname": (
        {"rules": [rule(apiGroups=["core"])]},
        "spec.rules[0].match.apiGroups[0]",
        'written ""',
    ),
    "a group with its version": (
        {"rules": [rule(apiGroups=["apps/v1"])]},
        "spec.rules[0].match.apiGroups[0]",
        "leave the version out",
    ),
    "a kind for a resource": (
        {"rules": [rule(resources=["Deployment"])]},
        "spec.rules[0].match.resources[0]",
        "lower case and plural",
    ),
    "three parts of a resource": (
        {"rules": [rule(resources=["a/b/c"])]},
        "spec.rules[0].match.resources[0]",
        "deployments/scale",
    ),
    "a relative path": (
        {"rules": [rule(nonResourceURLs=["metrics"])]},
        "spec.rules[0].match.nonResourceURLs[0]",
        'begins with "/"',
    ),
    "a wildcard inside a path": (
        {"rules": [rule(nonResourceURLs=["/a*b"])]},
        "spec.rules[0].match.nonResourceURLs[0]",
        "at its end",
    ),
    "paths beside resources": (
        {"rules": [rule(nonResourceURLs=["/a"], resources=["pods"])]},
        "spec.rules[0].match.nonResourceURLs",
        "make it two rules",
    ),
    "an expression of a rule": (
        {"rules": [rule(expression="1")]},
        "spec.rules[0].match.expression",
        "true or false",
    ),
    "an empty message": (
        {"rules": [{"name": "a", "match": {}, "action": "Deny", "message": ""}]},
        "spec.rules[0].message",
        "1 to",
    ),
    "an unknown level": ({"defaults": {"none": "Deny"}}, "spec.defaults.none", "not a field here"),
    "an unknown default": ({"defaults": {"high": "Ask"}}, "spec.defaults.high", "RequireApproval"),
    "nobody required": ({"approval": {"required": 0}}, "spec.approval.required", "from 1 to 16"),
    "a number as text": ({"approval": {"required": "2"}}, "spec.approval.required", "whole number"),
    "true as a number": ({"approval": {"required": True}}, "spec.approval.required", "whole number"),
    "a duration without a unit": ({"approval": {"holdFor": "120"}}, "spec.approval.holdFor", "2m"),
    "a duration as a number": ({"approval": {"holdFor": 120}}, "spec.approval.holdFor", "2m"),
    "a duration out of range": ({"approval": {"useWithin": "48h"}}, "spec.approval.useWithin", "86400s"),
    "waiting longer than living": (
        {"approval": {"holdFor": "10m", "expireAfter": "1m"}},
        "spec.approval.holdFor",
        "dead",
    ),
    "self-approval by a word": (
        {"approval": {"selfApproval": "no"}},
        "spec.approval.selfApproval",
        "true or false",
    ),
    "Off without quotes": ({"masking": {"profile": False}}, "spec.masking.profile", "needs its quotes"),
    "true is no hint at Off": (
        {"masking": {"profile": True}},
        "spec.masking.profile",
        "Standard, Strict, Off",
    ),
    "an unknown recording": ({"recording": {"streams": "On"}}, "spec.recording.streams", "BestEffort"),
    "no requests at all": ({"limits": {"requestsPerSecond": 0}}, "spec.limits.requestsPerSecond", "0.01"),
    "an infinite rate": (
        {"limits": {"requestsPerSecond": float("inf")}},
        "spec.limits.requestsPerSecond",
        "a number from",
    ),
    "half a stream": (
        {"limits": {"concurrentStreams": 1.5}},
        "spec.limits.concurrentStreams",
        "whole number",
    ),
    "too many items": (
        {"subjects": [{"issuer": "i"}] * (MAX_ITEMS + 1)},
        "spec.subjects",
        f"at most {MAX_ITEMS}",
    ),
}


@pytest.mark.parametrize(("spec", "path", "message"), FAULTS.values(), ids=FAULTS)
def test_faults_have_a_path_and_a_remedy(spec: dict[str, Any], path: str, message: str) -> None:
    assert message in faults_of(policy_object(**spec)).get(path, "")


def test_every_fault_is_told_at_once() -> None:
    obj = policy_object(
        mode="x", subjects=[], approval={"required": 0}, rules=[rule("x", verbs=["x"])], nope=1
    )
    assert set(faults_of(obj)) == {
        "spec.mode",
        "spec.subjects",
        "spec.approval.required",
        "spec.rules[0].action",
        "spec.rules[0].match.verbs[0]",
        "spec.nope",
    }


@pytest.mark.parametrize("obj", [None, [], "x", 1, {}, {"spec": None}, {"metadata": 1, "spec": []}])
def test_nothing_raises(obj: Any) -> None:
    compiled = compile_policy(obj)
    assert isinstance(compiled, BrokenPolicy)
    assert compiled.governs(CALLER)


def test_another_kind_is_a_fault() -> None:
    assert "kind" in faults_of(policy_object() | {"kind": "AgentSession"})
    assert "apiVersion" in faults_of(policy_object() | {"apiVersion": "v1"})
    assert "data" in faults_of(policy_object() | {"data": {}})


class TestBroken:
    """A policy that does not compile governs whom its subjects name, or else everybody."""

    def test_readable_subjects_limit_it(self) -> None:
        broken = compile_policy(policy_object(subjects=[{"usernames": ["repo:acme/*"]}], mode="x"))
        assert isinstance(broken, BrokenPolicy)
        assert broken.governs(CALLER)
        assert not broken.governs(replace(CALLER, username="somebody"))

    def test_unreadable_subjects_do_not(self) -> None:
        broken = compile_policy(policy_object(subjects=[{"usernames": ["x"]}, {"expression": "("}]))
        assert isinstance(broken, BrokenPolicy)
        assert broken.subjects is None
        assert broken.governs(CALLER)

    def test_it_still_says_whom_it_hands_out(self) -> None:
        broken = compile_policy(policy_object(mode="x"))
        assert isinstance(broken, BrokenPolicy)
        assert broken.identity == Identity("system:serviceaccount:agents:coder")
        unknown = compile_policy(policy_object(identity={"user": "system:x"}))
        assert isinstance(unknown, BrokenPolicy)
        assert unknown.identity is None


SUBJECTS: dict[str, tuple[dict[str, Any] | str, bool]] = {
    "the issuer": ({"issuer": "https://issuer.example"}, True),
    "a longer issuer": ({"issuer": "https://issuer.example/"}, False),
    "a user name": ({"usernames": ["nobody", "repo:acme/*"]}, True),
    "another user name": ({"usernames": ["repo:other/*"]}, False),
    "one of the groups": ({"groups": ["ops", "ci"]}, True),
    "none of the groups": ({"groups": ["ops"]}, False),
    "all fields": (
        {
            "issuer": "https://issuer.example",
            "groups": ["ci"],
            "expression": 'claims.repository_owner == "acme"',
        },
        True,
    ),
    "all but one": ({"groups": ["ci"], "expression": 'claims.repository_owner == "other"'}, False),
    "what the caller is": ('caller.agent == "coder" && caller.extra.team[0] == "web"', True),
    "a claim that is not there": ("claims.nope == 1", True),
    "a claim that may not be there": ("has(claims.nope) && claims.nope == 1", False),
    "a claim deep inside": ("2 in claims.nested.deep", True),
}


@pytest.mark.parametrize(("subject", "governs"), SUBJECTS.values(), ids=SUBJECTS)
def test_subjects(subject: dict[str, Any] | str, governs: bool) -> None:
    entry = {"expression": subject} if isinstance(subject, str) else subject
    assert policy(subjects=[entry]).governs(CALLER) is governs


def test_any_subject_is_enough() -> None:
    assert policy(subjects=[{"usernames": ["x"]}, {"groups": ["ci"]}]).governs(CALLER)


def test_a_group_glob_needs_a_group() -> None:
    assert not policy(subjects=[{"groups": ["*"]}]).governs(Caller(issuer="i", subject="s", username="u"))


def test_a_set_of_policies_is_in_order_and_keeps_the_broken_apart() -> None:
    objects = [policy_object("b"), policy_object("a"), policy_object("c", mode="x")]
    policies = policy_set(objects, RiskSettings(guard_namespace="guard"), Capabilities(recording=False))
    assert [item.name for item in policies.policies] == ["a", "b"]
    assert [item.name for item in policies.broken] == ["c"]
    assert policies.risk_settings.guard_namespace == "guard"
    assert policies.capabilities == Capabilities(recording=False)
    sound, broken = policies.governing(CALLER)
    assert ([item.name for item in sound], [item.name for item in broken]) == (["a", "b"], ["c"])
    assert policy_set([]).risk_settings == RiskSettings()


WARNINGS: dict[str, tuple[dict[str, Any], str, str]] = {
    "critical risks are allowed": ({"defaults": {"critical": "Allow"}}, "spec.defaults.critical", "destroy"),
    "a rule lifts what cannot be lifted": (
        {"rules": [rule("Allow", resources=["pods", "nodes/proxy"])]},
        "spec.rules[0].action",
        "nodes/proxy",
    ),
    "a rule for approval of the same": (
        {"rules": [rule("RequireApproval", resources=["validatingwebhookconfigurations"])]},
        "spec.rules[0].action",
        "never lifts",
    ),
    "a rule reads the object of a read": (
        {"rules": [rule(verbs=["get", "update"], expression="object.a == 1")]},
        "spec.rules[0].match.expression",
        "limit the rule",
    ),
    "a rule reads the object of any verb": (
        {"rules": [rule(expression="oldObject.a == 1")]},
        "spec.rules[0].match.expression",
        "limit the rule",
    ),
}


@pytest.mark.parametrize(("spec", "path", "message"), WARNINGS.values(), ids=WARNINGS)
def test_warnings(spec: dict[str, Any], path: str, message: str) -> None:
    assert message in warnings_of(policy_object(**spec)).get(path, "")


def test_a_gateway_that_is_set_to_record_nothing_warns_of_what_must_be_recorded() -> None:
    compiled = compile_policy(policy_object(recording={"streams": "Required"}), Capabilities(recording=False))
    assert isinstance(compiled, Policy)
    assert [fault.path for fault in compiled.warnings] == ["spec.recording.streams"]
    assert "recordings.path" in compiled.warnings[0].message
    assert warnings_of(policy_object(recording={"streams": "Required"})) == {}


def test_a_policy_that_is_what_it_says_has_no_warnings() -> None:
    rules = [
        rule("Deny", "a", resources=["nodes/proxy"]),
        rule("Allow", "b", verbs=["update"], expression="object.a == 1"),
        rule("Allow", "c", expression='request.name == "x"'),
    ]
    assert warnings_of(policy_object(rules=rules)) == {}
