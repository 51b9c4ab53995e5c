"""Starting the product's programs in the background, waiting until they are well, and ending them politely."""

import json
import os
import signal
import ssl
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hack.cluster.errors import ClusterError
from hack.cluster.processes import Process, spawn, start_tick
from hack.stack.layout import ROOT, Layout

START_SECONDS = 60.0
STOP_SECONDS = 15.0
LOG_LINES = 15


@dataclass(frozen=True)
class Program:
    """One program: arguments behind the interpreter, and the URL that answers 200 once it is well."""

    name: str
    arguments: tuple[str, ...]
    health: str
    environment: Mapping[str, str] = field(default_factory=dict)


def start(layout: Layout, program: Program) -> None:
    """Start it unless it runs already; it outlives us. Its process is recorded, so that `stop` ends only what is ours."""
    record = _load(layout)
    if _runs(record.get(program.name)):
        return
    log = layout.log(program.name)
    environment = {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **program.environment}
    argv = [sys.executable, *program.arguments]
    record[program.name] = spawn(argv, log_file=log, mark=str(layout.directory), env=environment)
    _save(layout, record)


def wait_well(layout: Layout, program: Program, *, seconds: float = START_SECONDS) -> None:
    """Wait for its health URL. Raises ClusterError with the end of its log when it dies or stays unwell."""
    deadline = time.monotonic() + seconds
    answer = "no answer yet"
    while time.monotonic() < deadline:
        if not _runs(_load(layout).get(program.name)):
            raise ClusterError(f"{program.name} ended while starting{_tail(layout, program.name)}")
        answer = _ask(program.health, layout.ca_file)
        if answer == "":
            return
        time.sleep(0.1)
    raise ClusterError(
        f"{program.name} was not well after {seconds:.0f} s ({answer}){_tail(layout, program.name)}"
    )


def stop_all(layout: Layout, log: Callable[[str], None]) -> None:
    """SIGTERM in the reverse order of starting, SIGKILL for what is left after STOP_SECONDS."""
    record = _load(layout)
    for name in reversed(list(record)):
        if _runs(record[name]):
            log(f"stopping {name}")
            _end(record[name])
    layout.record.unlink(missing_ok=True)


def restart(layout: Layout, program: Program, *, kill: bool = False) -> None:
    """End it (at once with `kill`) and start it again."""
    process = _load(layout).get(program.name)
    if process and _runs(process):
        _end(process, signal.SIGKILL if kill else signal.SIGTERM)
    start(layout, program)
    wait_well(layout, program)


def stop(layout: Layout, program: Program) -> None:
    """End one program, politely, and forget it."""
    record = _load(layout)
    process = record.pop(program.name, None)
    if process and _runs(process):
        _end(process)
    _save(layout, record)


def running(layout: Layout) -> dict[str, int]:
    """Names and process ids of what runs."""
    return {name: process.pid for name, process in _load(layout).items() if _runs(process)}


def _end(process: Process, first: signal.Signals = signal.SIGTERM) -> None:
    _signal(process, first)
    deadline = time.monotonic() + STOP_SECONDS
    while _runs(process) and time.monotonic() < deadline:
        _reap(process.pid)
        time.sleep(0.05)
    _signal(process, signal.SIGKILL)
    _reap(process.pid)


def _signal(process: Process, number: signal.Signals) -> None:
    """To the whole process group: a program's workers end with it."""
    if number is not signal.SIGKILL and not _runs(process):
        return
    try:
        os.killpg(process.pid, number)
    except (ProcessLookupError, PermissionError):
        return


def _reap(pid: int) -> None:
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return  # started by an earlier command: init reaps it


def _runs(process: Process | None) -> bool:
    return process is not None and start_tick(process.pid) == process.started


def _ask(url: str, ca_file: Path) -> str:
    """Empty when the answer is 200, otherwise what is wrong."""
    context = ssl.create_default_context(cafile=str(ca_file)) if url.startswith("https:") else None
    try:
        with urllib.request.urlopen(url, timeout=2, context=context):
            return ""
    except urllib.error.HTTPError as error:
        return f"{url} answers {error.code}: {error.read(300).decode(errors='replace').strip()}"
    except OSError as error:
        return f"{url}: {error}"


def _tail(layout: Layout, name: str) -> str:
    path = layout.log(name)
    lines = path.read_text(errors="replace").splitlines()[-LOG_LINES:] if path.exists() else []
    return f"; the end of {path}:\n  " + "\n  ".join(lines)


def _load(layout: Layout) -> dict[str, Process]:
    try:
        return {name: Process(**fields) for name, fields in json.loads(layout.record.read_text()).items()}
    except (OSError, ValueError, TypeError):
        return {}


def _save(layout: Layout, record: Mapping[str, Process]) -> None:
    partial = layout.record.with_suffix(".partial")
    fields = {name: {"pid": process.pid, "started": process.started} for name, process in record.items()}
    partial.write_text(json.dumps(fields))
    partial.replace(layout.record)
