"""Sessions that several gateways share: entries that come and go, obedience, limits over all of them."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from chaperone.core import session as objects
from chaperone.core.policy import Limits
from chaperone.core.session import RENAMED_AFTER, STALE_AFTER, Counts, Entry
from chaperone.core.timestamp import rfc3339
from chaperone.kube.sessions import SESSIONS
from gateway import sessions as module
from tests.gateway.session_keepers import (
    CALLER,
    FEW,
    KEY,
    NAME,
    NO_RUN,
    gateways,
    impatient,
    scene,
    shows,
    stored,
    throw,
    until,
)
from tests.kube.fake_api import FakeApi

pytestmark = pytest.mark.usefixtures(impatient.__name__)


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


def test_what_a_killed_process_left_open_is_closed_by_the_next_one_at_its_place() -> None:
    async def test(api: FakeApi) -> None:
        now = time.time()
        entries = {
            name: Entry(Counts(10), 3, now).fields() for name in ("here.old.1", "here.old.2", "there.other.1")
        }
        obj = objects.build(CALLER, [], started_at=now)
        api.put(SESSIONS.path, {**obj, "status": {"instances": entries, "openStreams": 9}})
        async with gateways(api, place="here") as (one,):
            await until(lambda: shows(api, requests=30))
            session = stored(api)
            assert session is not None
            assert (session.shown_streams, session.open_streams(now)) == (3, 3)
            assert sorted(session.entries) == ["past", "there.other.1"]
            one.ask(one.run(), 2)
            await until(lambda: shows(api, requests=32))

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


def ended(api: FakeApi, name: str) -> bool:
    """Says so, again after a write that was on its way, as the controller would."""
    obj = api.get(SESSIONS.path, name)
    assert obj is not None
    if obj["status"]["phase"] != "Ended":
        api.put(SESSIONS.path, {**obj, "status": {**obj["status"], "phase": "Ended"}})
        return False
    return True


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
            await until(lambda: ended(api, first) and all(run.session is None for run in runs))
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
