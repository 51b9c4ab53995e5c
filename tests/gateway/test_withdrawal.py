"""Taking back through the data path: recorded first, never as the agent, and nothing but the gesture."""

from __future__ import annotations

import json
from typing import Any

import pytest

from chaperone.core.identity import Caller
from chaperone.core.request import Request
from gateway.services import Answer
from tests.gateway.stage import AGENT, Stage, play, request

TARGET = "/apis/chaperone.dev/v1alpha1/approvalrequests/apr-1/status"
MERGE = "application/merge-patch+json"


class FakeDesk:
    """Remembers what it was asked; nothing is stored."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Caller, str]] = []

    async def withdraw(self, request: Request, caller: Caller, reason: str = "") -> Answer:
        self.asked.append((request.name, caller, reason))
        return Answer(200, {"kind": "ApprovalRequest", "status": {"phase": "Cancelled"}})


def patch(status: Any, content_type: str = MERGE, target: str = TARGET) -> bytes:
    body = json.dumps({"status": status}).encode()
    sent = request(target, method="PATCH", body=body)
    return sent.replace(b"application/json", content_type.encode())


def test_it_is_recorded_and_goes_to_the_desk_for_the_verified_caller() -> None:
    desk = FakeDesk()

    async def scene(stage: Stage) -> None:
        answer = await stage.exchange(patch({"decision": "Cancelled", "decisionReason": "no"}))
        assert answer.code == 200
        assert json.loads(answer.body)["status"]["phase"] == "Cancelled"
        assert desk.asked == [("apr-1", AGENT, "no")]
        stage.assert_untouched()
        (before,) = stage.audit.durable_records
        assert before["stage"] == "RequestReceived"
        (after,) = stage.audit.records
        assert after["responseStatus"]["code"] == 200

    play(scene, withdrawals=desk)


def test_nothing_is_taken_back_without_its_record() -> None:
    desk = FakeDesk()

    async def scene(stage: Stage) -> None:
        stage.audit.down = True
        assert (await stage.exchange(patch({"decision": "Cancelled"}))).code == 503
        assert desk.asked == []

    play(scene, withdrawals=desk)


@pytest.mark.parametrize(
    "sent",
    [
        patch({"decision": "Approved"}),
        patch({"decision": "Cancelled", "phase": "Approved"}),
        patch({"decision": "Cancelled", "decisionReason": 3}),
        patch({"decision": "Cancelled"}, "application/apply-patch+yaml"),
        patch({"decision": "Cancelled"}, target=f"{TARGET}?dryRun=All"),
        patch({"decision": "Cancelled"}, target=TARGET.removesuffix("/status")),
        request(TARGET, method="PUT", body=b'{"status":{"decision":"Cancelled"}}'),
        request(TARGET, f"Content-Type: {MERGE}", method="PATCH"),
    ],
)
def test_every_other_write_is_denied(sent: bytes) -> None:
    desk = FakeDesk()

    async def scene(stage: Stage) -> None:
        answer = await stage.exchange(sent)
        assert answer.code == 403
        assert "R26" in answer.status["message"]
        stage.assert_untouched()
        assert desk.asked == []

    play(scene, withdrawals=desk)


def test_where_nobody_takes_back_it_is_denied() -> None:
    async def scene(stage: Stage) -> None:
        assert (await stage.exchange(patch({"decision": "Cancelled"}))).code == 403
        stage.assert_untouched()

    play(scene)
