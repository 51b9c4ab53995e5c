"""Reading a recording of either form, also one that was cut at any byte: all that stands whole before the cut plays."""

from __future__ import annotations

import binascii
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

import orjson

from chaperone.core.recording.asciicast import DEFAULT_SIZE
from chaperone.core.recording.transcript import FORMAT

LONGEST_LINE = 1024 * 1024


class UnreadableError(ValueError):
    """These lines are no recording. The message says why."""


class What(Enum):
    OUTPUT = "output"
    INPUT = "input"
    RESIZE = "resize"
    MARK = "mark"
    EXIT = "exit"
    END = "end"


@dataclass(frozen=True, slots=True)
class Moment:
    """One event. at: seconds since the beginning. source: stdout, stderr or stdin. size: columns and rows."""

    at: float
    what: What
    data: bytes = b""
    source: str = ""
    size: tuple[int, int] = (0, 0)
    code: int | None = None


@dataclass(frozen=True, slots=True)
class Opening:
    """The header. about: what kind of stream, whose, and where; see scene.Scene.described."""

    is_terminal: bool
    size: tuple[int, int]
    timestamp: float
    command: str
    about: Mapping[str, Any]


class Reading:
    """`opening` is there at once, `moments` are read as they are asked for; then `cut` says whether the end is missing.

    Raises UnreadableError for what is no recording.
    """

    def __init__(self, lines: Iterable[bytes]) -> None:
        self._lines = iter(lines)
        first = next(self._lines, b"")
        self.opening = _opening(_decoded(first) if first.endswith(b"\n") else None)
        self.cut = False
        self._read = _cast_moment if self.opening.is_terminal else _transcript_moment

    def moments(self) -> Iterator[Moment]:
        """Raises UnreadableError for a whole line that is no event."""
        waiting: Moment | None = None
        for text in self._lines:
            if not text.endswith(b"\n") or len(text) > LONGEST_LINE:
                self.cut = True
                break
            found = self._read(_decoded(text))
            if isinstance(found, bytes):
                waiting = replace(waiting, data=found) if waiting is not None else None
                continue
            if waiting is not None:
                yield waiting
            waiting = found
        if waiting is not None:
            yield waiting


def _decoded(text: bytes) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise UnreadableError("a line is not JSON") from error


def _opening(head: Any) -> Opening:
    if not isinstance(head, dict):
        raise UnreadableError("there is no header")
    about = head.get("chaperone")
    about = about if isinstance(about, dict) else {}
    timestamp = head.get("timestamp")
    timestamp = float(timestamp) if isinstance(timestamp, int | float) else 0.0
    if head.get("version") == 2 and "width" in head:
        size = _size(head.get("width"), head.get("height"))
        return Opening(True, size, timestamp, str(head.get("command", "")), about)
    if head.get("format") == FORMAT and head.get("version") == 1:
        words = head.get("command")
        command = " ".join(map(str, words)) if isinstance(words, list) else ""
        return Opening(False, DEFAULT_SIZE, timestamp, command, about)
    raise UnreadableError("the header is of no form that is known here")


def _size(columns: Any, rows: Any) -> tuple[int, int]:
    if not all(type(value) is int and 0 <= value <= 65535 for value in (columns, rows)):
        raise UnreadableError("a size is not columns and rows")
    return columns, rows


def _cast_moment(event: Any) -> Moment | bytes | None:
    """bytes: what the event before it says, exactly. None: of a kind that is passed over."""
    if not (isinstance(event, list) and len(event) == 3 and isinstance(event[2], str)):
        raise UnreadableError("an event is not a time, a code and a text")
    at, code, text = _time(event[0]), event[1], event[2]
    match code:
        case "o":
            return Moment(at, What.OUTPUT, text.encode(), "stdout")
        case "i":
            return Moment(at, What.INPUT, text.encode(), "stdin")
        case "b":
            return _exact(text)
        case "r":
            columns, _, rows = text.partition("x")
            if not (columns.isdecimal() and rows.isdecimal()):
                raise UnreadableError("a size is not columns and rows")
            return Moment(at, What.RESIZE, size=_size(int(columns), int(rows)))
        case "m":
            return Moment(at, What.MARK, text.encode())
        case "x":
            return Moment(at, What.EXIT, code=_code(text))
    return None


def _transcript_moment(entry: Any) -> Moment | bytes | None:
    if not isinstance(entry, dict):
        raise UnreadableError("an event is not an object")
    at = _time(entry.get("at"))
    if "stream" in entry:
        data = _exact(str(entry["base64"])) if "base64" in entry else str(entry.get("text", "")).encode()
        source = str(entry["stream"])
        return Moment(at, What.INPUT if source == "stdin" else What.OUTPUT, data, source)
    if "resize" in entry:
        size = entry["resize"]
        return Moment(
            at,
            What.RESIZE,
            size=_size(*size) if isinstance(size, list) and len(size) == 2 else _size(0, None),
        )
    if "mark" in entry:
        return Moment(at, What.MARK, str(entry["mark"]).encode())
    if "end" in entry:
        said = str(entry.get("reason", "")).encode()
        return Moment(at, What.END, said, code=_code(entry["exitCode"]) if "exitCode" in entry else None)
    return None


def _time(value: Any) -> float:
    if type(value) not in (int, float) or not 0 <= value < 1e9:
        raise UnreadableError("an event has no time")
    return float(value)


def _code(value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError) as error:
        raise UnreadableError("an exit code is not a number") from error


def _exact(text: str) -> bytes:
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except (binascii.Error, ValueError) as error:
        raise UnreadableError("an event is not base64") from error
