"""The console with a million records: every page, cold and warm, over SQLite and PostgreSQL, and searches by command.

`python -m bench.console [--records N] [--store sqlite|postgresql] [--folder FOLDER]`. The console is the real program on
a real cluster, and its pages are asked for as a browser does. cold: the first answer after the console and the database
were started anew and the kernel has forgotten their files. cpu: of the console's processes, for one answer. A search that
stops in time is followed to its end: `parts`, `whole`. The first row takes no work: it tells what the machine can do.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import astuple, dataclass
from html import unescape
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlencode

import requests

from bench.console_stage import LARGE, LONG, SHORT, Backing, login, postgresql, reading, sessions, sqlite
from bench.usage import cpu_seconds
from chaperone.store.interface import Query
from chaperone.store.opening import open_store
from hack.cluster.errors import ClusterError
from hack.stack import programs, up

TARGET = 300.0
"""Milliseconds: of every answer, warm."""
BUSY = 10.0
"""Milliseconds that IDLE takes on a machine that is not fit for measuring."""
IDLE = "/healthz"
WARM = 15
HEAD = "".join(f"{word:>8}" for word in ("cold", "p50", "p95", "worst", "cpu", "kB", "parts", "whole"))
COMMAND = str(Path(sys.executable).with_name("chaperone"))
STORES = {"sqlite": sqlite, "postgresql": postgresql}
FURTHER = re.compile(r'data-further="([^"]+)"')


@dataclass(frozen=True)
class Timing:
    """Milliseconds. parts, whole: answers until a search came to its end, and all of them together, cold."""

    page: str
    cold: float
    p50: float
    p95: float
    worst: float
    cpu: float
    kilobytes: float
    parts: int
    whole: float


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.console", description=__doc__)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--store", choices=sorted(STORES), help="one of them; both by default")
    parser.add_argument(
        "--folder", type=Path, help="keep the stack and the SQLite store there, for the next time"
    )
    parser.add_argument("--address", default="", help="a store that is filled already, and is left running")
    parser.add_argument("--warm", action="store_true", help="start nothing anew for each page: quicker")
    parser.add_argument("--only", default="", help="pages whose name holds this")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="chaperone-bench-console-") as made:
        folder = options.folder or Path(made)
        try:
            stack = up.start(folder / "stack", log=lambda text: None)
            slow = [_measured(stack, store, options) for store in _stores(options, folder / "store")]
        except ClusterError as error:
            print(f"bench: {error}", file=sys.stderr)
            return 1
        finally:
            if not options.folder:
                up.stop(folder / "stack", log=lambda text: None)
    print("\nbench: a target was missed" if any(slow) else "\nbench: all targets met")
    return 1 if any(slow) else 0


def _stores(options: argparse.Namespace, folder: Path) -> Iterator[AbstractContextManager[Backing]]:
    if options.address:
        yield nullcontext(Backing("the store given", options.address, lambda: None))
        return
    folder.mkdir(exist_ok=True)
    for name in [options.store] if options.store else STORES:
        yield STORES[name](folder, options.records)


def _measured(stack: up.Stack, store: AbstractContextManager[Backing], options: argparse.Namespace) -> bool:
    names = sessions(stack)
    with store as backing, reading(stack, backing.address):
        browser = login(stack)
        print(f"\n{backing.name + ' (ms)':<50}{HEAD}   (target: p95 under {TARGET:.0f})")
        slow = busy = False
        for page, path in _pages(backing.address, names):
            if options.only in page:
                if not options.warm:
                    backing.forget()
                    programs.restart(stack.layout, stack.program("console"))
                timing = _timed(stack, browser, page, path)
                busy |= path == IDLE and timing.p50 >= BUSY
                slow |= timing.p95 >= TARGET
                _show(timing)
        for words in _commands():
            backing.forget()
            _show(_command(words, backing.address))
    if busy:
        print("bench: the machine does other work at the same time: the times above are not judged")
    return slow and not busy


def _show(timing: Timing) -> None:
    page, *numbers = astuple(timing)
    slow = "  SLOW" if timing.p95 >= TARGET and timing.kilobytes else ""
    print(f"{page:<50}{''.join(f'{number:>8.0f}' for number in numbers)}{slow}", flush=True)


# Pages


def _pages(address: str, names: dict[str, str]) -> Iterator[tuple[str, str]]:
    """(name, path)."""
    yield "nothing but an answer", IDLE
    yield "home, approvals", "/approvals/"
    yield "approvals, finished as well", "/approvals/?all=1"
    yield "one approval", "/approvals/bench-0"
    yield "runs", "/sessions/"
    yield "policies", "/policies/"
    yield "one policy", "/policies/coding-agents"
    store = open_store(address)
    try:
        later = store.timeline(LONG, limit=1000, brief=True)
        for _ in range(9):
            later = store.timeline(LONG, limit=1000, after=later.cursor, brief=True)
        deep = store.search(Query(until=time.time() - 6.9 * 86_400), limit=1)
        found = store.search(Query(run=LARGE), limit=1, brief=True).records[0].record["auditID"]
        small = store.search(Query(run=SHORT), limit=1).records[0].record["auditID"]
        run = store.runs(limit=1)[0].run
    finally:
        store.close()
    yield "a run of 10 records", f"/sessions/{names[SHORT]}"
    yield "a run of 20,000 records", f"/sessions/{names[LONG]}"
    yield "a run of 20,000 records, from its middle", f"/sessions/{names[LONG]}?after={later.cursor}"
    yield "a run with objects of 200 kB", f"/sessions/{names[LARGE]}"
    yield "what a run of 20,000 records changed", f"/sessions/{names[LONG]}/changes"
    yield "what a run with objects of 200 kB changed", f"/sessions/{names[LARGE]}/changes"
    yield "one record", f"/audit/{small}"
    yield "one record with objects of 200 kB", f"/audit/{found}"
    for span in ("1h", "24h", "7d", "30d"):
        yield f"chart, {span}", f"/audit/counts?span={span}"
    for name, terms in _searches(run):
        yield f"search: {name}", f"/audit/?{urlencode(terms)}"
    yield "search: the oldest page", f"/audit/?cursor={deep.cursor}"


def _searches(run: str) -> Iterator[tuple[str, dict[str, str]]]:
    day = time.strftime("%Y-%m-%dT%H:%M", time.gmtime(time.time() - 3 * 86_400))
    old = time.strftime("%Y-%m-%dT%H:%M", time.gmtime(time.time() - 6.9 * 86_400))
    yield "nothing asked", {}
    yield "nearly everything (policy)", {"policy": "coding-agents"}
    yield "run", {"run": run}
    yield "run of 20,000, a verb", {"run": LONG, "verb": "delete"}
    yield "run of 20,000, a name that there is not", {"run": LONG, "object": "none"}
    yield "run with objects of 200 kB", {"run": LARGE}
    yield "run that there is not", {"run": "none"}
    yield "agent", {"agent": "agent-3"}
    yield "agent that there is not", {"agent": "none"}
    yield "agent, verb", {"agent": "agent-3", "verb": "delete"}
    yield "user, verdict, risk", {"user": "repo:acme/agent-3", "verdict": "Deny", "risk": "critical"}
    yield "verdict", {"verdict": "Hold"}
    yield "verdict, a risk that it never has", {"verdict": "Deny", "risk": "low"}
    yield "verb that there is not", {"verb": "none"}
    yield "object by name", {"object": "deployment-77"}
    yield "object by kind and name", {"object": "deployments.apps/deployment-77"}
    yield "object that there is not", {"object": "none"}
    yield "namespace, a code that it never had", {"namespace": "team-1", "code": "500"}
    yield "policy that there is not", {"policy": "none"}
    yield "time: three days ago, a verdict", {"until": day, "verdict": "Deny"}
    yield "time: the first hours, nothing there", {"until": old, "object": "none"}
    yield "all fields at once", {
        "agent": "agent-3", "user": "repo:acme/agent-3", "verb": "delete", "namespace": "team-1", "verdict": "Deny",
        "risk": "critical", "policy": "coding-agents", "code": "403", "until": day,
    }  # fmt: skip
    yield "text that is everywhere", {"text": "kubectl"}
    yield "text that is nowhere", {"text": "zzzzzz"}


def _timed(stack: up.Stack, browser: requests.Session, page: str, path: str) -> Timing:
    url = stack.console_url + path
    cold, answer = _asked(browser, url)
    whole, parts = cold, 1
    part = answer
    while found := FURTHER.search(part.text):
        seconds, part = _asked(browser, stack.console_url + unescape(found[1]), {"HX-Request": "true"})
        whole, parts = whole + seconds, parts + 1
    pid = programs.running(stack.layout)["console"]
    before = cpu_seconds(pid)
    warm = sorted(_asked(browser, url)[0] for _ in range(WARM))
    cpu = 1000 * (cpu_seconds(pid) - before) / WARM
    last = warm[round(0.95 * (WARM - 1))]
    return Timing(page, cold, median(warm), last, warm[-1], cpu, len(answer.content) / 1000, parts, whole)


def _asked(browser: requests.Session, url: str, headers: Any = None) -> tuple[float, requests.Response]:
    began = time.perf_counter()
    answer = browser.get(url, headers=headers, timeout=120, allow_redirects=False)
    took = 1000 * (time.perf_counter() - began)
    if answer.status_code != 200:
        raise ClusterError(f"{url} answers {answer.status_code}: {answer.text[:500]}")
    return took, answer


# Commands


def _commands() -> list[list[str]]:
    return [
        ["--run", LONG, "--limit", "100"],
        ["--agent", "agent-3", "--verb", "delete"],
        ["--object", "deployments.apps/deployment-77"],
        ["--verdict", "Deny", "--risk", "low"],
        ["--namespace", "team-1", "--code", "500", "--since", "7d"],
    ]


def _command(words: list[str], address: str) -> Timing:
    """The whole program, from its start to its end."""
    took = []
    for _ in range(4):
        began = time.perf_counter()
        subprocess.run(
            [COMMAND, "audit", "search", "--store", address, *words],
            check=True,
            capture_output=True,
            timeout=120,
        )
        took.append(1000 * (time.perf_counter() - began))
    warm = sorted(took[1:])
    return Timing(
        f"audit search {' '.join(words)}", took[0], median(warm), warm[-1], warm[-1], 0, 0, 1, took[0]
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
