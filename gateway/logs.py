"""The gateway's own log: one JSON object a line on standard error, for operators and log collectors.

Fields come from `extra`; nothing of a request's body, no token and no header ever does. Text from strangers is JSON
escaped, and unseen characters are shown as escapes, so one event stays one line on every terminal.
"""

from __future__ import annotations

import logging
import sys
from typing import TextIO

import orjson

from chaperone.core.legible import json_line
from chaperone.core.timestamp import rfc3339_micro

STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
MOST_TEXT = 2000


class JsonLines(logging.Formatter):
    """time, level, logger, message, then the fields of `extra`; errors with their traceback."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": rfc3339_micro(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage()[:MOST_TEXT],
        }
        line.update({key: _bounded(value) for key, value in vars(record).items() if key not in STANDARD})
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)[-4 * MOST_TEXT :]
        return json_line(orjson.dumps(line, default=str)).decode()


def set_up(level: str, stream: TextIO | None = None) -> None:
    """Everything that is logged in this process goes through JsonLines. level: debug, info, warning or error."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # Both say what every request is about; the audit log is the place for that.
    for noisy in ("aiohttp.access", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def _bounded(value: object) -> object:
    return value[:MOST_TEXT] if isinstance(value, str) else value
