"""The guard of ApprovalRequests: people decide in their own name, programs take the steps of the table, no more."""

from __future__ import annotations

import copy
from typing import Any

import jsonpatch
import pytest

from chaperone.core.creation import check_creation
from chaperone.core.guard import (
    MAX_SKEW,
    Refused,
    Writer,
    approval_rights,
    check_deletion,
    check_policy,
    check_update,
    reviewer_refusal,
    stamp_review,
    use_within,
)
from chaperone.core.policy import Capabilities, PolicySet, policy_set
from chaperone.core.timestamp import rfc3339
from tests.core.policies import Obj, policy_object

NOW = 1_800_000_000.0
DIGEST = "sha256:" + "a" * 64


def stored(status: Obj | None = None, **spec: Any) -> Obj:
    return {
        "apiVersion": "chaperone.dev/v1alpha1",
        "kind": "ApprovalRequest",
        "metadata": {"name": "apreq-1", "uid": "uid-1", "resourceVersion": "7"},
        "spec": {
            "type": "Request",
            "requester": {"username": "repo:acme/web", "subject": "bob", "run": "run-1"},
            "request": {"verb": "delete", "resource": "deployments", "apiGroup": "apps", "namespace": "dev"},
            "digest": DIGEST,
            "policy": {"name": "p", "generation": 3},
            "required": 1,
            "expiresAt": rfc3339(NOW + 600),
            "useWithin": "5m",
            **spec,
        },
        "status": {"phase": "Pending", **(status or {})},
    }


def said(username: str, decision: str = "Approved", at: float = NOW - 10, **fields: Any) -> Obj:
    return {"username": username, "decision": decision, "digest": DIGEST, "time": rfc3339(at), **fields}


def patched(obj: Obj, **status: Any) -> Obj:
    """The object after a merge patch of its status; None removes."""
    new = copy.deepcopy(obj)
    new["status"] = {key: value for key, value in {**new["status"], **status}.items() if value is not None}
    return new


def approved(**status: Any) -> Obj:
    return stored({"phase": "Approved", "reviews": [said("alice")], "useBefore": rfc3339(NOW + 60), **status})


def stamped(
    old: Obj, username: str = "alice", decision: str = "Approved", now: float = NOW, **status: Any
) -> Obj:
    """What is written after the mutating webhook has seen the decision."""
    new = patched(old, decision=decision, **status)
    operations = stamp_review(old, new, username, now, subresource="status")
    assert not isinstance(operations, Refused), operations.reason
    result: Obj = jsonpatch.apply_patch(new, list(operations))
    return result


def checked(
    old: Obj, new: Obj, writer: Writer = Writer.PERSON, username: str = "alice", now: float = NOW
) -> str:
    return check_update(old, new, writer, username, now, subresource="status")


class TestStamping:
    def test_a_decision_becomes_a_review(self) -> None:
        new = stamped(stored())
        assert new["status"]["reviews"] == [said("alice", at=NOW)]
        assert "decision" not in new["status"]

    def test_the_words_of_the_approver_go_along(self) -> None:
        new = stamped(stored(), decisionReason="fine\x1b[0m")
        assert new["status"]["reviews"][0]["reason"] == "fine\\x1b[0m"
        assert "decisionReason" not in new["status"]

    def test_enough_people_approve(self) -> None:
        status = stamped(stored(), now=NOW + 0.9)["status"]
        assert (status["phase"], status["approvals"]) == ("Approved", "1/1")
        assert status["useBefore"] == rfc3339(NOW + 300)
        assert [item["type"] for item in status["conditions"]] == ["Approved"]

    def test_too_few_do_not(self) -> None:
        first = stamped(stored(required=2))
        assert (first["status"]["phase"], first["status"]["approvals"]) == ("Pending", "1/2")
        second = stamped(first, "carol")
        assert (second["status"]["phase"], second["status"]["approvals"]) == ("Approved", "2/2")
        assert [item["username"] for item in second["status"]["reviews"]] == ["alice", "carol"]

    def test_one_denial_denies(self) -> None:
        first = stamped(stored(required=2))
        assert stamped(first, "carol", "Denied")["status"]["phase"] == "Denied"

    def test_an_approval_can_still_be_denied_by_another(self) -> None:
        status = stamped(stamped(stored()), "carol", "Denied")["status"]
        assert status["phase"] == "Denied"
        assert [item["type"] for item in status["conditions"]] == ["Approved", "Denied"]

    def test_a_decision_that_was_left_behind_is_no_change(self) -> None:
        old = stored({"decision": "Approved"})
        assert stamped(old)["status"]["reviews"] == [said("alice", at=NOW)]

    def test_nothing_to_stamp(self) -> None:
        assert stamp_review(stored(), stored(), "alice", NOW, subresource="status") == ()
        assert stamp_review(stored(), {"metadata": {}}, "alice", NOW, subresource="") == ()

    def test_without_a_time_to_use_it_in_there_is_a_default(self) -> None:
        assert use_within(stored()) == 300
        assert use_within(stored(useWithin="x")) == 600
        assert use_within({}) == 600


REFUSALS: dict[str, tuple[Obj, dict[str, Any], str, str, str]] = {
    # sentence: (stored, status of the patch, user, subresource, part of the reason)
    "on the main resource": (stored(), {"decision": "Approved"}, "alice", "", "status subresource"),
    "an unknown decision": (stored(), {"decision": "Yes"}, "alice", "status", "Approved, Denied"),
    "a reason without a decision": (stored(), {"decisionReason": "x"}, "alice", "status", "Approved, Denied"),
    "a reason that is no text": (
        stored(),
        {"decision": "Approved", "decisionReason": 1},
        "alice",
        "status",
        "must be a string",
    ),
    "AP-07 a review by hand beside it": (
        stored(),
        {"decision": "Approved", "reviews": [said("bob")]},
        "alice",
        "status",
        "nothing may be changed",
    ),
    "a phase beside it": (
        stored(),
        {"decision": "Approved", "phase": "Approved"},
        "alice",
        "status",
        "nothing may be changed",
    ),
    "nobody": (stored(), {"decision": "Approved"}, "", "status", "authenticated"),
    "AP-07 twice": (
        stored({"reviews": [said("alice")]}),
        {"decision": "Approved"},
        "alice",
        "status",
        "counts once",
    ),
    "a change of mind": (
        stored({"reviews": [said("alice")]}),
        {"decision": "Denied"},
        "alice",
        "status",
        "once",
    ),
    "approving what is approved": (
        approved(),
        {"decision": "Approved"},
        "carol",
        "status",
        "nothing is left",
    ),
    "after its time": (
        stored(expiresAt=rfc3339(NOW)),
        {"decision": "Approved"},
        "alice",
        "status",
        "has expired",
    ),
    "an object that cannot be read": (
        stored(digest="x"),
        {"decision": "Approved"},
        "alice",
        "status",
        "spec.digest",
    ),
    **{
        f"one that is {phase}": (
            stored({"phase": phase}),
            {"decision": "Denied"},
            "alice",
            "status",
            f"is {phase}",
        )
        for phase in ("Denied", "Expired", "Cancelled", "Executing", "Executed", "Failed", "Unknown")
    },
}


@pytest.mark.parametrize(("old", "status", "username", "subresource", "why"), REFUSALS.values(), ids=REFUSALS)
def test_no_review(old: Obj, status: dict[str, Any], username: str, subresource: str, why: str) -> None:
    refused = stamp_review(old, patched(old, **status), username, NOW, subresource=subresource)
    assert isinstance(refused, Refused)
    assert why in refused.reason


# The validating side


@pytest.mark.parametrize("decision", ["Approved", "Denied"])
def test_what_was_stamped_is_accepted(decision: str) -> None:
    for old in (stored(), stored(required=2), stored({"reviews": [said("carol")]}, required=2)):
        assert checked(old, stamped(old, decision=decision)) == ""


def test_it_is_accepted_a_moment_later_and_not_long_after() -> None:
    new = stamped(stored())
    assert checked(stored(), new, now=NOW + 5) == ""
    assert "another time" in checked(stored(), new, now=NOW + MAX_SKEW + 1)
    assert "another time" in checked(stored(), new, now=NOW - MAX_SKEW - 1)


BY_HAND: dict[str, tuple[Obj, Obj, str]] = {
    # sentence: (stored, as written by alice, part of the refusal)
    "AP-07 the stamp is missing": (stored(), patched(stored(), decision="Approved"), "nothing was decided"),
    "AP-07 in somebody else's name": (stored(), patched(stored(), reviews=[said("bob", at=NOW)]), '"bob"'),
    "AP-07 for another digest": (
        stored(),
        patched(stored(), reviews=[said("alice", at=NOW) | {"digest": "sha256:" + "b" * 64}]),
        "another digest",
    ),
    "AP-07 a second one": (
        stored({"reviews": [said("alice")]}),
        patched(stored(), reviews=[said("alice"), said("alice", at=NOW)]),
        "counts once",
    ),
    "AP-07 two at once": (
        stored(required=2),
        patched(stored(required=2), reviews=[said("alice", at=NOW), said("bob", at=NOW)]),
        "only through status.decision",
    ),
    "without its time": (
        stored(),
        patched(stored(), reviews=[{"username": "alice", "decision": "Approved", "digest": DIGEST}]),
        "another time",
    ),
    "with an odd time": (stored(), patched(stored(), reviews=[said("alice") | {"time": "now"}]), ""),
    "an unknown decision": (
        stored(),
        patched(stored(), reviews=[said("alice", "Yes", at=NOW)]),
        "Approved, Denied",
    ),
    "a phase that does not follow": (
        stored(required=2),
        patched(stored(required=2), reviews=[said("alice", at=NOW)], phase="Approved"),
        "only through status.decision",
    ),
    "a longer time to use it": (
        stored(),
        patched(stamped(stored()), useBefore=rfc3339(NOW + 86400)),
        "only through status.decision",
    ),
    "an older review gone": (
        stored({"reviews": [said("bob", "Denied")]}, required=2),
        patched(stored(required=2), reviews=[said("alice", at=NOW)]),
        "only through status.decision",
    ),
    "an older review changed": (
        stored({"reviews": [said("bob", "Denied")]}, required=2),
        patched(stored(required=2), reviews=[said("bob"), said("alice", at=NOW)]),
        "only through status.decision",
    ),
    "the phase alone": (stored(), patched(stored(), phase="Approved"), "only through status.decision"),
    "a claim": (
        approved(),
        patched(approved(), phase="Executing", claimedBy="me"),
        "only through status.decision",
    ),
    "an unreadable status": (stored(), patched(stored(), phase="Done"), "status.phase"),
    "AP-09 out of a terminal state": (
        stored({"phase": "Denied", "reviews": [said("bob", "Denied")]}),
        patched(stored(), reviews=[said("bob", "Denied"), said("alice", at=NOW)]),
        "is Denied",
    ),
    "AP-09 the spec": (stored(), stored(digest="sha256:" + "b" * 64), "immutable"),
}


@pytest.mark.parametrize(("old", "new", "why"), BY_HAND.values(), ids=BY_HAND)
@pytest.mark.parametrize("subresource", ["status", ""], ids=["AP-08 status", "AP-08 main"])
def test_by_hand_is_refused(old: Obj, new: Obj, why: str, subresource: str) -> None:
    refusal = check_update(old, new, Writer.PERSON, "alice", NOW, subresource=subresource)
    assert refusal
    assert why in refusal


def test_labels_are_for_people_and_ownership_is_not() -> None:
    labelled = stored()
    labelled["metadata"]["labels"] = {"a": "b"}
    assert check_update(stored(), labelled, Writer.PERSON, "alice", NOW, subresource="") == ""
    for key in ("finalizers", "ownerReferences"):
        owned = stored()
        owned["metadata"][key] = ["x"]
        assert key in check_update(stored(), owned, Writer.PERSON, "alice", NOW, subresource="")
        assert check_update(stored(), owned, Writer.CONTROLLER, "controller", NOW, subresource="") == ""


# Programs

CLAIM = {"phase": "Executing", "claimedBy": "gateway-1"}
CLAIMED = stored(
    {"phase": "Executing", "reviews": [said("alice")], "useBefore": rfc3339(NOW + 60), "claimedBy": "g"}
)
DONE = {"auditID": "1", "code": 200, "time": rfc3339(NOW)}
GATEWAY, CONTROLLER = Writer.GATEWAY, Writer.CONTROLLER

STEPS: dict[str, tuple[Writer, Obj, dict[str, Any], str]] = {
    # sentence: (writer, stored, patch of the status, part of the refusal or "")
    "a claim": (GATEWAY, approved(), CLAIM, ""),
    "AP-04 a second claim": (GATEWAY, CLAIMED, {"claimedBy": "gateway-2"}, "keeps status.claimedBy"),
    "a claim without a name": (GATEWAY, approved(), {"phase": "Executing"}, "named in status.claimedBy"),
    "a claim of what has one": (GATEWAY, approved(claimedBy="g"), CLAIM, "exactly one gateway"),
    "AP-10 a claim after its time": (GATEWAY, approved(useBefore=rfc3339(NOW)), CLAIM, "not used in time"),
    "a claim of what is pending": (GATEWAY, stored(), CLAIM, "cannot go from Pending to Executing"),
    "AP-13 a claim with too few people": (
        GATEWAY,
        stored(approved()["status"], required=2),
        CLAIM,
        "has 1 of 2 approvals",
    ),
    "a claim of what somebody denied": (
        GATEWAY,
        approved(reviews=[said("alice"), said("bob", "Denied")]),
        CLAIM,
        "denied by somebody",
    ),
    "a claim by the controller": (CONTROLLER, approved(), {"phase": "Executing"}, "cannot go from Approved"),
    "the outcome": (GATEWAY, CLAIMED, {"phase": "Executed", "execution": DONE}, ""),
    "a failure": (GATEWAY, CLAIMED, {"phase": "Failed", "execution": DONE}, ""),
    "AP-05 the unknown outcome": (CONTROLLER, CLAIMED, {"phase": "Unknown"}, ""),
    "an outcome before the end": (GATEWAY, CLAIMED, {"execution": DONE}, "only when that is over"),
    "an outcome with the claim": (
        GATEWAY,
        approved(),
        {**CLAIM, "execution": DONE},
        "only when that is over",
    ),
    "an outcome for another claimant": (
        GATEWAY,
        CLAIMED,
        {"phase": "Executed", "claimedBy": "other"},
        "keeps status.claimedBy",
    ),
    "AP-01 once more": (
        GATEWAY,
        stored({"phase": "Executed", "reviews": [said("alice")]}),
        CLAIM,
        "cannot go from Executed",
    ),
    "approval by the gateway": (GATEWAY, stored(), {"phase": "Approved"}, "cannot go from Pending"),
    "approval by the controller alone": (CONTROLLER, stored(), {"phase": "Approved"}, "has 0 of 1"),
    "approval by the controller, for people": (
        CONTROLLER,
        stored({"reviews": [said("alice")]}),
        {"phase": "Approved", "useBefore": rfc3339(NOW + 60)},
        "",
    ),
    "denial by the controller alone": (CONTROLLER, stored(), {"phase": "Denied"}, "denied by nobody"),
    "denial by the controller, for people": (
        CONTROLLER,
        stored({"reviews": [said("bob", "Denied")]}),
        {"phase": "Denied"},
        "",
    ),
    "expiry": (CONTROLLER, stored(), {"phase": "Expired"}, ""),
    "expiry by the gateway": (GATEWAY, stored(), {"phase": "Expired"}, "cannot go from Pending"),
    "withdrawal": (GATEWAY, stored(), {"phase": "Cancelled"}, ""),
    "a review by the gateway": (
        GATEWAY,
        stored(),
        {"reviews": [said("alice")]},
        "which the gateway does not change",
    ),
    "a grant by the controller": (CONTROLLER, approved(), {"grant": {"bindings": []}}, ""),
    "more time": (CONTROLLER, approved(), {"useBefore": rfc3339(NOW + 9999)}, "keeps status.useBefore"),
    "a condition": (GATEWAY, stored(), {"conditions": [{"type": "X", "status": "True"}]}, ""),
    "nothing": (GATEWAY, stored(), {}, ""),
    "the count before anybody reviewed": (GATEWAY, stored(required=2), {"approvals": "0/2"}, ""),
    "a count that flatters": (GATEWAY, stored(required=2), {"approvals": "2/2"}, "has 0/2 approvals"),
    "a count by the controller": (
        CONTROLLER,
        stored(),
        {"approvals": "0/1"},
        "which the controller does not change",
    ),
}


@pytest.mark.parametrize(("writer", "old", "status", "why"), STEPS.values(), ids=STEPS)
def test_steps(writer: Writer, old: Obj, status: dict[str, Any], why: str) -> None:
    refusal = checked(old, patched(old, **status), writer, "account")
    assert bool(refusal) is bool(why), refusal
    assert why in refusal


def test_only_the_gateway_makes_them() -> None:
    assert check_creation(stored(), Writer.GATEWAY) == ""
    for writer in (Writer.PERSON, Writer.CONTROLLER):
        assert "gateway alone" in check_creation(stored(), writer)
    assert "cannot be read" in check_creation(stored(required=0), Writer.GATEWAY)


def test_only_what_has_ended_is_deleted() -> None:
    for phase in ("Pending", "Approved", "Executing"):
        assert f"is {phase}" in check_deletion(stored({"phase": phase}))
    for phase in ("Denied", "Expired", "Cancelled", "Executed", "Failed", "Unknown"):
        assert check_deletion(stored({"phase": phase})) == ""
    assert check_deletion({}) == ""


# Who may review


def policies(**spec: Any) -> PolicySet:
    return policy_set([policy_object("p", subjects=[{"usernames": ["repo:acme/*"]}], **spec)])


REVIEWERS: dict[str, tuple[PolicySet, Obj, str]] = {
    "a person": (policies(), {"username": "alice"}, ""),
    "AP-06 the requester": (policies(), {"username": "repo:acme/web"}, "own requester"),
    "AP-06 the person behind it": (policies(), {"username": "bob"}, "person behind"),
    "the person behind it, where that is allowed": (
        policies(approval={"selfApproval": True}),
        {"username": "bob"},
        "",
    ),
    "AP-06 an identity that is handed out": (
        policies(),
        {"username": "system:serviceaccount:agents:coder"},
        'AgentPolicy "p" governs',
    ),
    "AP-06 another agent": (policies(), {"username": "repo:acme/api"}, 'AgentPolicy "p" governs'),
    "AP-06 an agent under a broken policy": (
        policy_set(
            [
                *[policy_object("p", subjects=[{"usernames": ["x"]}])],
                policy_object("q", mode="x", subjects=[{"groups": ["bots"]}]),
            ]
        ),
        {"username": "alice", "groups": ["bots"]},
        'AgentPolicy "q" governs',
    ),
    "AP-06 whoever comes through the gateway": (
        policies(),
        {"username": "alice", "extra": {"chaperone.dev/run": ["r"]}},
        "what the gateway sent along",
    ),
    "a policy for everybody of an issuer names nobody": (
        policy_set([policy_object("p", subjects=[{"issuer": "https://i", "usernames": ["*"]}])]),
        {"username": "alice"},
        "",
    ),
    "a policy that is gone": (policy_set([]), {"username": "alice"}, "is not there"),
    "a policy that is broken": (policies(mode="x"), {"username": "alice"}, "does not compile"),
    "an approver by group": (
        policies(approval={"approvers": {"groups": ["oncall"]}}),
        {"username": "alice", "groups": ["oncall"]},
        "",
    ),
    "an approver by name": (
        policies(approval={"approvers": {"users": ["alice"]}}),
        {"username": "alice"},
        "",
    ),
    "no approver": (
        policies(approval={"approvers": {"groups": ["oncall"], "users": ["carol"]}}),
        {"username": "alice", "groups": ["dev"]},
        "approvers that AgentPolicy",
    ),
}


@pytest.mark.parametrize(("known", "user", "why"), REVIEWERS.values(), ids=REVIEWERS)
def test_reviewers(known: PolicySet, user: Obj, why: str) -> None:
    refusal = reviewer_refusal(stored(), user, known)
    assert bool(refusal) is bool(why), refusal
    assert why in refusal


def test_what_cannot_be_read_is_not_reviewed() -> None:
    assert "cannot be read" in reviewer_refusal({}, {"username": "alice"}, policies())


def test_what_rbac_is_asked() -> None:
    assert approval_rights(stored()) == ("p", ("dev",))
    assert approval_rights({}) == ("", ("",))


def test_policies_are_checked_with_faults_or_warnings() -> None:
    faults, warnings = check_policy(policy_object(mode="x"), Capabilities())
    assert ([item.path for item in faults], warnings) == (["spec.mode"], ())
    faults, warnings = check_policy(
        policy_object(recording={"streams": "Required"}), Capabilities(recording=False)
    )
    assert (faults, [item.path for item in warnings]) == ((), ["spec.recording.streams"])
