"""Admission reviews: whom they concern, what they ask, and that the webhook says what the gateway said."""

from __future__ import annotations

from typing import Any

import pytest

from chaperone.core.admission import (
    Answer,
    Named,
    decide,
    guarded,
    is_forwarded,
    named_approval,
    read_caller,
    read_review,
)
from chaperone.core.approval import Approval, Phase
from chaperone.core.gate import judge
from chaperone.core.policy import PolicySet, policy_set
from chaperone.core.request import Origin, Payload, Request, Unreadable
from chaperone.core.verdict import Action
from tests.core.policies import CALLER, Obj, ask, policy_object, rule

ACCOUNT = "system:serviceaccount:agents:coder"
NOW = 1_800_000_000.0
EVERYTHING = [rule("Allow", "all")]


def user(name: str = ACCOUNT, /, **extra: str) -> Obj:
    """userInfo; extra: by the last part of its key."""
    keys = {f"chaperone.dev/{key.replace('_', '-')}": [value] for key, value in extra.items()}
    return {"username": name, "groups": ["system:authenticated"], "extra": keys}


def forwarded(policies: str = "p", **extra: str) -> Obj:
    return user(policy=policies, run="run-1", agent="coder", subject="sub-1", **extra)


def review(operation: str, resource: str, /, who: Obj | None = None, **fields: Any) -> Obj:
    """review("UPDATE", "apps/deployments/scale", ...): in namespace dev, named x, unless told otherwise."""
    group, plural, sub = (["", resource, ""] if "/" not in resource else [*resource.split("/"), ""])[:3]
    whole = {
        "uid": "1",
        "operation": operation,
        "resource": {"group": group, "version": "v1", "resource": plural},
        "subResource": sub,
        "namespace": "dev",
        "name": "x",
        "userInfo": who if who is not None else forwarded(),
        **fields,
    }
    if operation in ("CREATE", "UPDATE"):
        whole.setdefault("object", {"metadata": {"name": "x"}})
    if operation in ("UPDATE", "DELETE"):
        whole.setdefault("oldObject", {"metadata": {"name": "x"}})
    return whole


def cluster(*objects: Obj) -> PolicySet:
    return policy_set(objects)


def one(rules: list[Obj] | None = None, **spec: Any) -> PolicySet:
    return cluster(policy_object("p", rules, **spec))


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
        "run": "run-1",
        "requester": "agent",
        "use_before": NOW + 60,
        "request": {
            "verb": "delete",
            "apiGroup": "apps",
            "resource": "deployments",
            "namespace": "dev",
            "name": "x",
        },
        **fields,
    }
    return Approval(**whole)


# Whom it concerns


def test_nobody_elses_request_is_touched() -> None:
    policies = one([rule("Deny", "no")])
    assert decide(review("DELETE", "apps/deployments", user("alice")), policies, None, NOW) == Answer(
        allowed=True
    )
    assert decide({"userInfo": None}, policies, None, NOW).allowed


def test_guarded_are_the_users_that_policies_hand_out() -> None:
    policies = cluster(
        policy_object("a"), policy_object("b", identity={"user": "agent"}), policy_object("c", mode="x")
    )
    sound, broken = guarded(user(), policies)
    assert ([item.name for item in sound], [item.name for item in broken]) == (["a"], ["c"])
    assert [item.name for item in guarded(user("agent"), policies)[0]] == ["b"]
    assert guarded(user("alice"), policies) == ((), ())


def test_what_only_the_gateway_can_say_concerns_us_whoever_says_it() -> None:
    assert is_forwarded(user("alice", run="r"))
    assert not is_forwarded({"username": "alice", "extra": {"example.com/a": ["b"]}})
    answer = decide(review("CREATE", "configmaps", user("alice", run="r")), one(EVERYTHING), None, NOW)
    assert not answer.allowed


def test_the_caller_is_what_the_gateway_sent_along() -> None:
    caller = read_caller(forwarded())
    assert (caller.username, caller.run, caller.agent, caller.subject) == (ACCOUNT, "run-1", "coder", "sub-1")
    odd = {"extra": {"chaperone.dev/run": ["a", "b"], "chaperone.dev/agent": "plain"}}
    assert (read_caller(odd).run, read_caller(odd).agent) == ("", "plain")


def test_the_named_approval() -> None:
    assert named_approval(forwarded()) is None
    assert named_approval(forwarded(approval="uid-1", approval_name="apreq-1")) == Named("uid-1", "apreq-1")
    assert named_approval(forwarded(approval_name="apreq-1")) == Named("", "apreq-1")


# What is asked

READ: dict[str, tuple[Obj, dict[str, Any]]] = {
    "a create": (
        review("CREATE", "configmaps"),
        {"verb": "create", "resource": "configmaps", "path": "/api/v1/namespaces/dev/configmaps/x"},
    ),
    "an update": (review("UPDATE", "apps/deployments"), {"verb": "update", "group": "apps"}),
    "a delete": (review("DELETE", "pods"), {"verb": "delete", "name": "x"}),
    "one of a deletecollection": (
        review("DELETE", "pods", name=""),
        {"verb": "deletecollection", "name": ""},
    ),
    "an exec": (
        review("CONNECT", "/pods/exec"),
        {"verb": "create", "subresource": "exec", "is_connect": True},
    ),
    "a subresource": (
        review("UPDATE", "apps/deployments/scale"),
        {"full_resource": "deployments/scale", "path": "/apis/apps/v1/namespaces/dev/deployments/x/scale"},
    ),
    "a dry run": (review("UPDATE", "configmaps", dryRun=True), {"dry_run": True}),
    "no dry run": (review("UPDATE", "configmaps", dryRun=False), {"dry_run": False}),
    "a Namespace is in itself": (
        review("DELETE", "namespaces", namespace="", name="kube-system"),
        {"namespace": "kube-system", "path": "/api/v1/namespaces/kube-system"},
    ),
    "what the client asked for, not what it was made into": (
        review(
            "UPDATE",
            "apps/deployments",
            requestResource={"group": "old", "version": "v0", "resource": "things"},
        ),
        {"group": "old", "version": "v0", "resource": "things"},
    ),
}


@pytest.mark.parametrize(("asked", "expected"), READ.values(), ids=READ)
def test_read(asked: Obj, expected: dict[str, Any]) -> None:
    request = read_review(asked)
    assert isinstance(request, Request)
    assert request.origin is Origin.ADMISSION
    assert {key: getattr(request, key) for key in expected} == expected


UNREADABLE: dict[str, Obj] = {
    "an unknown operation": review("PATCH", "pods"),
    "no operation": {"resource": {"resource": "pods"}},
    "no resource": {"operation": "CREATE"},
    "a resource without a name": {"operation": "CREATE", "resource": {"group": "apps"}},
    "a name that is no text": review("CREATE", "pods", name=1),
}


@pytest.mark.parametrize("asked", UNREADABLE.values(), ids=UNREADABLE)
def test_unreadable_is_refused_for_those_it_concerns(asked: Obj) -> None:
    assert isinstance(read_review(asked), Unreadable)
    answer = decide(asked | {"userInfo": forwarded()}, one(EVERYTHING), None, NOW)
    assert (answer.allowed, answer.code) == (False, 400)


def test_what_should_be_there_and_is_not_is_undetermined() -> None:
    def undetermined(operation: str) -> frozenset[str]:
        request = read_review(review(operation, "pods", object=None, oldObject="x"))
        assert isinstance(request, Request)
        return request.payload.undetermined

    assert undetermined("CREATE") == {"object"}
    assert undetermined("UPDATE") == {"object", "oldObject"}
    assert undetermined("DELETE") == {"oldObject"}
    assert undetermined("CONNECT") == frozenset()


# Forwarded

CLAIMS = 'claims.owner == "acme"'
VERB = 'request.verb == "patch"'

FORWARDED: dict[str, tuple[list[Obj], Obj, bool]] = {
    # sentence: (rules, review, is it let through)
    "what the gateway allows": (EVERYTHING, review("DELETE", "apps/deployments"), True),
    "what has no risk": ([], review("CREATE", "configmaps"), True),
    "what needs an approval": ([], review("DELETE", "apps/deployments"), False),
    "what a rule denies": (
        [rule("Deny", "no", resources=["configmaps"])],
        review("CREATE", "configmaps"),
        False,
    ),
    "what nothing lifts": (EVERYTHING, review("DELETE", "apiregistration.k8s.io/apiservices"), False),
    "a patch that a rule allows": (
        [rule("Allow", "a", verbs=["patch"]), rule("Deny", "no")],
        review("UPDATE", "configmaps"),
        True,
    ),
    "an apply that a rule allows to create": (
        [rule("Allow", "a", verbs=["patch"]), rule("Deny", "no")],
        review("CREATE", "configmaps"),
        True,
    ),
    "a patch that a rule denies may be this one": (
        [rule("Deny", "no", verbs=["patch"])],
        review("UPDATE", "configmaps"),
        False,
    ),
    "an apply that a rule denies may be this one": (
        [rule("Deny", "no", verbs=["patch"])],
        review("CREATE", "configmaps"),
        False,
    ),
    "a rule over the object holds here too": (
        [rule("Deny", "no", verbs=["create"], expression='object.metadata.name == "x"')],
        review("CREATE", "configmaps"),
        False,
    ),
    "a rule over the run holds here too": (
        [
            rule(
                "Deny",
                "no",
                expression='caller.run == "run-1" && caller.agent == "coder" && caller.subject == "sub-1"',
            )
        ],
        review("CREATE", "configmaps"),
        False,
    ),
    "an allowing rule over claims was judged already": (
        [rule("Allow", "a", expression=CLAIMS), rule("Deny", "no")],
        review("CREATE", "configmaps"),
        True,
    ),
    "so was a denying one": ([rule("Deny", "no", expression=CLAIMS)], review("CREATE", "configmaps"), True),
    "and a holding one": (
        [rule("RequireApproval", "no", expression=CLAIMS)],
        review("CREATE", "configmaps"),
        True,
    ),
    "and one over the exact verb": (
        [rule("Allow", "a", expression=VERB), rule("Deny", "no")],
        review("UPDATE", "configmaps"),
        True,
    ),
    "what is false without the claims stays false": (
        [rule("Allow", "a", expression=f'{CLAIMS} && request.name == "y"'), rule("Deny", "no")],
        review("CREATE", "configmaps"),
        False,
    ),
    "what is true without the claims stays true": (
        [rule("Deny", "no", expression=f'{CLAIMS} || request.name == "x"')],
        review("CREATE", "configmaps"),
        False,
    ),
    "an error over the object denies here too": (
        [rule("Deny", "no", verbs=["create"], expression="object.nope == 1")],
        review("CREATE", "configmaps"),
        False,
    ),
    "a rule of another namespace": (
        [rule("Deny", "no", namespaces=["kube-*"])],
        review("CREATE", "configmaps"),
        True,
    ),
}


@pytest.mark.parametrize(("rules", "asked", "allowed"), FORWARDED.values(), ids=FORWARDED)
def test_forwarded(rules: list[Obj], asked: Obj, allowed: bool) -> None:
    answer = decide(asked, one(rules), None, NOW)
    assert answer.allowed is allowed, answer.message


NAMED: dict[str, tuple[Obj, str]] = {
    "an unknown policy": (forwarded("p,q"), 'AgentPolicy "q" is not known'),
    "no policy": (forwarded(""), "not known to the webhook"),
    "only a run": (user(run="run-1"), "not known to the webhook"),
    "a policy of another identity": (forwarded("other"), "hands out another identity"),
    "a broken policy": (forwarded("p,broken"), "does not compile"),
    "somebody else with our extras": (
        {**forwarded(), "username": "alice"},
        "hands out another identity",
    ),
}


@pytest.mark.parametrize(("who", "why"), NAMED.values(), ids=NAMED)
def test_the_policies_that_the_gateway_names_must_fit(who: Obj, why: str) -> None:
    policies = cluster(
        policy_object("p", EVERYTHING),
        policy_object("other", EVERYTHING, identity={"user": "agent"}),
        policy_object("broken", mode="x"),
    )
    answer = decide(review("CREATE", "configmaps", who), policies, None, NOW)
    assert not answer.allowed
    assert why in answer.message


def test_only_the_named_policies_govern_what_was_forwarded() -> None:
    policies = cluster(policy_object("p", EVERYTHING), policy_object("strict", [rule("Deny", "no")]))
    assert decide(review("CREATE", "configmaps"), policies, None, NOW).allowed
    assert not decide(review("CREATE", "configmaps", forwarded("p,strict")), policies, None, NOW).allowed


def test_the_gateway_and_the_webhook_agree() -> None:
    """The same request, seen by both: with all facts there, with what is sent along here."""
    rules = [
        rule("Deny", "platform", namespaces=["kube-*"]),
        rule("Allow", "mine", verbs=["patch"], expression='claims.repository_owner == "acme"'),
        rule(
            "RequireApproval",
            "scale",
            resources=["deployments/scale"],
            expression="object.spec.replicas == 0",
        ),
        rule(
            "Deny", "rest", verbs=["update", "patch"], expression="request.namespace != caller.extra.team[0]"
        ),
    ]
    policies = one(rules)
    bodies: list[Obj] = [{"spec": {"replicas": 0}}, {"spec": {"replicas": 3}}, {"spec": {}}]
    for method, target, operation, resource in (
        ("PATCH", "/apis/apps/v1/namespaces/dev/deployments/x/scale", "UPDATE", "apps/deployments/scale"),
        ("PUT", "/apis/apps/v1/namespaces/dev/deployments/x/scale", "UPDATE", "apps/deployments/scale"),
        ("POST", "/api/v1/namespaces/dev/configmaps", "CREATE", "configmaps"),
    ):
        for body in bodies:
            there = ask(f"{method} {target}", payload=Payload(object=body, old_object=bodies[1]))
            if judge(there, CALLER, policies, None, NOW).action is Action.ALLOW:
                here = review(operation, resource, object=body, oldObject=bodies[1])
                assert decide(here, policies, None, NOW).allowed


# Direct

DIRECT: dict[str, tuple[list[Obj], Obj, bool]] = {
    "what has no risk": ([], review("CREATE", "configmaps"), True),
    "AP-11 what needs an approval": ([], review("DELETE", "apps/deployments"), False),
    "a rule that allows": (EVERYTHING, review("DELETE", "apps/deployments"), True),
    "a rule that allows patches may not mean this": (
        [rule("Allow", "a", verbs=["patch"]), rule("Deny", "no")],
        review("UPDATE", "configmaps"),
        False,
    ),
    "a rule that allows both": (
        [rule("Allow", "a", verbs=["patch", "update"]), rule("Deny", "no")],
        review("UPDATE", "configmaps"),
        True,
    ),
    "a rule that allows creates": (
        [rule("Allow", "a", verbs=["create"]), rule("Deny", "no")],
        review("CREATE", "configmaps"),
        True,
    ),
    "a rule over claims does not allow": (
        [rule("Allow", "a", expression=CLAIMS), rule("Deny", "no")],
        review("CREATE", "configmaps"),
        False,
    ),
    "a rule over claims denies": (
        [rule("Deny", "no", expression=CLAIMS)],
        review("CREATE", "configmaps"),
        False,
    ),
    "a rule over the run denies": (
        [rule("Deny", "no", expression='caller.run == "x"')],
        review("CREATE", "configmaps"),
        False,
    ),
    "a rule over the delete is known": (
        [rule("Deny", "no", expression='request.verb != "delete"'), rule("Allow", "all")],
        review("DELETE", "configmaps"),
        True,
    ),
}


@pytest.mark.parametrize(("rules", "asked", "allowed"), DIRECT.values(), ids=DIRECT)
def test_direct(rules: list[Obj], asked: Obj, allowed: bool) -> None:
    answer = decide(asked | {"userInfo": user()}, one(rules, defaults={"high": "RequireApproval"}), None, NOW)
    assert answer.allowed is allowed, answer.message


def test_direct_is_judged_under_every_policy_of_the_identity() -> None:
    policies = cluster(
        policy_object("a", EVERYTHING, subjects=[{"usernames": ["x"]}]),
        policy_object("b", [rule("Deny", "no")], subjects=[{"usernames": ["y"]}]),
    )
    assert not decide(review("CREATE", "configmaps", user()), policies, None, NOW).allowed


def test_direct_under_a_broken_policy_is_denied() -> None:
    policies = cluster(policy_object("a", EVERYTHING), policy_object("b", mode="x"))
    answer = decide(review("CREATE", "configmaps", user()), policies, None, NOW)
    assert "does not compile" in answer.message


def test_direct_groups_do_not_clash() -> None:
    policies = cluster(
        policy_object("a", EVERYTHING, identity={"user": "agent", "groups": ["x"]}),
        policy_object("b", EVERYTHING, identity={"user": "agent", "groups": ["y"]}),
    )
    assert decide(review("CREATE", "configmaps", user("agent")), policies, None, NOW).allowed


def test_direct_says_where_to_go() -> None:
    answer = decide(review("DELETE", "apps/deployments", user()), one(), None, NOW)
    assert answer.code == 403
    assert "through the gateway" in answer.message


# Approvals

SPENDING = forwarded(approval="uid-1", approval_name="apreq-1")


def test_a_claimed_approval_lets_its_request_through() -> None:
    answer = decide(review("DELETE", "apps/deployments", SPENDING), one(), approval(), NOW)
    assert answer.allowed
    assert answer.audit_annotations["approval"] == "apreq-1"


def test_an_approval_that_nobody_carries_is_not_spent() -> None:
    assert not decide(review("DELETE", "apps/deployments"), one(), approval(), NOW).allowed


PROOFS: dict[str, tuple[Obj, Approval | None, str]] = {
    "AP-11 an approval that is not there": (SPENDING, None, "not there"),
    "another uid under the name": (SPENDING, approval(uid="uid-2"), "not there"),
    "a name without a uid": (forwarded(approval_name="apreq-1"), approval(), "not there"),
    "a grant of rights": (SPENDING, approval(request=None), "not for a request"),
    "AP-01 one that was used": (SPENDING, approval(phase=Phase.EXECUTED), "it is Executed"),
    "one that was not claimed": (SPENDING, approval(phase=Phase.APPROVED), "it is Approved"),
    "AP-10 one that is too old": (SPENDING, approval(use_before=NOW - 1), "not used in time"),
    "AP-10 one for an older policy": (SPENDING, approval(policy_generation=2), "generation 2 then"),
    "AP-03 one for another run": (SPENDING, approval(run="run-2"), "another run"),
}


@pytest.mark.parametrize(("who", "proof", "why"), PROOFS.values(), ids=PROOFS)
def test_proofs_that_prove_nothing(who: Obj, proof: Approval | None, why: str) -> None:
    answer = decide(review("DELETE", "apps/deployments", who), one(), proof, NOW)
    assert not answer.allowed
    assert why in answer.message


DELETE = approval().request or {}
FITS: dict[str, tuple[Obj, dict[str, Any], str]] = {
    # sentence: (review, request of the approval, what differs)
    "the same": (review("DELETE", "apps/deployments", SPENDING), dict(DELETE), ""),
    "another name": (review("DELETE", "apps/deployments", SPENDING, name="y"), dict(DELETE), "the name"),
    "another namespace": (
        review("DELETE", "apps/deployments", SPENDING, namespace="y"),
        dict(DELETE),
        "the namespace",
    ),
    "another resource": (review("DELETE", "apps/daemonsets", SPENDING), dict(DELETE), "the resource"),
    "another group": (review("DELETE", "x/deployments", SPENDING), dict(DELETE), "the API group"),
    "another subresource": (
        review("UPDATE", "apps/deployments/scale", SPENDING),
        dict(DELETE) | {"verb": "update"},
        "the subresource",
    ),
    "another verb": (review("UPDATE", "apps/deployments", SPENDING), dict(DELETE), "the verb"),
    "all instead of one": (review("DELETE", "apps/deployments", SPENDING, name=""), dict(DELETE), "the verb"),
    "one instead of all": (
        review("DELETE", "apps/deployments", SPENDING),
        dict(DELETE) | {"verb": "deletecollection", "name": ""},
        "the verb",
    ),
    "one of all": (
        review("DELETE", "apps/deployments", SPENDING, name=""),
        {key: value for key, value in DELETE.items() if key != "name"} | {"verb": "deletecollection"},
        "",
    ),
    "a patch that creates": (
        review("CREATE", "rbac.authorization.k8s.io/clusterrolebindings", SPENDING, namespace=""),
        {
            "verb": "patch",
            "apiGroup": "rbac.authorization.k8s.io",
            "resource": "clusterrolebindings",
            "name": "x",
        },
        "",
    ),
    "a create with its name in the body": (
        review("CREATE", "rbac.authorization.k8s.io/clusterrolebindings", SPENDING, namespace=""),
        {"verb": "create", "apiGroup": "rbac.authorization.k8s.io", "resource": "clusterrolebindings"},
        "",
    ),
    "an exec by either method": (
        review("CONNECT", "/pods/exec", SPENDING),
        {"verb": "get", "resource": "pods", "subresource": "exec", "namespace": "dev", "name": "x"},
        "",
    ),
    "an exec is not what an update was": (
        review("CONNECT", "/pods/exec", SPENDING),
        {"verb": "update", "resource": "pods", "namespace": "dev", "name": "x"},
        "the subresource",
    ),
    "a Namespace": (
        review("DELETE", "namespaces", SPENDING, namespace="", name="dev"),
        {"verb": "delete", "resource": "namespaces", "namespace": "dev", "name": "dev"},
        "",
    ),
    "a new Namespace": (
        review("CREATE", "namespaces", SPENDING, namespace="", name="dev"),
        {"verb": "create", "resource": "namespaces"},
        "",
    ),
    "an unknown verb": (
        review("DELETE", "apps/deployments", SPENDING),
        dict(DELETE) | {"verb": "list"},
        "the verb",
    ),
    "no verb": (review("DELETE", "apps/deployments", SPENDING), {}, "the verb"),
}


@pytest.mark.parametrize(("asked", "stored", "different"), FITS.values(), ids=FITS)
def test_approve_a_run_b_is_impossible(asked: Obj, stored: dict[str, Any], different: str) -> None:
    policies = one(defaults={"critical": "RequireApproval"})
    answer = decide(asked, policies, approval(request=stored), NOW)
    assert answer.allowed is not bool(different), answer.message
    assert different in answer.message


def test_a_hold_over_claims_is_taken_as_held_when_an_approval_comes_with_it() -> None:
    """By default this is denied; at the gateway the rule held it, and only the gateway knows the claims."""
    rules = [rule("RequireApproval", "ask", expression=CLAIMS)]
    asked = review("DELETE", "namespaces", SPENDING, namespace="", name="dev")
    proof = approval(request={"verb": "delete", "resource": "namespaces", "namespace": "dev", "name": "dev"})
    assert decide(asked, one(rules), proof, NOW).allowed
    assert not decide(asked | {"userInfo": forwarded()}, one(rules), None, NOW).allowed


def test_an_approval_lifts_no_deny() -> None:
    answer = decide(
        review("DELETE", "apps/deployments", SPENDING), one([rule("Deny", "no")]), approval(), NOW
    )
    assert not answer.allowed


# Dry runs


@pytest.mark.parametrize(
    ("asked", "rules", "expected"),
    [
        (review("DELETE", "apps/deployments", dryRun=True), [], True),
        (review("DELETE", "apps/deployments", dryRun=False), [], False),
        (review("DELETE", "apps/deployments", dryRun="true"), [], False),
        (review("DELETE", "apps/deployments", dryRun=True), [rule("Deny", "no")], False),
        (review("DELETE", "apps/deployments", user(), dryRun=True), [], False),
        (review("CONNECT", "/pods/exec", dryRun=True), [], False),
        (review("CREATE", "/serviceaccounts/token", dryRun=True), [], False),
        (review("DELETE", "apps/deployments", forwarded("unknown"), dryRun=True), [], False),
    ],
    ids=[
        "held",
        "not dry",
        "not a boolean",
        "denied",
        "direct",
        "connect",
        "a token",
        "under an unknown policy",
    ],
)
def test_the_gateway_may_look_at_what_it_holds_by_a_dry_run(
    asked: Obj, rules: list[Obj], *, expected: bool
) -> None:
    policies = one(rules, masking={"profile": "Off", "reason": "a test"}, recording={"streams": "Off"})
    assert decide(asked, policies, None, NOW).allowed is expected


def test_a_look_is_annotated_with_what_it_was_for() -> None:
    answer = decide(review("DELETE", "apps/deployments", dryRun=True), one(), None, NOW)
    assert answer.audit_annotations["verdict"] == "Hold"
    assert answer.warnings == ()


# The answer


def test_monitor_warns() -> None:
    answer = decide(review("DELETE", "apps/deployments"), one(mode="Monitor"), None, NOW)
    assert answer.allowed
    assert "needs the approval" in answer.warnings[0]
    assert (answer.audit_annotations["verdict"], answer.audit_annotations["would"]) == ("Allow", "Hold")


def test_annotations_say_who_and_why() -> None:
    answer = decide(review("DELETE", "apps/deployments"), one(), None, NOW)
    assert answer.audit_annotations == {
        "verdict": "Hold",
        "would": "Hold",
        "policy": "p",
        "rule": "defaults",
        "risk": "R39",
        "run": "run-1",
        "agent": "coder",
    }


def test_a_quiet_answer_has_no_warnings() -> None:
    assert decide(review("CREATE", "configmaps"), one(), None, NOW).warnings == ()


def test_the_policy_of_the_gateways_caller_is_not_asked_again() -> None:
    """Subjects cannot be matched here: the caller's own name is not known."""
    policies = one(EVERYTHING, subjects=[{"usernames": ["somebody"]}])
    assert decide(review("CREATE", "configmaps"), policies, None, NOW).allowed
