"""An upgraded connection: bytes both ways, in order, with back-pressure and no idle limit.

Where TCP can be half closed (not under TLS) one direction may end before the other. A tap may change what passes, hold
some of it back for a moment, and has the last word to the client.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

from chaperone.core.streams.events import StreamError
from gateway.http.answers import end_to_end, status_line
from gateway.http.connection import ClientConnection
from gateway.http.relay import Relay
from gateway.http.upstream import UpstreamConnection

log = logging.getLogger(__name__)

QUIET = 0.05
"""Seconds without a byte from upstream after which a tap lets go what it held back."""
LONGEST_WAIT = 0.25
"""Seconds after which it does so all the same: a line that grows without a pause is watched by somebody."""


class Tap(Protocol):
    """The part of gateway.services.Tap that bytes go through."""

    def from_client(self, piece: bytes) -> bytes: ...
    def from_upstream(self, piece: bytes) -> bytes: ...
    def idle(self) -> bytes: ...
    def rest(self) -> bytes: ...
    def farewell(self, reason: str) -> bytes: ...


class Tunnel:
    """`ended(reason)` is called exactly once, when either end is gone or `close` was called."""

    __slots__ = (
        "_braked",
        "_client",
        "_client_done",
        "_client_full",
        "_ended",
        "_ending",
        "_loop",
        "_quiet",
        "_relay",
        "_stirred_at",
        "_tap",
        "_upstream",
        "_upstream_done",
        "_upstream_full",
        "_waits_until",
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
        self._client_full = self._upstream_full = self._braked = self._ending = False
        self._loop = asyncio.get_running_loop()
        self._quiet: asyncio.TimerHandle | None = None
        self._stirred_at = self._waits_until = 0.0
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
        self.bytes_received += len(data)
        passed = self._tapped(data, from_client=True)
        if passed:
            self._send_on(passed)

    def _send_on(self, data: bytes) -> None:
        if self._upstream is not None and self._upstream.transport is not None:
            self._upstream.transport.write(data)

    def upstream_data(self, data: bytes) -> None:
        if self._client is None:
            return
        passed = self._tapped(data, from_client=False)
        if passed:
            self._relay.stream(passed)

    def _tapped(self, data: bytes, *, from_client: bool) -> bytes:
        """What goes on in place of the data; nothing when the tap could not read it, and then this is the end."""
        tap = self._tap
        if tap is None:
            return data
        self._stir(again=not from_client)
        try:
            return tap.from_client(data) if from_client else tap.from_upstream(data)
        except StreamError as error:
            self.close(f"it is not understood: {error}")
        except Exception:
            log.exception("the tap of a stream failed")
            self.close("it could not be masked or recorded")
        return b""

    # -- silence

    def _stir(self, *, again: bool) -> None:
        """again: silence begins anew."""
        now = self._loop.time()
        if again:
            self._stirred_at = now
        if self._quiet is None:
            self._waits_until = now + LONGEST_WAIT
            self._quiet = self._loop.call_later(QUIET, self._fell_quiet)

    def _fell_quiet(self) -> None:
        self._quiet = None
        left = min(self._stirred_at + QUIET, self._waits_until) - self._loop.time()
        if left > 0:
            self._quiet = self._loop.call_later(left, self._fell_quiet)
        elif self._tap is not None and self._client is not None:
            self._say(self._tap.idle)

    def _say(self, words: Callable[[], bytes]) -> None:
        """Write to the client what a tap has to say, unless its side has been closed. A tap that fails here says nothing,
        and that is the end."""
        try:
            said = words()
        except Exception:
            log.exception("the tap of a stream failed")
            self._tap = None
            self.close("it could not be masked or recorded")
            return
        if said and not self._upstream_done:
            self._relay.stream(said)

    # -- what a tap may ask for (gateway.services.TappedStream)

    def brake(self, on: bool) -> None:
        """Read nothing more from either side, until it is let go."""
        self._braked = on
        self._steer()

    def later(self, seconds: float, call: Callable[[], None]) -> Callable[[], None]:
        """Returns what calls it off."""
        return self._loop.call_later(seconds, call).cancel

    def end_after_this(self, reason: str) -> None:
        """Close, but not before what is being passed on at this moment."""
        if not self._ending:
            self._ending = True
            self._loop.call_soon(self.close, reason)

    # -- back-pressure: who cannot write makes the other side stop reading

    def client_writable(self, writable: bool) -> None:
        self._client_full = not writable
        self._steer()

    def upstream_writable(self, writable: bool) -> None:
        self._upstream_full = not writable
        self._steer()

    def _steer(self) -> None:
        if self._upstream is not None:
            paused = self._client_full or self._braked
            self._upstream.pause_reading() if paused else self._upstream.resume_reading()
        transport = self._client.transport if self._client is not None else None
        if transport is not None and not transport.is_closing():
            paused = self._upstream_full or self._braked
            transport.pause_reading() if paused else transport.resume_reading()

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
        if self._tap is not None:
            self._say(self._tap.rest)
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
        if self._tap is not None and self._client is not None:
            self._say(self._tap.rest)
        self._finish("the API server closed the stream")

    def close(self, reason: str) -> None:
        """End both sides; what is already written still arrives. Under a tap the client is told the reason."""
        tap, self._tap = self._tap, None
        if tap is not None and self._client is not None:
            self._say(lambda: tap.farewell(reason))
        self._finish(reason)

    def abort(self, reason: str) -> None:
        client = self._client
        self._finish(reason)
        if client is not None:
            client.abort()

    def _finish(self, reason: str) -> None:
        ended, self._ended = self._ended, _already_ended
        if self._quiet is not None:
            self._quiet.cancel()
            self._quiet = None
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
