"""One request's life: what is forwarded, what is refused, and what the audit log knows of it."""

from __future__ import annotations

from tests.gateway.stage import AGENT, CREDENTIAL, PODS, TOKEN, Stage, play, request


def test_an_allowed_read_goes_up_as_the_agent_and_comes_back_as_it_is() -> None:
    async def scene(stage: Stage) -> None:
        reply = await (await stage.connect()).get(PODS + "?limit=5", "Accept: application/json", "X-Other: 1")
        assert (reply.code, reply.body) == (200, b'{"kind":"PodList"}')
        (seen,) = stage.upstream.requests
        assert (seen.method, seen.target) == ("GET", PODS + "?limit=5")
        assert seen.value("Authorization") == f"Bearer {CREDENTIAL}"
        assert seen.value("Impersonate-User") == "system:serviceaccount:agents:coder"
        assert seen.value("Accept") == "application/json"
        assert "x-other" not in seen.names
        assert TOKEN.encode() not in stage.upstream.received
        (record,) = stage.audit.records
        assert record["auditID"] == seen.value("Audit-ID")
        assert record["agent"]["run"] == AGENT.run
        assert record["responseStatus"] == {"code": 200}

    play(scene)


def test_keep_alive_serves_many_requests_over_one_connection_each_side() -> None:
    async def scene(stage: Stage) -> None:
        client = await stage.connect()
        for _ in range(5):
            assert (await client.get()).code == 200
        assert stage.upstream.connections == 1
        assert len(stage.upstream.requests) == 5

    play(scene)


def test_a_request_without_a_token_is_refused() -> None:
    async def scene(stage: Stage) -> None:
        reply = await stage.exchange(f"GET {PODS} HTTP/1.1\r\nHost: g\r\n\r\n")
        assert reply.status["code"] == 401
        stage.assert_untouched()
        (record,) = stage.audit.records
        assert record["responseStatus"]["code"] == 401

    play(scene)


def test_an_uncached_token_waits_for_the_issuer() -> None:
    async def scene(stage: Stage) -> None:
        stage.authenticator.cached_already = False
        assert (await stage.exchange(request())).code == 200
        assert stage.authenticator.asked == 1

    play(scene)
