"""Bodies of one JSON value, of none, and of one a line: what comes in pieces goes out masked, or not at all."""

from __future__ import annotations

from typing import Protocol

from gateway.http.upstream import UpstreamError
from gateway.masking.sight import Sight

MOST_OBJECT = 16 * 1024 * 1024
"""Bytes of an answer that is masked as a whole."""
MOST_EVENT = 8 * 1024 * 1024
"""Bytes of one event of a watch."""


class Body(Protocol):
    """As gateway.http.body_filter.BodyFilter has it, after the head."""

    @property
    def live(self) -> bool: ...
    @property
    def patience(self) -> float: ...
    def data(self, piece: bytes) -> bytes: ...
    def idle(self) -> bytes: ...
    def cut(self) -> bytes: ...
    def end(self) -> bytes: ...


class StoredBody:
    """One that sends nothing before it has what it needs, and holds nothing that silence could release."""

    live = False
    patience = 0.0

    def idle(self) -> bytes:
        return b""

    def cut(self) -> bytes:
        return b""


class EmptyBody(StoredBody):
    """Where there is nothing to read, nothing may come."""

    def data(self, piece: bytes) -> bytes:
        if piece:
            raise UpstreamError("the API server sent a body that says not what it is, so it is withheld")
        return b""

    def end(self) -> bytes:
        return b""


class ObjectBody(StoredBody):
    """One JSON value, masked as a whole."""

    def __init__(self, sight: Sight) -> None:
        self._sight = sight
        self._pieces: list[bytes] = []
        self._size = 0

    def data(self, piece: bytes) -> bytes:
        self._size += len(piece)
        if self._size > MOST_OBJECT:
            raise UpstreamError("the answer is too large to be checked for secrets, so it is withheld")
        self._pieces.append(piece)
        return b""

    def end(self) -> bytes:
        raw = b"".join(self._pieces)
        return self._sight.raw(raw) if raw.strip() else b""


class WatchBody:
    """One event a line, each sent as soon as it is whole."""

    live = True
    patience = 0.0

    def __init__(self, sight: Sight) -> None:
        self._sight = sight
        self._line: list[bytes] = []
        self._size = 0

    def data(self, piece: bytes) -> bytes:
        first, *others = piece.split(b"\n")
        out = []
        self._line.append(first)
        for other in others:
            out.append(self._event())
            self._line = [other]
        self._size = len(self._line[0]) if others else self._size + len(piece)
        if self._size > MOST_EVENT:
            raise UpstreamError("an event of the watch is too large to be checked for secrets")
        return b"".join(out)

    def _event(self) -> bytes:
        line = b"".join(self._line)
        return (self._sight.raw(line) if line.strip() else line) + b"\n"

    def idle(self) -> bytes:
        return b""

    def cut(self) -> bytes:
        return b""

    def end(self) -> bytes:
        """A watch may end at any time, but not within an event."""
        if b"".join(self._line).strip():
            raise UpstreamError("the watch ended in the middle of an event", kind="reset")
        return b""
