"""Headers that try to be somebody else, and what of a client's headers may travel (rows HD-*)."""

from __future__ import annotations

import pytest

from chaperone.core.identity import Caller
from tests.gateway.stage import AUTH, CREDENTIAL, PODS, TOKEN, Stage, play, request
from tests.gateway.upstream import Upstream, reply

ALLOWED_UPSTREAM = {
    "host", "authorization", "audit-id", "accept", "accept-encoding", "content-type", "content-length",
    "if-none-match", "if-modified-since", "user-agent", "traceparent", "tracestate", "connection", "upgrade",
    "sec-websocket-key", "sec-websocket-version", "sec-websocket-protocol", "x-stream-protocol-version",
    "impersonate-user", "impersonate-group",
}  # fmt: skip


IMPERSONATION = {
    "HD-01": "Impersonate-User: admin",
    "HD-02": "imPerSonaTE-USer: admin",
    "HD-03": "Impersonate-Group: system:masters",
    "HD-04 extra": "Impersonate-Extra-scopes: all",
    "HD-04 uid": "Impersonate-Uid: 1",
    "HD-05": "Impersonate-User: a\r\nImpersonate-User: b",
    "HD-06": "Impersonate_User: admin",
    "HD-06 group": "impersonate_group: system:masters",
    "HD-06 mixed": "Impersonate-Extra_scopes: all",
    "without a dash": "ImpersonateUser: admin",
    "the proof of an approval": "Impersonate-Extra-chaperone.dev%2Fapproval: uid",
    "bare": "Impersonate: x",
    "underscore for a known header": "Accept_Encoding: gzip",
}


@pytest.mark.parametrize("header", IMPERSONATION.values(), ids=IMPERSONATION.keys())
def test_impersonation_in_any_spelling_is_forbidden(header: str) -> None:
    async def scene(stage: Stage) -> None:
        reply = await stage.exchange(request(PODS, header))
        assert reply.status["code"] == 403
        stage.assert_untouched()
        assert len(stage.audit.records) == 1

    play(scene)


HARMLESS = {
    "HD-07": ["Connection: Impersonate-User, Impersonate-Extra-chaperone.dev%2Frun"],
    "HD-07 authorization": ["Connection: Authorization, Audit-ID, keep-alive"],
    "HD-07 host": ["Connection: Host, Content-Length"],
    "HD-08": ["X-Remote-User: root", "X-Remote-Group: system:masters", "X-Remote-Extra-Scopes: all"],
    "HD-09": [
        "X-Forwarded-For: 127.0.0.1",
        "X-Forwarded-Host: a",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Uri: /",
        "Forwarded: for=127.0.0.1",
        "X-Real-Ip: 127.0.0.1",
    ],
    "proxying": ["Proxy-Authorization: Basic eDp5", "Via: 1.1 x", "TE: trailers", "Proxy-Connection: close"],
    "cookies": ["Cookie: session=1", "Origin: https://evil.example", "Referer: https://evil.example"],
    "an audit id of its own": ["Audit-ID: forged"],
}


@pytest.mark.parametrize("headers", HARMLESS.values(), ids=HARMLESS.keys())
def test_headers_that_do_not_count_never_travel(headers: list[str]) -> None:
    async def scene(stage: Stage) -> None:
        assert (await stage.exchange(request(PODS, *headers))).code == 200
        (seen,) = stage.upstream.requests
        ours = {name for name in seen.names if not name.startswith("impersonate-extra-")}
        assert ours <= ALLOWED_UPSTREAM
        assert "connection" not in seen.names
        assert seen.value("Impersonate-User") == "system:serviceaccount:agents:coder"
        assert seen.value("Authorization") == f"Bearer {CREDENTIAL}"
        assert seen.value("Audit-ID") != "forged"
        assert seen.value("Host") == f"127.0.0.1:{stage.upstream.port}"
        assert TOKEN.encode() not in stage.upstream.received

    play(scene)


def test_what_may_travel_does() -> None:
    sent = {
        "Accept": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json",
        "Accept-Encoding": "gzip",
        "If-None-Match": '"etag"',
        "If-Modified-Since": "Mon, 23 Nov 2026 00:00:00 GMT",
        "User-Agent": "kubectl/v1.37.1 (linux/amd64) kubernetes/abc",
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "tracestate": "a=b",
    }

    async def scene(stage: Stage) -> None:
        assert (await stage.exchange(request(PODS, *(f"{n}: {v}" for n, v in sent.items())))).code == 200
        (seen,) = stage.upstream.requests
        assert {name: seen.value(name) for name in sent} == sent

    play(scene)


def test_a_user_agent_is_made_readable() -> None:
    async def scene(stage: Stage) -> None:
        await stage.exchange(request(PODS, "User-Agent: kube\xffctl\ttab"))
        (seen,) = stage.upstream.requests
        assert seen.value("user-agent") == "kube?ctl?tab"
        assert stage.audit.records[0]["userAgent"] == "kube?ctl?tab"

    play(scene)


@pytest.mark.parametrize(
    "header",
    ["Accept: \xff", "Content-Type: a\r\nContent-Type: b", "If-None-Match: 1\r\nIf-None-Match: 2"],
)
def test_allowed_headers_that_can_be_read_in_two_ways_are_refused(header: str) -> None:
    async def scene(stage: Stage) -> None:
        assert (await stage.exchange(request(PODS, header))).status["code"] == 400
        stage.assert_untouched()

    play(scene)


def test_hd10_without_a_credential_nothing_goes_up() -> None:
    async def scene(stage: Stage) -> None:
        stage.credential.value = ""
        assert (await stage.exchange(request())).status["code"] == 503
        stage.assert_untouched()

    play(scene)


@pytest.mark.parametrize("value", ["a\r\nImpersonate-Group: system:masters", "a b", "\xe9"])
def test_hd10_a_credential_that_cannot_stand_in_a_header_is_never_sent(value: str) -> None:
    async def scene(stage: Stage) -> None:
        stage.credential.value = value
        assert (await stage.exchange(request())).status["code"] == 500
        stage.assert_untouched()

    play(scene)


@pytest.mark.parametrize("run", ["a\r\nX: y", "a\0b"])
def test_hd10_an_identity_that_cannot_be_represented_is_never_sent(run: str) -> None:
    caller = Caller(issuer="https://i.example", subject="s", username="u", groups=("agents",), run=run)

    async def scene(stage: Stage) -> None:
        assert (await stage.exchange(request())).status["code"] == 500
        stage.assert_untouched()

    play(scene, caller=caller)


def test_the_api_servers_refusal_of_our_credential_is_not_the_clients_401() -> None:
    async def scene(stage: Stage) -> None:
        assert (await stage.exchange(request())).status["code"] == 503
        assert stage.credential.rejected == [CREDENTIAL]

    play(scene, upstream=Upstream(reply(401)))


def test_hop_by_hop_headers_of_the_answer_stay_behind() -> None:
    answer = reply(200, b"{}", "Connection: keep-alive, X-Private", "Keep-Alive: timeout=5", "X-Private: 1",
                   "Warning: 299 - old", "Audit-Id: a")  # fmt: skip

    async def scene(stage: Stage) -> None:
        got = await stage.exchange(request())
        names = {name.lower() for name, _ in got.headers}
        assert names == {"content-type", "content-length", "warning", "audit-id", "via"}

    play(scene, upstream=Upstream(answer))


def test_a_missing_token_beside_a_client_certificate_header_is_no_identity() -> None:
    async def scene(stage: Stage) -> None:
        raw = f"GET {PODS} HTTP/1.1\r\nHost: g\r\nX-Remote-User: root\r\n\r\n"
        assert (await stage.exchange(raw)).status["code"] == 401
        stage.assert_untouched()
        assert AUTH not in str(stage.audit.records)

    play(scene)
