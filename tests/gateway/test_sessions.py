"""Sessions kept by gateways: one for each run, right sums, and what goes wrong meanwhile."""

from __future__ import annotations

import asyncio
import itertools
import time
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest
from aiohttp import web

from chaperone.core import session as objects
from chaperone.core.policy import Limits
from chaperone.kube.sessions import SESSIONS
from gateway import sessions as module
from gateway.run_state import WITHOUT_SESSION
from gateway.sessions import Sessions
from tests.gateway.session_keepers import (
    CALLER,
    NAME,
    QUICK,
    Numbers,
    gateways,
    impatient,
    scene,
    shows,
    until,
)
from tests.kube.fake_api import FakeApi, LostAnswer

pytestmark = pytest.mark.usefixtures(impatient.__name__)


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
            later = time.time() + WITHOUT_SESSION + 1
            await until(
                lambda: run.mutation_refusal(Limits(), (), later) is None
            )  # the API server has answered
            assert run.mutate(Limits(), (), later) is None

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
                place="here",
                process="p",
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
