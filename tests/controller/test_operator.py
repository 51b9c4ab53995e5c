"""When the periodic task works, and what it outlives."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from chaperone.core.approval import Approval, Phase
from chaperone.kube.errors import UnreachableError
from chaperone.settings.controller import ControllerSettings
from controller import operator as operator_module
from controller.handlers import check_alive
from controller.lifetimes import Agenda
from controller.operator import Operator
from tests.controller.objects import approval


class Work:
    """Counts passes; `on_resync` may raise."""

    def __init__(self) -> None:
        self.passes = 0
        self.looked_at: list[str] = []
        self.approvals: dict[str, Approval] = {}
        self.on_resync: Callable[[], None] = lambda: None

    def resync(self) -> dict[str, Approval]:
        self.passes += 1
        self.on_resync()
        return self.approvals

    def look_at(self, name: str) -> None:
        self.looked_at.append(name)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def to_next_minute(self) -> None:
        self.now += 60.0


def made(work: Work, clock: Clock) -> Operator:
    return Operator(work, 60.0, Agenda(0.0), clock)


def test_a_full_pass_at_start_on_a_poke_and_every_minute() -> None:
    async def scenario() -> list[int]:
        work, clock = Work(), Clock()
        operator = made(work, clock)
        seen = []
        steps: list[Callable[[], None]] = [lambda: None, lambda: None, operator.poke, clock.to_next_minute]
        for step in steps:
            step()
            await operator.turn()
            seen.append(work.passes)
        return seen

    assert asyncio.run(scenario()) == [1, 1, 2, 3]


def test_an_approval_is_looked_at_when_its_time_has_come() -> None:
    async def scenario() -> list[str]:
        work, clock = Work(), Clock()
        work.approvals = {"req-1": approval(Phase.PENDING, expires_at=30.0)}
        operator = made(work, clock)
        await operator.turn()
        assert work.looked_at == []
        clock.now = 30.0
        await operator.turn()
        assert work.passes == 1
        return work.looked_at

    assert asyncio.run(scenario()) == ["req-1"]


@pytest.mark.parametrize("fault", [UnreachableError("away"), ValueError("a bug")])
def test_a_failed_pass_is_made_again(fault: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operator_module, "RETRY", 0.0)

    async def scenario() -> int:
        work, clock = Work(), Clock()
        operator = made(work, clock)
        again = asyncio.Event()
        loop = asyncio.get_running_loop()

        def fail_twice() -> None:
            if work.passes < 3:
                raise fault
            loop.call_soon_threadsafe(again.set)

        work.on_resync = fail_twice
        task = loop.create_task(operator.run())
        await asyncio.wait_for(again.wait(), 10)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return work.passes

    assert asyncio.run(scenario()) == 3


def test_liveness_fails_when_the_task_has_ended_or_hangs_but_not_for_an_api_server_that_is_away() -> None:
    async def scenario() -> None:
        work, clock, settings = Work(), Clock(), ControllerSettings()
        operator = made(work, clock)
        task = asyncio.get_running_loop().create_task(asyncio.sleep(60))
        assert check_alive(operator, task, settings) == 0.0
        operator._last_turn = 0.0
        clock.now = settings.stuck_after
        assert check_alive(operator, task, settings) == settings.stuck_after
        clock.now += 1
        with pytest.raises(RuntimeError, match="no reconciliation"):
            check_alive(operator, task, settings)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        with pytest.raises(RuntimeError, match="has ended"):
            check_alive(operator, task, settings)

    asyncio.run(scenario())
