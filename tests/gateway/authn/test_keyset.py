"""Keys over time: outages, rotation, floods. The clock is turned, nothing sleeps."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import pytest

from chaperone.core.authentication import AuthenticationConfiguration, read_configuration
from chaperone.core.token import Refused
from gateway.authn import keyset
from gateway.authn.issuers_file import IssuersFile
from gateway.authn.keyset import COOLDOWN, STALE_FOR, UNKNOWN_FOR, KeySet
from tests.gateway.authn.issuing import UNREACHABLE, Clock, Source, configuration, published


def key_set(source: Source, clock: Clock) -> KeySet:
    settings = read_configuration(configuration())
    assert isinstance(settings, AuthenticationConfiguration)
    return KeySet("issuer", source.fetcher(settings.issuers[0], IssuersFile(settings, {})), clock)


@contextlib.asynccontextmanager
async def kept(keys: KeySet) -> AsyncIterator[None]:
    task = asyncio.ensure_future(keys.keep())
    await settle()
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def run(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(scenario)


def test_no_keys_is_unavailable_not_unauthorized() -> None:
    async def scenario() -> None:
        source = Source(error=UNREACHABLE)
        keys = key_set(source, Clock())
        async with kept(keys):
            refused = await keys.find_newer("RS256", "dev")
            assert isinstance(refused, Refused)
            assert refused.code == 503
            assert keys.last_error == str(UNREACHABLE)

    run(scenario())


def test_a_new_key_is_fetched_when_a_token_names_it() -> None:
    async def scenario() -> None:
        clock, source = Clock(), Source()
        keys = key_set(source, clock)
        async with kept(keys):
            source.keys = published("dev", "new")
            clock.now += COOLDOWN
            assert keys.find("RS256", "new") is None
            assert not isinstance(await keys.find_newer("RS256", "new"), Refused)
            assert (source.fetches, keys.generation) == (2, 2)

    run(scenario())


def test_tokens_cause_one_fetch_in_thirty_seconds() -> None:  # ID-16
    async def scenario() -> None:
        clock, source = Clock(), Source()
        keys = key_set(source, clock)
        async with kept(keys):
            for failing in (None, UNREACHABLE, UNREACHABLE):
                source.error = failing
                before = source.fetches
                clock.now += COOLDOWN
                names = [f"{failing}-{clock.now}-{number}" for number in range(500)]
                answers = await asyncio.gather(*(keys.find_newer("RS256", name) for name in names))
                assert source.fetches == before + 1
                assert all(isinstance(answer, Refused) and answer.code == 401 for answer in answers)
                clock.now += COOLDOWN - 1
                assert isinstance(await keys.find_newer("RS256", "late"), Refused)
                assert source.fetches == before + 1, "failures count too"
            assert not isinstance(keys.find("RS256", "dev"), Refused | None), "the old keys still serve"

    run(scenario())


def test_a_fetch_in_flight_is_shared() -> None:
    async def scenario() -> None:
        clock, source = Clock(), Source()
        keys = key_set(source, clock)
        async with kept(keys):
            clock.now += COOLDOWN
            source.gate = asyncio.Event()
            source.keys = published("new")
            waiting = [asyncio.ensure_future(keys.find_newer("RS256", "new")) for _ in range(50)]
            await settle()
            clock.now += COOLDOWN
            waiting.append(asyncio.ensure_future(keys.find_newer("RS256", "new")))
            await settle()
            waiting[0].cancel()  # a client that goes away stops nobody's fetch
            source.gate.set()
            answers = await asyncio.gather(*waiting[1:])
            assert source.fetches == 2
            assert not any(isinstance(answer, Refused) for answer in answers)

    run(scenario())


def test_a_slow_issuer_keeps_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyset, "PATIENCE", 0.01)

    async def scenario() -> None:
        source = Source(gate=asyncio.Event())
        keys = key_set(source, Clock())
        async with kept(keys):
            refused = await keys.find_newer("RS256", "dev")
            assert isinstance(refused, Refused)
            assert refused.code == 503

    run(scenario())


def test_a_key_that_does_not_exist_is_remembered_for_a_while() -> None:
    async def scenario() -> None:
        clock, source = Clock(), Source()
        keys = key_set(source, clock)
        async with kept(keys):
            clock.now += COOLDOWN
            await keys.find_newer("RS256", "ghost")
            clock.now += COOLDOWN
            await keys.find_newer("RS256", "ghost")
            assert source.fetches == 2
            clock.now += UNKNOWN_FOR - COOLDOWN
            await keys.find_newer("RS256", "ghost")
            assert source.fetches == 3

    run(scenario())


def test_a_key_is_not_called_unknown_for_want_of_a_fetch() -> None:
    """Within the cooldown nobody has looked, so the key id must not be remembered as one that is not there."""

    async def scenario() -> None:
        clock, source = Clock(), Source()
        keys = key_set(source, clock)
        async with kept(keys):
            clock.now += 1
            source.keys = published("dev", "new")
            assert isinstance(await keys.find_newer("RS256", "new"), Refused)
            clock.now += COOLDOWN
            assert not isinstance(await keys.find_newer("RS256", "new"), Refused)

    run(scenario())


def test_what_is_remembered_of_unknown_keys_is_bounded() -> None:
    async def scenario() -> None:
        clock, source = Clock(), Source()
        keys = key_set(source, clock)
        async with kept(keys):
            clock.now += COOLDOWN
            await asyncio.gather(*(keys.find_newer("RS256", f"k{number}") for number in range(3000)))
            assert 0 < len(keys._unknown) <= keyset.MAX_UNKNOWN

    run(scenario())


def test_keys_outlive_an_outage_for_a_day() -> None:
    async def scenario() -> None:
        clock, source = Clock(), Source()
        keys = key_set(source, clock)
        await keys.refresh()
        source.error = UNREACHABLE
        clock.now += STALE_FOR - 1
        await keys.refresh()
        assert not isinstance(keys.find("RS256", "dev"), Refused | None)
        clock.now += 2
        assert keys.ring is None
        assert keys.find("RS256", "dev") is None
        source.error = None
        await keys.refresh()
        assert not isinstance(keys.find("RS256", "dev"), Refused | None)
        assert keys.generation == 1, "the same keys came back"

    run(scenario())


def test_an_odd_failure_keeps_the_keys_too() -> None:
    async def scenario() -> None:
        source = Source()
        keys = key_set(source, Clock())
        await keys.refresh()
        source.error = ZeroDivisionError()
        await keys.refresh()
        assert keys.ring is not None
        assert "ZeroDivisionError" in keys.last_error

    run(scenario())


def test_the_worker_fetches_again_when_keys_grow_old() -> None:
    async def scenario() -> None:
        clock, source = Clock(), Source(max_age=600)
        keys = key_set(source, clock)
        async with kept(keys):
            clock.now += 599
        assert source.fetches == 1
        async with kept(keys):
            assert source.fetches == 1, "not due yet"
        clock.now += 2
        async with kept(keys):
            assert source.fetches == 2

    run(scenario())


def test_failures_are_retried_ever_more_slowly() -> None:
    async def scenario() -> None:
        clock, source = Clock(), Source(error=UNREACHABLE)
        keys = key_set(source, clock)
        delays = []
        for _ in range(9):
            await keys.refresh()
            delays.append(keys._due_at - clock.now)
        assert delays == [1, 2, 4, 8, 16, 32, 60, 60, 60]
        source.error = None
        await keys.refresh()
        source.error = UNREACHABLE
        await keys.refresh()
        assert keys._due_at - clock.now == COOLDOWN, "with keys at hand there is no hurry"

    run(scenario())
