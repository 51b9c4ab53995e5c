"""Saying how far a long step is: a line every few seconds, or one bar redrawn in place on a terminal."""

import shutil
import sys
import time
from dataclasses import dataclass, field

from hack.cluster.model import Log

EVERY_SECONDS = 5.0


@dataclass
class Progress:
    """Call `show` as often as you like; it speaks at most every EVERY_SECONDS (terminal: ten times a second)."""

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
