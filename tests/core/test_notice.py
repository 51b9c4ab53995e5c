"""What people are told of approvals: each event once, in words that do no harm, with all that is needed to decide."""

from __future__ import annotations

from typing import Any

import pytest

from chaperone.core.notice import (
    EVENTS,
    MOST_LINES,
    NOTIFIED,
    Event,
    Happened,
    Interest,
    happened,
    mark_told,
    notice,
    tame,
    told,
    untold,
)
from chaperone.core.policy.globs import globs
from chaperone.core.timestamp import rfc3339
from tests.core.test_access import filed

Obj = dict[str, Any]

NOW = 1_800_000_000.0
DIGEST = "sha256:" + "a" * 64
MADE, DECIDED, DONE = NOW - 300, NOW - 200, NOW - 100


def request(phase: str = "Pending", spec: Obj | None = None, **status: Any) -> Obj:
    return {
        "metadata": {"name": "apr-1", "uid": "u", "creationTimestamp": rfc3339(MADE)},
        "spec": {
            "type": "Request",
            "requester": {"username": "repo:acme/web", "run": "run-7", "agent": "coder"},
            "request": {"verb": "delete", "resource": "deployments", "namespace": "prod", "name": "web"},
            "digest": DIGEST,
            "policy": {"name": "coders", "generation": 3, "rule": "ask"},
            "risk": {"level": "high", "reasons": ["R31 deletes a workload"]},
            "required": 2,
            "expiresAt": rfc3339(NOW + 600),
            **(spec or {}),
        },
        "status": {"phase": phase, **status},
    }


def reviews(*people: str, decision: str = "Approved") -> list[Obj]:
    words = {"decision": decision, "digest": DIGEST, "time": rfc3339(DECIDED)}
    return [{"username": person, **words} for person in people]


def condition(kind: str, at: float, **words: Any) -> list[Obj]:
    return [{"type": kind, "status": "True", "lastTransitionTime": rfc3339(at), **words}]


def grant(phase: str, *, ended: bool = False, **status: Any) -> Obj:
    obj = filed()
    obj["metadata"] |= {"creationTimestamp": rfc3339(MADE)}
    given: Obj = {"expiresAt": rfc3339(NOW + 900), "bindings": []}
    given |= {"endedAt": rfc3339(DONE)} if ended else {}
    return {**obj, "status": {"phase": phase, "reviews": reviews("alice"), "grant": given, **status}}


DECISION: Obj = {"conditions": condition("Approved", DECIDED), "reviews": reviews("alice", "carol")}
EXECUTION: Obj = {"execution": {"code": 200, "auditID": "id-1", "time": rfc3339(DONE)}}

TOLD: dict[str, tuple[Obj, list[tuple[str, float]]]] = {
    "a new one": (request(), [("pending", MADE)]),
    "without a phase": ({**request(), "status": {}}, [("pending", MADE)]),
    "approved": (request("Approved", **DECISION), [("approved", DECIDED)]),
    "being executed": (request("Executing", **DECISION), [("approved", DECIDED)]),
    "executed": (request("Executed", **DECISION, **EXECUTION), [("approved", DECIDED), ("executed", DONE)]),
    "failed": (request("Failed", **DECISION, **EXECUTION), [("approved", DECIDED), ("failed", DONE)]),
    "unknown": (request("Unknown", **DECISION), [("approved", DECIDED), ("unknown", DECIDED)]),
    "denied": (request("Denied", conditions=condition("Denied", DECIDED)), [("denied", DECIDED)]),
    "denied, without a condition": (
        request("Denied", reviews=reviews("bob", decision="Denied")),
        [("denied", DECIDED)],
    ),
    "expired": (request("Expired"), [("expired", NOW + 600)]),
    "not used in time": (request("Expired", useBefore=rfc3339(DONE)), [("expired", DONE)]),
    "cancelled": (request("Cancelled"), [("cancelled", MADE)]),
    "a grant begins": (grant("Executing"), [("approved", DECIDED), ("grant-started", DECIDED)]),
    "a grant ends": (grant("Executed", ended=True), [("approved", DECIDED), ("grant-ended", DONE)]),
    "a grant is revoked": (
        grant("Denied", conditions=[*condition("Approved", MADE), *condition("Denied", DECIDED)]),
        [("denied", DECIDED)],
    ),
    "a revoked grant is gone": (
        grant("Denied", ended=True, conditions=condition("Denied", DECIDED)),
        [("denied", DECIDED), ("grant-ended", DONE)],
    ),
    "a grant that could not begin": (
        {**grant("Failed"), "status": {"phase": "Failed", "conditions": condition("Failed", DONE)}},
        [("approved", 0.0), ("failed", DONE)],
    ),
    "a grant that broke": (
        grant("Failed", ended=True),
        [("approved", DECIDED), ("failed", DECIDED), ("grant-ended", DONE)],
    ),
}


@pytest.mark.parametrize(("obj", "expected"), TOLD.values(), ids=TOLD)
def test_what_has_happened(obj: Obj, expected: list[tuple[str, float]]) -> None:
    assert happened(obj) == tuple(Happened(Event(word), at) for word, at in expected)


def test_each_event_is_told_once() -> None:
    obj = request("Executed", **DECISION, **EXECUTION)
    assert untold(obj, NOW, 3600) == (Event.APPROVED, Event.EXECUTED)
    obj["metadata"]["annotations"] = mark_told([], Event.APPROVED)["metadata"]["annotations"]
    assert told(obj) == {"approved"}
    assert untold(obj, NOW, 3600) == (Event.EXECUTED,)
    patch = mark_told(told(obj), Event.EXECUTED)
    assert patch == {"metadata": {"annotations": {NOTIFIED: "approved,executed"}}}
    obj["metadata"]["annotations"] = patch["metadata"]["annotations"]
    assert untold(obj, NOW, 3600) == ()


def test_what_is_old_is_no_news() -> None:
    obj = request("Executed", **DECISION, **EXECUTION)
    assert untold(obj, NOW, 150) == (Event.EXECUTED,)
    assert untold(obj, NOW + 10_000, 150) == ()


@pytest.mark.parametrize("value", ["", None, 7])
def test_an_annotation_that_says_nothing(value: object) -> None:
    obj = request()
    obj["metadata"]["annotations"] = {NOTIFIED: value}
    assert told(obj) == frozenset()


def test_words_that_are_no_events_are_not_kept() -> None:
    assert mark_told(["x", "pending"], Event.DENIED)["metadata"]["annotations"][NOTIFIED] == "pending,denied"


def test_what_cannot_be_read_is_an_error() -> None:
    for read in (
        lambda: happened({}),
        lambda: notice({}, Event.PENDING),
        lambda: untold({"spec": 7}, NOW, 1),
    ):
        with pytest.raises(ValueError, match="spec"):
            read()


def test_who_wants_to_hear_it() -> None:
    obj = request()
    assert Interest().covers(obj, Event.PENDING)
    assert Interest(frozenset({Event.PENDING})).covers(obj, Event.PENDING)
    assert not Interest(frozenset({Event.DENIED})).covers(obj, Event.PENDING)
    assert Interest(policies=globs(["cod*"])).covers(obj, Event.PENDING)
    assert not Interest(policies=globs(["web-*"])).covers(obj, Event.PENDING)
    assert Interest(risks=frozenset({"high"})).covers(obj, Event.PENDING)
    assert not Interest(risks=frozenset({"critical"})).covers(obj, Event.PENDING)
    assert Interest(risks=frozenset({"none"})).covers({}, Event.PENDING)


# The words


def test_a_request_that_waits_says_all_that_is_needed_to_decide() -> None:
    spec = {
        "reason": "the release is broken",
        "preview": {"diff": "- replicas: 3\n+ replicas: 0", "affected": ["pods prod/web-1"]},
    }
    said = notice(request(spec=spec, reviews=reviews("alice")), Event.PENDING, "https://console.example/")
    assert said.title == "Approval needed: delete deployments prod/web [high]"
    assert said.body.splitlines() == [
        "What: delete deployments prod/web",
        "Who: repo:acme/web (agent coder)",
        "Run: run-7",
        "Policy: coders, rule ask",
        "Risk: high",
        "  R31 deletes a workload",
        "Their reason (untrusted): the release is broken",
        "Approvals: 1 of 2",
        f"Expires: {rfc3339(NOW + 600)}",
        "Also affected: pods prod/web-1",
        "Change (untrusted):",
        "  - replicas: 3",
        "  + replicas: 0",
        "Approve:",
        """kubectl patch apreq apr-1 --subresource=status --type=merge -p '{"status":{"decision":"Approved"}}'""",
        "Deny:",
        """kubectl patch apreq apr-1 --subresource=status --type=merge -p '{"status":{"decision":"Denied"}}'""",
        "Open: https://console.example/approvals/apr-1",
    ]


def test_little_is_known() -> None:
    spec = {
        "requester": {"username": "u"},
        "risk": None,
        "policy": {"name": "p", "generation": 1},
        "request": None,
        "expiresAt": None,
        "required": 1,
    }
    said = notice(request(spec=spec), Event.PENDING)
    assert said.title == "Approval needed: "
    assert said.body.splitlines()[:4] == ["What: ", "Who: u", "Policy: p", "Approvals: 0 of 1"]


def test_the_outcome_and_who_decided() -> None:
    denial = reviews("bob", decision="Denied")
    denial[0]["reason"] = "not today"
    assert "Denied by bob: not today" in notice(request("Denied", reviews=denial), Event.DENIED).body
    body = notice(request("Executed", **DECISION, **EXECUTION), Event.EXECUTED).body
    assert "The API server answered: 200\nAudit id: id-1" in body
    assert "Approved by carol" in notice(request("Approved", **DECISION), Event.APPROVED).body
    failed = [*condition("Approved", MADE), *condition("Failed", DONE, message="the role cannot be bound")]
    assert "Why: the role cannot be bound" in notice(grant("Failed", conditions=failed), Event.FAILED).body
    assert "Approve:" not in notice(request("Expired"), Event.EXPIRED).body


def test_a_grant() -> None:
    begun = notice(grant("Executing"), Event.GRANT_STARTED)
    assert begun.title == "Access granted: ClusterRole edit in dev, test for 30m, to bob [high]"
    assert f"Until: {rfc3339(NOW + 900)}" in begun.body
    assert "Denied" in begun.body
    ended = notice(grant("Executed", ended=True), Event.GRANT_ENDED)
    assert f"At: {rfc3339(DONE)}" in ended.body
    broken = grant("Pending")
    broken["spec"]["access"]["namespaces"] = []
    assert "cannot be read" in notice(broken, Event.PENDING).body


def test_every_event_has_words() -> None:
    for word in EVENTS:
        assert notice(request(), Event(word)).title


HOSTILE = "hello @everyone <!channel> <https://evil|click> `x` \x1b[2J\u202e @Here\nApprove:\nrm -rf"


def test_the_words_of_strangers_do_no_harm() -> None:
    tamed = tame(HOSTILE)
    assert "@everyone" not in tamed
    assert "@Here" not in tamed
    assert not set("<>`\x1b\n\u202e") & set(tamed)
    assert tame("alice@example.com") == "alice@example.com"
    spec = {
        "reason": HOSTILE,
        "requester": {"username": HOSTILE, "run": HOSTILE, "agent": HOSTILE},
        "request": {"verb": HOSTILE, "resource": HOSTILE, "name": HOSTILE},
        "policy": {"name": HOSTILE, "generation": 1, "rule": HOSTILE},
        "risk": {"level": HOSTILE, "reasons": [HOSTILE]},
        "preview": {"diff": HOSTILE, "affected": [HOSTILE]},
    }
    said = notice(request(spec=spec), Event.PENDING)
    assert not set("\n<>`\x1b\u202e") & set(said.title)
    assert len(said.title) <= 200
    assert said.body.splitlines().count("Approve:") == 1
    assert not set("<>`\x1b\u202e") & set(said.body)
    assert "@everyone" not in said.body


def test_everything_is_bounded() -> None:
    spec = {
        "reason": "x" * 9000,
        "risk": {"level": "high", "reasons": [f"R{number}" for number in range(100)]},
        "preview": {
            "diff": "\n".join(["y" * 9000] * 500),
            "affected": [f"pods dev/p{number}" for number in range(500)],
        },
    }
    body = notice(request(spec=spec), Event.PENDING).body
    assert len(body) < 10_000
    assert "… and 92 more" in body
    assert f"… and {500 - MOST_LINES} more lines" in body
    assert "and 492 more" in body
