"""What a terminal's resize channel says: JSON objects with Width and Height, one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from chaperone.core.streams.events import StreamError

MOST_BYTES = 1024
LARGEST = 65535


class ResizeReader:
    """Reads them in arbitrary pieces."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[tuple[int, int]]:
        """(columns, rows). Raises StreamError for anything else."""
        *whole, self._rest = (self._rest + data).split(b"}")
        if len(self._rest) > MOST_BYTES or any(len(text) > MOST_BYTES for text in whole):
            raise StreamError("a resize message is too long")
        for text in whole:
            yield _size(text + b"}")


def _size(text: bytes) -> tuple[int, int]:
    try:
        said: Any = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise StreamError("a resize message is not JSON") from error
    columns, rows = said.get("Width"), said.get("Height")
    if not all(type(value) is int and 0 <= value <= LARGEST for value in (columns, rows)):
        raise StreamError("a resize message does not say a width and a height")
    return columns, rows
