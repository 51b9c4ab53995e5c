"""The data-path token: renewed early, never given out late, and its absence says why."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from chaperone.kube.errors import UnreachableError
from chaperone.kube.tokens import MintedToken, mint_token
from gateway.credential import CredentialUnavailable, FileCredential, MintedCredential, renew_after
from tests.kube.fake_api import FakeApi


class Clock:
    """Seconds that pass when told to; sleeping makes them pass."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 30))


async def turns(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def test_a_token_is_minted_for_the_named_account() -> None:
    async def scenario() -> None:
        async with FakeApi(token_lifetime=1234).serve() as api, api.connect() as connection:
            minted = await mint_token(connection, "guard", "impersonator", 3600)
            assert minted == MintedToken("token-guard-impersonator-1", 1234.0)
            assert "token-guard" not in repr(minted)

    run(scenario)


def test_before_the_first_and_after_the_end_there_is_none() -> None:
    async def scenario() -> None:
        clock = Clock()
        answers: list[MintedToken | Exception] = [MintedToken("one", 600.0)]

        async def mint() -> MintedToken:
            answer = answers.pop(0) if answers else UnreachableError("POST …/token: no answer")
            if isinstance(answer, Exception):
                raise answer
            return answer

        credential = MintedCredential(mint, clock=clock, jitter=lambda: 0.5, sleep=clock.sleep)
        with pytest.raises(CredentialUnavailable, match="no token has been minted yet"):
            credential.token()
        assert not credential.ready
        async with asyncio.TaskGroup() as group:
            task = group.create_task(credential.run())
            await turns()
            assert credential.token() == "one"
            clock.now += 594
            assert credential.token() == "one"
            clock.now += 1
            with pytest.raises(CredentialUnavailable, match="expired"):
                credential.token()
            assert not credential.ready
            task.cancel()

    run(scenario)


def test_failures_are_retried_with_growing_pauses_and_then_forgotten() -> None:
    async def scenario() -> None:
        clock = Clock()
        tries = 0

        async def mint() -> MintedToken:
            nonlocal tries
            tries += 1
            if tries < 8:
                raise UnreachableError("POST …/token: no answer")
            return MintedToken("late", 600.0)

        credential = MintedCredential(mint, clock=clock, jitter=lambda: 1.0, sleep=clock.sleep)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(credential.run())
            await turns(2)
            with pytest.raises(CredentialUnavailable, match="no answer"):
                credential.token()
            await turns(40)
            assert credential.token() == "late"
            task.cancel()
        assert clock.slept == [1, 2, 4, 8, 16, 30, 30]

    run(scenario)


def test_it_is_renewed_at_about_four_fifths_of_its_life() -> None:
    assert renew_after(3600, 1.0) == 2880
    assert renew_after(3600, 0.0) == 2736
    assert renew_after(0, 0.5) == 1.0


def test_it_is_renewed_without_being_asked() -> None:
    async def scenario() -> None:
        renewed = asyncio.Event()
        minted: list[str] = []

        async def mint() -> MintedToken:
            minted.append(f"token-{len(minted) + 1}")
            if len(minted) == 2:
                renewed.set()
            return MintedToken(minted[-1], 600.0 if len(minted) > 1 else 1.3)

        credential = MintedCredential(mint, clock=lambda: 0.0, jitter=lambda: 0.0)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(credential.run())
            await renewed.wait()
            await turns()
            assert credential.token() == "token-2"
            task.cancel()

    run(scenario)


def test_a_rejected_token_is_renewed_at_once_but_not_in_a_loop() -> None:
    async def scenario() -> None:
        clock = Clock()
        count = 0

        async def mint() -> MintedToken:
            nonlocal count
            count += 1
            return MintedToken(f"token-{count}", 600.0)

        credential = MintedCredential(mint, clock=clock, jitter=lambda: 0.5, sleep=clock.sleep)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(credential.run())
            await turns()
            credential.reject("some other token")
            await turns()
            assert count == 1
            credential.reject("token-1")
            await turns()
            assert credential.token() == "token-2"
            assert clock.slept == [10.0]
            task.cancel()

    run(scenario)


def test_a_token_file_is_followed(tmp_path: Path) -> None:
    clock = Clock()
    path = tmp_path / "token"
    credential = FileCredential(path, clock=clock)
    with pytest.raises(CredentialUnavailable, match=str(path)):
        credential.token()
    assert not credential.ready
    path.write_text("one\n")
    assert credential.token() == "one"
    (tmp_path / "new").write_text("other")
    (tmp_path / "new").replace(path)
    clock.now += 2
    assert credential.token() == "other"
    assert credential.ready


@pytest.mark.parametrize("contents", ["", "\n", "two words", "a\nb", "\u00fcmlaut"])
def test_a_file_that_holds_no_token_is_refused(tmp_path: Path, contents: str) -> None:
    (tmp_path / "token").write_text(contents)
    with pytest.raises(CredentialUnavailable):
        FileCredential(tmp_path / "token", clock=Clock()).token()


def test_a_token_file_that_vanishes_is_noticed(tmp_path: Path) -> None:
    clock = Clock()
    path = tmp_path / "token"
    path.write_text("one")
    credential = FileCredential(path, clock=clock)
    assert credential.token() == "one"
    path.unlink()
    clock.now += 2
    with pytest.raises(CredentialUnavailable):
        credential.token()
