"""A gateway killed (SIGKILL) at each step of spending an approval executes nothing twice, whoever carries on.

The API server's side of the wire kills it: when a request arrives and is not yet done, and when it is done and not yet
answered. The next process bears the same name, clears up what the dead one has left, and gets the same request again.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

from chaperone.core.timestamp import rfc3339
from chaperone.kube.approvals import APPROVALS
from tests.gateway.stage import Client, Reply, request
from tests.gateway.upstream import Seen, Upstream, reply
from tests.kube.fake_api import FakeApi, LostAnswer

DEPLOYMENTS = "/apis/apps/v1/namespaces/prod/deployments"


@dataclass
class Fate:
    """Kills the process at one of the steps that its requests make. countdown: steps that it is still given."""

    pid: int = 0
    countdown: int = -1
    killed_at: str = ""
    steps: list[str] = field(default_factory=list)

    def spare(self) -> None:
        self.pid, self.countdown, self.killed_at = 0, -1, ""

    def step(self, what: str) -> bool:
        """True when the process has just been killed."""
        if self.countdown < 0:
            return False
        if self.countdown:
            self.countdown -= 1
            return False
        os.kill(self.pid, signal.SIGKILL)
        self.countdown, self.killed_at = -1, what
        self.steps.append(what)
        return True


@dataclass
class DeadlyApi(FakeApi):
    """The control API. What runs in the background (watches, Leases) is no step."""

    fate: Fate = field(default_factory=Fate)

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        if "/approvalrequests/" not in request.path:
            return await super()._serve(request)
        what = f"{request.method} {'status' if request.path.endswith('/status') else 'approval'}"
        body = json.loads(await request.read() or b"{}")
        what += f" {body.get('status', {}).get('phase', '')}".rstrip()
        if self.fate.step(f"before {what}"):
            raise LostAnswer
        answer = await super()._serve(request)
        if self.fate.step(f"after {what}"):
            raise LostAnswer
        return answer


@dataclass
class World:
    """Everything but the gateway."""

    api: DeadlyApi
    upstream: Upstream
    fate: Fate
    executed: list[str] = field(default_factory=list)

    async def answer(self, seen: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        name = seen.target.rpartition("/")[2]
        if self.fate.step(f"before {seen.method} upstream"):
            raise ConnectionResetError
        if seen.method == "DELETE" and "dryRun" not in seen.target:
            self.executed.append(name)
        if self.fate.step(f"after {seen.method} upstream"):
            raise ConnectionResetError
        obj = {"metadata": {"name": name, "uid": f"uid-{name}", "generation": 1}}
        writer.write(reply(200, json.dumps(obj).encode()))

    def phase(self, approval: str) -> str:
        obj = self.api.get(APPROVALS.path, approval) or {}
        return str((obj.get("status") or {}).get("phase"))

    def approve(self, approval: str) -> None:
        obj = self.api.get(APPROVALS.path, approval)
        assert obj is not None
        digest = obj["spec"]["digest"]
        review = {
            "username": "alice",
            "decision": "Approved",
            "digest": digest,
            "time": rfc3339(time.time()),
        }
        until = rfc3339(time.time() + 600)
        self.api.put(
            APPROVALS.path,
            {**obj, "status": {"phase": "Approved", "reviews": [review], "useBefore": until}},
        )

    async def settled(self, approval: str) -> str:
        """Its phase, once nobody is at work on it any more (or the gateway has been killed over it)."""
        while self.phase(approval) == "Executing" and not self.fate.killed_at:  # noqa: ASYNC110  another process tells
            await asyncio.sleep(0.02)
        return self.phase(approval)


@asynccontextmanager
async def world() -> AsyncIterator[World]:
    fate = Fate()
    upstream = Upstream()
    async with DeadlyApi(clock=lambda: rfc3339(time.time()), fate=fate).serve() as api:
        assert isinstance(api, DeadlyApi)
        made = World(api, upstream, fate)
        upstream.answer = made.answer
        await upstream.start()
        try:
            yield made
        finally:
            await upstream.stop()


@asynccontextmanager
async def gateway(world: World, nonce: str) -> AsyncIterator[tuple[int, int]]:
    """(process id, port) of a gateway process; killed at the end."""
    arguments = ("-m", "tests.gateway.doomed", world.api.url, str(world.upstream.port), nonce)
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=asyncio.subprocess.PIPE)
    try:
        assert process.stdout is not None
        yield process.pid, int(await process.stdout.readline())
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def delete(port: int, name: str, *headers: str) -> Reply | None:
    """None when the connection dies unanswered."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    client = Client(reader, writer)
    try:
        await client.send(request(f"{DEPLOYMENTS}/{name}", *headers, method="DELETE"))
        return await client.reply()
    except (ConnectionError, asyncio.IncompleteReadError):
        return None
    finally:
        client.abort()


async def ask(world: World, port: int, name: str) -> str:
    """File the request, and let a person approve it. The name of the approval."""
    told = await delete(port, name, "Chaperone-Hold: never")
    assert told is not None
    assert told.code == 403
    approval = str(told.status["details"]["causes"][0]["field"])
    world.approve(approval)
    return approval


def test_a_gateway_killed_at_any_step_of_spending_an_approval_executes_nothing_twice() -> None:
    asyncio.run(asyncio.wait_for(kill_at_every_step(), 300))


async def kill_at_every_step() -> None:
    async with world() as here:
        name, approval, deaths = "", "", 0
        for step in itertools.count():
            async with gateway(here, f"n{step}") as (pid, port):
                if approval:
                    await carry_on(here, port, name, approval)
                name = f"web-{step}"
                approval = await ask(here, port, name)
                here.fate.pid, here.fate.countdown = pid, step
                answer = await delete(port, name)
                if answer is not None and not here.fate.killed_at:
                    await asyncio.wait_for(here.settled(approval), 20)
                if not here.fate.killed_at:
                    assert answer is not None
                    assert answer.code == 200
                    break
                deaths += 1
        assert here.executed.count(name) == 1
        # The steps that matter have all been died at, and what was found there is the path as it is meant to be.
        assert {
            *("before PATCH status Executing", "after PATCH status Executing"),
            *("before DELETE upstream", "after DELETE upstream"),
            *("before PATCH status Executed", "after PATCH status Executed"),
        } <= set(here.fate.steps)
        assert deaths >= 12


async def carry_on(here: World, port: int, name: str, approval: str) -> None:
    """What the next process makes of the request that its predecessor died over."""
    died_at, done = here.fate.killed_at, here.executed.count(name)
    was_claimed = here.phase(approval) != "Approved"
    here.fate.spare()
    phase = await asyncio.wait_for(here.settled(approval), 20)
    again = await delete(port, name)
    assert again is not None, died_at
    if was_claimed:
        assert again.code == 403, died_at
        assert here.executed.count(name) == done <= 1, died_at
        assert phase == ("Executed" if died_at == "after PATCH status Executed" else "Unknown"), died_at
    else:
        assert (again.code, done, here.executed.count(name)) == (200, 0, 1), died_at
        assert await asyncio.wait_for(here.settled(approval), 20) == "Executed", died_at
