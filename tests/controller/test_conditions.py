"""What people read in a policy's status."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from chaperone.core.policy import BrokenPolicy, Fault, Masking
from controller.bindings import Place
from controller.conditions import MESSAGE_LIMIT, Standing, policy_status
from tests.controller.objects import policy

BROKEN = BrokenPolicy(
    "broken", 4, (Fault("spec.identity", "is missing"), Fault("spec.rules[2].action", "is 'Maybe'"))
)


def condition(status: dict[str, Any], kind: str) -> dict[str, Any]:
    (found,) = [item for item in status["conditions"] if item["type"] == kind]
    return dict(found)


def test_a_sound_policy_is_ready_and_names_its_bindings() -> None:
    standing = Standing((Place("dev", "chaperone-coders-1"), Place("", "chaperone-coders-2")))
    status = policy_status(policy(), standing, {}, 0.0)
    assert status["observedGeneration"] == 3
    assert {item["type"]: item["status"] for item in status["conditions"]} == {
        "Ready": "True",
        "Enforceable": "True",
        "Masking": "True",
        "BindingsReady": "True",
    }
    assert status["bindings"] == [
        {"kind": "RoleBinding", "namespace": "dev", "name": "chaperone-coders-1"},
        {"kind": "ClusterRoleBinding", "name": "chaperone-coders-2"},
    ]


def test_every_fault_of_a_broken_policy_is_named_with_its_path() -> None:
    ready = condition(policy_status(BROKEN, None, {}, 0.0), "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "Invalid")
    assert "spec.identity: is missing" in ready["message"]
    assert "spec.rules[2].action: is 'Maybe'" in ready["message"]


def test_what_is_not_done_as_written_is_said() -> None:
    warned = replace(policy(), warnings=(Fault("spec.masking.patterns", "not done"),))
    status = policy_status(warned, None, {}, 0.0)
    assert condition(status, "Enforceable")["message"] == "spec.masking.patterns: not done"
    assert condition(status, "Enforceable")["status"] == "False"


def test_the_masking_profile_is_said_and_off_aloud() -> None:
    standard = condition(policy_status(policy(), None, {}, 0.0), "Masking")
    assert (standard["status"], standard["reason"]) == ("True", "Standard")
    terms = Masking("Strict", keys=("a", "b"), patterns=("x-[0-9]+",))
    strict = condition(policy_status(replace(policy(), masking=terms), None, {}, 0.0), "Masking")
    assert (strict["status"], strict["reason"]) == ("True", "Strict")
    assert strict["message"] == "secrets are masked, with 2 keys, 1 pattern of its own"
    off = Masking("Off", reason="a cluster without secrets")
    aloud = condition(policy_status(replace(policy(), masking=off), None, {}, 0.0), "Masking")
    assert (aloud["status"], aloud["reason"]) == ("False", "Off")
    assert "see every secret" in aloud["message"]
    assert "a cluster without secrets" in aloud["message"]
    assert condition(policy_status(BROKEN, None, {}, 0.0), "Masking")["reason"] == "Invalid"


def test_problems_with_bindings_are_said() -> None:
    standing = Standing(problems=("namespace dev does not exist: create it",))
    bound = condition(policy_status(policy(), standing, {}, 0.0), "BindingsReady")
    assert (bound["status"], bound["reason"]) == ("False", "Incomplete")
    assert "namespace dev" in bound["message"]


def test_the_transition_time_moves_only_when_the_status_flips() -> None:
    first = policy_status(policy(), None, {}, 1000.0)
    second = policy_status(policy(), None, first, 2000.0)
    assert second == first
    broken = policy_status(BROKEN, None, second, 3000.0)
    assert condition(broken, "Ready")["lastTransitionTime"] == "1970-01-01T00:50:00Z"
    assert condition(second, "Ready")["lastTransitionTime"] == "1970-01-01T00:16:40Z"


def test_a_message_never_exceeds_what_the_api_server_takes() -> None:
    many = BrokenPolicy("p", 1, tuple(Fault(f"spec.rules[{i}]", "x" * 500) for i in range(200)))
    assert len(condition(policy_status(many, None, {}, 0.0), "Ready")["message"]) <= MESSAGE_LIMIT
