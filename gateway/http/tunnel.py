"""An upgraded connection: bytes both ways, in order, with back-pressure and no idle limit.

Where TCP can be half closed (not under TLS) one direction may end before the other.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from gateway.http.answers import end_to_end, status_line
from gateway.http.connection import ClientConnection
from gateway.http.relay import Relay
from gateway.http.upstream import UpstreamConnection

log = logging.getLogger(__name__)


class Tap(Protocol):
    def from_client(self, piece: bytes) -> bytes: ...
    def from_upstream(self, piece: bytes) -> bytes: ...
    def ended(self, reason: str) -> Mapping[str, Any]: ...


class Tunnel:
    """`ended(reason)` is called exactly once, when either end is gone or `close` was called."""

    __slots__ = (
        "_client",
        "_client_done",
        "_ended",
        "_relay",
        "_tap",
        "_upstream",
        "_upstream_done",
        "bytes_received",
    )

    def __init__(
        self,
        client: ClientConnection,
        upstream: UpstreamConnection,
        relay: Relay,
        ended: Callable[[str], None],
        tap: Tap | None = None,
    ) -> None:
        self._client: ClientConnection | None = client
        self._upstream: UpstreamConnection | None = upstream
        self._relay = relay
        self._ended = ended
        self._tap = tap
        self._client_done = False
        self._upstream_done = False
        self.bytes_received = 0

    def open(self, early: bytes) -> None:
        """Answer 101 to the client and let the bytes flow; early: what upstream sent behind its 101."""
        client, upstream = self._client, self._upstream
        if client is None or upstream is None:
            return
        client.write(switching_head(upstream))
        waiting = client.upgrade(self)
        upstream.stream = self
        if early:
            self.upstream_data(early)
        if waiting:
            self.client_data(waiting)

    @property
    def bytes_sent(self) -> int:
        """To the client; bytes_received is the other direction."""
        return self._relay.bytes_sent

    # -- bytes

    def client_data(self, data: bytes) -> None:
        if self._upstream is None or self._upstream.transport is None:
            return
        try:
            passed = self._tap.from_client(data) if self._tap is not None else data
        except Exception:
            log.exception("the tap of a stream failed")
            self.close("the stream could not be recorded")
            return
        self.bytes_received += len(data)
        if passed:
            self._upstream.transport.write(passed)

    def upstream_data(self, data: bytes) -> None:
        if self._client is None:
            return
        try:
            passed = self._tap.from_upstream(data) if self._tap is not None else data
        except Exception:
            log.exception("the tap of a stream failed")
            self.close("the stream could not be recorded")
            return
        if passed:
            self._relay.stream(passed)

    # -- back-pressure: who cannot write makes the other side stop reading

    def client_writable(self, writable: bool) -> None:
        if self._upstream is not None:
            self._upstream.resume_reading() if writable else self._upstream.pause_reading()

    def upstream_writable(self, writable: bool) -> None:
        transport = self._client.transport if self._client is not None else None
        if transport is not None and not transport.is_closing():
            transport.resume_reading() if writable else transport.pause_reading()

    # -- ends

    def client_eof(self) -> bool:
        """True keeps the connection half open: the other direction may still have something to say."""
        self._client_done = True
        transport = self._upstream.transport if self._upstream is not None else None
        if transport is None or not transport.can_write_eof() or self._upstream_done:
            return False
        transport.write_eof()
        return True

    def upstream_eof(self) -> bool:
        self._upstream_done = True
        transport = self._client.transport if self._client is not None else None
        if transport is None or not transport.can_write_eof() or self._client_done:
            return False
        transport.write_eof()
        return True

    def client_lost(self) -> None:
        self._client = None
        self._finish("the client closed the stream")

    def upstream_lost(self) -> None:
        self._upstream = None
        self._finish("the API server closed the stream")

    def close(self, reason: str) -> None:
        """End both sides; what is already written still arrives."""
        self._finish(reason)

    def abort(self, reason: str) -> None:
        client = self._client
        self._finish(reason)
        if client is not None:
            client.abort()

    def _finish(self, reason: str) -> None:
        ended, self._ended = self._ended, _already_ended
        client, upstream = self._client, self._upstream
        self._client = self._upstream = None
        if client is not None:
            client.close()
        if upstream is not None:
            upstream.close()
        ended(reason)


def switching_head(upstream: UpstreamConnection) -> bytes:
    """The 101 for the client, from upstream's: end-to-end headers, and Connection and Upgrade anew."""
    parts = [status_line(101), b"Connection: Upgrade\r\n"]
    parts.extend(b"Upgrade: %s\r\n" % value for name, value in upstream.headers if name.lower() == b"upgrade")
    parts.extend(b"%s: %s\r\n" % header for header in end_to_end(upstream.headers))
    parts.append(b"\r\n")
    return b"".join(parts)


def _already_ended(_reason: str) -> None:
    """A stream ends once."""
