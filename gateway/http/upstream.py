"""One connection to the API server: requests go out as bytes, answers come back parsed, one at a time.

Whoever asked is the receiver; it is told of every piece at once, and exactly once of the end: either the last piece
is `complete`, or `lost` is called.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol, cast

import httptools

from gateway.http.answers import special
from gateway.http.deadlines import NEVER, Deadlines
from gateway.http.framing import Header
from gateway.http.pool_settings import UpstreamSettings
from gateway.http.read_buffer import ReadBuffer

log = logging.getLogger(__name__)

MOST_INTERIM_ANSWERS = 16
BODILESS = frozenset({204, 304})


class UpstreamError(Exception):
    """The API server could not be asked, or did not answer to the end. code: what the client gets for it."""

    def __init__(
        self, message: str, *, code: int = 502, kind: str = "protocol", untouched: bool = False
    ) -> None:
        super().__init__(message)
        self.code = code
        self.kind = kind
        """For the metrics: connect, tls, timeout, reset, protocol or credential."""
        self.untouched = untouched
        """True when the connection had served before and died without one byte of this answer."""


class Receiver(Protocol):
    def received(self, upstream: UpstreamConnection, pieces: list[bytes], complete: bool) -> None:
        """The head is in upstream.code and upstream.headers, from the first call on. pieces: decoded body."""
        ...

    def upgraded(self, upstream: UpstreamConnection, early: bytes) -> None:
        """101 has come; early: what upstream sent behind it."""
        ...

    def lost(self, error: UpstreamError) -> None: ...


class Stream(Protocol):
    """What takes over both connections after an upgrade."""

    def upstream_data(self, data: bytes) -> None: ...
    def upstream_eof(self) -> bool: ...
    def upstream_lost(self) -> None: ...
    def upstream_writable(self, writable: bool) -> None: ...


class Home(Protocol):
    """Where a connection goes back to."""

    @property
    def settings(self) -> UpstreamSettings: ...
    @property
    def buffer(self) -> ReadBuffer: ...
    @property
    def deadlines(self) -> Deadlines: ...
    def give_back(self, connection: UpstreamConnection) -> None: ...
    def linger(self, connection: UpstreamConnection) -> None: ...
    def adopt(self, connection: UpstreamConnection) -> None: ...
    def forget(self, connection: UpstreamConnection) -> None: ...


class UpstreamConnection(asyncio.BufferedProtocol):
    """States: idle (no receiver), asked, answering (head_done), tunnel (stream set), closed (transport None)."""

    __slots__ = (
        "_awaits_upgrade",
        "_complete",
        "_head_bytes",
        "_home",
        "_interim",
        "_interim_count",
        "_no_body",
        "_parser",
        "_paused",
        "_pieces",
        "_receiver",
        "_silence",
        "_surplus",
        "_touched",
        "_until_close",
        "code",
        "deadline",
        "head_done",
        "headers",
        "mid_chunk",
        "reusable",
        "stream",
        "transport",
        "used",
    )

    transport: asyncio.Transport | None

    def __init__(self, home: Home) -> None:
        self._home = home
        self._receiver: Receiver | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._silence = 0.0
        self._paused = False
        self.transport = None
        self.stream: Stream | None = None
        self.deadline = NEVER
        self.used = 0
        self._reset(no_body=False, awaits_upgrade=False)

    def _reset(self, *, no_body: bool, awaits_upgrade: bool) -> None:
        self.code = 0
        self.headers: list[Header] = []
        self.head_done = False
        self.mid_chunk = False
        self.reusable = False
        self._no_body = no_body
        self._awaits_upgrade = awaits_upgrade
        self._pieces: list[bytes] = []
        self._complete = False
        self._surplus = False
        self._touched = False
        self._until_close = False
        self._interim = False
        self._interim_count = 0
        self._head_bytes = 0

    # -- what the gateway does with it

    @property
    def is_open(self) -> bool:
        return self.transport is not None and not self.transport.is_closing()

    def ask(
        self, data: bytes, receiver: Receiver, *, patience: float, no_body: bool, upgrade: bool = False
    ) -> None:
        """Send a whole request. patience: seconds to the head of the answer, and between two pieces of its body; 0
        for no limit."""
        if self.transport is None:
            raise UpstreamError("the connection to the API server is closed", kind="reset", untouched=True)
        self._reset(no_body=no_body, awaits_upgrade=upgrade)
        self._receiver = receiver
        self._silence = patience
        self.deadline = self._home.deadlines.now() + patience if patience else NEVER
        self.used += 1
        self.transport.write(data)

    def abort(self) -> None:
        """Drop the connection and whatever answer it still owes; the receiver is not told."""
        self._receiver = None
        self.stream = None
        if self.transport is not None:
            self.transport.abort()

    def close(self) -> None:
        """Write what is still buffered, then close; abort when that takes too long."""
        self._receiver = None
        self.stream = None
        if self.transport is not None:
            self._home.linger(self)
            self.transport.close()

    def pause_reading(self) -> None:
        if self.is_open and self.transport is not None:
            self.deadline = NEVER
            self._paused = True
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        if self._paused and self.is_open and self.transport is not None:
            if self._receiver is not None and self._silence:
                self.deadline = self._home.deadlines.now() + self._silence
            self._paused = False
            self.transport.resume_reading()

    # -- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport = cast("asyncio.Transport", transport)
        transport.set_write_buffer_limits(high=self._home.settings.write_buffer)
        self._home.adopt(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._home.buffer.view

    def buffer_updated(self, nbytes: int) -> None:
        self.data_received(self._home.buffer.taken(nbytes))

    def data_received(self, data: bytes) -> None:
        if self.stream is not None:
            self.stream.upstream_data(data)
            return
        if self._receiver is None:
            log.warning("the API server sent bytes that nobody asked for; connection dropped")
            self.abort()
            return
        self._touched = True
        if not self.head_done and not self._bounded(len(data)):
            return
        self._feed(data)

    def _bounded(self, count: int) -> bool:
        self._head_bytes += count
        if self._head_bytes <= self._home.settings.head_bytes + count:
            return True
        self._fail(UpstreamError("the head of the API server's answer is too large"))
        return False

    def _feed(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._upgrade(data[upgrade.args[0] :])
            return
        except httptools.HttpParserError as error:
            if not self._complete:
                self._fail(UpstreamError(f"the API server's answer is malformed: {type(error).__name__}"))
                return
            self._surplus = True
        if self.head_done:
            self._deliver()
        elif self._complete:
            self._fail(UpstreamError("the API server switched protocols without saying to which"))

    def _deliver(self) -> None:
        receiver, pieces, complete = self._receiver, self._pieces, self._complete
        if receiver is None:
            return
        self.deadline = NEVER
        if pieces:
            self._pieces = []
        if complete:
            self._receiver = None
        elif self._silence:
            self.deadline = self._home.deadlines.now() + self._silence
        try:
            receiver.received(self, pieces, complete)
        except Exception:
            log.exception("an answer could not be passed on")
            self._receiver = receiver
            self._fail(UpstreamError("the gateway failed to pass the answer on", code=500))
            return
        if complete:
            self._release()

    def _release(self) -> None:
        if self._no_body:
            self._parser = httptools.HttpResponseParser(self)
        if self.reusable and not self._surplus and self.is_open:
            self._home.give_back(self)
        else:
            self.abort()

    def _upgrade(self, early: bytes) -> None:
        receiver = self._receiver
        if receiver is None or not self._awaits_upgrade:
            self._fail(UpstreamError("the API server switched protocols without being asked"))
            return
        self._receiver = None
        self.deadline = NEVER
        receiver.upgraded(self, early)

    def _fail(self, error: UpstreamError) -> None:
        receiver = self._receiver
        self.abort()
        if receiver is not None:
            receiver.lost(error)

    def eof_received(self) -> bool:
        if self.stream is not None:
            return self.stream.upstream_eof()
        if self._receiver is not None and self._until_close and self.head_done:
            self._complete = True
            self._deliver()
        return False

    def connection_lost(self, _error: Exception | None) -> None:
        self.transport = None
        self._home.forget(self)
        if self.stream is not None:
            self.stream.upstream_lost()
        elif self._receiver is not None:
            untouched = self.used > 1 and not self._touched
            self._fail(
                UpstreamError("the API server closed the connection", kind="reset", untouched=untouched)
            )

    def pause_writing(self) -> None:
        if self.stream is not None:
            self.stream.upstream_writable(False)

    def resume_writing(self) -> None:
        if self.stream is not None:
            self.stream.upstream_writable(True)

    def expired(self) -> None:
        """Called by the deadlines' tick: an idle connection is closed, a late answer given up."""
        self._fail(UpstreamError("the API server did not answer in time", code=504, kind="timeout"))

    # -- httptools

    def on_message_begin(self) -> None:
        if self._complete:
            self._surplus = True

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.head_done and not self._surplus:
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        if self.head_done:
            return
        self.code = self._parser.get_status_code()
        if 100 <= self.code < 200:
            self._interim = self.code != 101
            return
        self.head_done = True
        self.reusable = self._parser.should_keep_alive()
        if self._no_body or self.code in BODILESS:
            self._complete = self._complete or self._no_body
            return
        names = {special(name) for name, _ in self.headers}
        self._until_close = b"content-length" not in names and b"transfer-encoding" not in names

    def on_body(self, piece: bytes) -> None:
        if self._complete:
            self._surplus = True
        else:
            self._pieces.append(piece)

    def on_chunk_header(self) -> None:
        self.mid_chunk = True

    def on_chunk_complete(self) -> None:
        self.mid_chunk = False

    def on_message_complete(self) -> None:
        if not self._interim:
            self._complete = True
            return
        self._interim = False
        self.headers = []
        self._interim_count += 1
        if self._interim_count > MOST_INTERIM_ANSWERS:
            raise ValueError("too many interim answers")
