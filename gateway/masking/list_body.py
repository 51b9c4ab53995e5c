"""Lists and Tables of any length, masked item by item while they stream.

What stands around the items (resource version, continue token, column definitions) is masked as an object without items.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from gateway.masking import json_text
from gateway.masking.bodies import StoredBody
from gateway.masking.sight import Sight
from gateway.masking.splitting import PIECE, Batch, Splitter, SplittingError

CLOSING = b"]}"
TOGETHER = 3 * PIECE
"""Bytes of items that are held until they are masked together, once the list has begun: which costs less."""


class ListBody(StoredBody):
    """A short one is masked as a whole; so is an answer that turns out to be no list."""

    def __init__(self, sight: Sight) -> None:
        self._sight = sight
        self._splitter = Splitter()
        self._envelope: dict[str, Any] = {}
        self._is_table = False
        self._begun = False
        self._held: list[Batch] = []

    def data(self, piece: bytes) -> bytes:
        self._held += self._splitter.feed(piece)
        held = sum(len(batch.raw) for batch in self._held)
        return b"" if self._begun and held < TOGETHER else self._out()

    def end(self) -> bytes:
        splitter = self._splitter
        if not self._begun:
            return self._sight.raw(splitter.whole)
        self._held += splitter.end()
        return self._out() + self._behind(splitter.epilogue)

    def _out(self) -> bytes:
        """All that is held."""
        batches, self._held = self._held, []
        if not batches:
            return b""
        before = batches[0].separator if self._begun else self._before(self._splitter.prologue)
        self._begun = True
        shown = map(self._rows, batches) if self._is_table else self._items(batches)
        return before + batches[0].separator.join(shown)

    # -- around the items

    def _before(self, prologue: bytes) -> bytes:
        """The beginning, up to the bracket that opens the items."""
        self._envelope = envelope = _object(prologue + CLOSING)
        self._is_table = next(reversed(envelope)) == "rows"
        if self._is_table and envelope.get("kind") != "Table":
            raise SplittingError("there are rows in what is no Table")
        return json_text.write(envelope).removesuffix(CLOSING) if self._sight.document(envelope) else prologue

    def _behind(self, epilogue: bytes) -> bytes:
        """The end, from the bracket that closes the items on."""
        opening = b'{"rows":[' if self._is_table else b'{"items":['
        behind = _object(opening + epilogue)
        if len(self._envelope.keys() & behind.keys()) != 1:
            raise json_text.UnreadableJsonError("the list has the same key twice")
        if not self._sight.document(behind):
            return epilogue
        return json_text.write(behind).removeprefix(opening) + epilogue[len(epilogue.rstrip()) :]

    # -- items

    def _items(self, batches: list[Batch]) -> Iterator[bytes]:
        shown = iter(self._sight.items(*[batch.items for batch in batches]))
        return (batch.separator.join(islice(shown, len(batch.items))) for batch in batches)

    def _rows(self, batch: Batch) -> bytes:
        """Rows are read by the columns of their Table."""
        rows = [json_text.read(item) for item in batch.items]
        if not self._sight.document({**self._envelope, "rows": rows}):
            return batch.raw
        return batch.separator.join([json_text.write(row) for row in rows])


def _object(raw: bytes) -> dict[str, Any]:
    found = json_text.read(raw)
    if not isinstance(found, dict):
        raise json_text.UnreadableJsonError("a list is a JSON object")
    return found
