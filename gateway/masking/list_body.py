"""Lists and Tables of any length, masked item by item while they stream.

What stands around the items (resource version, continue token, column definitions) is masked as an object without items.
"""

from __future__ import annotations

from typing import Any

from gateway.masking import json_text
from gateway.masking.bodies import StoredBody
from gateway.masking.sight import Sight
from gateway.masking.splitting import Batch, Splitter, SplittingError

CLOSING = b"]}"


class ListBody(StoredBody):
    """A short one is masked as a whole; so is an answer that turns out to be no list."""

    def __init__(self, sight: Sight) -> None:
        self._sight = sight
        self._splitter = Splitter()
        self._envelope: dict[str, Any] = {}
        self._is_table = False
        self._begun = False

    def data(self, piece: bytes) -> bytes:
        return self._out(self._splitter.feed(piece))

    def end(self) -> bytes:
        splitter = self._splitter
        if not self._begun:
            return self._sight.raw(splitter.whole)
        out = self._out(splitter.end())
        return out + self._behind(splitter.epilogue)

    def _out(self, batches: list[Batch]) -> bytes:
        out = []
        for batch in batches:
            out.append(batch.separator if self._begun else self._before(self._splitter.prologue))
            self._begun = True
            out.append(self._rows(batch) if self._is_table else self._items(batch))
        return b"".join(out)

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

    def _items(self, batch: Batch) -> bytes:
        return batch.separator.join(self._sight.items(batch.items))

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
