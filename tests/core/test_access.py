"""Access for a time: what may be asked for, what is never granted, and who may file, approve and end it."""

from __future__ import annotations

import copy
from typing import Any

import jsonpatch
import pytest

from chaperone.core import access
from chaperone.core import approval as life
from chaperone.core.access import (
    MAX_GRANT,
    Rights,
    Unreadable,
    access_digest,
    access_name,
    agents_spec,
    build_access_request,
    governing_policy,
    is_access,
    persons_spec,
    read_rights,
    refused_rights,
    refused_role,
    rights_of,
)
from chaperone.core.approval import ACCESS_TRANSITIONS, TERMINAL, Actor, Phase, may_move, outcome, read
from chaperone.core.creation import check_creation, request_right, stamp_access
from chaperone.core.guard import (
    MAX_SKEW,
    Refused,
    Writer,
    approval_rights,
    check_deletion,
    check_update,
    reviewer_refusal,
    stamp_review,
)
from chaperone.core.policy import PolicySet, RiskSettings, policy_set
from chaperone.core.timestamp import rfc3339
from tests.core.policies import CALLER, Obj, policy, policy_object

NOW = 1_800_000_000.0
PEOPLE = {"subjects": [{"groups": ["ai-agents"]}]}
BOB: Obj = {"username": "bob", "groups": ["team", "system:authenticated"]}
RIGHTS = Rights("ClusterRole", "edit", ("dev", "test"), 1800.0, "30m")
POLICIES = policy_set([policy_object(**PEOPLE)])


def asked(**changes: Any) -> Obj:
    """What a person posts."""
    fields: Obj = {
        "role": "edit",
        "namespaces": ["test", "dev"],
        "lasting": "30m",
        "reason": "a broken release",
        "policy": "p",
        "name": "one",
    }
    return build_access_request(**{**fields, **changes})


def filed(policies: PolicySet = POLICIES, user: Obj = BOB, now: float = NOW, **changes: Any) -> Obj:
    """As stored after both webhooks."""
    new = asked(**changes)
    operations = stamp_access(new, user, policies, now)
    assert not isinstance(operations, Refused), operations.reason
    obj: Obj = jsonpatch.apply_patch(new, list(operations))
    obj["metadata"] |= {"uid": "uid-1", "resourceVersion": "1"}
    return obj


def grant(phase: str, *approvers: str, **status: Any) -> Obj:
    obj = filed()
    reviews = [said(obj, name) for name in approvers]
    return {**obj, "status": {"phase": phase, "reviews": reviews, "useBefore": rfc3339(NOW + 600), **status}}


def said(obj: Obj, username: str, decision: str = "Approved") -> Obj:
    return {
        "username": username,
        "decision": decision,
        "digest": obj["spec"]["digest"],
        "time": rfc3339(NOW - 5),
    }


def given(expires: float = NOW + 1800, *namespaces: str) -> Obj:
    bindings = [{"namespace": namespace, "name": "b"} for namespace in namespaces or ("dev", "test")]
    return {"expiresAt": rfc3339(expires), "bindings": bindings}


ACTIVE = grant("Executing", "alice", grant=given())


def with_status(obj: Obj, **status: Any) -> Obj:
    return {**copy.deepcopy(obj), "status": {**copy.deepcopy(obj["status"]), **status}}


def decide(old: Obj, username: str = "alice", decision: str = "Denied", now: float = NOW) -> Obj:
    """The object as written after the stamp, checked by the validating webhook."""
    new = with_status(old, decision=decision)
    operations = stamp_review(old, new, username, now, subresource="status")
    assert not isinstance(operations, Refused), operations.reason
    result: Obj = jsonpatch.apply_patch(new, list(operations))
    assert check_update(old, result, Writer.PERSON, username, now, subresource="status") == ""
    return result


def checked(old: Obj, new: Obj, writer: Writer = Writer.CONTROLLER, username: str = "") -> str:
    return check_update(old, new, writer, username, NOW, subresource="status")


# What may be asked for


def test_rights_are_read_and_sorted() -> None:
    assert read_rights(asked()["spec"]["access"]) == RIGHTS
    assert str(RIGHTS) == "ClusterRole edit in dev, test for 30m"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"role_kind": "Group"}, "roleRef.kind"),
        ({"role": "a/b"}, "roleRef.name"),
        ({"role": "a\x1bb"}, "roleRef.name"),
        ({"role": "rôle"}, "roleRef.name"),
        ({"role": 1}, "roleRef.name"),
        ({"namespaces": []}, "namespaces"),
        ({"namespaces": ["*"]}, "namespaces"),
        ({"namespaces": ["dev", "dev"]}, "namespaces"),
        ({"namespaces": [1]}, "namespaces"),
        ({"namespaces": [f"n{number}" for number in range(17)]}, "namespaces"),
        ({"lasting": "forever"}, "duration"),
        ({"lasting": "1ms"}, "duration"),
        ({"lasting": 30}, "duration"),
    ],
)
def test_what_is_no_request_for_access(changes: Obj, why: str) -> None:
    read = read_rights(asked(**changes)["spec"]["access"])
    assert isinstance(read, Unreadable)
    assert why in read.reason


def test_namespaces_are_a_list() -> None:
    spec = {**asked()["spec"]["access"], "namespaces": "dev"}
    assert isinstance(read_rights(spec), Unreadable)
    assert isinstance(read_rights(None), Unreadable)


def test_what_a_client_posts() -> None:
    assert asked(name="")["metadata"] == {"generateName": "access-"}
    bare = asked(policy="", reason="")["spec"]
    assert set(bare) == {"type", "access"}
    assert is_access(asked())
    assert not is_access({"spec": {"type": "Request"}})
    assert not is_access({"spec": 7})


# What is never granted


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"role": "cluster-admin"}, "never granted"),
        ({"role": "admin"}, "never granted"),
        ({"role": "system:node"}, "never granted"),
        ({"namespaces": ["dev", "kube-system"]}, "kube-system"),
        ({"namespaces": ["kube-chaperone"]}, "kube-chaperone"),
        ({"lasting": "8h1s"}, "at most 28800s"),
    ],
)
def test_never_granted(changes: Obj, why: str) -> None:
    rights = read_rights(asked(**changes)["spec"]["access"])
    assert isinstance(rights, Rights)
    assert why in refused_rights(rights, policy(), RiskSettings())


def test_the_policy_bounds_the_time() -> None:
    assert refused_rights(RIGHTS, policy(), RiskSettings()) == ""
    assert refused_rights(RIGHTS, policy(approval={"maxGrant": "30m"}), RiskSettings()) == ""
    assert "at most 1799s" in refused_rights(RIGHTS, policy(approval={"maxGrant": "1799s"}), RiskSettings())
    assert "does not give" in refused_rights(RIGHTS, policy(approval={"maxGrant": "0s"}), RiskSettings())
    assert policy().approval.max_grant == MAX_GRANT


def test_a_role_that_can_grow_is_refused() -> None:
    def rule(verbs: object, resources: object = ("pods",)) -> Obj:
        listed = list(resources) if isinstance(resources, tuple) else resources
        return {"verbs": verbs, "resources": listed, "apiGroups": ["*"]}

    for rules, why in (
        ([rule(["get"]), rule(["*"])], '"*"'),
        ([rule(["bind"])], '"bind"'),
        ([rule(["escalate"])], '"escalate"'),
        ([rule(["impersonate"], ("users",))], "impersonate"),
        ([rule(["impersonate"], ("serviceaccounts", "groups"))], "impersonate"),
        ([rule(["delete"], ("*",))], "write every resource"),
        ([rule("get")], "cannot be read"),
        ([rule(["get"], [1])], "cannot be read"),
        ([7], "cannot be read"),
        ("all", "cannot be read"),
    ):
        assert why in refused_role({"rules": rules}), rules
    harmless = [
        rule(["get", "list"], ("*",)),
        rule(["create", "delete"]),
        rule(["impersonate"], ("serviceaccounts",)),
        {"verbs": ["get"], "nonResourceURLs": ["/version"]},
    ]
    assert refused_role({"rules": harmless}) == ""
    assert refused_role({"rules": None}) == ""


# The whole request


def test_an_agents_request_is_for_the_identity_of_its_policy() -> None:
    spec = agents_spec(RIGHTS, CALLER, policy(), reason="because\x1b", now=NOW)
    assert spec["access"]["identity"] == "system:serviceaccount:agents:coder"
    assert spec["requester"]["run"] == "run-1"
    assert spec["policy"] == {"name": "p", "generation": 3, "rule": "access"}
    assert spec["reason"] == "because\\x1b"
    approval = read({"metadata": {"name": "a", "uid": "u"}, "spec": spec})
    assert rights_of(approval) == RIGHTS
    assert approval.type == "Access"
    assert approval.expires_at == NOW + 3600


def test_the_digest_is_over_who_what_and_under_which_policy() -> None:
    spec = agents_spec(RIGHTS, CALLER, policy(), reason="", now=NOW)
    assert "reason" not in spec
    again = agents_spec(RIGHTS, CALLER, policy(), reason="other words", now=NOW + 9)
    assert again["digest"] == spec["digest"]
    for key, value in (
        ("requester", {"username": "x"}),
        ("access", {**spec["access"], "duration": "31m"}),
        ("access", {**spec["access"], "identity": "x"}),
        ("policy", {"name": "p", "generation": 4}),
        ("required", 2),
    ):
        assert access_digest({**spec, key: value}) != spec["digest"], key
    digits = spec["digest"][7:23]
    assert (access_name(spec["digest"]), access_name(spec["digest"], 3)) == (
        f"access-{digits}",
        f"access-{digits}-3",
    )


def test_of_several_policies_the_strictest_terms_apply() -> None:
    lenient, strict = policy("a"), policy("b", approval={"required": 2})
    watching = policy("c", mode="Monitor", approval={"required": 9})
    assert governing_policy([lenient, watching, strict]) is strict
    assert governing_policy([watching]) is watching
    assert governing_policy([]) is None


# Who may file it


def test_a_person_asks_in_their_own_name() -> None:
    obj = filed(reason="x")
    spec = obj["spec"]
    assert spec["requester"] == BOB
    assert spec["access"]["identity"] == "bob"
    assert spec["required"] == 1
    assert check_creation(obj, Writer.PERSON, BOB, POLICIES, NOW + 1) == ""
    assert request_right(obj) == ("p", ("dev", "test"))
    assert approval_rights(asked(namespaces=["*"])) == ("p", ("",))


def test_whatever_else_the_person_wrote_does_not_count() -> None:
    new = asked()
    new["spec"] |= {"requester": {"username": "alice"}, "required": 1, "digest": "x", "expiresAt": "never"}
    new["spec"]["access"]["identity"] = "alice"
    operations = stamp_access(new, BOB, POLICIES, NOW)
    assert not isinstance(operations, Refused)
    assert jsonpatch.apply_patch(new, list(operations))["spec"] == filed()["spec"]


def test_only_requests_for_access_are_completed() -> None:
    assert stamp_access({"spec": {"type": "Request"}}, BOB, POLICIES, NOW) == ()


GOVERNED = {"username": "system:serviceaccount:agents:coder", "groups": []}
FORWARDED = {**BOB, "extra": {"chaperone.dev/run": ["r"]}}


@pytest.mark.parametrize(
    ("user", "changes", "why"),
    [
        ({}, {}, "authenticated user"),
        (GOVERNED, {}, "through the gateway"),
        (FORWARDED, {}, "through the gateway"),
        ({"username": "eve", "groups": ["ai-agents"]}, {}, "through the gateway"),
        (BOB, {"namespaces": ["*"]}, "namespaces"),
        (BOB, {"policy": "other"}, "spec.policy.name"),
        (BOB, {"policy": ""}, "spec.policy.name"),
        (BOB, {"reason": 7}, "spec.reason"),
        (BOB, {"role": "cluster-admin"}, "never granted"),
    ],
)
def test_a_person_may_not_ask_for(user: Obj, changes: Obj, why: str) -> None:
    refused = stamp_access(asked(**changes), user, POLICIES, NOW)
    assert isinstance(refused, Refused)
    assert why in refused.reason
    forged = filed()
    forged["spec"] |= asked(**changes)["spec"]
    assert check_creation(forged, Writer.PERSON, user, POLICIES, NOW)


@pytest.mark.parametrize("key", ["finalizers", "ownerReferences"])
def test_a_person_sets_neither_ownership_nor_our_annotations(key: str) -> None:
    for metadata, named in (
        ({key: ["x"]}, key),
        ({"annotations": {"chaperone.dev/notified": "x"}}, "notified"),
    ):
        new = asked()
        new["metadata"] |= metadata
        refused = stamp_access(new, BOB, POLICIES, NOW)
        assert isinstance(refused, Refused)
        assert named in refused.reason


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("/spec/requester/username", "alice"),
        ("/spec/access/identity", "alice"),
        ("/spec/access/duration", "31m"),
        ("/spec/required", 2),
        ("/spec/policy/generation", 2),
        ("/spec/useWithin", "24h"),
        ("/spec/expiresAt", rfc3339(NOW + 7200)),
        ("/spec/digest", "sha256:" + "0" * 64),
    ],
)
def test_what_was_not_stamped_so_is_refused(path: str, value: object) -> None:
    new = jsonpatch.apply_patch(filed(), [{"op": "replace", "path": path, "value": value}])
    assert "as it was stamped" in check_creation(new, Writer.PERSON, BOB, POLICIES, NOW)


def test_a_stamp_is_for_its_own_time() -> None:
    assert check_creation(filed(), Writer.PERSON, BOB, POLICIES, NOW + MAX_SKEW) == ""
    assert check_creation(filed(), Writer.PERSON, BOB, POLICIES, NOW + MAX_SKEW + 1)


def test_who_else_may_file() -> None:
    assert check_creation(filed(), Writer.GATEWAY) == ""
    assert "gateway alone" in check_creation(filed(), Writer.CONTROLLER)
    assert check_creation(filed(), Writer.PERSON) != ""
    assert "cannot be read" in check_creation(asked(), Writer.PERSON, BOB, POLICIES, NOW)
    broken = filed()
    broken["spec"]["access"]["namespaces"] = ["*"]
    assert "namespaces" in check_creation(broken, Writer.GATEWAY)


# Who may approve it


def test_nobody_approves_their_own() -> None:
    obj = grant("Pending")
    assert "own requester" in reviewer_refusal(obj, BOB, POLICIES)
    assert reviewer_refusal(obj, {"username": "alice"}, POLICIES) == ""


def test_approval_goes_as_for_any_request() -> None:
    approved = decide(grant("Pending"), decision="Approved")
    assert approved["status"]["phase"] == "Approved"


def test_what_was_never_said_cannot_be_written_by_hand() -> None:
    for old, reviews in (
        (grant("Pending"), []),
        (ACTIVE, [said(ACTIVE, "carol", "Denied")]),
        (ACTIVE, [said(ACTIVE, "alice")]),
    ):
        new = with_status(old, reviews=reviews, phase="Denied")
        assert checked(old, new, Writer.PERSON, "alice")


# The life of a grant


class TestTable:
    def test_the_gateway_has_no_part_in_it_but_withdrawal(self) -> None:
        steps = {step for step, actors in ACCESS_TRANSITIONS.items() if Actor.GATEWAY in actors}
        assert steps == {(Phase.PENDING, Phase.CANCELLED), (Phase.APPROVED, Phase.CANCELLED)}

    def test_a_grant_is_begun_and_ended_by_the_controller(self) -> None:
        for step in (
            (Phase.APPROVED, Phase.EXECUTING),
            (Phase.APPROVED, Phase.FAILED),
            (Phase.EXECUTING, Phase.EXECUTED),
            (Phase.EXECUTING, Phase.FAILED),
        ):
            assert may_move(Actor.CONTROLLER, *step, "Access"), step
            assert not may_move(Actor.REVIEW, *step, "Access"), step

    def test_terminal_phases_are_the_same(self) -> None:
        assert TERMINAL.isdisjoint(before for before, _ in ACCESS_TRANSITIONS)

    def test_people_have_a_say_while_it_lasts(self) -> None:
        active = read(ACTIVE)
        assert outcome(active, NOW + 99_999) is None
        denied = read(decide(ACTIVE))
        assert denied.phase is Phase.DENIED
        assert (
            outcome(read(with_status(ACTIVE, reviews=[said(ACTIVE, "carol", "Denied")])), NOW) is Phase.DENIED
        )


class TestRevocation:
    def test_by_another_approver(self) -> None:
        status = decide(ACTIVE, "carol")["status"]
        assert status["phase"] == "Denied"
        assert [review["username"] for review in status["reviews"]] == ["alice", "carol"]
        assert status["grant"] == ACTIVE["status"]["grant"]

    def test_by_the_approver_who_thinks_better_of_it(self) -> None:
        status = decide(ACTIVE, "alice")["status"]
        assert status["phase"] == "Denied"
        assert [(review["username"], review["decision"]) for review in status["reviews"]] == [
            ("alice", "Denied")
        ]

    def test_also_before_it_has_begun(self) -> None:
        assert decide(grant("Approved", "alice"), "alice")["status"]["phase"] == "Denied"

    @pytest.mark.parametrize(
        ("obj", "username", "decision", "why"),
        [
            (ACTIVE, "alice", "Approved", "Approved already"),
            (ACTIVE, "carol", "Approved", "Approved already"),
            (grant("Executed", "alice"), "alice", "Denied", "can no longer be decided"),
            (grant("Pending", "alice"), "alice", "Approved", "counts once"),
        ],
    )
    def test_not_otherwise(self, obj: Obj, username: str, decision: str, why: str) -> None:
        refused = stamp_review(obj, with_status(obj, decision=decision), username, NOW, subresource="status")
        assert isinstance(refused, Refused)
        assert why in refused.reason


class TestController:
    def test_begins_a_grant_for_the_time_that_was_approved(self) -> None:
        old = grant("Approved", "alice")
        assert checked(old, with_status(old, phase="Executing", grant=given())) == ""

    @pytest.mark.parametrize(
        ("status", "why"),
        [
            ({}, "expiresAt"),
            ({"grant": given(NOW + 1800 + MAX_SKEW + 2)}, "for 30m"),
            ({"grant": given(NOW - MAX_SKEW - 2)}, "for 30m"),
            ({"grant": given(NOW + 1800, "prod")}, '"prod"'),
            ({"grant": given(), "claimedBy": "x"}, "claimedBy"),
        ],
    )
    def test_begins_no_other(self, status: Obj, why: str) -> None:
        old = grant("Approved", "alice")
        assert why in checked(old, with_status(old, phase="Executing", **status))

    def test_begins_none_too_late_or_without_people(self) -> None:
        late = grant("Approved", "alice", useBefore=rfc3339(NOW))
        assert "in time" in checked(late, with_status(late, phase="Executing", grant=given()))
        nobody = grant("Approved")
        assert "0 of 1" in checked(nobody, with_status(nobody, phase="Executing", grant=given()))

    def test_begins_none_that_cannot_be_read(self) -> None:
        old = grant("Approved", "alice")
        old["spec"]["access"]["namespaces"] = ["*"]
        assert "namespaces" in checked(old, with_status(old, phase="Executing", grant=given()))

    def test_ends_it_and_keeps_its_time(self) -> None:
        ended = with_status(ACTIVE, phase="Executed", grant={**given(), "bindings": []})
        assert checked(ACTIVE, ended) == ""
        longer = with_status(ACTIVE, grant=given(NOW + 3600))
        assert "time at which its grant ends" in checked(ACTIVE, longer)
        assert "time at which" in checked(ACTIVE, with_status(ACTIVE, phase="Executed", grant={}))

    def test_clears_the_bindings_of_a_revoked_one(self) -> None:
        denied = decide(ACTIVE)
        assert checked(denied, with_status(denied, grant={**given(), "bindings": []})) == ""

    def test_the_gateway_does_none_of_it(self) -> None:
        old = grant("Approved", "alice")
        assert checked(old, with_status(old, phase="Executing", claimedBy="g"), Writer.GATEWAY)
        assert checked(ACTIVE, with_status(ACTIVE, phase="Unknown"), Writer.GATEWAY)

    def test_an_active_grant_cannot_be_deleted(self) -> None:
        assert "Executing" in check_deletion(ACTIVE)


# Annotations


def test_only_the_controller_says_what_people_were_told() -> None:
    new = copy.deepcopy(ACTIVE)
    new["metadata"]["annotations"] = {"chaperone.dev/notified": "pending"}
    for subresource in ("", "status"):
        for writer in (Writer.PERSON, Writer.GATEWAY):
            refusal = check_update(ACTIVE, new, writer, "alice", NOW, subresource=subresource)
            assert "chaperone.dev/notified" in refusal
        assert check_update(ACTIVE, new, Writer.CONTROLLER, "c", NOW, subresource=subresource) == ""
    other = copy.deepcopy(ACTIVE)
    other["metadata"]["annotations"] = {"team": "web"}
    assert check_update(ACTIVE, other, Writer.PERSON, "alice", NOW, subresource="") == ""


def test_the_bindings_are_read_strictly() -> None:
    assert read(ACTIVE).bindings == (("dev", "b"), ("test", "b"))
    assert read(ACTIVE).grant_expires_at == NOW + 1800
    with pytest.raises(ValueError, match="namespace"):
        read(with_status(ACTIVE, grant={"bindings": [{"name": "b"}]}))


def test_the_two_words_are_one() -> None:
    assert life.GRANT == access.ACCESS
    assert persons_spec(RIGHTS, {}, policy(), reason="", now=NOW)["requester"] == {
        "username": "",
        "groups": [],
    }
