"""Headers, cookies and CSRF on every page; and who gets a page at all."""

from __future__ import annotations

import pytest

from console.security import HEADERS
from tests.console.conftest import APPROVAL_REQUESTS, URL, Stage, approval


@pytest.mark.parametrize("path", ["/welcome", "/healthz", "/nowhere", "/static/console.css"])
def test_every_answer_is_protected(stage: Stage, path: str) -> None:
    answer = stage.browser().get(path, base_url=URL)
    for name, value in HEADERS.items():
        assert answer.headers[name] == value
    assert "unsafe-inline" not in answer.headers["Content-Security-Policy"]


def test_pages_are_not_kept_by_caches(stage: Stage) -> None:
    assert stage.browser().get("/welcome", base_url=URL).headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("path", ["/approvals/", "/approvals/apr-1", "/policies/", "/"])
def test_whoever_has_not_logged_in_sees_nothing(stage: Stage, path: str) -> None:
    answer = stage.browser().get(path, base_url=URL)
    assert answer.status_code == 302
    assert answer.location.startswith("/welcome?next=/")


def test_a_part_of_a_page_is_not_replaced_by_the_login(stage: Stage) -> None:
    answer = stage.browser().get("/approvals/", base_url=URL, headers={"HX-Request": "true"})
    assert answer.status_code == 401
    assert "<html" not in answer.text


def test_a_changed_cookie_is_nobodys(stage: Stage) -> None:
    browser = stage.browser()
    browser.set_cookie(
        "__Host-chaperone", "eyJwZXJzb24iOnt9fQ.aaaa.bbbb", domain="console.example", secure=True
    )
    assert browser.get("/approvals/", base_url=URL).status_code == 302


def test_the_cookie_is_for_this_host_over_tls_only(stage: Stage) -> None:
    stage.api.allow("alice", "list", "approvalrequests")
    browser = stage.browser("alice")
    stage.now[0] += 61
    cookie = browser.get("/approvals/", base_url=URL).headers["Set-Cookie"]
    assert cookie.startswith("__Host-chaperone=")
    for term in ("Secure", "HttpOnly", "SameSite=Lax", "Path=/"):
        assert term in cookie
    assert "Domain" not in cookie


@pytest.mark.parametrize(
    ("form", "headers"),
    [
        ({}, {}),
        ({"csrf": "wrong"}, {}),
        ({}, {"X-CSRF-Token": "wrong"}),
        ({"csrf": "token"}, {"Sec-Fetch-Site": "cross-site"}),
        ({"csrf": "token"}, {"Sec-Fetch-Site": "same-site"}),
    ],
)
def test_another_site_cannot_decide(stage: Stage, form: dict[str, str], headers: dict[str, str]) -> None:
    stage.api.add(APPROVAL_REQUESTS, approval())
    stage.api.allow("alice", "approve", "approvals")
    answer = stage.browser("alice").post("/approvals/apr-1/approve", base_url=URL, data=form, headers=headers)
    assert answer.status_code == 403
    assert stage.api.patches == []


def test_logging_out_forgets_the_person(stage: Stage) -> None:
    browser = stage.browser("alice")
    assert browser.get("/logout", base_url=URL).status_code == 405
    assert browser.post("/logout", base_url=URL, data={"csrf": "token"}).location == "/welcome"
    assert browser.get("/approvals/", base_url=URL).status_code == 302


def test_an_api_server_that_is_away_is_said_in_words(stage: Stage) -> None:
    stage.api.away = True
    answer = stage.browser("alice").get("/approvals/", base_url=URL)
    assert answer.status_code == 503
    assert "cannot be reached" in answer.text


def test_a_fault_tells_nothing_of_itself(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise ValueError("a secret")

    stage.api.allow("alice", "list", "approvalrequests")
    monkeypatch.setattr(stage.api, "list", lambda _path: fail())
    answer = stage.browser("alice").get("/approvals/", base_url=URL)
    assert answer.status_code == 500
    assert "a secret" not in answer.text
