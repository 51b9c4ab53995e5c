"""Recordings of terminals: asciicast v2, so that any of its players shows them.

Source: docs.asciinema.org, asciicast v2. Two event codes beyond it, which players pass over: `b` holds in base64 what
the `o` or `i` before it could only show with replacement characters, and `x` (from v3) is the exit code.
"""

from __future__ import annotations

import binascii
from typing import Any

import orjson

from chaperone.core.recording.gathering import Said
from chaperone.core.recording.recorder import Recorder
from chaperone.core.recording.scene import Outcome

DEFAULT_SIZE = (80, 24)
"""Columns and rows until the client says another size; some never do."""


class Asciicast(Recorder):
    """One terminal."""

    def _header(self) -> bytes:
        columns, rows = DEFAULT_SIZE
        head = {
            "version": 2,
            "width": columns,
            "height": rows,
            "timestamp": int(self.scene.started_at),
            "command": self.scene.command_line,
            "title": f"{self.scene.kind} {self.scene.namespace}/{self.scene.pod}",
            "chaperone": self.scene.described(),
        }
        return line({name: value for name, value in head.items() if value})

    def _said(self, said: Said) -> bytes:
        text = said.data.decode("utf-8", "replace")
        written = line([said.at, "i" if said.source == "stdin" else "o", text])
        if text.encode() == said.data:
            return written
        exact = binascii.b2a_base64(said.data, newline=False).decode("ascii")
        return written + line([said.at, "b", exact])

    def _resize(self, at: float, columns: int, rows: int) -> bytes:
        return line([at, "r", f"{columns}x{rows}"])

    def _mark(self, at: float, text: str) -> bytes:
        return line([at, "m", text])

    def _pulse(self, at: float) -> bytes:
        return line([at, "o", ""])

    def _ending(self, at: float, outcome: Outcome) -> bytes:
        said = self._mark(at, outcome.reason) if outcome.reason else b""
        return said if outcome.exit_code is None else said + line([at, "x", str(outcome.exit_code)])


def line(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE)
