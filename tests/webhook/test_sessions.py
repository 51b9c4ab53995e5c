"""Who may change an AgentSession, and what is stamped."""

from __future__ import annotations

from typing import Any

import pytest

from chaperone.core.timestamp import rfc3339
from chaperone.settings.webhook import AccountSettings
from tests.webhook.reviews import CODER, CONSOLE, CONTROLLER, GATEWAY, review
from webhook.sessions import check_session, stamp

NOW = 1_800_000_000.0
RUNNING = {"run": "r-1"}
ENDED = {"run": "r-1", "terminated": True}
NO_RUN_ENDED = {"username": "ann", "terminated": True}
FALSE = {**RUNNING, "terminated": False}
SAID = {**ENDED, "terminatedReason": "too eager"}
STAMPED = {**SAID, "terminatedBy": "alice", "terminatedAt": rfc3339(NOW)}


def request(user: str, operation: str, subresource: str, old: Any, new: Any) -> dict[str, Any]:
    objects: dict[str, Any] = {"obj": new and {"spec": new}, "old": old and {"spec": old}}
    asked = review("agentsessions", operation, user=user, subresource=subresource, **objects)
    inner: dict[str, Any] = asked["request"]
    return inner


@pytest.mark.parametrize(
    ("user", "operation", "subresource", "old", "new", "allowed"),
    [
        (GATEWAY, "CREATE", "", None, RUNNING, True),
        (GATEWAY, "CREATE", "", None, ENDED, False),
        (GATEWAY, "CREATE", "", None, {**RUNNING, "terminatedBy": "alice"}, False),
        (GATEWAY, "UPDATE", "status", RUNNING, RUNNING, True),
        (GATEWAY, "UPDATE", "", ENDED, RUNNING, False),
        (GATEWAY, "UPDATE", "", RUNNING, ENDED, False),
        (GATEWAY, "DELETE", "", RUNNING, None, False),
        (CONTROLLER, "UPDATE", "status", RUNNING, RUNNING, True),
        (CONTROLLER, "DELETE", "", ENDED, None, True),
        (CONTROLLER, "UPDATE", "", RUNNING, ENDED, False),
        (CONTROLLER, "CREATE", "", None, RUNNING, False),
        ("alice", "CREATE", "", None, RUNNING, False),
        ("alice", "UPDATE", "", RUNNING, ENDED, True),
        ("alice", "UPDATE", "", FALSE, ENDED, True),
        ("alice", "UPDATE", "", RUNNING, SAID, True),
        ("alice", "UPDATE", "", RUNNING, STAMPED, True),
        ("alice", "UPDATE", "", RUNNING, RUNNING, True),
        ("alice", "UPDATE", "", RUNNING, FALSE, True),
        ("bob", "UPDATE", "", RUNNING, STAMPED, False),
        (CONSOLE, "UPDATE", "", RUNNING, STAMPED, True),
        (CONSOLE, "UPDATE", "", RUNNING, ENDED, False),
        (CONSOLE, "UPDATE", "", RUNNING, {**STAMPED, "terminatedBy": CONSOLE}, False),
        (CONSOLE, "UPDATE", "", RUNNING, {**STAMPED, "terminatedBy": "system:admin"}, False),
        (CONSOLE, "UPDATE", "", STAMPED, {**STAMPED, "terminatedBy": "bob"}, False),
        (CONSOLE, "UPDATE", "", RUNNING, {**RUNNING, "agent": "x"}, False),
        ("alice", "UPDATE", "", RUNNING, {**STAMPED, "terminatedAt": rfc3339(NOW - 3600)}, False),
        ("alice", "UPDATE", "", RUNNING, {**STAMPED, "terminatedAt": "soon"}, False),
        ("alice", "UPDATE", "", RUNNING, {**RUNNING, "terminatedReason": "perhaps"}, False),
        ("alice", "UPDATE", "", RUNNING, {**FALSE, "terminatedBy": "alice"}, False),
        ("alice", "UPDATE", "", ENDED, RUNNING, False),
        ("alice", "UPDATE", "", ENDED, FALSE, False),
        ("alice", "UPDATE", "", STAMPED, {**STAMPED, "terminatedReason": "I never said that"}, False),
        ("alice", "UPDATE", "", STAMPED, STAMPED, True),
        ("alice", "UPDATE", "", ENDED, {"run": "r-1", "terminated": "no"}, False),
        ("alice", "UPDATE", "", RUNNING, {"run": "r-2", "terminated": True}, False),
        ("alice", "UPDATE", "", RUNNING, {**RUNNING, "startedAt": rfc3339(NOW)}, False),
        ("alice", "UPDATE", "", RUNNING, {}, False),
        ("alice", "UPDATE", "status", RUNNING, RUNNING, False),
        ("alice", "DELETE", "", RUNNING, None, True),
        ("alice", "DELETE", "", ENDED, None, False),
        ("alice", "DELETE", "", NO_RUN_ENDED, None, True),
        (CODER, "UPDATE", "", RUNNING, ENDED, False),
        (CODER, "DELETE", "", RUNNING, None, False),
        (CODER, "UPDATE", "status", RUNNING, RUNNING, False),
    ],
)
def test_people_throw_the_switch_and_programs_keep_the_rest(  # noqa: PLR0917
    user: str, operation: str, subresource: str, old: Any, new: Any, allowed: bool
) -> None:
    answer = check_session(
        request(user, operation, subresource, old, new),
        accounts=AccountSettings(),
        guarded=frozenset({CODER}),
        now=NOW,
    )
    assert answer.allowed is allowed
    assert allowed or answer.message


@pytest.mark.parametrize(
    ("operation", "subresource", "old", "new", "stamps"),
    [
        ("UPDATE", "", RUNNING, SAID, True),
        ("UPDATE", "", FALSE, {**ENDED, "terminatedBy": "bob"}, True),
        ("UPDATE", "", RUNNING, FALSE, False),
        ("UPDATE", "", STAMPED, {**STAMPED, "terminatedReason": "later"}, False),
        ("UPDATE", "status", RUNNING, ENDED, False),
        ("CREATE", "", None, ENDED, False),
    ],
)
def test_who_throws_it_is_stamped(operation: str, subresource: str, old: Any, new: Any, stamps: bool) -> None:
    answer = stamp(request("alice", operation, subresource, old, new), NOW)
    assert answer.allowed
    written = {operation["path"]: operation["value"] for operation in answer.patch}
    expected = {"/spec/terminatedBy": "alice", "/spec/terminatedAt": rfc3339(NOW)}
    assert written == (expected if stamps else {})


def test_the_console_says_for_whom_it_throws_the_switch() -> None:
    asked = request(CONSOLE, "UPDATE", "", RUNNING, {**SAID, "terminatedBy": "alice"})
    patch = stamp(asked, NOW, console=CONSOLE).patch
    assert {entry["path"]: entry["value"] for entry in patch or ()}["/spec/terminatedBy"] == "alice"
    forged = request("bob", "UPDATE", "", RUNNING, {**SAID, "terminatedBy": "alice"})
    patch = stamp(forged, NOW, console=CONSOLE).patch
    assert {entry["path"]: entry["value"] for entry in patch or ()}["/spec/terminatedBy"] == "bob"
