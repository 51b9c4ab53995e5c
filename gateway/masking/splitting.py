"""Lists cut into their items while they stream, whatever their size: memory holds one piece, or one larger item.

The API server writes lists of any length as one object with `items`, or `rows` in a Table. Where an item ends is learned
from how the first one begins: the same bytes after a closing brace. They may also stand inside of an item, so a cut
counts only when what lies before it parses. Where that does not help (items that begin in different ways), items are
decoded one by one: slower, and always right. What comes behind the items of a list of custom resources (its kind, its
metadata) is kept until the end.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from enum import Enum

import msgspec

PIECE = 64 * 1024
"""Bytes that are waited for before they are cut."""
MOST_ITEM = 8 * 1024 * 1024
"""Bytes of one item; etcd takes 1.5 MiB by default. Also of all that stands around the items."""
TRIES = 4
"""Cuts that are tried from the end of a piece."""
LONGEST_BEGINNING = 256
"""Bytes from the name of the items to their opening bracket."""
MOST_BEGINNINGS = 64
"""Places tried as the beginning of the items."""

_BEGINNING = re.compile(rb'"(items|rows)"\s*:\s*\[')
_FIRST = re.compile(rb'(\s*)(\{\s*"(?:[^"\\]|\\.)*"\s*:)')


class SplittingError(ValueError):
    """This is no list that can be cut; nothing more of it may be shown. Never quotes it."""


class State(Enum):
    OUTSIDE = "before the items"
    ITEMS = "among the items"
    BEHIND = "behind the items"


@dataclass(frozen=True, slots=True)
class Batch:
    """Whole items in a row. raw: as they came, with what stands between them. separator: what stands there."""

    raw: bytes
    items: tuple[bytes, ...]
    separator: bytes


class Splitter:
    """Feed pieces, take batches; `prologue` is known with the first batch, `epilogue` after `end`."""

    def __init__(self) -> None:
        self._state = State.OUTSIDE
        self._buffer = bytearray()
        self._searched = 0
        self._beginnings = 0
        self._cut = b""
        self._separator = b","
        self._try_exactly = 4 * PIECE
        self._taken = False
        self.prologue = b""
        """From the list's opening brace to the opening bracket of its items."""
        self.epilogue = b""
        """From the closing bracket of the items to the end."""

    @property
    def is_list(self) -> bool:
        """False until the beginning of the items was found."""
        return self._state is not State.OUTSIDE

    def feed(self, piece: bytes) -> list[Batch]:
        """Raises SplittingError."""
        self._buffer += piece
        if len(self._buffer) > MOST_ITEM:
            raise SplittingError("an item of the list, or what stands around its items, is too large")
        if len(self._buffer) < PIECE or (self._state is State.OUTSIDE and not self._begin()):
            return []
        batches = []
        while self._state is State.ITEMS and (batch := self._take()) is not None:
            batches.append(batch)
        return batches

    def end(self) -> list[Batch]:
        """The last items. Raises SplittingError, also where the body is not complete. Where `is_list` is False the
        body is in `whole`."""
        if self._state is State.OUTSIDE and not self._begin():
            return []
        batches = []
        if self._state is State.ITEMS:
            batch = self._take_last()
            if batch is None:
                batches = self._take_exactly()
            elif batch.items:
                batches = [batch]
            elif self._taken:
                raise SplittingError("the list ends with a comma")
        if self._state is not State.BEHIND or not _parses(self.prologue + self._buffer):
            raise SplittingError("the list is not complete, or more than a list")
        self.epilogue = bytes(self._buffer)
        return batches

    @property
    def whole(self) -> bytes:
        """All that was fed, as long as no batch was taken."""
        return self.prologue + self._buffer

    # -- before the items

    def _begin(self) -> bool:
        """Whether the beginning of the items is here. Only at the top of an object does closing both make JSON."""
        buffer = bytes(self._buffer)
        for match in _BEGINNING.finditer(buffer, self._searched):
            self._beginnings += 1
            if self._beginnings > MOST_BEGINNINGS:
                raise SplittingError("the list cannot be told from what stands around it")
            self._searched = match.end()
            prologue = buffer[: match.end()]
            if _parses(prologue + b"]}"):
                self.prologue = prologue
                del self._buffer[: match.end()]
                self._state = State.ITEMS
                return True
        self._searched = max(self._searched, len(buffer) - LONGEST_BEGINNING)
        return False

    # -- among the items

    def _take(self) -> Batch | None:
        """As many whole items as there are."""
        if not self._taken:
            self._learn()
        limit = len(self._buffer)
        for _ in range(TRIES if self._cut else 0):
            at = self._buffer.rfind(self._cut, 0, limit)
            if at < 0:
                break
            if (batch := self._parsed(at + 1)) is not None:
                del self._buffer[: at + 1 + len(self._separator)]
                self._try_exactly = 4 * PIECE
                self._taken = True
                return batch
            limit = at + len(self._cut) - 1
        if len(self._buffer) < self._try_exactly:
            return None
        batches = self._take_exactly()
        self._try_exactly = max(4 * PIECE, 2 * len(self._buffer))
        return batches[0] if batches else None

    def _learn(self) -> None:
        """How the first item begins, and so what stands between two."""
        first = _FIRST.match(self._buffer)
        if first is not None:
            self._separator = b"," + first[1]
            self._cut = b"}" + self._separator + first[2]

    def _take_last(self) -> Batch | None:
        """All items that are left: they end at the bracket with which the rest makes JSON again."""
        limit = len(self._buffer)
        for _ in range(TRIES):
            at = self._buffer.rfind(b"]", 0, limit)
            if at < 0:
                return None
            if _parses(self.prologue + self._buffer[at:]) and (batch := self._parsed(at)) is not None:
                del self._buffer[:at]
                self._state = State.BEHIND
                return batch
            limit = at
        return None

    def _parsed(self, end: int) -> Batch | None:
        raw = bytes(self._buffer[:end])
        try:
            items = _items.decode(b"[" + raw + b"]")
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        return Batch(raw, tuple(bytes(item) for item in items), self._separator)

    def _take_exactly(self) -> list[Batch]:
        """Items decoded one by one, from the first on, as far as they are whole; at most one batch."""
        text = self._buffer.decode("utf-8", "surrogateescape")
        found: list[bytes] = []
        position = taken = _past_space(text, 0)
        while text[position : position + 1] not in ("", "]"):
            try:
                _, end = _decoder.raw_decode(text, position)
            except (ValueError, RecursionError):
                break
            after = _past_space(text, end)
            if text[after : after + 1] not in (",", "]"):
                break
            found.append(_encoded(text[position:end]))
            self._taken = True
            position = taken = after if text[after] == "]" else _past_space(text, after + 1)
        if text[position : position + 1] == "]":
            if self._taken and text[:position].rstrip().endswith(","):
                raise SplittingError("the list ends with a comma")
            self._state = State.BEHIND
        del self._buffer[: len(_encoded(text[:taken]))]
        return [Batch(self._separator.join(found), tuple(found), self._separator)] if found else []


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _past_space(text: str, position: int) -> int:
    while text[position : position + 1] in (" ", "\t", "\r", "\n"):
        position += 1
    return position


def _parses(raw: bytes | bytearray) -> bool:
    """Whether it is one JSON object."""
    try:
        _object.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


_items = msgspec.json.Decoder(list[msgspec.Raw])
_object = msgspec.json.Decoder(dict[str, msgspec.Raw])
_decoder = json.JSONDecoder()
