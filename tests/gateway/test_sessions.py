"""Sessions kept by gateways against an API server: one for each run, right sums, and obedience."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from aiohttp import web

from chaperone.core import session as objects
from chaperone.core.identity import Caller
from chaperone.core.policy import Limits
from chaperone.core.session import RENAMED_AFTER, STALE_AFTER, Counts, Entry, RunKey, Session
from chaperone.core.timestamp import rfc3339
from chaperone.kube.mirror import MirrorTerms
from chaperone.kube.sessions import SESSIONS
from gateway import sessions as module
from gateway.run_state import WITHOUT_SESSION, RunState
from gateway.sessions import Sessions
from tests.kube.fake_api import FakeApi, LostAnswer

CALLER = Caller(issuer="https://issuer.example", subject="sub-1", username="ann", run="run-1", agent="coder")
NO_RUN = replace(CALLER, run="")
KEY: RunKey = (CALLER.issuer, CALLER.subject, CALLER.run)
NAME = objects.session_name(KEY, CALLER.agent)
QUICK = MirrorTerms(watch_seconds=1, silence=1.0, backoff_first=0.01, backoff_most=0.05)
FEW = Limits(mutations_per_run=3)
PROCESSES = itertools.count()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (("EVERY", 0.02), ("SOON", 0.01), ("AGAIN", 0.02), ("TURN", 0.005), ("LOOK", 0.05)):
        monkeypatch.setattr(module, name, seconds)


@dataclass
class Numbers:
    active: int = 0
    ended: int = 0

    def sessions(self, active: int) -> None:
        self.active = active

    def terminated(self) -> None:
        self.ended += 1


@dataclass
class Gateway:
    """ahead: seconds by which its clock is ahead."""

    kept: Sessions
    numbers: Numbers
    closed: list[tuple[RunKey, str]]
    ahead: list[float] = field(default_factory=lambda: [0.0])

    def run(self, caller: Caller = CALLER) -> RunState:
        return self.kept.of(caller, ["coders"])

    def ask(self, run: RunState, times: int = 1) -> None:
        for _ in range(times):
            run.asked(time.time() + self.ahead[0])


@asynccontextmanager
async def gateways(api: FakeApi, count: int = 1, max_age: float = 60.0) -> AsyncIterator[list[Gateway]]:
    async with AsyncExitStack() as stack:
        started = []
        for _ in range(count):
            connection = await stack.enter_async_context(api.connect())
            numbers, ahead = Numbers(), [0.0]
            closed: list[tuple[RunKey, str]] = []

            def close(key: RunKey, reason: str, closed: list[tuple[RunKey, str]] = closed) -> int:
                closed.append((key, reason))
                return 0

            def wall(ahead: list[float] = ahead) -> float:
                return time.time() + ahead[0]

            kept = Sessions(
                connection,
                instance=f"gw{next(PROCESSES)}",
                max_age=max_age,
                close=close,
                metrics=numbers,
                wall=wall,
                clock=time.monotonic,
                jitter=lambda: 0.5,
                terms=QUICK,
            )
            group = await stack.enter_async_context(asyncio.TaskGroup())
            stack.callback(group.create_task(kept.run()).cancel)
            started.append(Gateway(kept, numbers, closed, ahead))
        for gateway in started:
            await gateway.kept.store.mirror.wait_ready()
        yield started


def scene(test: Callable[[FakeApi], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        async with asyncio.timeout(30), FakeApi().serve() as api:
            await test(api)

    asyncio.run(run())


async def until(claim: Callable[[], object]) -> None:
    while not claim():  # noqa: ASYNC110 - about a server elsewhere
        await asyncio.sleep(0.005)


def stored(api: FakeApi, name: str = NAME) -> Session | None:
    obj = api.get(SESSIONS.path, name)
    return None if obj is None else objects.read(obj)


def shows(api: FakeApi, name: str = NAME, **counts: int) -> bool:
    """Entries and totals alike."""
    session = stored(api, name)
    return session is not None and session.counts == session.shown == Counts(**counts)


def throw(api: FakeApi, name: str = NAME, **spec: Any) -> None:
    obj = api.get(SESSIONS.path, name)
    assert obj is not None
    api.put(SESSIONS.path, {**obj, "spec": {**obj["spec"], "terminated": True, **spec}})


# One session for each run


def test_a_run_gets_its_session_at_its_first_request_and_its_counts_soon() -> None:
    async def test(api: FakeApi) -> None:
        async with gateways(api) as (one,):
            run = one.run()
            assert one.run() is run
            one.ask(run, 5)
            run.was_held()
            run.was_denied()
            run.was_masked()
            run.opened()
            await until(lambda: shows(api, requests=5, held=1, denied=1, masked=1))
            obj = api.get(SESSIONS.path, NAME)
            assert obj is not None
            assert obj["spec"] | {"startedAt": ""} == {
                "username": "ann",
                "issuer": CALLER.issuer,
                "subject": "sub-1",
                "run": "run-1",
                "agent": "coder",
                "policies": ["coders"],
                "startedAt": "",
            }
            assert (obj["status"]["phase"], obj["status"]["openStreams"]) == ("Active", 1)
            await until(lambda: one.numbers.active == 1)
            run.closed(time.time())
            await until(lambda: (api.get(SESSIONS.path, NAME) or {})["status"]["openStreams"] == 0)

    scene(test)


def test_whom_nobody_asks_for_anything_gets_none() -> None:
    async def test(api: FakeApi) -> None:
        async with gateways(api) as (one,):
            run = one.run()
            await asyncio.sleep(0.1)
            assert (run.requests, api.names(SESSIONS.path)) == (0, [])

    scene(test)


def test_many_gateways_write_one_session_for_each_run_and_the_sum_is_right() -> None:
    async def test(api: FakeApi) -> None:
        callers = [replace(CALLER, run=f"run-{number}") for number in range(12)]
        async with gateways(api, 3) as all_of_them:
            runs = [(gateway, gateway.run(caller)) for gateway in all_of_them for caller in callers]
            for _ in range(10):
                for gateway, run in runs:
                    gateway.ask(run)
                    assert run.mutate(Limits(), (), time.time()) is None
                await asyncio.sleep(0.01)
            names = [objects.session_name((c.issuer, c.subject, c.run), c.agent) for c in callers]
            for name in names:
                await until(lambda name=name: shows(api, name, requests=30, mutations=30))  # type: ignore[misc]
            assert sorted(api.names(SESSIONS.path)) == sorted(names)

    scene(test)


def test_writes_are_batched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "EVERY", 0.2)

    async def test(api: FakeApi) -> None:
        async with gateways(api) as (one,):
            run = one.run()
            began = time.monotonic()
            while run.requests < 100:
                one.ask(run)
                await asyncio.sleep(0.005)
            took = time.monotonic() - began
            await until(lambda: shows(api, requests=100))
            assert api.calls[f"PATCH {SESSIONS.path}/{NAME}/status"] <= 3 + took / 0.2

    scene(test)


def test_what_was_not_written_is_written_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "EVERY", 3600)

    async def test(api: FakeApi) -> None:
        async with gateways(api) as (one,):
            run = one.run()
            one.ask(run)
            await until(lambda: shows(api, requests=1))
            one.ask(run, 6)
            await one.kept.flush()
            assert shows(api, requests=7)

    scene(test)


# What goes wrong


def test_an_answer_that_is_lost_is_not_counted_twice() -> None:
    async def test(api: FakeApi) -> None:
        lost = itertools.count()

        def lose(_method: str, _path: str) -> None:
            if next(lost) in (0, 1, 3):
                raise LostAnswer

        api.after_write = lose
        async with gateways(api) as (one,):
            run = one.run()
            one.ask(run, 3)
            await until(lambda: shows(api, requests=3))
            one.ask(run, 4)
            await until(lambda: shows(api, requests=7))
            assert api.names(SESSIONS.path) == [NAME]

    scene(test)


def test_reads_go_on_without_a_session_and_changes_for_a_while_only() -> None:
    async def test(api: FakeApi) -> None:
        def refuse(_method: str, _path: str) -> None:
            raise web.HTTPForbidden(text="{}")

        api.before_write = refuse
        async with gateways(api) as (one,):
            run = one.run()
            one.ask(run)
            await until(lambda: run.unwritten_since < time.time())
            assert run.may_go_on(Limits(), time.time())
            assert run.mutate(Limits(), (), time.time()) is None
            refused = run.mutate(Limits(), (), time.time() + WITHOUT_SESSION + 1)
            assert refused is not None
            assert refused.reason == "NoSession"
            api.before_write = None
            await until(lambda: shows(api, requests=1, mutations=1))
            assert run.mutate(Limits(), (), time.time() + WITHOUT_SESSION + 1) is None

    scene(test)


def test_a_session_that_was_deleted_comes_back_with_its_counts_and_its_start() -> None:
    async def test(api: FakeApi) -> None:
        async with gateways(api) as (one,):
            run = one.run()
            one.ask(run, 4)
            await until(lambda: shows(api, requests=4))
            began = run.started_at
            api.remove(SESSIONS.path, NAME)
            await until(lambda: run.session is None)
            one.ask(run)
            await until(lambda: shows(api, requests=5))
            assert run.started_at == began

    scene(test)


def test_without_a_recent_word_from_the_api_server_nothing_is_fresh() -> None:
    async def test(api: FakeApi) -> None:
        api.down = True
        async with AsyncExitStack() as stack:
            connection = await stack.enter_async_context(api.connect())
            kept = Sessions(
                connection,
                instance="gw",
                max_age=0.3,
                close=lambda _key, _reason: 0,
                metrics=Numbers(),
                wall=time.time,
                clock=time.monotonic,
                jitter=lambda: 0.5,
                terms=QUICK,
            )
            assert not kept.fresh
            group = await stack.enter_async_context(asyncio.TaskGroup())
            stack.callback(group.create_task(kept.run()).cancel)
            await until(lambda: "503" in kept.missing)
            api.down = False
            await until(lambda: kept.fresh)
            assert kept.missing == ""
            api.down = True
            await until(lambda: not kept.fresh)

    scene(test)


def test_more_sessions_than_can_be_held_are_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_SESSIONS", 1)

    async def test(api: FakeApi) -> None:
        async with gateways(api) as (one,):
            first, second = one.run(), one.run(replace(CALLER, run="run-2"))
            one.ask(first)
            await until(lambda: shows(api, requests=1))
            one.ask(second)
            await until(lambda: second.unwritten_since < time.time())
            assert api.names(SESSIONS.path) == [NAME]

    scene(test)


# Entries of gateways that come and go


def test_an_entry_that_was_left_alone_is_never_written_again() -> None:
    async def test(api: FakeApi) -> None:
        async with gateways(api) as (one,):
            run = one.run()
            one.ask(run, 2)
            await until(lambda: shows(api, requests=2))
            one.ahead[0] = RENAMED_AFTER + 1
            one.ask(run, 3)
            await until(lambda: shows(api, requests=5))
            session = stored(api)
            assert session is not None
            assert [entry.counts.requests for entry in session.entries.values()] == [2, 3]
            assert run.all_mutations == 0

    scene(test)


def test_entries_that_nobody_writes_are_folded() -> None:
    async def test(api: FakeApi) -> None:
        old = time.time() - STALE_AFTER - 60
        entries = {f"gone{number}": Entry(Counts(10), 1, old).fields() for number in range(6)}
        obj = objects.build(CALLER, [], started_at=old)
        api.put(SESSIONS.path, {**obj, "status": {"instances": entries}})
        async with gateways(api) as (one,):
            one.ask(one.run(), 5)
            await until(lambda: shows(api, requests=65))
            await until(lambda: len((stored(api) or pytest.fail("gone")).entries) == 2)
            assert shows(api, requests=65)

    scene(test)


def test_open_streams_are_told_again_though_nothing_changes() -> None:
    async def test(api: FakeApi) -> None:
        async with gateways(api) as (one,):
            run = one.run()
            one.ask(run)
            run.opened()
            await until(lambda: shows(api, requests=1))
            one.ahead[0] = module.HEARTBEAT + 1
            await until(
                lambda: (stored(api) or pytest.fail("gone")).open_streams(time.time() + STALE_AFTER + 60)
            )

    scene(test)


# Obedience


def test_a_terminated_run_is_closed_on_every_gateway_and_stays_so() -> None:
    async def test(api: FakeApi) -> None:
        async with gateways(api, 2) as both:
            runs = [gateway.run() for gateway in both]
            for gateway, run in zip(both, runs, strict=True):
                gateway.ask(run)
            await until(lambda: shows(api, requests=2))
            throw(api, terminatedBy="ann@example.com", terminatedReason="too eager")
            for gateway, run in zip(both, runs, strict=True):
                await until(lambda run=run: run.termination)  # type: ignore[misc]
                assert gateway.closed == [(KEY, "this run was terminated by ann@example.com: too eager")]
                assert gateway.numbers.ended == 1
                told = run.refusal(Limits(), (), time.time())
                assert told is not None
                assert "ann@example.com: too eager" in told.message
            await until(lambda: (api.get(SESSIONS.path, NAME) or {})["status"]["phase"] == "Terminated")
        async with gateways(api) as (late,):
            assert late.run().termination is not None

    scene(test)


def test_somebody_elses_run_goes_on() -> None:
    async def test(api: FakeApi) -> None:
        async with gateways(api) as (one,):
            run, other = one.run(), one.run(replace(CALLER, subject="sub-2"))
            one.ask(run)
            one.ask(other)
            await until(lambda: len(api.names(SESSIONS.path)) == 2)
            throw(api)
            await until(lambda: run.termination)
            assert other.termination is None
            assert [key for key, _ in one.closed] == [KEY]

    scene(test)


def test_what_was_heard_is_not_unheard() -> None:
    async def test(api: FakeApi) -> None:
        async with gateways(api) as (one,):
            run = one.run()
            one.ask(run)
            await until(lambda: shows(api, requests=1))
            before = api.get(SESSIONS.path, NAME)
            assert before is not None
            throw(api)
            await until(lambda: run.termination)
            api.put(SESSIONS.path, before)
            run.turned_away()
            await until(lambda: shows(api, requests=2))
            assert run.termination is not None
            assert len(one.closed) == 1

    scene(test)


def test_a_caller_without_runs_begins_anew_after_an_end_and_comes_back_when_its_session_is_deleted() -> None:
    async def test(api: FakeApi) -> None:
        first, second = (objects.session_name((*KEY[:2], ""), CALLER.agent, number) for number in (1, 2))
        async with gateways(api, 2) as both:
            runs = [gateway.run(NO_RUN) for gateway in both]
            for gateway, run in zip(both, runs, strict=True):
                gateway.ask(run, 3)
                assert run.mutate(FEW, (), time.time()) is None
            await until(lambda: shows(api, first, requests=6, mutations=2))
            await until(lambda: all(run.all_mutations == 2 for run in runs))
            await until(lambda: not any(run.dirty for run in runs))
            await asyncio.sleep(0.1)  # for a write that is on its way
            obj = api.get(SESSIONS.path, first)
            assert obj is not None
            api.put(SESSIONS.path, {**obj, "status": {**obj["status"], "phase": "Ended"}})
            await until(lambda: all(run.session is None for run in runs))
            assert [run.all_mutations for run in runs] == [0, 0]
            both[0].ask(runs[0])
            await until(lambda: shows(api, second, requests=1))
            await until(lambda: runs[1].session is not None)
            both[1].ask(runs[1])
            await until(lambda: shows(api, second, requests=2))
            assert shows(api, first, requests=6, mutations=2)
            throw(api, second)
            await until(lambda: all(run.termination for run in runs))
            api.remove(SESSIONS.path, second)
            await until(lambda: not any(run.termination for run in runs))

    scene(test)


# Limits across gateways


def test_changes_are_counted_over_all_gateways() -> None:
    async def test(api: FakeApi) -> None:
        async with gateways(api, 2) as (one, other):
            here, there = one.run(), other.run()
            one.ask(here)
            for _ in range(2):
                assert here.mutate(FEW, (), time.time()) is None
            await until(lambda: there.all_mutations == 2)
            assert there.mutate(FEW, (), time.time()) is None
            refused = there.mutate(FEW, (), time.time())
            assert refused is not None
            assert "3 changes" in refused.message
            await until(lambda: here.all_mutations == 3)
            assert here.mutate(FEW, (), time.time()) is not None
            assert here.mutate(Limits(), (), time.time()) is None
            await until(lambda: there.all_mutations == 4)
        async with gateways(api) as (late,):
            run = late.run()
            assert run.all_mutations == 4
            assert run.mutate(FEW, (), time.time()) is not None

    scene(test)


def test_time_counts_from_the_first_request_on_whichever_gateway() -> None:
    async def test(api: FakeApi) -> None:
        api.put(SESSIONS.path, objects.build(CALLER, [], started_at=time.time() - 3600))
        async with gateways(api) as (one,):
            run, now = one.run(), time.time()
            assert run.may_go_on(Limits(max_run_duration=3700), now)
            assert not run.may_go_on(Limits(max_run_duration=3500), now)
            refused = run.refusal(Limits(max_run_duration=3500), (), now)
            assert refused is not None
            assert rfc3339(run.started_at) in refused.message

    scene(test)
