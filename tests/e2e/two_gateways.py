"""A second gateway beside that of the stack, agents at either, and requests counted one by one."""

from __future__ import annotations

import http.client
import json
import ssl
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import yaml

from hack import issuer
from hack.cluster.pki import write_private
from hack.stack import people, programs, up
from hack.stack.kubectl import Kubectl
from hack.stack.layout import Layout
from hack.stack.ports import free_port
from hack.stack.programs import Program
from tests.e2e.waiting import until

NAME = "gateway-2"
IN_A_ROW = 16
"""Connections, of which each of two processes gets one: but for one time in thirty thousand."""


@contextmanager
def second_gateway(stack: up.Stack) -> Iterator[tuple[str, Program]]:
    """Its URL, and the program, of two workers; it shares nothing with the first but the cluster."""
    layout = stack.layout
    config: dict[str, Any] = yaml.safe_load(layout.config("gateway").read_text())
    port, health = free_port(), free_port()
    config["listen"]["port"], config["health"]["port"], config["workers"] = port, health, 2
    folder = layout.directory / "audit-2"
    folder.mkdir(exist_ok=True)
    config["audit"]["store"] = f"sqlite:///{folder / 'audit.db'}"
    write_private(layout.config(NAME), yaml.safe_dump(config).encode())
    program = Program(
        NAME, ("-m", "gateway", "--config", str(layout.config(NAME))), f"http://127.0.0.1:{health}/readyz"
    )
    programs.start(layout, program)
    try:
        programs.wait_well(layout, program)
        yield f"https://127.0.0.1:{port}", program
    finally:
        programs.stop(layout, program)


def session_of(admin: Kubectl, run: str) -> dict[str, Any]:
    """Its AgentSession; {} while there is none."""
    listed = (admin.get("agsess") or {"items": []})["items"]
    return next((item for item in listed if item["spec"].get("run") == run), {})


@dataclass(frozen=True)
class Caller:
    """One run at one gateway, request by request: kubectl asks for more than it is told to."""

    url: str
    token: str
    ca: str

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, dict[str, Any]]:
        """Code and decoded body."""
        place = urlsplit(self.url)
        connection = http.client.HTTPSConnection(
            str(place.hostname), place.port, timeout=60, context=ssl.create_default_context(cafile=self.ca)
        )
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        try:
            connection.request(method, path, json.dumps(body) if body is not None else None, headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()


def token(layout: Layout, group: str, run: str) -> str:
    """As `hack/issuer.py token` makes it; fifty of them take a moment here, and minutes as fifty programs."""
    arguments = ("--sub", f"{group}-agent", "--groups", group, "--run", run, "--agent", group)
    options = issuer.parser().parse_args(["token", "--dir", str(layout.issuer), *arguments])
    claims = issuer.token_claims(options, issuer.issuer_url(layout.issuer, ""), time.time())
    key = layout.issuer / issuer.KEY_FILE
    return issuer.sign(issuer.load_key(key), issuer.key_id(key), claims)


@dataclass(frozen=True)
class Gateways:
    """Two gateways, and agents at either."""

    stack: up.Stack
    urls: tuple[str, str]
    second: Program
    _tokens: dict[tuple[str, str], str] = field(default_factory=dict)

    def kubectl(self, number: int, group: str, run: str) -> Kubectl:
        path = self.stack.layout.kubeconfig(f"sessions-{number}-{group}-{run}")
        people.write_agent(
            self.stack.layout,
            path,
            self.urls[number],
            subject=f"{group}-agent",
            groups=[group],
            run=run,
            arguments=("--agent", group),
        )
        return Kubectl(path)

    def caller(self, number: int, group: str, run: str) -> Caller:
        layout = self.stack.layout
        if (group, run) not in self._tokens:
            self._tokens[group, run] = token(layout, group, run)
        return Caller(self.urls[number], self._tokens[group, run], str(layout.ca_file))

    def hear_of_sessions(self, group: str, path: str) -> None:
        """Wait until every process of both gateways knows the sessions as they are now, or later.

        A watch tells changes in their order: who refuses a run that is terminated from now on has heard all before. group,
        path: of an agent and what it may read. Which process answers a new connection is chance: so many refusals in a
        row are all of them.
        """
        run = f"run-marker-{uuid.uuid4().hex[:8]}"
        callers = [self.caller(number, group, run) for number in (0, 1)]
        assert [caller.ask("GET", path)[0] for caller in callers] == [200, 200]
        name = until("the marker's session", lambda: session_of(self.stack.admin, run))["metadata"]["name"]
        switch = ("patch", "agsess", name, "--type=merge", "-p", '{"spec":{"terminated":true}}')
        self.stack.admin.must("throwing the switch", *switch)
        for caller in callers:
            until(
                "every process to refuse a terminated run",
                lambda asks=caller.ask: all(asks("GET", path)[0] == 403 for _ in range(IN_A_ROW)),  # type: ignore[misc]
            )

    def restart_second(self) -> None:
        programs.restart(self.stack.layout, self.second, kill=True)
