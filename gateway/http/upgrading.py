"""The handshake of an upgrade: 101 upstream makes a tunnel; anything else is an ordinary error, and both ends close."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gateway.http.framing import Header
from gateway.http.upstream import UpstreamConnection, UpstreamError

MOST_REFUSAL_BYTES = 64 * 1024
"""kubectl reads as much of a refused handshake's body."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Upstream's answer to a handshake that it did not accept. body may be cut off at 64 KiB."""

    code: int
    headers: list[Header]
    body: bytes


class Handshake:
    """Receiver of the answer to an upgrade request. One of the three callbacks is called, once."""

    __slots__ = ("_accepted", "_body", "_failed", "_protocol", "_refused", "_size", "_upstream")

    def __init__(
        self,
        protocol: str,
        *,
        accepted: Callable[[UpstreamConnection, bytes], None],
        refused: Callable[[Refusal], None],
        failed: Callable[[UpstreamError], None],
    ) -> None:
        self._protocol = protocol
        self._accepted = accepted
        self._refused = refused
        self._failed = failed
        self._body: list[bytes] = []
        self._size = 0
        self._upstream: UpstreamConnection | None = None

    def source(self, upstream: UpstreamConnection) -> None:
        self._upstream = upstream

    def upgraded(self, upstream: UpstreamConnection, early: bytes) -> None:
        self._upstream = None
        named = [value.lower() for name, value in upstream.headers if name.lower() == b"upgrade"]
        if named != [self._protocol.encode("ascii")]:
            upstream.abort()
            self._failed(UpstreamError("the API server switched to another protocol than asked"))
            return
        self._accepted(upstream, early)

    def received(self, upstream: UpstreamConnection, pieces: list[bytes], complete: bool) -> None:
        for piece in pieces:
            self._body.append(piece[: MOST_REFUSAL_BYTES - self._size])
            self._size = min(MOST_REFUSAL_BYTES, self._size + len(piece))
        if not complete and self._size < MOST_REFUSAL_BYTES:
            return
        refusal = Refusal(upstream.code, upstream.headers, b"".join(self._body))
        self.cut()
        upstream.abort()
        self._refused(refusal)

    def lost(self, error: UpstreamError) -> None:
        self._upstream = None
        self._failed(error)

    def client_writable(self, writable: bool) -> None:
        """Nothing flows yet."""

    def client_gone(self, *, carry_through: bool) -> None:
        """A handshake is never carried through: there would be nobody to talk to. carry_through: ignored."""
        self.cut()

    def cut(self) -> None:
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            upstream.abort()
