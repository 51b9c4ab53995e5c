"""A run that may not go on gets nothing through: asked at the start, before forwarding, while held, while streaming."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from chaperone.core.request import Request
from chaperone.core.session import Counts, Termination
from gateway.limits import RunLimits
from gateway.run_state import RunState
from gateway.services import Answer, Gather, Spend, UnkeptRuns
from tests.gateway.stage import (
    AGENT,
    ALLOW_ALL,
    DENY_SECRETS,
    HOLD_DELETES,
    PODS,
    Stage,
    play,
    policy,
    request,
)
from tests.gateway.test_exchange import approval, approve
from tests.gateway.test_tunnel import echo, opened
from tests.gateway.upstream import CHUNKED, Upstream, chunks

POD = f"{PODS}/a"
ALL = {"name": "all", "match": {}, "action": "Allow"}


class Runs(UnkeptRuns):
    """One run; `end` is what a person's word comes to."""

    def __init__(self) -> None:
        super().__init__()
        self.limits = RunLimits()
        self.fresh = True

    @property
    def run(self) -> RunState:
        return self.of(AGENT, ())

    def end(self) -> None:
        run = self.run
        run.termination = Termination("ann@example.com", "", "too eager")
        self.limits.close_run(run.key, "terminated")
        for waiting in tuple(run.waiting):
            waiting.close("terminated")


def perform(
    scene: Callable[[Stage, Runs], Any],
    *,
    upstream: Upstream | None = None,
    spec: Any = ALLOW_ALL,
    caller: Any = AGENT,
) -> None:
    runs = Runs()

    async def whole(stage: Stage) -> None:
        await scene(stage, runs)

    play(whole, policies=(spec,), upstream=upstream, caller=caller, runs=runs, run_limits=runs.limits)


def assert_terminated(answer: Any) -> None:
    assert answer.code == 403
    assert "was terminated by ann@example.com: too eager" in answer.status["message"]
    assert answer.status["details"]["causes"][0]["reason"] == "RunTerminated"


# Terminated


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_a_terminated_run_is_refused_whatever_it_asks(method: str) -> None:
    async def scene(stage: Stage, runs: Runs) -> None:
        runs.end()
        assert_terminated(await stage.exchange(request(POD, method=method)))
        stage.assert_untouched()
        (record,) = stage.audit.records
        assert record["responseStatus"]["code"] == 403
        assert runs.run.counts == Counts(requests=1, denied=1)
        assert runs.run.last_activity == 0.0

    perform(scene)


def test_a_read_that_is_asked_again_is_refused_too() -> None:
    async def scene(stage: Stage, runs: Runs) -> None:
        client = await stage.connect()
        for _ in range(3):
            assert (await client.get()).code == 200
        before = len(stage.upstream.requests)
        runs.end()
        assert_terminated(await client.get())
        assert len(stage.upstream.requests) == before == 3
        assert runs.run.counts == Counts(requests=4, denied=1)

    perform(scene)


def test_while_held_it_is_told_at_once_and_nothing_is_claimed() -> None:
    async def wait(_request: Request, _gather: Gather) -> Spend:
        await asyncio.Event().wait()
        raise AssertionError

    async def scene(stage: Stage, runs: Runs) -> None:
        stage.holds.decision = wait
        client = await stage.connect()
        await client.send(request(POD, method="DELETE"))
        await stage.settle(lambda: bool(stage.holds.asked))
        runs.end()
        assert_terminated(await client.reply("DELETE"))
        assert stage.holds.cancelled == 1
        assert runs.run.waiting == set()
        assert runs.run.counts == Counts(requests=1, held=1, denied=1)
        stage.assert_untouched()
        assert_terminated(await client.get(POD, method="DELETE"))

    perform(scene, spec=HOLD_DELETES)


def test_an_approval_that_was_just_claimed_is_not_carried_out() -> None:
    async def scene(stage: Stage, runs: Runs) -> None:
        async def claim(request_: Request, _gather: Gather) -> Spend:
            runs.end()
            return Spend(approval(request_))

        stage.holds.decision = claim
        assert_terminated(await stage.exchange(request(POD, method="DELETE")))
        await stage.settle(lambda: stage.holds.finished == [("delete-pod-a", 403)])
        stage.assert_untouched()

    perform(scene, spec=HOLD_DELETES)


def test_a_claim_that_outlives_its_cancellation_is_not_carried_out() -> None:
    async def scene(stage: Stage, runs: Runs) -> None:
        async def claim(request_: Request, _gather: Gather) -> Spend:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                return Spend(approval(request_))
            raise AssertionError

        stage.holds.decision = claim
        client = await stage.connect()
        await client.send(request(POD, method="DELETE"))
        await stage.settle(lambda: bool(stage.holds.asked))
        runs.end()
        assert_terminated(await client.reply("DELETE"))
        await stage.settle(lambda: stage.holds.finished == [("delete-pod-a", 403)])
        stage.assert_untouched()

    perform(scene, spec=HOLD_DELETES)


def test_a_client_that_goes_while_its_run_ends_leaves_nothing_behind() -> None:
    async def wait(_request: Request, _gather: Gather) -> Spend:
        await asyncio.Event().wait()
        raise AssertionError

    async def scene(stage: Stage, runs: Runs) -> None:
        stage.holds.decision = wait
        client = await stage.connect()
        await client.send(request(POD, method="DELETE"))
        await stage.settle(lambda: bool(stage.holds.asked))
        client.abort()
        runs.end()
        await stage.settle(lambda: bool(stage.audit.records))
        assert runs.run.waiting == set()
        assert stage.holds.finished == []
        assert (await stage.exchange(request())).code == 403

    perform(scene, spec=HOLD_DELETES)


def test_a_change_whose_record_took_long_is_not_forwarded_any_more() -> None:
    async def scene(stage: Stage, runs: Runs) -> None:
        durable = stage.audit.durable

        async def slow(record: Any) -> None:
            await durable(record)
            runs.end()

        stage.audit.durable = slow  # type: ignore[method-assign]
        assert_terminated(await stage.exchange(request(POD, method="DELETE")))
        stage.assert_untouched()

    perform(scene)


def test_watches_and_tunnels_end() -> None:
    async def answer(_seen: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if "watch" in _seen.target:
            writer.write(CHUNKED + chunks(b'{"type":"ADDED"}\n', end=False))
            await reader.read()
            return
        await echo(_seen, reader, writer)

    async def scene(stage: Stage, runs: Runs) -> None:
        tunnel = await opened(stage)
        watch = await stage.connect()
        await watch.send(request(f"{PODS}?watch=1"))
        await watch.head()
        await stage.settle(lambda: runs.run.streams == 2)
        runs.end()
        await tunnel.rest()
        await watch.rest()
        await stage.settle(lambda: runs.run.streams == 0)
        assert runs.run.counts == Counts(requests=2, mutations=1)

    perform(scene, upstream=Upstream(answer))


def test_nothing_is_served_while_nobody_knows_who_was_terminated() -> None:
    async def scene(stage: Stage, runs: Runs) -> None:
        assert (await stage.exchange(request())).code == 200
        runs.fresh = False
        answer = await stage.exchange(request())
        assert answer.code == 503
        assert "terminated" in answer.status["message"]
        assert len(stage.upstream.requests) == 1

    perform(scene)


# Counted, and limited


def test_what_is_counted() -> None:
    async def scene(stage: Stage, runs: Runs) -> None:
        for raw in (
            request(),
            request(),
            request(POD, method="DELETE"),
            request(f"{POD}?dryRun=All", method="DELETE"),
        ):
            assert (await stage.exchange(raw)).code == 200
        assert (await stage.exchange(request("/api/v1/namespaces/dev/secrets"))).code == 403
        assert (await stage.exchange("GET /api/v1/pods HTTP/1.1\r\nHost: g\r\n\r\n")).code == 401
        assert runs.run.counts == Counts(requests=5, denied=1, mutations=1)

    perform(scene, spec=DENY_SECRETS)


def test_whom_no_policy_governs_is_not_kept() -> None:
    async def scene(stage: Stage, runs: Runs) -> None:
        assert (await stage.exchange(request())).code == 403
        assert runs._runs == {}

    perform(scene, caller=replace(AGENT, groups=()))


def test_the_number_of_changes_is_limited() -> None:
    async def scene(stage: Stage, runs: Runs) -> None:
        for _ in range(2):
            assert (await stage.exchange(request(POD, method="DELETE"))).code == 200
        answer = await stage.exchange(request(POD, method="DELETE"))
        assert answer.code == 403
        for words in ("run run-7 has made 2 changes", "AgentPolicy agents allows 2", "can raise the limit"):
            assert words in answer.status["message"]
        assert answer.status["details"]["causes"][0]["reason"] == "MutationsPerRun"
        assert (await stage.exchange(request())).code == 200
        assert (await stage.exchange(request(f"{POD}?dryRun=All", method="DELETE"))).code == 200
        assert len(stage.upstream.requests) == 4
        assert runs.run.counts == Counts(requests=5, denied=1, mutations=2)

    perform(scene, spec=policy(ALL, limits={"mutationsPerRun": 2}))


def test_a_held_change_counts_once_when_it_is_forwarded() -> None:
    async def scene(stage: Stage, runs: Runs) -> None:
        async def come_again(_request: Request, _gather: Gather) -> Answer:
            return Answer(429, {"kind": "Status", "code": 429, "status": "Failure"})

        stage.holds.decision = come_again
        assert (await stage.exchange(request(POD, method="DELETE"))).code == 429
        stage.holds.decision = approve
        assert (await stage.exchange(request(POD, method="DELETE"))).code == 200
        assert runs.run.counts == Counts(requests=2, held=2, mutations=1)
        assert (await stage.exchange(request(POD, method="DELETE"))).code == 403
        assert len(stage.holds.asked) == 2, "nobody is asked about what could not be forwarded"

    perform(scene, spec={**HOLD_DELETES, "spec": {**HOLD_DELETES["spec"], "limits": {"mutationsPerRun": 1}}})


def test_a_run_that_lasts_too_long_is_refused_and_its_streams_end() -> None:
    async def scene(stage: Stage, runs: Runs) -> None:
        tunnel = await opened(stage)
        began = runs.run.started_at
        assert runs.run.ends_at(stage.server.path.standings.of(AGENT).limits) == began + 2
        assert await tunnel.rest() == b""
        answer = await stage.exchange(request())
        assert answer.code == 403
        assert "longer than the 2 seconds that AgentPolicy agents allows" in answer.status["message"]
        assert runs.run.streams == 0

    perform(scene, spec=policy(ALL, limits={"maxRunDuration": "2s"}), upstream=Upstream(echo))
