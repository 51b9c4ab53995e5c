"""Audit records: what they say, what they leave out, and that one event stays one line."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaperone.core.audit import Encoded, Repeated, Stage, encode, record
from chaperone.core.identity import Caller, Identity
from chaperone.core.legible import is_visible
from chaperone.core.request import Request, parse
from chaperone.core.verdict import Action, Finding, Risk, RiskLevel, Verdict

NOW = 1_769_850_000.0
JWT = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJodHRwczovL2EifQ.c2lnbmF0dXJl"
CALLER = Caller(
    issuer="https://issuer.example",
    subject="repo:acme/shop:main",
    username="repo:acme/shop",
    groups=("ai-agents",),
    run="run-7",
    agent="coder",
    model="m-1",
)
ACCOUNT = Identity("system:serviceaccount:agents:coder")


def read(method: str, target: str, **kwargs: str) -> Request:
    request = parse(method, target, **kwargs)
    assert isinstance(request, Request)
    return request


def event(stage: Stage = Stage.COMPLETE, **fields: Any) -> dict[str, Any]:
    return record(stage, audit_id="a-1", received_at=NOW, now=NOW + 0.25, **fields)


def test_a_whole_record() -> None:
    verdict = Verdict(
        action=Action.ALLOW,
        policy="coders",
        policy_generation=4,
        rule="scale",
        reason='approved: "apr-1"',
        risk=Risk((Finding("R07", RiskLevel.HIGH, "x"), Finding("R09", RiskLevel.LOW, "y"))),
        policies=("coders", "others"),
        would=Action.HOLD,
        masking_profile="Off",
        approval_uid="uid-1",
        approval_name="apr-1",
    )
    entry = event(
        request=read("PATCH", "/apis/apps/v1/namespaces/shop/deployments/web/scale?fieldManager=x"),
        caller=CALLER,
        identity=Identity("coder", ("devs",)),
        verdict=verdict,
        source_ips=["10.0.0.1"],
        user_agent="kubectl/v1.32.4",
        reason="fine",
        code=200,
        bytes_in=5,
        bytes_out=7,
        durations={"judge": 0.0000421, "upstream": 1.5},
        annotations={"recording": "sha256:x"},
    )
    assert json.loads(encode(entry)) == {
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "level": "Metadata",
        "auditID": "a-1",
        "stage": "ResponseComplete",
        "requestURI": "/apis/apps/v1/namespaces/shop/deployments/web/scale?fieldManager=x",
        "verb": "patch",
        "requestReceivedTimestamp": "2026-01-31T09:00:00.000000Z",
        "stageTimestamp": "2026-01-31T09:00:00.250000Z",
        "user": {
            "username": "repo:acme/shop",
            "groups": ["ai-agents"],
            "issuer": "https://issuer.example",
            "subject": "repo:acme/shop:main",
        },
        "run": "run-7",
        "agent": "coder",
        "model": "m-1",
        "impersonatedUser": {"username": "coder", "groups": ["devs"]},
        "sourceIPs": ["10.0.0.1"],
        "userAgent": "kubectl/v1.32.4",
        "objectRef": {
            "resource": "deployments",
            "apiGroup": "apps",
            "apiVersion": "v1",
            "namespace": "shop",
            "name": "web",
            "subresource": "scale",
        },
        "verdict": "Allow",
        "would": "Hold",
        "policy": {"name": "coders", "generation": 4, "rule": "scale"},
        "maskingProfile": "Off",
        "policies": ["coders", "others"],
        "verdictReason": 'approved: "apr-1"',
        "risk": {"level": "high", "rows": ["R07", "R09"]},
        "approval": {"name": "apr-1", "uid": "uid-1"},
        "reason": "fine",
        "responseStatus": {"code": 200},
        "bytes": {"in": 5, "out": 7},
        "milliseconds": {"judge": 0.042, "upstream": 1500.0},
        "annotations": {"recording": "sha256:x"},
    }


def test_what_says_nothing_is_left_out() -> None:
    entry = event(
        Stage.RECEIVED,
        request=read("GET", "/healthz"),
        identity=ACCOUNT,
        verdict=Verdict(action=Action.DENY, would=Action.DENY),
    )
    assert set(entry) == {
        "kind", "apiVersion", "level", "auditID", "stage", "requestURI", "verb", "requestReceivedTimestamp", "stageTimestamp",
        "impersonatedUser", "verdict",
    }  # fmt: skip
    assert entry["impersonatedUser"] == {"username": "system:serviceaccount:agents:coder"}
    assert entry["verdict"] == "Deny"


def test_an_answer_without_a_connection_has_a_code_too() -> None:
    assert event(code=0)["responseStatus"] == {"code": 0}
    assert event(bytes_out=1)["bytes"] == {"in": 0, "out": 1}


def test_an_upgrade_is_named() -> None:
    request = read("GET", "/api/v1/namespaces/shop/pods/web-0/exec?command=sh", upgrade="websocket")
    entry = event(Stage.STARTED, request=request)
    assert (entry["upgrade"], entry["stage"]) == ("websocket", "ResponseStarted")


def test_what_nobody_could_read_is_recorded_as_it_came() -> None:
    entry = event(method="GE\x1bT", target="/api/../x\r\n?token=hush")
    assert (entry["verb"], entry["requestURI"]) == ("ge\\x1bt", "/api/../x\\r\\n?token=REDACTED")
    assert "objectRef" not in entry


@pytest.mark.parametrize(
    "fields",
    [
        {"target": f"/api?access_token={JWT}"},
        {"target": f"/api/{JWT}"},
        {"user_agent": f"x {JWT}"},
        {"reason": f"token {JWT} is not signed"},
        {"annotations": {"x": JWT}},
        {"caller": Caller(issuer="i", subject=JWT, username="u")},
        {"request": read("GET", f"/api/v1/namespaces/shop/pods/web-0/exec?command=curl&command={JWT}")},
    ],
)
def test_no_token_ever(fields: dict[str, Any]) -> None:
    line = encode(event(**fields)).decode()
    assert JWT not in line
    assert "REDACTED" in line
    json.loads(line)


def test_long_texts_are_cut() -> None:
    entry = event(
        user_agent="u" * 9999,
        reason="r" * 9999,
        verdict=Verdict(action=Action.DENY, reason="v" * 99999),
        target="/" + "t" * 9999,
    )
    assert len(encode(entry)) < 8192


def test_a_lone_surrogate_is_no_json() -> None:
    with pytest.raises(TypeError):
        encode(event(user_agent="\ud800"))


TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@given(TEXT, TEXT, TEXT, st.text())
def test_op01_one_event_is_one_line_and_moves_no_cursor(
    user_agent: str, reason: str, name: str, target: str
) -> None:
    entry = event(user_agent=user_agent, reason=reason, source_ips=[name], target=target, method=name)
    line = encode(entry)
    assert b"\n" not in line
    assert is_visible(line.decode())
    assert json.loads(line) == entry


# Records that are alike


@given(TEXT, TEXT, TEXT)
def test_a_repeated_record_says_what_the_whole_one_says(user_agent: str, peer: str, reason: str) -> None:
    fields: dict[str, Any] = {
        "user_agent": user_agent,
        "source_ips": [peer],
        "reason": f"{reason} {JWT}",
        "code": 200,
    }
    first = event(caller=CALLER, durations={"decide": 9.0, "upstream": 9.0}, **fields)
    later = record(
        Stage.COMPLETE,
        audit_id="b-2",
        received_at=NOW + 1,
        now=NOW + 3.5,
        caller=CALLER,
        durations={"decide": 0.5, "upstream": 2.0},
        **fields,
    )
    repeated = Repeated(first).record("b-2", NOW + 1, NOW + 1.5, NOW + 3.5)
    assert json.loads(encode(repeated)) == json.loads(encode(later))
    assert b"\n" not in repeated.line
    assert is_visible(repeated.line.decode())


def test_an_encoded_record_can_be_read() -> None:
    entry = Encoded(b'{"stage":"x","code":1}', {}, "a-1", NOW)
    assert dict(entry) == {"stage": "x", "code": 1}
    assert (len(entry), entry["code"]) == (2, 1)


def test_only_a_record_with_durations_is_repeated() -> None:
    with pytest.raises(ValueError, match="durations"):
        Repeated(event())


TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.mark.parametrize(
    ("given", "kept"),
    [(TRACE, TRACE), ("", None), ("00-x", None), (TRACE + "-rest", None), (TRACE.upper(), None)],
)
def test_a_trace_context_is_kept_when_it_is_one(given: str, kept: str | None) -> None:
    assert event(traceparent=given).get("traceparent") == kept
