"""Gateways that keep sessions against a small API server, and what tests say and ask of them."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from chaperone.core import session as objects
from chaperone.core.identity import Caller
from chaperone.core.policy import Limits
from chaperone.core.session import Counts, RunKey, Session
from chaperone.kube.mirror import MirrorTerms
from chaperone.kube.sessions import SESSIONS
from gateway import sessions as module
from gateway.run_state import RunState
from gateway.sessions import Sessions
from tests.kube.fake_api import FakeApi

CALLER = Caller(issuer="https://issuer.example", subject="sub-1", username="ann", run="run-1", agent="coder")
NO_RUN = replace(CALLER, run="")
KEY: RunKey = (CALLER.issuer, CALLER.subject, CALLER.run)
NAME = objects.session_name(KEY, CALLER.agent)
QUICK = MirrorTerms(watch_seconds=1, silence=1.0, backoff_first=0.01, backoff_most=0.05)
FEW = Limits(mutations_per_run=3)
PROCESSES = itertools.count()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds become milliseconds."""
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
async def gateways(
    api: FakeApi, count: int = 1, max_age: float = 60.0, place: str = ""
) -> AsyncIterator[list[Gateway]]:
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
                place=place or f"place{next(PROCESSES)}",
                process=f"p{next(PROCESSES)}",
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
