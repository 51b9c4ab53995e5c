"""Answers: a code, a reason as the API server words it, a message that a model can act on, causes for
programs.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaperone.core import status as answers
from chaperone.core.legible import is_visible
from chaperone.core.request import Request, parse
from chaperone.core.status import Cause, headers, status
from chaperone.core.verdict import Action, Finding, Risk, RiskLevel, Verdict

PATCH = (
    """kubectl patch apreq apr-1 --subresource=status --type=merge -p '{"status":{"decision":"Approved"}}'"""
)


def read(method: str, target: str) -> Request:
    request = parse(method, target)
    assert isinstance(request, Request)
    return request


DELETE = read("DELETE", "/apis/apps/v1/namespaces/shop/deployments/web")


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (400, "BadRequest"),
        (401, "Unauthorized"),
        (403, "Forbidden"),
        (404, "NotFound"),
        (405, "MethodNotAllowed"),
        (406, "NotAcceptable"),
        (409, "Conflict"),
        (410, "Gone"),
        (413, "RequestEntityTooLarge"),
        (415, "UnsupportedMediaType"),
        (422, "Invalid"),
        (429, "TooManyRequests"),
        (500, "InternalError"),
        (502, "InternalError"),
        (503, "ServiceUnavailable"),
        (504, "Timeout"),
        (418, None),
    ],
)
def test_reasons_are_those_of_the_api_server(code: int, reason: str | None) -> None:
    answer = status(code, "no")
    assert answer.get("reason") == reason
    assert (answer["kind"], answer["apiVersion"], answer["status"], answer["code"]) == (
        "Status",
        "v1",
        "Failure",
        code,
    )
    assert "details" not in answer


def test_another_reason_of_the_same_code() -> None:
    assert status(409, "no", reason="AlreadyExists")["reason"] == "AlreadyExists"


def test_details_name_the_object_causes_and_seconds() -> None:
    answer = status(429, "no", request=DELETE, causes=[Cause("A", "b"), Cause("C", "d", "e")], retry_after=5)
    assert answer["details"] == {
        "name": "web",
        "group": "apps",
        "kind": "deployments",
        "causes": [{"reason": "A", "message": "b"}, {"reason": "C", "message": "d", "field": "e"}],
        "retryAfterSeconds": 5,
    }
    assert "details" not in status(403, "no", request=read("GET", "/healthz"))


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (status(403, "no"), ()),
        (status(429, "no", retry_after=5), (("Retry-After", "5"),)),
        (status(503, "no", retry_after=0), (("Retry-After", "0"),)),
        (status(401, "no"), (("WWW-Authenticate", "Bearer"),)),
        (status(405, "no"), (("Allow", "GET, HEAD, POST, PUT, PATCH, DELETE"),)),
    ],
)
def test_headers_follow_from_a_status(answer: dict[str, Any], expected: tuple[tuple[str, str], ...]) -> None:
    assert headers(answer) == expected


def test_warnings_are_quoted_ascii() -> None:
    assert headers(status(403, "no"), ['say "é"\r\nX: y', "plain"]) == (
        ("Warning", '299 - "say \\"\\\\xe9\\"\\\\r\\\\nX: y"'),
        ("Warning", '299 - "plain"'),
    )
    assert len(headers(status(403, "no"), ["x" * 9999])[0][1]) < 300


def test_a_401_tells_nothing() -> None:
    assert answers.unauthorized()["message"] == "Unauthorized"
    assert answers.unauthorized("token expired")["message"] == "token expired"


class TestDenied:
    VERDICT = Verdict(
        action=Action.DENY,
        policy="coders",
        rule="off-limits",
        reason='delete of deployments.apps "web" is denied by policy "coders", rule "off-limits": \x1b[31mno',
        risk=Risk(
            (Finding("R07", RiskLevel.HIGH, "deletes a workload"), Finding("R01", RiskLevel.CRITICAL, "x"))
        ),
    )

    def test_it_says_who_why_and_what_instead(self) -> None:
        answer = answers.denied(DELETE, self.VERDICT)
        assert (answer["code"], answer["reason"]) == (403, "Forbidden")
        assert (
            'policy "coders", rule "off-limits": \\x1b[31mno. Risk critical: R07, R01.' in answer["message"]
        )
        assert "in another way" in answer["message"]
        assert answer["details"]["causes"] == [
            {"reason": "PolicyDenied", "message": "coders", "field": "policy"},
            {"reason": "RuleDenied", "message": "off-limits", "field": "rule"},
            {"reason": "Risk", "message": "deletes a workload", "field": "R07"},
            {"reason": "Risk", "message": "x", "field": "R01"},
        ]

    def test_without_a_policy_it_is_still_an_answer(self) -> None:
        answer = answers.denied(DELETE, Verdict(action=Action.DENY))
        assert answer["message"].startswith("the request is denied. ")
        assert "causes" not in answer["details"]


class TestHeld:
    def hold(self, hold_left: float, **changes: Any) -> dict[str, Any]:
        values: dict[str, Any] = {
            "name": "apr-1",
            "policy": "coders",
            "required": 2,
            "approved": 1,
            "hold_left": hold_left,
        }
        return answers.held(DELETE, **{**values, **changes})

    @pytest.mark.parametrize(
        ("hold_left", "retry_after", "seconds"),
        [(60.0, 15, 15), (10.2, 15, 11), (0.1, 15, 1), (60.0, 0, 1), (60.0, 1, 1)],
    )
    def test_the_client_is_kept_coming_while_there_is_time(
        self, hold_left: float, retry_after: int, seconds: int
    ) -> None:
        answer = self.hold(hold_left, retry_after=retry_after)
        assert (answer["code"], answer["details"]["retryAfterSeconds"]) == (429, seconds)
        assert ("Retry-After", str(seconds)) in headers(answer)

    @pytest.mark.parametrize("hold_left", [0.0, -5.0])
    def test_then_it_must_come_by_itself(self, hold_left: float) -> None:
        answer = self.hold(hold_left)
        assert answer["code"] == 403
        assert "retryAfterSeconds" not in answer["details"]
        assert headers(answer) == ()

    def test_the_message_is_all_that_a_model_needs(self) -> None:
        message = self.hold(0, approvers=["platform-oncall", "ann\u202e"], expires_at="2026-01-31T10:00:00Z")[
            "message"
        ]
        for part in (
            'delete of deployments.apps "web" in namespace "shop" was not executed',
            "ApprovalRequest apr-1, which has 1 of 2 approvals",
            "AgentPolicy coders, who must be one of platform-oncall, ann\\u202e",
            "`kubectl get apreq apr-1 -o yaml`",
            f"`{PATCH}`",
            "until 2026-01-31T10:00:00Z",
            "run exactly the same command again",
        ):
            assert part in message

    def test_causes_are_for_programs(self) -> None:
        assert self.hold(0)["details"]["causes"] == [
            {"reason": "ApprovalPending", "message": "1 of 2 approvals", "field": "apr-1"}
        ]

    def test_many_approvers_are_counted(self) -> None:
        message = self.hold(0, approvers=[f"g{number}" for number in range(13)])["message"]
        assert "g9, 3 more" in message
        assert "g10" not in message


@pytest.mark.parametrize(
    ("answer", "code", "cause", "words"),
    [
        (answers.approval_used(DELETE, name="apr-1"), 403, "ApprovalUsed", ["apr-1 has been used. One approval"]),
        (answers.approval_withdrawn(DELETE, name="apr-1", again_at="T"), 403, "ApprovalCancelled",
         ["apr-1 was cancelled by its requester. Nobody is asked any more. After T the same command"]),
        (answers.approval_used(DELETE, name="apr-1", again_at="T"), 403, "ApprovalUsed", ["After T the same command"]),
        (answers.approval_denied(DELETE, name="apr-1"), 403, "ApprovalDenied", ["apr-1 was denied. Do not try"]),
        (answers.approval_denied(DELETE, name="apr-1", by="ann", said="no\x1b", again_at="T"), 403, "ApprovalDenied",
         ["was denied by ann: no\\x1b.", "After T"]),
        (answers.approval_ended(DELETE, name="apr-1", became="was cancelled"), 403, "ApprovalEnded", ["apr-1 was cancelled", "run it again"]),
        (answers.approval_executing(DELETE, name="apr-1"), 409, "ApprovalExecuting", ["is being executed"]),
        (answers.approval_unknown(DELETE, name="apr-1"), 403, "ApprovalUnknown", ["nothing is repeated"]),
        (answers.approval_changed(DELETE, name="apr-1", reason="the object is gone", changed=["target"]), 403, "ApprovalChanged",
         ["does not serve: the object is gone."]),
    ],
)  # fmt: skip
def test_ends_of_an_approval(answer: dict[str, Any], code: int, cause: str, words: list[str]) -> None:
    assert answer["code"] == code
    assert answer["details"]["causes"][0]["reason"] == cause
    assert answer["details"]["causes"][0]["field"] == "apr-1"
    assert all(part in answer["message"] for part in words)
    assert "retryAfterSeconds" not in answer["details"]


def test_ap10_what_changed_is_a_cause() -> None:
    answer = answers.approval_changed(DELETE, name="apr-1", reason="gone", changed=["target", "policy"])
    assert [cause.get("field") for cause in answer["details"]["causes"]] == ["apr-1", "target", "policy"]


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("/healthz", "get of /healthz was not executed"),
        ("/api/v1/namespaces/shop", 'get of namespaces "shop" was not executed'),
        ("/api/v1/nodes", "list of nodes was not executed"),
        ("/api/v1/namespaces/shop/pods/a/log", 'get of pods/log "a" in namespace "shop" was not executed'),
    ],
)
def test_requests_are_named(target: str, words: str) -> None:
    assert words in answers.approval_executing(read("GET", target), name="apr-1")["message"]


@given(st.text(), st.text(), st.text())
def test_ap14_whatever_strangers_write_is_shown_escaped(name: str, reason: str, said: str) -> None:
    request = replace(DELETE, name=name, namespace=said)
    for answer in (
        answers.denied(request, Verdict(action=Action.DENY, reason=reason, policy=name)),
        answers.approval_denied(request, name="apr-1", by=name, said=said),
        answers.held(request, name="apr-1", policy=name, required=1, hold_left=1, approvers=[said]),
        status(400, reason, request=request, causes=[Cause("A", said, name)]),
    ):
        assert is_visible(answer["message"])
        assert all(
            is_visible(text) for cause in answer["details"].get("causes", []) for text in cause.values()
        )
        assert is_visible(answer["details"].get("name", ""))
        assert len(answer["message"]) <= answers.MAX_MESSAGE
        for _, value in headers(answer, [reason]):
            assert value.isascii()
            assert value.isprintable()
