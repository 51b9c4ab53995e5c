"""Worker processes that share a port: forked before any event loop exists, started again when they die.

The parent serves nothing. SIGTERM and SIGINT are passed on and end the whole; SIGHUP is passed on (reload).
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from types import FrameType

log = logging.getLogger(__name__)

RunWorker = Callable[[int], int]
"""From a worker's number (from 0) to its exit code; runs in the child."""

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0
HEALTHY_AFTER = 60.0
"""A worker that has lived so long starts its backoff anew."""
PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Supervisor:
    """`run` returns the exit code of the whole program."""

    def __init__(
        self,
        run_worker: RunWorker,
        count: int,
        *,
        gone: Callable[[int], None] = lambda _pid: None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """gone: told the process id of each worker that has ended (metrics files)."""
        self._run_worker = run_worker
        self._count = count
        self._gone = gone
        self._sleep = sleep
        self._clock = clock
        self._workers: dict[int, int] = {}
        self._started: dict[int, float] = {}
        self._pauses: dict[int, float] = {}
        self._stopping = False

    def run(self) -> int:
        for signum in PASSED_ON:
            signal.signal(signum, self._pass_on)
        for number in range(self._count):
            self._start(number)
        while self._workers:
            self._wait_for_one()
        return 0

    def _start(self, number: int) -> None:
        process = os.fork()
        if process == 0:
            self._become_worker(number)
        self._workers[process] = number
        self._started[number] = self._clock()
        if self._stopping:
            os.kill(process, signal.SIGTERM)

    def _become_worker(self, number: int) -> None:
        """Never returns: whatever happens in the child must not run the parent's code."""
        code = 1
        try:
            for signum in PASSED_ON:
                signal.signal(signum, signal.SIG_DFL)
            code = self._run_worker(number)
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        except BaseException:
            log.exception("a worker failed", extra={"worker": number})
        finally:
            logging.shutdown()
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _wait_for_one(self) -> None:
        process, status = os.wait()
        number = self._workers.pop(process, None)
        if number is None:
            return
        self._gone(process)
        if self._stopping:
            return
        code = os.waitstatus_to_exitcode(status)
        pause = self._next_pause(number)
        log.error("a worker ended; starting it again", extra={"worker": number, "code": code, "pause": pause})
        self._sleep(pause)
        if not self._stopping:
            self._start(number)

    def _next_pause(self, number: int) -> float:
        lived = self._clock() - self._started[number]
        before = 0.0 if lived >= HEALTHY_AFTER else self._pauses.get(number, 0.0)
        self._pauses[number] = pause = min(LONGEST_PAUSE, before * 2 or FIRST_PAUSE)
        return pause

    def _pass_on(self, signum: int, _frame: FrameType | None) -> None:
        if signum != signal.SIGHUP:
            self._stopping = True
        for process in tuple(self._workers):
            try:
                os.kill(process, signum)
            except ProcessLookupError:
                log.debug("a worker had already ended", extra={"pid": process})
