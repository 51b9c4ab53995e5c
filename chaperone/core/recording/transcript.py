"""Recordings of what has no terminal: one JSON object a line. A header; what was said by which stream, and when; the end.

Text where it is UTF-8, base64 where it is not. Of a port-forward only the bytes of each port are kept.
"""

from __future__ import annotations

import binascii
from typing import Any

from chaperone.core.recording.asciicast import line
from chaperone.core.recording.gathering import Said
from chaperone.core.recording.recorder import Recorder
from chaperone.core.recording.scene import Outcome

FORMAT = "chaperone-transcript"
VERSION = 1


class Transcript(Recorder):
    """One command, or one port-forward."""

    def _header(self) -> bytes:
        head: dict[str, Any] = {"format": FORMAT, "version": VERSION, "timestamp": self.scene.started_at}
        if self.scene.command:
            head["command"] = list(self.scene.command)
        return line({**head, "chaperone": self.scene.described()})

    def _said(self, said: Said) -> bytes:
        entry: dict[str, Any] = {"at": said.at, "stream": said.source}
        try:
            entry["text"] = said.data.decode()
        except UnicodeDecodeError:
            entry["base64"] = binascii.b2a_base64(said.data, newline=False).decode("ascii")
        return line(entry)

    def _resize(self, at: float, columns: int, rows: int) -> bytes:
        return line({"at": at, "resize": [columns, rows]})

    def _mark(self, at: float, text: str) -> bytes:
        return line({"at": at, "mark": text})

    def _pulse(self, at: float) -> bytes:
        return line({"at": at})

    def _ending(self, at: float, outcome: Outcome) -> bytes:
        entry: dict[str, Any] = {"at": at, "end": True, "truncated": self.truncated}
        if outcome.exit_code is not None:
            entry["exitCode"] = outcome.exit_code
        if outcome.reason:
            entry["reason"] = outcome.reason
        if outcome.sent:
            entry["bytes"] = dict(outcome.sent)
        if outcome.ports:
            entry["ports"] = {str(port): count for port, count in outcome.ports.items()}
        return line(entry)
