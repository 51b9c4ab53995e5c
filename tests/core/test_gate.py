"""Sentences about policies and requests, and what the gate says: the one place where rules are composed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from chaperone.core.approval import Approval, Phase
from chaperone.core.gate import Governance, Needs, describe, governance, judge, needs, settled
from chaperone.core.identity import Caller, Identity
from chaperone.core.policy import Capabilities, PolicySet, policy_set
from chaperone.core.request import Origin, Payload, Request
from chaperone.core.verdict import Action, Verdict
from tests.core.policies import CALLER, Obj, ask, policy_object, rule

POD = "/api/v1/namespaces/dev/pods/p"
WEB = "/apis/apps/v1/namespaces/dev/deployments/web"
SECRET = "/api/v1/namespaces/dev/secrets/s"
GET_POD, DELETE_POD = ask(f"GET {POD}"), ask(f"DELETE {POD}")
DELETE_WEB = ask(f"DELETE {WEB}")  # high
DELETE_NAMESPACE = ask("DELETE /api/v1/namespaces/dev")  # critical
GET_SECRET = ask(f"GET {SECRET}")  # high
JOB = {
    "metadata": {"name": "j"},
    "spec": {"template": {"spec": {"containers": [], "serviceAccountName": "x"}}},
}
EXEC = ask(f"POST {POD}/exec?command=sh", upgrade="spdy/3.1")  # high
METRICS = ask("GET /metrics")  # low
VERSION = ask("GET /version")

ALLOW, HOLD, DENY = Action.ALLOW, Action.HOLD, Action.DENY
EVERYTHING = [rule("Allow", "all")]
NOW = 1_800_000_000.0


def cluster(*objects: Obj) -> PolicySet:
    return policy_set(objects, capabilities=Capabilities(recording=False))


def verdict(
    request: Request, *objects: Obj, caller: Caller = CALLER, approval: Approval | None = None
) -> Verdict:
    return judge(request, caller, cluster(*objects), approval, NOW)


def one(rules: list[Obj] | None = None, **spec: Any) -> list[Obj]:
    return [policy_object("p", rules, **spec)]


SENTENCES: dict[str, tuple[Sequence[Obj], Request, Action, str]] = {
    # sentence: (policies, request, action, the rule that decided)
    # without a rule, the risk decides
    "what has no risk is allowed": (one(), DELETE_POD, ALLOW, "defaults"),
    "a read without risk is allowed": (one(), GET_POD, ALLOW, "defaults"),
    "a path without risk is allowed": (one(), VERSION, ALLOW, "defaults"),
    "a low risk is allowed": (one(), METRICS, ALLOW, "defaults"),
    "a high risk is held": (one(), DELETE_WEB, HOLD, "defaults"),
    "a critical risk is denied": (one(), DELETE_NAMESPACE, DENY, "defaults"),
    "a policy may default to less": (
        one(defaults={"critical": "RequireApproval"}),
        DELETE_NAMESPACE,
        HOLD,
        "defaults",
    ),
    "or to more": (one(defaults={"low": "Deny"}), METRICS, DENY, "defaults"),
    # a rule decides over the risk
    "a rule denies what has no risk": (one([rule("Deny", "no", verbs=["delete"])]), DELETE_POD, DENY, "no"),
    "a rule allows what is high": (one(EVERYTHING), DELETE_WEB, ALLOW, "all"),
    "a rule allows what is critical": (one(EVERYTHING), DELETE_NAMESPACE, ALLOW, "all"),
    "a rule holds a read": (one([rule("RequireApproval", "ask")]), GET_POD, HOLD, "ask"),
    "a rule that fails denies": (
        one([rule("RequireApproval", "ask", expression="object.nope")]),
        ask(f"PUT {POD}", {}),
        DENY,
        "ask",
    ),
    "an allowing rule that fails is skipped": (
        one([rule("Allow", "all", expression='oldObject.metadata.labels.mine == "yes"')]),
        replace(DELETE_WEB, payload=Payload(old_object={"metadata": {}})),
        HOLD,
        "defaults",
    ),
    # what no rule lifts
    "nothing lifts the webhook configurations": (
        one(EVERYTHING),
        ask("DELETE /apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/x"),
        DENY,
        "",
    ),
    "nor nodes/proxy, by a read": (one(EVERYTHING), ask("GET /api/v1/nodes/n/proxy/pods"), DENY, ""),
    "nor our own policies": (
        one(EVERYTHING),
        ask("PATCH /apis/chaperone.dev/v1alpha1/agentpolicies/p"),
        DENY,
        "",
    ),
    "nor one's own approval": (
        one(EVERYTHING),
        ask("PATCH /apis/chaperone.dev/v1alpha1/approvalrequests/x/status"),
        DENY,
        "",
    ),
    "nor the namespace of the guard": (
        one(EVERYTHING),
        ask("DELETE /api/v1/namespaces/kube-chaperone/pods/gateway"),
        DENY,
        "",
    ),
    "nor Monitor": (
        one(EVERYTHING, mode="Monitor"),
        ask("PATCH /apis/chaperone.dev/v1alpha1/agentpolicies/p"),
        DENY,
        "",
    ),
    "with masking off the rule decides": (one(EVERYTHING), GET_SECRET, ALLOW, "all"),
    "with masking off and no rule it is held": (one(), GET_SECRET, HOLD, "defaults"),
    # Strict masking lets nothing through that it cannot read
    **{
        f"strict: no {what}": (one(EVERYTHING, masking={"profile": "Strict"}), ask(line), DENY, "all")
        for what, line in {
            "exec": "POST /api/v1/namespaces/dev/pods/p/exec?command=ls&stdout=true",
            "exec by GET": "GET /api/v1/namespaces/dev/pods/p/exec?command=ls&stdout=true",
            "attach": "POST /api/v1/namespaces/dev/pods/p/attach?stdout=true",
            "port-forward": "POST /api/v1/namespaces/dev/pods/p/portforward",
            "proxy to a pod": "GET /api/v1/namespaces/dev/pods/p:8080/proxy/metrics",
            "proxy to a service": "POST /api/v1/namespaces/dev/services/web/proxy/login",
            "console of another group": "GET /apis/vm.example/v1/namespaces/dev/machines/m/portforward",
        }.items()
    },
    "strict: logs are masked": (
        one(EVERYTHING, masking={"profile": "Strict"}),
        ask("GET /api/v1/namespaces/dev/pods/p/log"),
        ALLOW,
        "all",
    ),
    "standard: a rule decides on exec": (
        one(EVERYTHING, masking={"profile": "Standard"}),
        EXEC,
        ALLOW,
        "all",
    ),
    "standard: without a rule proxy is held": (
        one(masking={"profile": "Standard"}),
        ask("GET /api/v1/namespaces/dev/services/web/proxy/"),
        HOLD,
        "defaults",
    ),
    "standard: without a rule port-forward is held": (
        one(masking={"profile": "Standard"}),
        ask("POST /api/v1/namespaces/dev/pods/p/portforward"),
        HOLD,
        "defaults",
    ),
    "no session without its recording": (
        one(EVERYTHING, recording={"streams": "Required"}),
        EXEC,
        DENY,
        "all",
    ),
    "nor a port-forward": (
        one(EVERYTHING, recording={"streams": "Required"}),
        ask(f"POST {POD}/portforward", upgrade="spdy/3.1"),
        DENY,
        "all",
    ),
    "best effort is no effort yet": (
        one(EVERYTHING, recording={"streams": "BestEffort"}),
        EXEC,
        ALLOW,
        "all",
    ),
    "recording is for streams": (
        one(EVERYTHING, recording={"streams": "Required"}),
        DELETE_POD,
        ALLOW,
        "all",
    ),
    "an exec is held by its risk": (one(), EXEC, HOLD, "defaults"),
    # what cannot be judged
    "an unknown verb": (one(EVERYTHING), replace(GET_POD, verb=""), DENY, ""),
    "the deprecated proxy path": (one(EVERYTHING), replace(GET_POD, verb="proxy"), DENY, ""),
    "an unknown method of a path": (one(EVERYTHING), replace(METRICS, verb="trace"), DENY, ""),
    # several policies: the strictest
    "one denies, one allows": (
        [policy_object("a", EVERYTHING), policy_object("b", [rule("Deny", "no")])],
        GET_POD,
        DENY,
        "no",
    ),
    "one holds, one allows": (
        [policy_object("a", EVERYTHING), policy_object("b")],
        DELETE_WEB,
        HOLD,
        "defaults",
    ),
    "both allow": ([policy_object("a", EVERYTHING), policy_object("b")], GET_POD, ALLOW, "all"),
    # Monitor
    "Monitor blocks nothing": (one([rule("Deny", "no")], mode="Monitor"), GET_POD, ALLOW, "no"),
    "Monitor holds nothing": (one(mode="Monitor"), DELETE_WEB, ALLOW, "defaults"),
    "Monitor does not relax another": (
        [policy_object("a", EVERYTHING, mode="Monitor"), policy_object("b")],
        DELETE_NAMESPACE,
        DENY,
        "defaults",
    ),
    "Monitor does not tighten another": (
        [policy_object("a", [rule("Deny", "no")], mode="Monitor"), policy_object("b", EVERYTHING)],
        GET_POD,
        ALLOW,
        "all",
    ),
    # who governs
    "no policy": ([], GET_POD, DENY, ""),
    "a policy for somebody else": ([policy_object(subjects=[{"usernames": ["x"]}])], GET_POD, DENY, ""),
    "a broken policy": (one(EVERYTHING, mode="x"), GET_POD, DENY, ""),
    "a broken policy beside a sound one": (
        [policy_object("a", EVERYTHING), policy_object("b", mode="x")],
        GET_POD,
        DENY,
        "",
    ),
    "a broken policy for somebody else": (
        [policy_object("a", EVERYTHING), policy_object("b", mode="x", subjects=[{"usernames": ["x"]}])],
        GET_POD,
        ALLOW,
        "all",
    ),
    "a broken policy in Monitor": (one(EVERYTHING, mode="Monitor", nope=1), GET_POD, DENY, ""),
    "two identities": (
        [policy_object("a", EVERYTHING), policy_object("b", EVERYTHING, identity={"user": "agent"})],
        GET_POD,
        DENY,
        "",
    ),
    "two identities in Monitor": (
        [
            policy_object("a", EVERYTHING, mode="Monitor"),
            policy_object("b", EVERYTHING, mode="Monitor", identity={"user": "agent"}),
        ],
        GET_POD,
        DENY,
        "",
    ),
}


@pytest.mark.parametrize(("objects", "request_", "action", "rule_"), SENTENCES.values(), ids=SENTENCES)
def test_sentence(objects: Sequence[Obj], request_: Request, action: Action, rule_: str) -> None:
    found = verdict(request_, *objects)
    assert (found.action, found.rule) == (action, rule_), found.reason


@pytest.mark.parametrize(("objects", "request_", "action", "rule_"), SENTENCES.values(), ids=SENTENCES)
def test_the_order_of_policies_does_not_matter(
    objects: Sequence[Obj], request_: Request, action: Action, rule_: str
) -> None:
    assert verdict(request_, *objects) == verdict(request_, *reversed(objects))


@pytest.mark.parametrize(("objects", "request_", "action", "rule_"), SENTENCES.values(), ids=SENTENCES)
def test_every_refusal_says_why(
    objects: Sequence[Obj], request_: Request, action: Action, rule_: str
) -> None:
    found = verdict(request_, *objects)
    if action is not ALLOW:
        assert found.reason.startswith(describe(request_)), "what was asked"
        assert found.policy in found.reason, "which policy"
        assert found.rule in ("defaults", "") or found.rule in found.reason, "which rule"


def test_a_gateway_that_records_denies_no_stream() -> None:
    policies = policy_set(
        [policy_object("p", EVERYTHING, recording={"streams": "Required"})],
        capabilities=Capabilities(recording=True),
    )
    assert judge(GET_SECRET, CALLER, policies, None, NOW).action is ALLOW
    assert judge(EXEC, CALLER, policies, None, NOW).action is ALLOW


REASONS: dict[str, tuple[Sequence[Obj], Request, str]] = {
    "a rule with a message": (
        one([rule("Deny", "no", "platform is off limits")]),
        DELETE_WEB,
        'delete of deployments.apps "web" in namespace "dev" is denied by policy "p", rule "no": platform is off limits',
    ),
    "a rule without one": (
        one([rule("RequireApproval", "ask")]),
        DELETE_POD,
        'delete of pods "p" in namespace "dev" needs the approval of one person under policy "p", rule "ask"',
    ),
    "a rule for several people": (
        one([rule("RequireApproval", "ask")], approval={"required": 2}),
        DELETE_NAMESPACE,
        'delete of namespaces "dev" needs the approval of 2 people under policy "p", rule "ask"',
    ),
    "an expression": (
        one([rule("Deny", "no", expression="object.a == 1")]),
        ask(f"PUT {POD}", {}),
        (
            'update of pods "p" in namespace "dev" is denied by policy "p", rule "no": its expression could not be '
            "evaluated, because a field that it reads is not there (guard it with has())"
        ),
    ),
    "nobody governs": (
        [],
        METRICS,
        (
            'get of path "/metrics" is denied: no AgentPolicy governs this caller, so everything is denied. A person has '
            "to write one that names it"
        ),
    ),
    "both identities are named": (
        [policy_object("a"), policy_object("b", identity={"user": "agent"})],
        METRICS,
        (
            'get of path "/metrics" is denied: AgentPolicies "a" and "b" both govern this caller and hand out different '
            'identities ("system:serviceaccount:agents:coder" and "agent"), so everything is denied. A person has to '
            "narrow the subjects of one of them"
        ),
    ),
}


@pytest.mark.parametrize(("objects", "request_", "reason"), REASONS.values(), ids=REASONS)
def test_reason(objects: Sequence[Obj], request_: Request, reason: str) -> None:
    assert verdict(request_, *objects).reason == reason


def test_the_risk_is_told_with_its_rows() -> None:
    found = verdict(DELETE_WEB, *one())
    assert "the risk is high: " in found.reason
    assert "(R39)" in found.reason
    assert found.risk.rows == ("R39",)


def test_names_of_clients_are_made_safe_to_show() -> None:
    odd = replace(DELETE_POD, name="p\x1b[31m\n", namespace="d\u202ev", verb="")
    assert describe(odd) == 'a request of pods "p\\x1b[31m\\n" in namespace "d\\u202ev"'
    assert describe(replace(METRICS, path="/a\nb")) == 'get of path "/a\\nb"'


def test_the_verdict_names_all_that_govern() -> None:
    found = verdict(DELETE_WEB, policy_object("b"), policy_object("a", EVERYTHING))
    assert found.policies == ("a", "b")
    assert (found.policy, found.policy_generation) == ("b", 3)


def test_of_equal_holds_the_one_for_most_people_then_the_first() -> None:
    assert verdict(DELETE_WEB, policy_object("a"), policy_object("b", approval={"required": 2})).policy == "b"
    assert verdict(DELETE_WEB, policy_object("a"), policy_object("b")).policy == "a"


WOULD: dict[str, tuple[Sequence[Obj], Action, Action, str]] = {
    "Enforce": (one(), HOLD, HOLD, "needs the approval"),
    "Monitor": (one(mode="Monitor"), ALLOW, HOLD, "in Monitor mode: delete of"),
    "Monitor that allows": (one(EVERYTHING, mode="Monitor"), ALLOW, ALLOW, ""),
    "Monitor beside an allowing one": (
        [policy_object("a", [rule("Deny", "no")], mode="Monitor"), policy_object("b", EVERYTHING)],
        ALLOW,
        DENY,
        'in Monitor mode: delete of deployments.apps "web" in namespace "dev" is denied by policy "a"',
    ),
    "Monitor beside a holding one": (
        [policy_object("a", [rule("Deny", "no")], mode="Monitor"), policy_object("b")],
        HOLD,
        DENY,
        "; in Monitor mode: ",
    ),
    "no policy": ([], DENY, DENY, "no AgentPolicy"),
}


@pytest.mark.parametrize(("objects", "action", "would", "reason"), WOULD.values(), ids=WOULD)
def test_would(objects: Sequence[Obj], action: Action, would: Action, reason: str) -> None:
    found = verdict(DELETE_WEB, *objects)
    assert (found.action, found.would) == (action, would)
    assert reason in found.reason


# Governance


def test_governance_is_whom_to_impersonate() -> None:
    governed = governance(CALLER, cluster(policy_object("b"), policy_object("a")))
    assert governed.identity == Identity("system:serviceaccount:agents:coder")
    assert [policy.name for policy in governed.policies] == ["a", "b"]
    assert governed.refusal == ""


def test_a_refusal_hands_out_no_identity() -> None:
    for objects in ([], one(mode="x"), [policy_object("a"), policy_object("b", identity={"user": "x"})]):
        governed = governance(CALLER, cluster(*objects))
        assert governed.identity is None
        assert governed.refusal


def test_governance_that_was_made_before_is_taken() -> None:
    policies = cluster(policy_object("p", EVERYTHING))
    governed = governance(CALLER, policies)
    assert judge(DELETE_WEB, CALLER, policies, None, NOW, governed=governed).action is ALLOW
    assert judge(DELETE_WEB, CALLER, policies, None, NOW, governed=Governance()).action is DENY


# Approvals


def approval(**fields: Any) -> Approval:
    whole: dict[str, Any] = {
        "name": "apreq-1",
        "uid": "uid-1",
        "resource_version": "7",
        "digest": "sha256:" + "0" * 64,
        "phase": Phase.EXECUTING,
        "policy": "p",
        "policy_generation": 3,
        "required": 1,
        "requester": CALLER.username,
        "issuer": CALLER.issuer,
        "run": CALLER.run,
        "use_before": NOW + 60,
        **fields,
    }
    return Approval(**whole)


def test_a_claimed_approval_turns_a_hold_into_an_allow() -> None:
    found = verdict(DELETE_WEB, *one(), approval=approval())
    assert (found.action, found.would) == (ALLOW, ALLOW)
    assert (found.approval_uid, found.approval_name, found.policy) == ("uid-1", "apreq-1", "p")


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase is not Phase.EXECUTING])
def test_an_approval_that_is_not_claimed_does_not_serve(phase: Phase) -> None:
    found = verdict(DELETE_WEB, *one(), approval=approval(phase=phase))
    assert found.action is HOLD
    assert f"it is {phase.value}" in found.reason


CHANGED: dict[str, tuple[dict[str, Any], str]] = {
    "AP-10 the policy was changed": ({"policy_generation": 2}, "generation 2 then, 3 now"),
    "AP-10 another policy decides": ({"policy": "q"}, 'policy "p" decides'),
    "AP-10 the time is over": ({"use_before": NOW}, "not used in time"),
    "AP-10 there is no time at all": ({"use_before": 0.0}, "not used in time"),
    "AP-03 another run": ({"run": "run-2"}, "another run"),
    "AP-03 another requester": ({"requester": "somebody"}, "another requester"),
    "AP-03 another issuer": ({"issuer": "https://other.example"}, "another requester"),
}


@pytest.mark.parametrize(("fields", "why"), CHANGED.values(), ids=CHANGED)
def test_an_approval_that_does_not_fit_does_not_serve(fields: dict[str, Any], why: str) -> None:
    found = verdict(DELETE_WEB, *one(), approval=approval(**fields))
    assert (found.action, found.approval_uid) == (HOLD, "")
    assert 'Approval "apreq-1" does not serve: ' in found.reason
    assert why in found.reason


def test_an_approval_lifts_no_deny_and_no_refusal() -> None:
    for objects in (one([rule("Deny", "no")]), one(mode="x"), []):
        assert verdict(DELETE_WEB, *objects, approval=approval()).action is DENY


def test_an_approval_is_not_spent_on_what_is_allowed_anyway() -> None:
    assert verdict(DELETE_POD, *one(), approval=approval()).approval_uid == ""


def test_admission_knows_the_run_but_not_the_requester() -> None:
    seen = replace(DELETE_WEB, origin=Origin.ADMISSION, payload=Payload(old_object={}))
    caller = Caller(issuer="", subject="", username="system:serviceaccount:agents:coder", run="run-1")
    policies = cluster(*one())
    governed = governance(CALLER, policies)
    assert judge(seen, caller, policies, approval(), NOW, governed=governed).action is ALLOW
    other = replace(caller, run="run-2")
    assert judge(seen, other, policies, approval(), NOW, governed=governed).action is HOLD


# Needs

NEEDS: dict[str, tuple[Sequence[Obj], Request, Needs]] = {
    "a read": (one([rule(expression="object.a == 1")]), GET_POD, Needs()),
    "an exec": (one([rule(expression="object == null")]), EXEC, Needs()),
    "a path": (one(), ask("POST /foo"), Needs()),
    "nobody governs": ([], ask(f"PUT {WEB}", {}), Needs()),
    "a delete that nothing looks at": (
        one(),
        ask("DELETE /api/v1/namespaces/dev/configmaps/c"),
        Needs(body=True),
    ),
    "a create that the catalogue looks into": (
        one(),
        ask("POST /api/v1/namespaces/dev/pods"),
        Needs(body=True),
    ),
    "an update that the catalogue compares": (one(), ask(f"PUT {WEB}"), Needs(body=True, live=True)),
    "a patch that the catalogue compares": (
        one(),
        ask(f"PATCH {WEB}"),
        Needs(body=True, live=True, result=True),
    ),
    "a delete that a rule compares": (
        one([rule(expression='oldObject.metadata.name == "x"')]),
        DELETE_POD,
        Needs(body=True, live=True),
    ),
    "a patch whose outcome a rule reads": (
        one([rule(resources=["things"], expression="object.a == 1")]),
        ask("PATCH /apis/x.io/v1/namespaces/dev/things/a", content_type="application/merge-patch+json"),
        Needs(body=True, live=True, result=True),
    ),
    "a create whose name a rule reads": (
        one([rule(resources=["things"], names=["a"])]),
        ask("POST /apis/x.io/v1/namespaces/dev/things"),
        Needs(body=True),
    ),
}


@pytest.mark.parametrize(("objects", "request_", "expected"), NEEDS.values(), ids=NEEDS)
def test_needs(objects: Sequence[Obj], request_: Request, expected: Needs) -> None:
    assert needs(request_, governance(CALLER, cluster(*objects))) == expected


PATCH = "PATCH /api/v1/namespaces/kube-system/configmaps/x"
READS_OBJECT = {"expression": 'object.data.a == "b"'}
SETTLED: dict[str, tuple[list[Obj], str, bool]] = {
    "a rule denies the place": (one([rule(namespaces=["kube-*"])]), PATCH, True),
    "a rule denies elsewhere": (one([rule(namespaces=["prod"])]), PATCH, False),
    "a rule that reads the object may yet allow": (
        one([rule("Allow", "by-object", **READS_OBJECT), rule(namespaces=["kube-*"])]),
        PATCH,
        False,
    ),
    "a rule that reads the object may yet deny": (one([rule(**READS_OBJECT)]), PATCH, False),
    "it would only be held": (one([rule("RequireApproval", namespaces=["kube-*"])]), PATCH, False),
    "Monitor does not deny": (one([rule(namespaces=["kube-*"])], mode="Monitor"), PATCH, False),
    "no rule lifts it, in every mode": (
        one([rule("Allow")], mode="Monitor"),
        "PUT /apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/x",
        True,
    ),
    "critical whatever the object holds": (
        one(),
        "PATCH /apis/rbac.authorization.k8s.io/v1/clusterrolebindings/x",
        True,
    ),
    "critical only for some objects": (one(), "PATCH /api/v1/namespaces/dev/pods/p", False),
    "high is denied, and critical too": (
        one(defaults={"high": "Deny", "critical": "Deny"}),
        "PATCH /api/v1/namespaces/dev/secrets/s",
        True,
    ),
    "high is denied, and critical is not": (
        one(defaults={"high": "Deny", "critical": "RequireApproval"}),
        "PATCH /api/v1/namespaces/dev/secrets/s",
        False,
    ),
}


@pytest.mark.parametrize(("objects", "line", "expected"), SETTLED.values(), ids=SETTLED)
def test_what_is_denied_before_anything_is_gathered(objects: list[Obj], line: str, expected: bool) -> None:
    policies = cluster(*objects)
    found = settled(
        ask(line, content_type="application/merge-patch+json"), CALLER, policies, governance(CALLER, policies)
    )
    assert (found is not None) is expected
    assert found is None or (found.action is Action.DENY and found.reason)


def test_strict_masking_says_why_and_what_to_do() -> None:
    found = verdict(EXEC, *one(EVERYTHING, masking={"profile": "Strict"}))
    assert "masking is Strict" in found.reason
    assert "masking.profile: Standard" in found.reason


def test_a_verdict_says_how_much_is_masked() -> None:
    """The strictest profile of all that govern, so that Off is read in every record."""
    objects = [
        policy_object("a", EVERYTHING),
        policy_object("b", EVERYTHING, masking={}),
        policy_object("c", EVERYTHING, masking={"profile": "Strict"}),
    ]
    found = [verdict(GET_POD, *objects[:count]).masking_profile for count in (1, 2, 3)]
    assert found == ["Off", "Standard", "Strict"]
    assert verdict(GET_POD).masking_profile == ""
