"""Coroutines that run at once, and become tasks only when they must wait."""

from __future__ import annotations

import asyncio
import logging

import pytest

from gateway.tasks import Tasks, must_wait


def test_a_coroutine_that_never_waits_is_done_when_start_returns() -> None:
    done: list[int] = []

    async def work() -> None:
        done.append(1)

    async def scene() -> None:
        tasks = Tasks(asyncio.get_running_loop())
        assert tasks.start(work()) is None
        assert done == [1]

    asyncio.run(scene())


def test_one_that_waits_goes_on_where_it_was_as_a_task() -> None:
    steps: list[str] = []

    async def work() -> None:
        steps.append("at once")
        await must_wait()
        async with asyncio.timeout(5):
            await asyncio.sleep(0)
        steps.append("later")

    async def scene() -> None:
        tasks = Tasks(asyncio.get_running_loop())
        task = tasks.start(work())
        assert task is not None
        assert (steps, len(tasks)) == (["at once"], 1)
        await task
        assert (steps, len(tasks)) == (["at once", "later"], 0)

    asyncio.run(scene())


def test_waiting_without_saying_so_is_an_error() -> None:
    async def scene() -> None:
        with pytest.raises(RuntimeError, match="must_wait"):
            Tasks(asyncio.get_running_loop()).start(asyncio.sleep(1))

    asyncio.run(scene())


def test_a_failure_before_waiting_is_the_starters_and_one_after_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def fail(*, later: bool) -> None:
        if later:
            await must_wait()
        raise ValueError("broken")

    async def scene() -> None:
        tasks = Tasks(asyncio.get_running_loop())
        with pytest.raises(ValueError, match="broken"):
            tasks.start(fail(later=False))
        tasks.start(fail(later=True))
        with caplog.at_level(logging.ERROR):
            await tasks.finish(1)
            await asyncio.sleep(0)
        assert "a task of the data path failed" in caplog.text

    asyncio.run(scene())


def test_closing_cancels_what_does_not_finish_in_time() -> None:
    cancelled: list[str] = []

    async def stubborn() -> None:
        try:
            await must_wait()
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append("yes")
            raise

    async def scene() -> None:
        tasks = Tasks(asyncio.get_running_loop())
        tasks.start(stubborn())
        await tasks.finish(0.01)
        assert (cancelled, len(tasks)) == (["yes"], 0)

    asyncio.run(scene())
