"""Starting processes that outlive us, and ending only those that are ours.

A process is ours when its environment names the cluster's folder, and, for a recorded process id, when it
also started at the recorded moment. Children such as containerd's shims inherit that. Linux only (/proc).
"""

import os
import signal
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

MARK = "KUBE_CHAPERONE_CLUSTER"
PROC = Path("/proc")
EXEC_SECONDS = 0.1
PASSED_ON = ("PATH", "LANG", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR")


@dataclass(frozen=True)
class Process:
    """A process id and the clock tick since boot at which it started."""

    pid: int
    started: int


def spawn(argv: list[str], *, log_file: Path, mark: str, env: Mapping[str, str] | None = None) -> Process:
    """Start argv in a session of its own, output appended to log_file. Raises OSError when it cannot run."""
    log_file.parent.mkdir(parents=True, exist_ok=True)
    environ = (
        {key: os.environ[key] for key in PASSED_ON if key in os.environ} | {MARK: mark} | dict(env or {})
    )
    appending = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    pid = os.posix_spawn(
        argv[0],
        argv,
        environ,
        setsid=True,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log_file), appending, 0o644),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
    )
    return Process(pid, start_tick(pid) or 0)


def start_tick(pid: int) -> int | None:
    """When the process started, in clock ticks since boot; None when it is gone or a zombie."""
    try:
        stat = (PROC / str(pid) / "stat").read_text()
    except OSError:
        return None
    after_name = stat.rpartition(")")[2].split()
    return None if after_name[0] in "ZX" else int(after_name[19])


def is_marked(pid: int, mark: str) -> bool:
    """Whether the process was started (or its parent was) for the cluster folder `mark`."""
    try:
        environ = (PROC / str(pid) / "environ").read_bytes()
    except OSError:
        return False
    return f"{MARK}={mark}".encode() in environ.split(b"\0")


def is_alive(process: Process) -> bool:
    """Whether the recorded process runs. Enough to report; before killing ask `is_ours`."""
    return start_tick(process.pid) == process.started


def is_ours(process: Process, mark: str) -> bool:
    """Whether the recorded process still runs, and its id was not given to another one since.

    Asked again for a moment, because a process that is just executing another program shows no environment.
    """
    deadline = time.monotonic() + EXEC_SECONDS
    while is_alive(process):
        if is_marked(process.pid, mark):
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return False


def marked_pids(mark: str) -> list[int]:
    """All living processes of a cluster folder, also those that were never recorded."""
    pids = (int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit())
    return [
        pid for pid in pids if pid != os.getpid() and is_marked(pid, mark) and start_tick(pid) is not None
    ]


def command_line(pid: int) -> str:
    """The command line with blanks between the words; empty when the process is gone."""
    try:
        return (
            (PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        )
    except OSError:
        return ""


def end_all(find: Callable[[], Iterable[int]], *, seconds: float = 10) -> list[int]:
    """SIGKILL what `find` returns until it twice returns nothing; what is left after `seconds` comes back.

    Not asked politely: the data of a stopped cluster is thrown away. Twice, because a process that is just
    executing another program cannot be recognized.
    """
    deadline = time.monotonic() + seconds
    empty = 0
    while empty < 2 and time.monotonic() < deadline:
        left = list(find())
        empty = 0 if left else empty + 1
        for pid in left:
            _kill(pid)
        _reap(left)
        time.sleep(0.02)
    return list(find())


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _reap(pids: Iterable[int]) -> None:
    for pid in pids:
        try:
            os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            continue  # not our child: its parent or init reaps it
