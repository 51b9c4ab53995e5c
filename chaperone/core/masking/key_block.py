"""Private keys line by line: which lines of a stream are inside one, also when its begin or its end was cut away."""

from __future__ import annotations

import re
from dataclasses import dataclass

MOST_LINES = 400
"""Lines of one key; the largest in use have about 250."""
PATIENCE = 8
"""Lines of somebody else that may stand between two lines of a key."""

_BEGIN = re.compile(rb"-----? ?BEGIN[ A-Z0-9_-]{0,60}PRIVATE KEY(?: BLOCK)? ?-----?")
_END = re.compile(rb"-----? ?END ")
_PREFIX = re.compile(
    rb"(?:\[[^\]]{1,200}\] )?(?:\d{4}-\d\d-\d\dT[0-9:.,+Z-]{8,30} )?(?:(?:stdout|stderr) [FP] )?[\s>|#*\"'+-]*"
)
"""What a log puts before a line: the pod, the time; what quotes a line."""
_BODY = re.compile(rb"[A-Za-z0-9+/]+={0,2}(?:\\[nr])*[\"',+;\\\s]*")
_HEADER = re.compile(
    rb"(?:Proc-Type|DEK-Info|Version|Comment|Hash|Charset|Subject|x-[\w-]+): .*", re.IGNORECASE
)
_LONG_BODY = re.compile(rb"[A-Za-z0-9+/]{40,}={0,2}\s*")
_ORPHAN = re.compile(rb"[A-Za-z0-9+/]{64}|[A-Za-z0-9+/]{70}|[A-Za-z0-9+/]{76}")


@dataclass(slots=True)
class KeyBlock:
    """The state between two lines. at_start: no line was seen yet, so the first ones may be the end of a key."""

    is_inside: bool = False
    at_start: bool = True
    _lines: int = 0
    _strangers: int = 0

    def secret(self, line: bytes) -> tuple[int, int] | None:
        """The part [start, end) of the next line that belongs to a key; None: nothing does."""
        if not line.strip():
            return None
        at_start, self.at_start = self.at_start, False
        start = _prefix_end(line)
        if self.is_inside:
            return self._inside(line, start)
        if begin := _BEGIN.search(line):
            return self._begin(line, begin.end())
        if at_start and _is_orphan(line[start:].rstrip()):
            self._enter()
            return start, len(line)
        return None

    def may_continue(self, line: bytes) -> bool:
        """Whether a line that has not ended may be inside a key."""
        return self.is_inside and _BODY.fullmatch(line, _prefix_end(line)) is not None

    def _enter(self) -> None:
        self.is_inside = True
        self._lines = self._strangers = 0

    def _begin(self, line: bytes, begin: int) -> tuple[int, int]:
        end = _END.search(line, begin)
        if end is None:
            self._enter()
        return begin, end.start() if end else len(line)

    def _inside(self, line: bytes, start: int) -> tuple[int, int] | None:
        self._lines += 1
        if end := _END.search(line):
            self.is_inside = False
            return min(start, end.start()), end.start()
        if self._is_body(line, start):
            self._strangers = 0
            return start, len(line)
        self._strangers += 1
        self.is_inside = self._strangers <= PATIENCE and self._lines <= MOST_LINES
        return None

    def _is_body(self, line: bytes, start: int) -> bool:
        if self._lines > MOST_LINES:
            return False
        if self._strangers:
            return _LONG_BODY.fullmatch(line, start) is not None
        return _BODY.fullmatch(line, start) is not None or _HEADER.fullmatch(line, start) is not None


def _prefix_end(line: bytes) -> int:
    match = _PREFIX.match(line)
    return match.end() if match else 0


def _is_orphan(text: bytes) -> bool:
    """Full lines of base64, not of hexadecimal digits."""
    return _ORPHAN.fullmatch(text) is not None and text.lower() != text and text.upper() != text


def begins_key(block: bytes) -> bool:
    """Whether lines may begin a key: a fast look at many of them."""
    return b"BEGIN" in block and _BEGIN.search(block) is not None
