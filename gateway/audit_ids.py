"""The ids under which our audit log and the API server's own know the same request."""

from __future__ import annotations

import os


class AuditIds:
    """Random UUIDs (version 4); the system is asked for randomness once for many. Not for secrets."""

    __slots__ = ("_left",)

    def __init__(self) -> None:
        self._left: list[str] = []

    def new(self) -> str:
        if not self._left:
            digits = os.urandom(256 * 16).hex()
            self._left = [digits[start : start + 32] for start in range(0, len(digits), 32)]
        raw = self._left.pop()
        return f"{raw[:8]}-{raw[8:12]}-4{raw[13:16]}-a{raw[17:20]}-{raw[20:]}"
