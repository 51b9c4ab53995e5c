"""Who counts as the writer when the console passes on a person's decision."""

from __future__ import annotations

from typing import Any

import pytest

from chaperone.core.on_behalf import MOST_GROUPS, Unusable, for_the_person

CONSOLE = "system:serviceaccount:kube-chaperone:chaperone-console"
ALICE = {"username": "alice", "groups": ["oncall"]}


def review(
    user: str = CONSOLE, operation: str = "UPDATE", subresource: str = "status", **status: Any
) -> dict[str, Any]:
    return {
        "operation": operation,
        "subResource": subresource,
        "userInfo": {"username": user, "groups": ["its-own"]},
        "oldObject": {"spec": {}, "status": {"phase": "Pending"}},
        "object": {"spec": {}, "status": {"phase": "Pending", **status}},
    }


def test_a_decision_through_the_console_is_the_persons_own() -> None:
    seen = for_the_person(review(decision="Approved", onBehalfOf=ALICE), CONSOLE)
    assert not isinstance(seen, Unusable)
    assert seen["userInfo"] == {"username": "alice", "groups": ["oncall", "system:authenticated"]}
    assert seen["object"]["status"] == {"phase": "Pending", "decision": "Approved"}


def test_what_stood_there_from_an_earlier_decision_is_hidden_from_the_rules_too() -> None:
    again = review("bob", onBehalfOf=ALICE, decision="Denied")
    again["oldObject"]["status"]["onBehalfOf"] = ALICE
    seen = for_the_person(again, CONSOLE)
    assert not isinstance(seen, Unusable)
    assert seen["userInfo"]["username"] == "bob"
    assert "onBehalfOf" not in seen["oldObject"]["status"]
    assert "onBehalfOf" not in seen["object"]["status"]


def test_others_are_left_as_they_are() -> None:
    plain = review("bob", decision="Approved")
    assert for_the_person(plain, CONSOLE) == plain
    without_status = {**plain, "object": {"spec": {}}, "oldObject": None}
    assert for_the_person(without_status, CONSOLE) == without_status


@pytest.mark.parametrize("operation", ["CREATE", "UPDATE"])
def test_nobody_else_may_name_a_person(operation: str) -> None:
    told = for_the_person(review("mallory", operation, onBehalfOf=ALICE), CONSOLE)
    assert isinstance(told, Unusable)
    assert "only the console" in told.reason


def test_no_console_is_configured_so_nobody_is_it() -> None:
    assert isinstance(for_the_person(review("", onBehalfOf=ALICE), ""), Unusable)


@pytest.mark.parametrize(("operation", "subresource"), [("UPDATE", ""), ("CREATE", "status"), ("DELETE", "")])
def test_the_console_does_nothing_else(operation: str, subresource: str) -> None:
    told = for_the_person(review(CONSOLE, operation, subresource, onBehalfOf=ALICE), CONSOLE)
    assert isinstance(told, Unusable)
    assert "passes on" in told.reason


@pytest.mark.parametrize(
    "named",
    [
        None,
        "alice",
        {},
        {"username": 1},
        {"username": ""},
        {"username": "system:admin"},
        {"username": "alice", "groups": "oncall"},
        {"username": "alice", "groups": ["system:masters"]},
        {"username": "alice", "groups": ["a\nb"]},
        {"username": "alice", "groups": [7]},
        {"username": "alice", "groups": ["g"] * (MOST_GROUPS + 1)},
    ],
)
def test_a_person_who_cannot_be_one_decides_nothing(named: object) -> None:
    assert isinstance(for_the_person(review(decision="Approved", onBehalfOf=named), CONSOLE), Unusable)
