"""Saying how far a long step is: a line every few seconds, or one bar redrawn in place on a terminal."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from hack.cluster.errors import ClusterError, tail
from hack.cluster.model import Log

EVERY_SECONDS = 5.0


@dataclass
class Progress:
    """Call `show` as often as you like; it speaks every EVERY_SECONDS (terminal: ten times a second)."""

    title: str
    log: Log
    on_terminal: bool = field(default_factory=sys.stderr.isatty)
    _spoke: float = field(default_factory=time.monotonic)
    _began: float = field(default_factory=time.monotonic)

    def show(self, share: float, note: str = "") -> None:
        """share: 0.0 to 1.0 of the work done."""
        now = time.monotonic()
        if now - self._spoke < (0.1 if self.on_terminal else EVERY_SECONDS):
            return
        self._spoke = now
        text = f"{self.title}: {share:4.0%}, {now - self._began:.0f} s {note}".rstrip()
        if self.on_terminal:
            sys.stderr.write("\r\x1b[K" + bar(share) + " " + text[: shutil.get_terminal_size().columns - 25])
            sys.stderr.flush()
        else:
            self.log(text)

    def done(self) -> None:
        if self.on_terminal:
            sys.stderr.write("\r\x1b[K")
        self.log(f"{self.title}: done in {time.monotonic() - self._began:.0f} s")


def bar(share: float, width: int = 20) -> str:
    """[#####     ] with as many marks as the share of the width."""
    marks = round(min(max(share, 0.0), 1.0) * width)
    return "[" + "#" * marks + " " * (width - marks) + "]"


@dataclass(frozen=True)
class Step:
    """A command of a long job, and about how many seconds it takes."""

    name: str
    argv: list[str]
    seconds: float
    folder: Path
    env: Mapping[str, str]


def run_steps(title: str, steps: list[Step], log: Log, log_file: Path) -> None:
    """Run them in order, output to log_file. Raises ClusterError with the last lines when one fails."""
    progress, past = Progress(title, log), 0.0
    total = sum(step.seconds for step in steps)
    for number, step in enumerate(steps, 1):
        note = f"({step.name}, step {number} of {len(steps)})"
        weight = step.seconds / total
        _run_step(step, log_file, partial(_show_part, progress, past, weight, note))
        past += weight
    progress.done()


def _show_part(progress: Progress, past: float, weight: float, note: str, share: float) -> None:
    progress.show(past + weight * share, note)


def _run_step(step: Step, log_file: Path, show: Callable[[float], None]) -> None:
    began = time.monotonic()
    with log_file.open("a") as output:
        environ = {**os.environ, **step.env}
        process = subprocess.Popen(step.argv, cwd=step.folder, env=environ, stdout=output, stderr=output)
        try:
            while process.poll() is None:
                show(min((time.monotonic() - began) / step.seconds, 0.97))
                time.sleep(0.1)
        finally:
            process.kill()
            process.wait()
    if process.returncode:
        raise ClusterError(
            f"{step.name} failed ({process.returncode}): its log {log_file} says why", tail(log_file)
        )
