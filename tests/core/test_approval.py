"""The life of an ApprovalRequest: who may move it where, when it may be spent, what a retry finds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaperone.core import approval as life
from chaperone.core import approval_object
from chaperone.core.approval import (
    TERMINAL,
    TRANSITIONS,
    Actor,
    Approval,
    Phase,
    Refused,
    Review,
    Target,
    Usable,
    Waiting,
    may_move,
    outcome,
    tally,
    target_of,
    usable,
    waiting_answer,
)
from chaperone.core.approval_target import target_spec
from chaperone.core.identity import Caller
from chaperone.core.request import Request, parse
from chaperone.core.verdict import NO_RISK, Finding, Risk, RiskLevel

DIGEST = "sha256:" + "a" * 64
OTHER = "sha256:" + "b" * 64
NOW = 1_769_850_000.0
TARGET = Target("uid-9", "g3")


def approval(phase: Phase = Phase.PENDING, *reviews: Review, **fields: Any) -> Approval:
    values: dict[str, Any] = {
        "name": "apr-aaaaaaaaaaaaaaaa",
        "uid": "uid-1",
        "resource_version": "7",
        "digest": DIGEST,
        "policy": "coders",
        "policy_generation": 4,
        "required": 1,
        "target": TARGET,
        "requester": "repo:acme/shop",
        "created_at": NOW - 60,
        "expires_at": NOW + 3600,
        "reviews": reviews,
        **fields,
    }
    return Approval(phase=phase, **values)


def yes(username: str, digest: str = DIGEST) -> Review:
    return Review(username, "Approved", digest)


def no(username: str, digest: str = DIGEST) -> Review:
    return Review(username, "Denied", digest)


APPROVED = approval(Phase.APPROVED, yes("ann"), decided_at=NOW - 30, use_before=NOW + 600)


class TestTransitions:
    def test_six_phases_are_final(self) -> None:
        assert {phase.value for phase in TERMINAL} == {
            "Denied",
            "Expired",
            "Cancelled",
            "Executed",
            "Failed",
            "Unknown",
        }

    @pytest.mark.parametrize("actor", list(Actor))
    @pytest.mark.parametrize("phase", [phase for phase in Phase if phase in TERMINAL])
    def test_nobody_leaves_a_final_phase(self, phase: Phase, actor: Actor) -> None:
        assert not any(may_move(actor, phase, after) for after in Phase)

    @pytest.mark.parametrize(
        ("actor", "steps"),
        [
            (Actor.REVIEW, {"Pending Approved", "Pending Denied", "Approved Denied"}),
            (Actor.REQUESTER, {"Pending Cancelled", "Approved Cancelled"}),
            (Actor.GATEWAY, {"Pending Cancelled", "Approved Cancelled", "Approved Executing", "Executing Executed",
                             "Executing Failed", "Executing Unknown"}),
            (Actor.CONTROLLER, {"Pending Approved", "Pending Denied", "Pending Expired", "Pending Cancelled",
                                "Approved Denied", "Approved Expired", "Approved Cancelled", "Executing Unknown"}),
        ],
    )  # fmt: skip
    def test_everybody_has_their_steps_and_no_others(self, actor: Actor, steps: set[str]) -> None:
        taken = {
            f"{before.value} {after.value}" for before, after in TRANSITIONS if may_move(actor, before, after)
        }
        assert taken == steps

    def test_nothing_is_executed_that_was_not_approved(self) -> None:
        assert [before for before, after in TRANSITIONS if after is Phase.EXECUTING] == [Phase.APPROVED]


TALLIES = [
    ("nobody", [], 0, 0),
    ("two people", [yes("ann"), yes("bob")], 2, 0),
    ("one person twice", [yes("ann"), yes("ann")], 1, 0),
    ("an approval for another digest", [yes("ann", OTHER)], 0, 0),
    ("an approval for no digest", [yes("ann", "")], 0, 0),
    ("a denial for another digest", [no("ann", OTHER)], 0, 1),
    ("one who says both has denied", [yes("ann"), no("ann")], 0, 1),
    ("a word that is neither is a denial", [Review("ann", "Maybe", DIGEST)], 0, 1),
]


@pytest.mark.parametrize(
    ("reviews", "approved", "denied"), [row[1:] for row in TALLIES], ids=[row[0] for row in TALLIES]
)
def test_ap13_people_count_not_reviews(reviews: list[Review], approved: int, denied: int) -> None:
    counted = tally(approval(Phase.PENDING, *reviews))
    assert (counted.approved, counted.denied) == (approved, denied)


OUTCOMES: list[tuple[str, Approval, Phase | None]] = [
    ("nobody said anything", approval(), None),
    ("one of one approved", approval(Phase.PENDING, yes("ann")), Phase.APPROVED),
    ("one of two approved", approval(Phase.PENDING, yes("ann"), required=2), None),
    ("two of two approved", approval(Phase.PENDING, yes("ann"), yes("bob"), required=2), Phase.APPROVED),
    ("one denied", approval(Phase.PENDING, yes("ann"), no("bob")), Phase.DENIED),
    ("its time is over", approval(expires_at=NOW), Phase.EXPIRED),
    (
        "its time is over though it was approved",
        approval(Phase.PENDING, yes("ann"), expires_at=NOW),
        Phase.EXPIRED,
    ),
    ("a denial outlives its time", approval(Phase.PENDING, no("ann"), expires_at=NOW), Phase.DENIED),
    ("approved and in time", APPROVED, None),
    ("approved and not used in time", replace(APPROVED, use_before=NOW), Phase.EXPIRED),
    ("approved, then denied", replace(APPROVED, reviews=(yes("ann"), no("bob"))), Phase.DENIED),
    ("being executed", approval(Phase.EXECUTING, no("ann")), None),
    ("ended", approval(Phase.EXECUTED, no("ann")), None),
]


@pytest.mark.parametrize(
    ("subject", "phase"), [row[1:] for row in OUTCOMES], ids=[row[0] for row in OUTCOMES]
)
def test_outcomes(subject: Approval, phase: Phase | None) -> None:
    assert outcome(subject, NOW) is phase


@given(
    st.sampled_from(list(Phase)),
    st.lists(
        st.builds(Review, st.sampled_from("ab"), st.sampled_from(["Approved", "Denied"]), st.just(DIGEST)),
        max_size=4,
    ),
    st.integers(1, 3),
)
def test_every_outcome_is_a_step_that_the_controller_may_take(
    phase: Phase, reviews: list[Review], required: int
) -> None:
    subject = approval(phase, *reviews, required=required, use_before=NOW - 1)
    after = outcome(subject, NOW)
    assert after is None or may_move(Actor.CONTROLLER, phase, after)


def use(subject: Approval, **changes: Any) -> Usable | Refused:
    asked: dict[str, Any] = {
        "digest": DIGEST,
        "target": TARGET,
        "policy_generation": 4,
        "now": NOW,
        **changes,
    }
    return usable(subject, **asked)


UNUSABLE: list[tuple[str, Approval, dict[str, Any], str, tuple[str, ...]]] = [
    ("AP-02 another request", APPROVED, {"digest": OTHER}, "another request", ("request",)),
    ("AP-10 another generation of the object", APPROVED, {"digest": OTHER, "target": Target("uid-9", "g4")},
     "the object has been changed since (generation 3, now generation 4)", ("target",)),
    ("AP-10 another resourceVersion", replace(APPROVED, target=Target("u", "r5")), {"target": Target("u", "r6")},
     "resourceVersion 5, now resourceVersion 6", ("target",)),
    ("AP-10 a version that has gone", APPROVED, {"target": Target("uid-9", "")}, "now no version", ("target",)),
    ("AP-10 another object of the same name", APPROVED, {"target": Target("uid-8", "g3")}, "created again", ("target",)),
    ("AP-10 the object is gone", APPROVED, {"target": Target()}, "is gone", ("target",)),
    ("AP-10 there was no object", replace(APPROVED, target=Target()), {}, "there was none", ("target",)),
    ("AP-10 another policy", APPROVED, {"policy_generation": 5},
     "AgentPolicy coders has been changed since (generation 4, now 5)", ("policy",)),
    ("AP-10 policy and object", APPROVED, {"policy_generation": 5, "target": Target()}, "is gone; AgentPolicy", ("target", "policy")),
    ("AP-10 too late", APPROVED, {"now": NOW + 600}, "time to use it is over", ()),
    ("no time to use it by", replace(APPROVED, use_before=0.0), {}, "no time to use it by", ()),
    ("AP-01 executed", replace(APPROVED, phase=Phase.EXECUTED), {}, "it is Executed, not Approved", ()),
    ("pending", replace(APPROVED, phase=Phase.PENDING), {}, "it is Pending, not Approved", ()),
    ("AP-04 claimed by somebody", replace(APPROVED, claimed_by="gateway-2"), {}, "claimed already", ()),
    ("AP-07 approved by nobody", replace(APPROVED, reviews=()), {}, "0 of 1 approvals", ()),
    ("AP-07 approved for another digest", replace(APPROVED, reviews=(yes("ann", OTHER),)), {}, "0 of 1 approvals", ()),
    ("AP-13 one person where two are required", replace(APPROVED, required=2, reviews=(yes("a"), yes("a"))), {}, "1 of 2", ()),
    ("denied by somebody", replace(APPROVED, reviews=(yes("ann"), no("bob"))), {}, "denied", ()),
]  # fmt: skip


@pytest.mark.parametrize(
    ("subject", "changes", "reason", "changed"),
    [row[1:] for row in UNUSABLE],
    ids=[row[0] for row in UNUSABLE],
)
def test_what_does_not_fit_is_refused_and_says_what_changed(
    subject: Approval, changes: dict[str, Any], reason: str, changed: tuple[str, ...]
) -> None:
    verdict = use(subject, **changes)
    assert isinstance(verdict, Refused)
    assert reason in verdict.reason
    assert verdict.changed == changed


def test_what_fits_is_usable() -> None:
    assert use(APPROVED) == Usable(APPROVED)


def ask(subject: Approval, **changes: Any) -> life.Wait:
    asked: dict[str, Any] = {"digest": DIGEST, "target": TARGET, "policy_generation": 4, "now": NOW,
                             "use_within": 600.0, "expire_after": 3600.0, **changes}  # fmt: skip
    return waiting_answer(subject, **asked)


EXECUTED = replace(APPROVED, phase=Phase.EXECUTED, executed_at=NOW - 10)
DENIED = approval(Phase.DENIED, no("ann"), decided_at=NOW - 10)
CANCELLED = approval(Phase.CANCELLED, decided_at=NOW - 10)

RETRIES: list[tuple[str, Approval, dict[str, Any], Waiting, float]] = [
    ("pending", approval(), {}, Waiting.WAIT, NOW + 3600),
    ("pending and approved, not moved yet", approval(Phase.PENDING, yes("ann")), {}, Waiting.WAIT, NOW + 3600),
    ("pending and denied, not moved yet", approval(Phase.PENDING, no("ann")), {}, Waiting.DENIED, 0.0),
    ("pending beyond its time", approval(expires_at=NOW), {}, Waiting.NEW_ATTEMPT, 0.0),
    ("approved", APPROVED, {}, Waiting.CLAIM, NOW + 600),
    ("approved and too late", APPROVED, {"now": NOW + 600}, Waiting.NEW_ATTEMPT, 0.0),
    ("approved and denied, not moved yet", replace(APPROVED, reviews=(yes("a"), no("b"))), {}, Waiting.DENIED, 0.0),
    ("approved by too few", replace(APPROVED, required=2), {}, Waiting.CHANGED, NOW + 600),
    ("approved under another policy", APPROVED, {"policy_generation": 5}, Waiting.CHANGED, NOW + 600),
    ("AP-04 being executed", approval(Phase.EXECUTING, yes("ann")), {}, Waiting.BUSY, 0.0),
    ("AP-01 executed just now", EXECUTED, {}, Waiting.USED, NOW + 590),
    ("AP-01 executed a while ago", EXECUTED, {"now": NOW + 589}, Waiting.USED, NOW + 590),
    ("executed long ago", EXECUTED, {"now": NOW + 590}, Waiting.NEW_ATTEMPT, 0.0),
    ("denied just now", DENIED, {}, Waiting.DENIED, NOW + 3590),
    ("denied long ago", DENIED, {"now": NOW + 3590}, Waiting.NEW_ATTEMPT, 0.0),
    ("denied at a time that nobody wrote", replace(DENIED, decided_at=0.0), {}, Waiting.DENIED, NOW + 3540),
    ("expired", approval(Phase.EXPIRED), {}, Waiting.NEW_ATTEMPT, 0.0),
    ("cancelled just now", CANCELLED, {}, Waiting.WITHDRAWN, NOW + 20),
    ("cancelled a while ago", CANCELLED, {"now": NOW + 19}, Waiting.WITHDRAWN, NOW + 20),
    ("cancelled long ago", CANCELLED, {"now": NOW + 20}, Waiting.NEW_ATTEMPT, 0.0),
    ("cancelled at a time that nobody wrote", approval(Phase.CANCELLED), {}, Waiting.NEW_ATTEMPT, 0.0),
    ("failed", approval(Phase.FAILED), {}, Waiting.NEW_ATTEMPT, 0.0),
    ("AP-05 unknown", approval(Phase.UNKNOWN), {}, Waiting.LOST, 0.0),
    ("for another request", APPROVED, {"digest": OTHER}, Waiting.CHANGED, 0.0),
    ("executed, for another request", EXECUTED, {"digest": OTHER, "now": NOW + 9999}, Waiting.CHANGED, 0.0),
]  # fmt: skip


@pytest.mark.parametrize(
    ("subject", "changes", "answer", "until"), [row[1:] for row in RETRIES], ids=[row[0] for row in RETRIES]
)
def test_what_a_retry_finds(
    subject: Approval, changes: dict[str, Any], answer: Waiting, until: float
) -> None:
    found = ask(subject, **changes)
    assert (found.answer, found.until) == (answer, until)
    assert found.reason or answer in (Waiting.WAIT, Waiting.CLAIM, Waiting.NEW_ATTEMPT)


@given(
    st.builds(
        approval,
        st.sampled_from(list(Phase)),
        required=st.integers(1, 2),
        use_before=st.sampled_from([0.0, NOW - 1, NOW + 1]),
        claimed_by=st.sampled_from(["", "x"]),
        reviews=st.lists(st.builds(Review, st.sampled_from("ab"), st.sampled_from(["Approved", "Denied"]), st.sampled_from([DIGEST, OTHER])), max_size=3).map(tuple),
    ),
    st.sampled_from([DIGEST, OTHER]),
)  # fmt: skip
def test_only_what_is_usable_is_claimed(subject: Approval, digest: str) -> None:
    claimed = ask(subject, digest=digest).answer is Waiting.CLAIM
    assert claimed is isinstance(use(subject, digest=digest), Usable)


class TestObjects:
    CALLER = Caller(
        issuer="https://issuer.example", subject="repo:acme/shop:main", username="repo:acme/shop", groups=("ai",), run="run-7", agent="coder"
    )  # fmt: skip

    def build(
        self,
        path: str = "/apis/apps/v1/namespaces/shop/deployments/web?x=1",
        method: str = "DELETE",
        **changes: Any,
    ) -> dict[str, Any]:
        request = parse(method, path, content_type="application/json")
        assert isinstance(request, Request)
        values: dict[str, Any] = {
            "name": "apr-aaaaaaaaaaaaaaaa",
            "request": request,
            "caller": self.CALLER,
            "target": TARGET,
            "digest": DIGEST,
            "body_sha256": "c" * 64,
            "policy": "coders",
            "policy_generation": 4,
            "rule": "defaults",
            "risk": Risk((Finding("R07", RiskLevel.HIGH, "deletes a workload"),)),
            "required": 2,
            "expires_at": NOW + 3600,
            "use_within": 90.0,
            **changes,
        }
        return life.build(**values)

    def stored(self, obj: dict[str, Any], **status: Any) -> dict[str, Any]:
        metadata = {
            **obj["metadata"],
            "uid": "uid-1",
            "resourceVersion": "7",
            "creationTimestamp": "2026-01-31T09:00:00Z",
        }
        return {**obj, "metadata": metadata, "status": status}

    def test_the_object_says_everything_and_no_body(self) -> None:
        assert self.build()["spec"]["useWithin"] == "90s"
        obj = self.build(reason="please\x1b[2J", preview={"diff": ""})
        assert obj["apiVersion"] == "chaperone.dev/v1alpha1"
        assert obj["kind"] == "ApprovalRequest"
        assert obj["spec"] == {
            "type": "Request",
            "requester": {
                "username": "repo:acme/shop",
                "issuer": "https://issuer.example",
                "subject": "repo:acme/shop:main",
                "run": "run-7",
                "agent": "coder",
                "groups": ["ai"],
            },
            "request": {
                "verb": "delete",
                "apiGroup": "apps",
                "apiVersion": "v1",
                "resource": "deployments",
                "namespace": "shop",
                "name": "web",
                "path": "/apis/apps/v1/namespaces/shop/deployments/web",
                "query": "x=1",
                "contentType": "application/json",
                "bodySHA256": "c" * 64,
            },
            "target": {"uid": "uid-9", "generation": 3},
            "digest": DIGEST,
            "policy": {"name": "coders", "generation": 4, "rule": "defaults"},
            "risk": {"level": "high", "reasons": ["R07: deletes a workload"]},
            "required": 2,
            "reason": "please\\x1b[2J",
            "preview": {"diff": ""},
            "expiresAt": "2026-01-31T10:00:00Z",
            "useWithin": "90s",
        }

    def test_an_exec_shows_its_command_escaped_and_bounded(self) -> None:
        path = "/api/v1/namespaces/shop/pods/web-0/exec?command=sh&command=-c&command=echo%1b%0a"
        assert self.build(path, "POST")["spec"]["request"]["command"] == ["sh", "-c", "echo\\x1b\\n"]
        long = self.build(path + "&command=" + "x" * 5000 + "&command=y&command=z", "POST")["spec"][
            "request"
        ]["command"]
        assert long[-1] == "… and 2 more"
        assert sum(map(len, long)) < 5000
        assert "command" not in self.build(path.partition("?")[0], "POST")["spec"]["request"]

    def test_hidden_characters_in_names_are_shown(self) -> None:
        obj = self.build("/apis/rbac.authorization.k8s.io/v1/clusterroles/a%E2%80%AEb")
        assert obj["spec"]["request"]["name"] == "a\\u202eb"
        assert obj["spec"]["request"]["path"].endswith("/a%E2%80%AEb")

    @pytest.mark.parametrize("target", [Target(), Target("u", "g12"), Target("u", "r345"), Target("u", "")])
    def test_what_is_built_is_read_again(self, target: Target) -> None:
        found = life.read(self.stored(self.build(target=target, risk=NO_RISK)))
        assert found == Approval(
            name="apr-aaaaaaaaaaaaaaaa",
            uid="uid-1",
            resource_version="7",
            digest=DIGEST,
            phase=Phase.PENDING,
            policy="coders",
            policy_generation=4,
            required=2,
            target=target,
            requester="repo:acme/shop",
            issuer="https://issuer.example",
            subject="repo:acme/shop:main",
            run="run-7",
            agent="coder",
            rule="defaults",
            created_at=NOW,
            expires_at=NOW + 3600,
            request=found.request,
        )
        assert found.request is not None
        assert found.request["verb"] == "delete"

    def test_a_decision_is_written_and_read(self) -> None:
        pending = life.read(self.stored(self.build()))
        status = life.decided(pending, Phase.APPROVED, NOW + 5, 600)
        review = {
            "username": "ann",
            "decision": "Approved",
            "digest": DIGEST,
            "time": "2026-01-31T09:00:04Z",
            "reason": "ok",
        }
        found = life.read(self.stored(self.build(), **status, reviews=[review]))
        assert (found.phase, found.decided_at, found.use_before) == (Phase.APPROVED, NOW + 5, NOW + 605)
        assert found.reviews == (Review("ann", "Approved", DIGEST, "2026-01-31T09:00:04Z", "ok"),)
        assert "useBefore" not in life.decided(pending, Phase.DENIED, NOW, 600)

    def test_without_a_condition_the_last_review_dates_the_decision(self) -> None:
        reviews = [
            {"username": "ann", "decision": "Denied", "digest": DIGEST, "time": "2026-01-31T09:00:04Z"},
            {"username": "bob", "decision": "Denied", "digest": DIGEST},
        ]
        conditions = [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-31T09:30:00Z"}]
        found = life.read(self.stored(self.build(), phase="Denied", reviews=reviews, conditions=conditions))
        assert found.decided_at == NOW + 4

    def test_a_claim_is_for_the_version_that_was_read(self) -> None:
        assert life.claim(APPROVED, "gateway-1") == {
            "metadata": {"resourceVersion": "7"},
            "status": {"phase": "Executing", "claimedBy": "gateway-1"},
        }

    def test_the_end_names_audit_record_code_and_time(self) -> None:
        patch = life.finished(Phase.EXECUTED, audit_id="a-1", code=200, now=NOW + 0.5)
        assert patch == {
            "status": {
                "phase": "Executed",
                "execution": {"auditID": "a-1", "code": 200, "time": "2026-01-31T09:00:00.500000Z"},
            }
        }
        assert life.read(self.stored(self.build(), **patch["status"])).executed_at == NOW + 0.5

    @pytest.mark.parametrize(
        ("path", "value", "fault"),
        [
            ("metadata.uid", None, "metadata.uid is not a text"),
            ("metadata", None, "metadata.name is not a text"),
            ("metadata", "x", "metadata is not an object"),
            ("spec.digest", "sha256:x", "spec.digest"),
            ("spec.digest", "", "spec.digest"),
            ("spec.digest", 5, "spec.digest is not a text"),
            ("spec.required", 0, "spec.required is less than 1"),
            ("spec.required", True, "spec.required is not an integer"),
            ("spec.policy", None, "spec.policy.name is not a text"),
            ("spec.policy.generation", "4", "spec.policy.generation is not an integer"),
            ("spec.policy.generation", None, "spec.policy.generation is not an integer"),
            ("spec.requester.username", "", "spec.requester.username is not a text"),
            ("spec.expiresAt", "soon", "spec.expiresAt is not an RFC 3339 time"),
            ("spec.request", [], "spec.request is not an object"),
            ("spec.target.generation", "3", "spec.target.generation is not an integer"),
            ("status.phase", "Great\x1b", "is not a phase"),
            ("status.reviews", {}, "status.reviews is not a list of objects"),
            ("status.reviews", ["ann"], "status.reviews is not a list of objects"),
            ("status.reviews", [{"decision": "Approved"}], "status.reviews[].username is not a text"),
            ("status.reviews", [{"username": "ann", "decision": "Approved", "time": "x"}], "RFC 3339"),
            (
                "status.conditions",
                [{"type": "Approved", "lastTransitionTime": 5}],
                "status.conditions[].lastTransitionTime",
            ),
            ("status.useBefore", "2026", "status.useBefore"),
        ],
    )
    def test_an_object_that_cannot_be_read_names_the_field(self, path: str, value: Any, fault: str) -> None:
        obj = self.stored(self.build())
        *parents, last = path.split(".")
        place = obj
        for parent in parents:
            place[parent] = place = {**place[parent]}
        place[last] = value
        with pytest.raises(ValueError) as raised:
            life.read(obj)
        assert fault in str(raised.value)
        assert "\x1b" not in str(raised.value)


STATEFUL: dict[str, Any] = {
    "metadata": {"uid": "u", "resourceVersion": "7", "labels": {"a": "b"}},
    "spec": {"x": 1},
    "status": {"y": 2},
}


@pytest.mark.parametrize(
    ("changed", "voids"),
    [
        ({"status": {"y": 3}}, False),
        ({"metadata": {**STATEFUL["metadata"], "resourceVersion": "8"}}, False),
        ({"metadata": {**STATEFUL["metadata"], "managedFields": [{"time": "now"}]}}, False),
        ({"metadata": {**STATEFUL["metadata"], "labels": {"a": "c"}}}, True),
        ({"metadata": {**STATEFUL["metadata"], "uid": "v"}}, True),
        ({"spec": {"x": 2}}, True),
        ({"stringData": {}}, True),
    ],
    ids=lambda value: str(value)[:60],
)
def test_a_status_update_voids_no_approval_of_a_kind_without_generation(
    changed: dict[str, Any], voids: bool
) -> None:
    assert (target_of({**STATEFUL, **changed}) != target_of(STATEFUL)) is voids


@pytest.mark.parametrize(
    ("obj", "version"),
    [
        ({"metadata": {"uid": "u", "generation": 3, "resourceVersion": "7"}, "status": {}}, "g3"),
        ({"metadata": {"uid": "u", "resourceVersion": "7"}, "data": {"password": "x"}}, "r7"),
        ({"metadata": {"uid": "u"}}, None),
        ({"metadata": {"uid": "", "generation": 3}}, None),
        ({"metadata": {"generation": 3}}, None),
        ({"metadata": "u"}, None),
        ({}, None),
    ],
)
def test_what_tells_one_state_of_a_target_from_another(obj: dict[str, Any], version: str | None) -> None:
    assert target_of(obj) == (None if version is None else Target("u", version))


def of(*objects: tuple[str, int]) -> Target | None:
    return life.collection_of(
        [{"metadata": {"uid": uid, "generation": generation}} for uid, generation in objects]
    )


def test_a_collection_is_the_set_of_its_objects_and_their_states() -> None:
    both = of(("u", 1), ("v", 1))
    assert both == of(("v", 1), ("u", 1))
    assert both is not None
    assert both.uid == ""
    assert len({both, of(("u", 1)), of(("u", 1), ("v", 2)), of(("u", 1), ("v", 1), ("w", 1)), of()}) == 5
    assert of(("u", 1), ("", 1)) is None


def test_a_collection_that_has_changed_is_told_as_such() -> None:
    before, after = of(("u", 1)), of(("u", 1), ("v", 1))
    assert before
    assert after
    held = replace(APPROVED, target=before)
    answer = usable(held, digest=DIGEST, target=after, policy_generation=4, now=NOW)
    assert isinstance(answer, life.Refused)
    assert answer.changed == ("target",)
    assert "the objects have been changed since" in answer.reason


def test_a_target_is_stored_and_read_again() -> None:
    for target in (Target("u", "g3"), Target("u", "r7"), Target("u", "s" + "0" * 64), Target("u"), Target()):
        stored = {"spec": {"target": target_spec(target)}}
        assert approval_object._target(approval_object._Source(stored)) == target


def test_an_outcome_that_nobody_knows_names_no_audit_record() -> None:
    execution = life.finished(Phase.UNKNOWN, audit_id="", code=0, now=NOW)["status"]["execution"]
    assert execution.keys() == {"code", "time"}


def test_the_column_of_approvals_before_anybody_has_reviewed() -> None:
    assert life.uncounted(2) == {"status": {"approvals": "0/2"}}
