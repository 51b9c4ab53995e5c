"""The ids under which our audit log and the API server's own know the same request."""

from __future__ import annotations

import os
import time
from collections.abc import Callable


class AuditIds:
    """UUIDs (version 7): they begin with their time, so that a store's index of them grows at its end and not all over;
    the rest is random. The system is asked for randomness once for many. Not for secrets. wall: Unix seconds."""

    __slots__ = ("_left", "_wall")

    def __init__(self, wall: Callable[[], float] = time.time) -> None:
        self._left: list[str] = []
        self._wall = wall

    def new(self) -> str:
        if not self._left:
            digits = os.urandom(256 * 9).hex()
            self._left = [digits[start : start + 18] for start in range(0, len(digits), 18)]
        raw = self._left.pop()
        moment = f"{int(self._wall() * 1000):012x}"
        return f"{moment[:8]}-{moment[8:]}-7{raw[:3]}-a{raw[3:6]}-{raw[6:]}"
