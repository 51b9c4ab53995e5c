"""Numbers count what happened, labels stay closed sets, and readiness names what is missing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from gateway.health import HealthServer, Readiness, health_app
from gateway.metrics import GatewayMetrics


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 30))


def samples(metrics: GatewayMetrics, name: str) -> dict[tuple[str, ...], float]:
    """Values of one sample name by its label values."""
    return {
        tuple(
            sample.labels[key]
            for key in ("verb", "verdict", "code", "outcome", "reason", "result", "le")
            if key in sample.labels
        ): sample.value
        for family in text_string_to_metric_families(metrics.exposition().decode())
        for sample in family.samples
        if sample.name == name
    }


def test_requests_are_counted_by_code_verb_and_verdict() -> None:
    metrics = GatewayMetrics()
    for _ in range(3):
        metrics.observe("list", "Allow", 200, 0.004)
    metrics.observe("delete", "Deny", 403, 0.1)
    assert samples(metrics, "chaperone_gateway_requests_total") == {
        ("list", "Allow", "200"): 3,
        ("delete", "Deny", "403"): 1,
    }
    assert samples(metrics, "chaperone_gateway_request_duration_seconds_count") == {
        ("list",): 3,
        ("delete",): 1,
    }


def test_strangers_cannot_make_new_series() -> None:
    metrics = GatewayMetrics()
    for number in range(1000):
        metrics.observe(f"VERB{number}", f"verdict{number}", 1000 + number, 0.1)
        metrics.hold(f"outcome{number}")
        metrics.upstream_error(f"reason{number}")
    assert samples(metrics, "chaperone_gateway_requests_total") == {("other", "other", "other"): 1000}
    assert samples(metrics, "chaperone_gateway_holds_total")[("other",)] == 1000
    assert samples(metrics, "chaperone_gateway_upstream_errors_total")[("other",)] == 1000


def test_gauges_and_counters_that_alarms_need_are_there_from_the_start() -> None:
    metrics = GatewayMetrics()
    metrics.held(3)
    metrics.token_cache(hit=True)
    metrics.token_cache(hit=False)
    assert samples(metrics, "chaperone_gateway_holds_total")[("unavailable",)] == 0
    assert samples(metrics, "chaperone_gateway_held") == {(): 3}
    assert samples(metrics, "chaperone_gateway_token_cache_total") == {("hit",): 1, ("miss",): 1}


async def ask(server: HealthServer, path: str) -> tuple[int, str]:
    host, port = server.address
    async with aiohttp.ClientSession() as session, session.get(f"http://{host}:{port}{path}") as answer:
        return answer.status, await answer.text()


def test_readyz_names_what_is_missing_and_healthz_does_not_care() -> None:
    async def scenario() -> None:
        words = {"policies": "the first list is not complete", "credential": ""}
        checks = {name: partial(words.__getitem__, name) for name in words}
        metrics = GatewayMetrics()
        server = HealthServer(
            health_app(Readiness(checks, clock=lambda: 0.0), metrics, lambda: metrics.policy_age(7.0)),
            "127.0.0.1",
            0,
        )
        await server.start()
        try:
            assert await ask(server, "/healthz") == (200, "ok\n")
            assert await ask(server, "/readyz") == (
                503,
                "not ready\npolicies: the first list is not complete\n",
            )
            words["policies"] = ""
            assert await ask(server, "/readyz") == (200, "ok\n")
            code, text = await ask(server, "/metrics")
            assert code == 200
            assert "chaperone_gateway_policy_age_seconds 7.0" in text
            assert (await ask(server, "/other"))[0] == 404
        finally:
            await server.close()

    run(scenario)


def test_a_worker_that_is_not_ready_cannot_hide_behind_one_that_is(tmp_path: Path) -> None:
    now = [100.0]
    trouble = {"audit": "", "none": ""}
    workers = [
        Readiness(
            {"audit": partial(trouble.__getitem__, "audit" if number else "none")},
            clock=lambda: now[0],
            folder=tmp_path,
            worker=number,
            workers=2,
        )
        for number in range(2)
    ]
    workers[0].publish()
    assert workers[0].missing() == {"worker 1: heartbeat": "has not reported yet"}
    workers[1].publish()
    assert workers[0].missing() == {}
    trouble["audit"] = "disk is full"
    workers[1].publish()
    assert workers[0].missing() == {"worker 1: audit": "disk is full"}
    now[0] += 60
    workers[0].publish()
    assert workers[0].missing() == {"worker 1: heartbeat": "silent for 60 s"}
