"""What the bench of the console looks at: stores with a million records, a console that reads them, and a login."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import requests
import yaml

from chaperone.core.session import session_name
from chaperone.core.timestamp import rfc3339
from chaperone.kube.official import AGENT_SESSIONS, APPROVAL_REQUESTS, connect
from hack import generate_audit, postgres
from hack.cluster.pki import write_private
from hack.stack import programs, up

SHORT, LONG, LARGE = "bench-short", "bench-long", "bench-large"
RUNS = {SHORT: (10, 0), LONG: (20_000, 0), LARGE: (400, 200_000)}
"""By run: its records, and the bytes of the objects in each of them."""
OTHERS = 300
"""Sessions beside those, and half as many approvals."""


@dataclass(frozen=True)
class Backing:
    """A filled store. forget: let go of all that the machine remembers of its files."""

    name: str
    address: str
    forget: Callable[[], None]


@contextmanager
def sqlite(folder: Path, count: int) -> Iterator[Backing]:
    """A file that is there already is taken as it is."""
    path = folder / "audit.db"
    fill(str(path), 0 if path.exists() else count)
    yield Backing("SQLite", f"sqlite:///{path}", lambda: forget(folder))


@contextmanager
def postgresql(_: Path, count: int) -> Iterator[Backing]:
    """With the settings that a server has unless somebody sets them."""
    with postgres.running() as server:
        fill(server.url, count)

        def restart() -> None:
            server.stop()
            forget(server.folder)
            server.start()

        yield Backing("PostgreSQL", server.url, restart)


def fill(address: str, count: int) -> None:
    if not count:
        return
    print(f"bench: making {count} records, and three runs", flush=True)
    generate_audit.fill(address, count)
    for run, (records, size) in RUNS.items():
        shape = generate_audit.Shape(run, size)
        generate_audit.fill(address, records, days=0.5, shape=shape)


def forget(folder: Path) -> None:
    """The kernel drops what it holds of these files; what was not written yet stays."""
    os.sync()
    for path in folder.rglob("*"):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)


def sessions(stack: up.Stack) -> dict[str, str]:
    """AgentSessions of our runs and others, ApprovalRequests beside them, as a gateway makes them: names by run."""
    api = connect(str(stack.layout.kubeconfig("gateway")))
    names = {run: _session(api, run) for run in (*RUNS, *(f"bench-{number}" for number in range(OTHERS)))}
    for number in range(OTHERS // 2):
        _approval(api, number)
    return names


def _session(api: Any, run: str) -> str:
    caller = generate_audit.caller(run)
    user = caller["user"]
    name = session_name((user["issuer"], user["subject"], run), caller["agent"])
    spec = {key: user[key] for key in ("username", "issuer", "subject")}
    spec |= {"run": run, "agent": caller["agent"], "model": caller["model"], "policies": ["coding-agents"]}
    spec["startedAt"] = rfc3339(time.time() - 600)
    obj = {"apiVersion": "chaperone.dev/v1alpha1", "kind": "AgentSession", "metadata": {"name": name}}
    if api.find(AGENT_SESSIONS.path(name)) is None:
        api.create(AGENT_SESSIONS.path(), {**obj, "spec": spec})
    return name


def _approval(api: Any, number: int) -> None:
    user = generate_audit.caller(LONG)["user"]
    name = f"bench-{number}"
    path = f"/apis/apps/v1/namespaces/default/deployments/{name}"
    request = {
        "verb": "delete",
        "apiGroup": "apps",
        "apiVersion": "v1",
        "resource": "deployments",
        "path": path,
    }
    spec = {
        "type": "Request",
        "requester": {key: user[key] for key in ("username", "issuer", "subject")} | {"run": LONG},
        "request": request | {"namespace": "default", "name": name},
        "digest": f"sha256:{number:064x}",
        "policy": {"name": "coding-agents", "generation": 1, "rule": "ask"},
        "risk": {"level": "high", "reasons": ["deletes a workload"]},
        "required": 1,
        "expiresAt": rfc3339(time.time() + 3600),
    }
    obj = {"apiVersion": "chaperone.dev/v1alpha1", "kind": "ApprovalRequest", "metadata": {"name": name}}
    if api.find(APPROVAL_REQUESTS.path(name)) is None:
        api.create(APPROVAL_REQUESTS.path(), {**obj, "spec": spec})


@contextmanager
def reading(stack: up.Stack, store: str) -> Iterator[None]:
    """The stack's console with another store."""
    path = stack.layout.config("console")
    before = path.read_bytes()
    settings = yaml.safe_load(before)
    settings["records"]["store"] = store
    write_private(path, yaml.safe_dump(settings).encode())
    try:
        programs.restart(stack.layout, stack.program("console"))
        yield
    finally:
        write_private(path, before)
        programs.restart(stack.layout, stack.program("console"))


def login(stack: up.Stack, person: str = up.APPROVER) -> requests.Session:
    """As a browser does it: the console's link, the issuer's form, and back."""
    browser = requests.Session()
    browser.trust_env, browser.verify = False, str(stack.layout.ca_file)
    page = browser.get(f"{stack.console_url}/login", timeout=30)
    fields = dict(re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)">', page.text))
    form = {unescape(name): unescape(value) for name, value in fields.items()}
    browser.post(urljoin(page.url, "/authorize"), data={**form, "person": person}, timeout=30)
    if browser.get(f"{stack.console_url}/approvals/", timeout=30).status_code != 200:
        raise RuntimeError("the login at the console was not completed")
    return browser
