"""What people see of a request, and how their decision is passed on."""

from __future__ import annotations

import pytest

from tests.console.conftest import APPROVAL_REQUESTS, URL, Stage, approval

ESC = "\x1b[31m"


def test_what_waits_comes_first_and_the_rest_when_asked_for(stage: Stage) -> None:
    stage.api.add(APPROVAL_REQUESTS, approval("apr-old", "Executed"))
    stage.api.add(APPROVAL_REQUESTS, approval("apr-new"))
    stage.api.allow("oncall", "list", "approvalrequests")
    browser = stage.browser("alice", "oncall")
    page = browser.get("/approvals/", base_url=URL).text
    assert "apr-new" in page
    assert "apr-old" not in page
    page = browser.get("/approvals/?all=1", base_url=URL).text
    assert page.index("apr-new") < page.index("apr-old")


def test_htmx_gets_the_rows_alone(stage: Stage) -> None:
    stage.api.allow("alice", "list", "approvalrequests")
    page = stage.browser("alice").get("/approvals/", base_url=URL, headers={"HX-Request": "true"}).text
    assert "<html" not in page
    assert "Nothing waits" in page


@pytest.mark.parametrize("path", ["/approvals/", "/approvals/apr-1"])
def test_rbac_decides_who_sees_them(stage: Stage, path: str) -> None:
    stage.api.add(APPROVAL_REQUESTS, approval())
    answer = stage.browser("carol").get(path, base_url=URL)
    assert answer.status_code == 403
    assert "chaperone-approver" in answer.text


@pytest.mark.parametrize("name", ["apr-2", "..", "A", "x%00", "a" * 300])
def test_a_name_that_is_none_finds_nothing(stage: Stage, name: str) -> None:
    stage.api.allow("alice", "get", "approvalrequests")
    assert stage.browser("alice").get(f"/approvals/{name}", base_url=URL).status_code == 404


def test_words_of_strangers_are_shown_and_never_run(stage: Stage) -> None:
    hostile = f"<script>alert(1)</script>{ESC}\u202e"
    stage.api.add(
        APPROVAL_REQUESTS,
        approval(
            reason=hostile,
            risk={"level": "high", "reasons": [hostile]},
            preview={"diff": f"+{hostile}\n-x", "affected": [hostile], "warnings": [hostile]},
        ),
    )
    for right in ("get", "list"):
        stage.api.allow("alice", right, "approvalrequests")
    page = stage.browser("alice").get("/approvals/apr-1", base_url=URL).text
    assert "<script>alert" not in page
    assert "&lt;script&gt;" in page
    assert "\x1b" not in page
    assert "\u202e" not in page


def test_a_decision_is_passed_on_in_the_persons_name(stage: Stage) -> None:
    stage.api.add(APPROVAL_REQUESTS, approval())
    stage.api.allow("oncall", "approve", "approvals", "coders")
    stage.api.allow("oncall", "get", "approvalrequests")
    browser = stage.browser("alice", "oncall")
    answer = browser.post(
        "/approvals/apr-1/approve", base_url=URL, data={"csrf": "token", "reason": " fine "}
    )
    assert answer.status_code == 302
    path, patch = stage.api.patches[0]
    assert path == APPROVAL_REQUESTS.path("apr-1", subresource="status")
    assert patch == {
        "status": {
            "decision": "Approved",
            "decisionReason": "fine",
            "onBehalfOf": {"username": "alice", "groups": ["oncall"]},
        }
    }
    assert "you have approved" in browser.get(answer.location, base_url=URL).text


def test_without_the_right_nothing_is_passed_on(stage: Stage) -> None:
    stage.api.add(APPROVAL_REQUESTS, approval())
    stage.api.allow("alice", "approve", "approvals", "another-policy")
    answer = stage.browser("alice").post("/approvals/apr-1/approve", base_url=URL, data={"csrf": "token"})
    assert answer.status_code == 403
    assert "under policy coders in dev" in answer.text
    assert stage.api.patches == []


def test_the_right_is_asked_for_anew_when_it_is_used(stage: Stage) -> None:
    stage.api.add(APPROVAL_REQUESTS, approval())
    stage.api.allow("alice", "approve", "approvals")
    stage.api.allow("alice", "get", "approvalrequests")
    browser = stage.browser("alice")
    assert "Approve</button>" in browser.get("/approvals/apr-1", base_url=URL).text
    stage.api.rights.discard(("alice", "approve", "approvals", "*"))
    assert browser.post("/approvals/apr-1/approve", base_url=URL, data={"csrf": "token"}).status_code == 403


def test_the_webhooks_refusal_is_shown(stage: Stage) -> None:
    stage.api.add(APPROVAL_REQUESTS, approval())
    stage.api.allow("alice", "approve", "approvals")
    stage.api.allow("alice", "get", "approvalrequests")
    stage.api.refusal = "cannot be reviewed by its own requester"
    browser = stage.browser("alice")
    answer = browser.post("/approvals/apr-1/approve", base_url=URL, data={"csrf": "token"})
    assert "own requester" in browser.get(answer.location, base_url=URL).text


@pytest.mark.parametrize(
    ("phase", "approve", "deny"),
    [("Pending", True, True), ("Approved", False, True), ("Denied", False, False)],
)
def test_only_what_is_possible_is_offered(stage: Stage, phase: str, approve: bool, deny: bool) -> None:
    stage.api.add(APPROVAL_REQUESTS, approval(phase=phase))
    stage.api.allow("alice", "approve", "approvals")
    stage.api.allow("alice", "get", "approvalrequests")
    page = stage.browser("alice").get("/approvals/apr-1", base_url=URL).text
    assert ("Approve</button>" in page) is approve
    assert ("Deny</button>" in page) is deny


def test_there_is_no_other_decision(stage: Stage) -> None:
    answer = stage.browser("alice").post("/approvals/apr-1/maybe", base_url=URL, data={"csrf": "token"})
    assert answer.status_code == 404
