"""JSON as the API server writes it: read without losing anything, written back so that what stays looks the same.

What two readers could take differently (a key that comes twice) is refused. Numbers keep their spelling.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn

import msgspec
import orjson

SAFE_DIGITS = 18
"""Integers of so many digits fit into 64 bits."""


class UnreadableJsonError(ValueError):
    """The body cannot be read as one JSON value in one way only. Never quotes it."""


def read(raw: bytes) -> Any:
    """Raises UnreadableJsonError."""
    try:
        document = orjson.loads(raw)
        if written(document) == raw.rstrip():
            return document
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        pass
    return _read_carefully(raw)


def write(document: Any) -> bytes:
    """What `read` has read, and strings changed in it. Raises UnreadableJsonError for what cannot be said in JSON."""
    try:
        return written(document)
    except orjson.JSONEncodeError:
        pass
    try:
        return _escaped(msgspec.json.encode(document))
    except (msgspec.EncodeError, UnicodeEncodeError, OverflowError, TypeError, RecursionError):
        pass
    try:
        return _escaped(
            json.dumps(document, default=_number, separators=(",", ":"), allow_nan=False).encode()
        )
    except (ValueError, TypeError, RecursionError):
        raise UnreadableJsonError("the masked answer cannot be written as JSON") from None


def written(document: Any) -> bytes:
    """As Go's encoding/json writes it. Raises orjson.JSONEncodeError."""
    return _escaped(orjson.dumps(document))


def _escaped(raw: bytes) -> bytes:
    """None of these stands anywhere but in strings."""
    for char, escape in ((b"<", b"\\u003c"), (b">", b"\\u003e"), (b"&", b"\\u0026")):
        if char in raw:
            raw = raw.replace(char, escape)
    return raw


def _read_carefully(raw: bytes) -> Any:
    try:
        return _careful.decode(raw.decode())
    except UnreadableJsonError:
        raise
    except (ValueError, RecursionError):
        raise UnreadableJsonError("the body is not one JSON value") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise UnreadableJsonError("an object in the body has the same key twice")
    return found


def _integer(text: str) -> Any:
    return int(text) if len(text) <= SAFE_DIGITS and text != "-0" else msgspec.Raw(text.encode())


def _fraction(text: str) -> Any:
    number = float(text)
    return number if orjson.dumps(number) == text.encode() else msgspec.Raw(text.encode())


def _constant(_text: str) -> NoReturn:
    raise UnreadableJsonError("the body holds a number that JSON does not have")


def _number(raw: Any) -> Any:
    """Beside a lone surrogate, which only the last of the writers knows, a number may lose its spelling."""
    if isinstance(raw, msgspec.Raw):
        return json.loads(bytes(raw))
    raise TypeError


_careful = json.JSONDecoder(
    object_pairs_hook=_unique, parse_int=_integer, parse_float=_fraction, parse_constant=_constant
)
