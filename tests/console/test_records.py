"""Runs, audit and policies as pages, over a store in memory."""

from __future__ import annotations

from dataclasses import replace
from html import unescape
from typing import Any

import pytest

from chaperone.store.interface import Found, Page, Query, StoreUnavailableError, Tally
from tests.console.conftest import AGENT_POLICIES, AGENT_SESSIONS, APPROVAL_REQUESTS, URL, Stage, approval

HOSTILE = "<img src=x onerror=alert(1)>\x1b[2J\u202e"


def record(audit_id: str = "a-1", **more: Any) -> Found:
    fields = {
        "auditID": audit_id,
        "stage": "ResponseComplete",
        "verb": "delete",
        "run": "run-1",
        "agent": "coder",
        "verdict": "Deny",
        "objectRef": {"resource": "pods", "subresource": "exec", "namespace": "prod", "name": "web-0"},
        "responseStatus": {"code": 403},
        **more,
    }
    return Found(1, "w", 1, 1_700_000_000.0, fields, b"{}")


class FakeStore:
    """Remembers what it was asked."""

    def __init__(self, *found: Found) -> None:
        self.found = found
        self.searched = 0.0
        self.asked: list[tuple[Any, ...]] = []

    def search(
        self, query: Query, *, limit: int = 50, cursor: str = "", brief: bool = False, patience: float = 0.0
    ) -> Page:
        if cursor == "bad":
            raise ValueError("the cursor is not one of ours")
        assert brief
        assert 0 < patience < 0.3
        self.asked.append((query, limit, cursor))
        return Page(self.found, "next-page", self.searched)

    def timeline(self, run: str, *, limit: int, after: str, brief: bool, issuer: str, user: str) -> Page:
        if after == "bad":
            raise ValueError("the cursor is not one of ours")
        assert brief
        assert (issuer, user) == ("https://issuer.example", "agent-1")
        self.asked.append((run, limit, after))
        return Page(self.found, "")

    def get(self, audit_id: str) -> tuple[Found, ...]:
        return tuple(entry for entry in self.found if entry.record["auditID"] == audit_id)

    def counts(self, since: float, until: float, bucket: float) -> tuple[Tally, ...]:
        return (Tally(since, "Allow", 7),)


def with_store(stage: Stage, store: FakeStore | None) -> None:
    settings = replace(
        stage.services.settings, records=replace(stage.services.settings.records, store="sqlite:///x")
    )
    known: Any = store
    services = replace(stage.services, records=lambda: known, settings=settings)
    stage.browser().application.extensions["chaperone"] = services


def session(name: str = "coder-run-1", **spec: Any) -> dict[str, Any]:
    whose = {"issuer": "https://issuer.example", "subject": "sub-1", "username": "agent-1", "agent": "coder"}
    return {
        "metadata": {"name": name, "uid": "u", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {
            **whose,
            "run": "run-1",
            "policies": ["coders"],
            "startedAt": "2026-01-01T00:00:00Z",
            **spec,
        },
        "status": {"phase": "Active", "instances": {"g": {"requests": 12, "denied": 3}}},
    }


def viewer(stage: Stage) -> Any:
    for kind in ("agentsessions", "auditrecords", "agentpolicies", "approvalrequests"):
        for verb in ("list", "get"):
            stage.api.allow("victor", verb, kind)
    return stage.browser("victor")


@pytest.mark.parametrize(
    "path",
    [
        "/sessions/",
        "/sessions/coder-run-1",
        "/audit/",
        "/audit/a-1",
        "/audit/counts",
        "/policies/",
        "/policies/p",
    ],
)
def test_rbac_decides_who_sees_a_page(stage: Stage, path: str) -> None:
    with_store(stage, FakeStore(record()))
    stage.api.add(AGENT_SESSIONS, session())
    stage.api.add(AGENT_POLICIES, {"metadata": {"name": "p"}, "spec": {}})
    answer = stage.browser("carol").get(path, base_url=URL)
    assert answer.status_code == 403
    assert "chaperone-viewer" in answer.text
    assert viewer(stage).get(path, base_url=URL).status_code == 200


def test_a_run_with_its_numbers_approvals_and_timeline(stage: Stage) -> None:
    store = FakeStore(record(), record("a-2", stage="RequestReceived"))
    with_store(stage, store)
    stage.api.add(AGENT_SESSIONS, session())
    requester = {
        "username": "agent-1",
        "issuer": "https://issuer.example",
        "subject": "sub-1",
        "run": "run-1",
    }
    stage.api.add(APPROVAL_REQUESTS, approval("apr-mine", requester=requester))
    stage.api.add(APPROVAL_REQUESTS, approval("apr-other", requester={**requester, "run": "run-2"}))
    page = viewer(stage).get("/sessions/coder-run-1", base_url=URL).text
    assert "12 requests" in page
    assert "apr-mine" in page
    assert "apr-other" not in page
    assert "pods/exec &#34;web-0&#34; in &#34;prod&#34;" in page
    assert store.asked == [("run-1", 100, "")]
    assert "End the run" not in page


def test_ending_a_run_takes_the_right_and_a_reason(stage: Stage) -> None:
    stage.api.add(AGENT_SESSIONS, session())
    victor = viewer(stage)
    url = "/sessions/coder-run-1/end"
    assert victor.post(url, base_url=URL, data={"csrf": "token", "reason": "x"}).status_code == 403
    stage.api.allow("victor", "patch", "agentsessions")
    assert victor.post(url, base_url=URL, data={"csrf": "token"}).status_code == 400
    assert stage.api.patches == []
    assert victor.post(url, base_url=URL, data={"csrf": "token", "reason": "too much"}).status_code == 302
    spec = {"terminated": True, "terminatedReason": "too much", "terminatedBy": "victor"}
    assert stage.api.patches == [(AGENT_SESSIONS.path("coder-run-1"), {"spec": spec})]


def test_a_search_asks_the_store_for_what_the_form_says(stage: Stage) -> None:
    store = FakeStore(record())
    with_store(stage, store)
    page = (
        viewer(stage)
        .get("/audit/?run=run-1&verdict=Deny&code=403&since=2026-01-01T00:00&cursor=here", base_url=URL)
        .text
    )
    query, limit, cursor = store.asked[0]
    assert query == Query(run="run-1", verdict="Deny", code=403, since=1_767_225_600.0)
    assert (limit, cursor) == (50, "here")
    assert "cursor=next-page" in page
    assert "run=run-1" in page


@pytest.mark.parametrize("query", ["code=abc", "code=42", "since=yesterday", "until=1", "cursor=bad"])
def test_a_faulty_field_is_named(stage: Stage, query: str) -> None:
    store = FakeStore(record())
    with_store(stage, store)
    page = viewer(stage).get(f"/audit/?{query}", base_url=URL)
    assert page.status_code == 200
    assert query.partition("=")[0] in page.text.partition('role="alert"')[2]
    assert store.asked == []


def test_text_of_strangers_is_shown_and_never_run(stage: Stage) -> None:
    hostile = record(
        HOSTILE,
        agent=HOSTILE,
        run=HOSTILE,
        verb=HOSTILE,
        reason=HOSTILE,
        approval={"name": "apr-1"},
        objectRef={"resource": HOSTILE, "name": HOSTILE, "namespace": HOSTILE, "apiGroup": HOSTILE},
    )
    with_store(stage, FakeStore(hostile, replace(record(), record={**hostile.record, "auditID": "a-9"})))
    stage.api.add(AGENT_SESSIONS, session(agent=HOSTILE, model=HOSTILE))
    stage.api.add(
        AGENT_POLICIES,
        {
            "metadata": {"name": "p"},
            "spec": {
                "subjects": [{"usernames": [HOSTILE]}],
                "rules": [{"name": HOSTILE, "message": HOSTILE}],
            },
            "status": {"conditions": [{"type": "Ready", "status": "False", "message": HOSTILE}]},
        },
    )
    browser = viewer(stage)
    for path in ("/audit/", "/audit/a-9", "/sessions/", "/sessions/coder-run-1", "/policies/", "/policies/p"):
        page = browser.get(path, base_url=URL)
        assert page.status_code == 200, path
        assert "<img" not in page.text, path
        assert "\x1b" not in page.text, path
        assert "\u202e" not in page.text, path
        assert "onerror" in page.text, path


def test_without_a_store_the_audit_says_what_to_set(stage: Stage) -> None:
    with_store(stage, None)
    answer = viewer(stage).get("/audit/", base_url=URL)
    assert answer.status_code == 503
    assert "records.store" in answer.text


def test_a_store_that_does_not_answer_is_said(stage: Stage) -> None:
    class Gone(FakeStore):
        def search(self, query: Query, **more: Any) -> Page:
            raise StoreUnavailableError("no connection")

    with_store(stage, Gone())
    assert viewer(stage).get("/audit/", base_url=URL).status_code == 503


def test_a_chart_is_drawn_from_counts(stage: Stage) -> None:
    with_store(stage, FakeStore())
    for span in ("1h", "24h", "7d", "30d", "nonsense"):
        page = viewer(stage).get(f"/audit/counts?span={span}", base_url=URL).text
        assert 'class="bar-allow"' in page
        assert '<td class="number">7</td>' in page


def test_a_policy_shows_whom_it_governs(stage: Stage) -> None:
    stage.api.add(AGENT_SESSIONS, session(policies=["coders"]))
    stage.api.add(AGENT_SESSIONS, session("other", policies=["another"]))
    stage.api.add(
        AGENT_POLICIES,
        {
            "metadata": {"name": "coders"},
            "spec": {
                "subjects": [{"groups": ["ai-agents"]}],
                "identity": {"serviceAccount": {"namespace": "agents", "name": "coder"}},
                "rules": [{"name": "off", "match": {"namespaces": ["kube-*"]}, "action": "Deny"}],
            },
        },
    )
    page = viewer(stage).get("/policies/coders", base_url=URL).text
    for piece in ("ai-agents", "agents/coder", "namespaces: kube-*", "run-1", "not seen it yet"):
        assert piece in page, piece
    assert page.count("phase-active") == 1


def test_a_place_in_a_timeline_that_is_none_is_said(stage: Stage) -> None:
    with_store(stage, FakeStore(record()))
    stage.api.add(AGENT_SESSIONS, session())
    answer = viewer(stage).get("/sessions/coder-run-1?after=bad", base_url=URL)
    assert answer.status_code == 400
    assert "after" in answer.text


def test_a_search_that_stopped_in_time_goes_on_by_itself(stage: Stage) -> None:
    store = FakeStore(record())
    store.searched = 1_700_000_000.0
    with_store(stage, store)
    victor = viewer(stage)
    page = victor.get("/audit/?agent=coder&verb=", base_url=URL).text
    further = url_in(page, "data-further")
    assert further == "/audit/?agent=coder&cursor=next-page&shown=1"
    assert 'hx-trigger="load"' in page
    assert "Searched back to 2023-11-14 22:13" in page
    part = victor.get(further, base_url=URL, headers={"HX-Request": "true"}).text
    assert store.asked[-1][1:] == (49, "next-page")
    assert part.lstrip().startswith("<tbody>")
    assert "shown=2" in part
    store.searched = 0.0
    page = victor.get("/audit/?agent=coder", base_url=URL).text
    assert "data-further" not in page
    assert '<a href="/audit/?agent=coder&amp;cursor=next-page&amp;deep=1" rel="next">' in page


def test_a_search_that_ends_with_nothing_says_so(stage: Stage) -> None:
    store = FakeStore()
    with_store(stage, store)
    victor = viewer(stage)
    store.searched = 1_700_000_000.0
    assert "Nothing was found" not in victor.get("/audit/?agent=x", base_url=URL).text
    store.search = lambda *asked, **more: Page((), "")  # type: ignore[method-assign]
    assert "Nothing was found" in victor.get("/audit/?agent=x", base_url=URL).text
    last = victor.get("/audit/?agent=x&cursor=c&shown=0", base_url=URL, headers={"HX-Request": "true"}).text
    assert "Nothing was found" in last
    assert "data-further" not in last


@pytest.mark.parametrize("shown", ["-1", "50", "x", "9" * 40, "\u0663"])
def test_a_place_that_was_not_given_out_is_refused(stage: Stage, shown: str) -> None:
    store = FakeStore(record())
    with_store(stage, store)
    page = viewer(stage).get("/audit/", base_url=URL, query_string={"shown": shown}).text
    assert "not one that the console has given out" in page
    assert store.asked == []


def test_objects_in_a_record_are_folded_bounded_and_escaped(stage: Stage) -> None:
    states = {"state": "Present", "object": {"data": {HOSTILE: "x" * 300_000}}}
    with_store(stage, FakeStore(record(objectBefore=states, requestObject={"small": HOSTILE})))
    answer = viewer(stage).get("/audit/a-1", base_url=URL)
    assert answer.status_code == 200
    assert len(answer.data) < 60_000
    assert "<summary>objectBefore <small>300," in answer.text
    assert "requestObject:" in answer.text, "what is short stays where it is"
    assert "<img" not in answer.text
    assert "\x1b" not in answer.text
    assert "&lt;img" in answer.text
    assert "all of it is in the download" in answer.text


def test_records_are_downloaded_as_they_are_stored(stage: Stage) -> None:
    first, second = record(), replace(record(stage="RequestReceived"), line=b'{"a":1}')
    with_store(stage, FakeStore(first, second))
    answer = viewer(stage).get("/audit/a-1/data", base_url=URL)
    assert answer.data == b'{}\n{"a":1}\n'
    assert answer.headers["Content-Disposition"] == 'attachment; filename="audit-a-1.jsonl"'
    assert stage.browser("carol").get("/audit/a-1/data", base_url=URL).status_code == 403
    assert viewer(stage).get("/audit/none/data", base_url=URL).status_code == 404


def test_many_runs_are_bounded_and_found_by_a_word(stage: Stage) -> None:
    for number in range(105):
        stage.api.add(AGENT_SESSIONS, session(f"coder-{number}", run=f"run-{number}"))
    victor = viewer(stage)
    page = victor.get("/sessions/", base_url=URL).text
    assert page.count("<tr>") == 101
    assert "5 more that were seen less lately" in page
    page = victor.get("/sessions/?find=RUN-104", base_url=URL).text
    assert page.count("<tr>") == 2
    assert 'hx-get="/sessions/?find=RUN-104"' in page, "it stays so when it is refreshed"
    page = victor.get("/sessions/", base_url=URL, query_string={"find": HOSTILE}).text
    assert "No run is called that" in page
    assert "<img" not in page


def test_many_approvals_are_bounded(stage: Stage) -> None:
    for number in range(102):
        stage.api.add(APPROVAL_REQUESTS, approval(f"apr-{number}"))
    page = viewer(stage).get("/approvals/", base_url=URL).text
    assert page.count("<tr>") == 101
    assert "2 older ones are not shown" in page


def test_a_stretch_of_time_until_now(stage: Stage) -> None:
    store = FakeStore(record())
    with_store(stage, store)
    victor = viewer(stage)
    victor.get("/audit/?within=24h", base_url=URL)
    assert store.asked[-1][0] == Query(since=stage.now[0] - 86_400)
    victor.get("/audit/?within=nonsense", base_url=URL)
    assert store.asked[-1][0] == Query()


def test_runs_of_a_policy_are_for_those_who_may_see_runs(stage: Stage) -> None:
    stage.api.add(AGENT_SESSIONS, session())
    stage.api.add(AGENT_POLICIES, {"metadata": {"name": "coders"}, "spec": {}})
    stage.api.allow("paula", "get", "agentpolicies")
    assert "run-1" not in stage.browser("paula").get("/policies/coders", base_url=URL).text
    page = viewer(stage).get("/policies/coders", base_url=URL).text
    assert '<a href="/sessions/coder-run-1">coder · run-1</a>' in page


def url_in(page: str, attribute: str) -> str:
    return unescape(page.split(f'{attribute}="', 1)[1].split('"', 1)[0])
