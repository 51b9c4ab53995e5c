"""One client connection: from bytes to requests, one at a time, and the way back.

It reads a head, hands it to the handler, reads the body when the handler asks for it, and waits for `finish` before
it looks at the next request. It keeps reading meanwhile, within a bound, for that is how a client's going is seen.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Mapping
from enum import Enum
from typing import Any, cast

from gateway.http.answers import CONTINUE, own_answer, raw_answer
from gateway.http.deadlines import NEVER
from gateway.http.framing import Fault, Head, Header
from gateway.http.front import ClientStream, Front, Served
from gateway.http.pool import keep_alive
from gateway.http.request_parser import RequestParser
from gateway.http.upload import BodyError
from gateway.tasks import must_wait

log = logging.getLogger(__name__)

HEAD_END = b"\r\n\r\n"
BARE_LF = re.compile(rb"(?<!\r)\n")


class State(Enum):
    HEAD = "waiting for a request, or reading its head"
    BUSY = "a request is being served"
    BODY = "the body of the request being served is read"
    STREAM = "upgraded"
    LINGER = "answered; the rest of an upload is thrown away"
    CLOSED = "closing or closed"


class ClientConnection(asyncio.BufferedProtocol):
    __slots__ = (
        "_body_waiter",
        "_buffer",
        "_close_announced",
        "_front",
        "_parser",
        "_reading_paused",
        "_searched",
        "_state",
        "deadline",
        "head",
        "peer",
        "served",
        "stream",
        "transport",
    )

    transport: asyncio.Transport | None

    def __init__(self, front: Front) -> None:
        self._front = front
        self._parser = RequestParser(front)
        self._state = State.HEAD
        self._buffer = b""
        self._searched = 0
        self._reading_paused = False
        self._body_waiter: asyncio.Future[bytes] | None = None
        self.transport = None
        self.deadline = NEVER
        self.peer = ""
        """The address of the direct peer."""
        self.head: Head | None = None
        self.served: Served | None = None
        self.stream: ClientStream | None = None
        self._close_announced = False

    # -- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport = cast("asyncio.Transport", transport)
        front = self._front
        if len(front.connections) >= front.limits.connections or front.draining:
            self._state = State.CLOSED
            transport.abort()
            return
        name = transport.get_extra_info("peername")
        self.peer = str(name[0]) if isinstance(name, tuple) else ""
        transport.set_write_buffer_limits(high=front.limits.write_buffer)
        keep_alive(transport)
        front.connections.add(self)
        front.deadlines.add(self)
        self._expire_in(front.limits.head_seconds)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._front.buffer.view

    def buffer_updated(self, nbytes: int) -> None:
        self.data_received(self._front.buffer.taken(nbytes))

    def data_received(self, data: bytes) -> None:
        if self._state is State.HEAD:
            self._head_data(data)
        elif self.stream is not None:
            self.stream.client_data(data)
        elif self._state is State.BODY:
            self._body_data(data)
        elif self._state is State.BUSY:
            self._buffer += data
            self._bound_buffer()

    def eof_received(self) -> bool:
        if self.stream is not None:
            return self.stream.client_eof()
        return False

    def connection_lost(self, _error: Exception | None) -> None:
        self._state = State.CLOSED
        self.transport = None
        self._front.connections.discard(self)
        self._front.deadlines.discard(self)
        served, stream = self.served, self.stream
        self._forget_request()
        self.stream = None
        if served is not None:
            served.client_gone()
        if stream is not None:
            stream.client_lost()

    def pause_writing(self) -> None:
        self._tell_writable(writable=False)

    def resume_writing(self) -> None:
        self._tell_writable(writable=True)

    def _tell_writable(self, *, writable: bool) -> None:
        if self.stream is not None:
            self.stream.client_writable(writable)
            return
        if self._state in (State.BUSY, State.BODY):
            self.deadline = NEVER
            if not writable:
                self._expire_in(self._front.limits.stall_seconds)
        if self.served is not None:
            self.served.client_writable(writable)

    # -- deadlines

    def _expire_in(self, seconds: float) -> None:
        self.deadline = self._front.deadlines.now() + seconds

    def expired(self) -> None:
        if self._state is State.HEAD and self._buffer:
            self._refuse(Fault(408, "the request's headers did not come in time"))
        elif self._state in (State.HEAD, State.LINGER):
            self.close()
        elif self._state is State.BODY:
            self._body_failed(Fault(408, "the request's body did not come in time"))
        else:
            self.abort()

    # -- reading heads

    def _head_data(self, data: bytes) -> None:
        if self._buffer:
            data = self._buffer + data
        end = data.find(HEAD_END, self._searched)
        if end < 0:
            self._partial_head(data)
            return
        end += len(HEAD_END)
        if end > self._front.limits.head_bytes:
            self._refuse(Fault(431, f"the headers are larger than {self._front.limits.head_bytes} bytes"))
            return
        self._searched = 0
        self._buffer = data[end:]
        self._read(data[:end])

    def _partial_head(self, data: bytes) -> None:
        if not self._buffer:
            self._expire_in(self._front.limits.head_seconds)
        if len(data) > self._front.limits.head_bytes:
            self._refuse(Fault(431, f"the headers are larger than {self._front.limits.head_bytes} bytes"))
        elif BARE_LF.search(data, self._searched):
            self._refuse(Fault(400, "lines end in CRLF"))
        else:
            self._buffer = data
            self._searched = max(0, len(data) - len(HEAD_END) + 1)

    def _read(self, raw: bytes) -> None:
        head = self._parser.read(raw)
        if isinstance(head, Fault):
            self._refuse(head)
        else:
            self._begin(head)

    def _begin(self, head: Head) -> None:
        self.head = head
        self._state = State.BUSY
        self.deadline = NEVER
        self._bound_buffer()
        if self._state is not State.BUSY:
            return
        try:
            self.served = served = self._front.handler.begin(self, head)
            served.start()
        except Exception:
            log.exception("a request could not be served at all; its connection is dropped")
            self.abort()

    def _refuse(self, fault: Fault) -> None:
        """Answer a request that never reached the handler."""
        method = self._parser.method
        try:
            status = self._front.handler.fault(self, fault, method, self._parser.target.decode("latin-1"))
        except Exception:
            log.exception("a request could not be refused in words; its connection is dropped")
            self.abort()
            return
        self._state = State.BUSY
        self.deadline = NEVER
        self._close_announced = True
        self.answer(fault.code, status, head_only=method == "HEAD")

    # -- what comes behind a head

    def _bound_buffer(self) -> None:
        """A body that nobody has asked for waits in the socket; who pipelines too much behind a request is dropped,
        for pausing would also hide that the client has gone."""
        if len(self._buffer) <= self._front.limits.pipelined_bytes:
            return
        if self._parser.complete:
            self.abort()
        elif self.transport is not None and not self._reading_paused:
            self._reading_paused = True
            self.transport.pause_reading()

    def _resume_reading(self) -> None:
        if self._reading_paused and self.transport is not None and not self.transport.is_closing():
            self._reading_paused = False
            self.transport.resume_reading()

    async def body(self) -> bytes:
        """The whole body of the request being served. Raises BodyError."""
        if self.head is None or not self.head.has_body:
            return b""
        if self.head.expects_continue and not self._buffer and self.transport is not None:
            self.transport.write(CONTINUE)
        self._state = State.BODY
        self._expire_in(self._front.limits.body_seconds)
        waiter: asyncio.Future[bytes] = self._front.loop.create_future()
        self._body_waiter = waiter
        data, self._buffer = self._buffer, b""
        self._resume_reading()
        if data:
            self._body_data(data)
        if not waiter.done():
            await must_wait()
        return await waiter

    def _body_data(self, data: bytes) -> None:
        parser = self._parser
        if (upload := parser.upload) is None:
            return
        data, self._buffer = upload.split(data)
        if fault := parser.feed(data, upload):
            self._body_failed(fault)
        elif parser.complete:
            waiter = self._body_ended()
            if waiter is not None:
                waiter.set_result(upload.whole())
            self._bound_buffer()

    def _body_failed(self, fault: Fault) -> None:
        self._close_announced = True
        waiter = self._body_ended()
        if waiter is not None:
            waiter.set_exception(BodyError(fault))

    def _body_ended(self) -> asyncio.Future[bytes] | None:
        """Back to waiting for the answer. Returns whom to tell; None when nobody waits any more."""
        self._state = State.BUSY
        self.deadline = NEVER
        waiter, self._body_waiter = self._body_waiter, None
        return None if waiter is None or waiter.done() else waiter

    # -- answering

    @property
    def is_gone(self) -> bool:
        return self.transport is None or self.transport.is_closing()

    @property
    def will_close(self) -> bool:
        """Does this response have to say `Connection: close`? Asked once, while its head is written."""
        head = self.head
        self._close_announced = (
            self._close_announced
            or head is None
            or not head.keep_alive
            or bool(head.upgrade)
            or not self._parser.complete
            or self._parser.surplus
            or self._front.draining
        )
        return self._close_announced

    def write(self, data: bytes) -> None:
        if self.transport is not None:
            self.transport.write(data)

    def answer(
        self,
        code: int,
        status: Mapping[str, Any],
        headers: tuple[tuple[str, str], ...] = (),
        *,
        head_only: bool = False,
    ) -> None:
        """Write a whole answer of the gateway's own, and finish the request."""
        close = self.will_close
        self.write(own_answer(code, status, headers, close=close, head_only=head_only))
        self.finish()

    def answer_raw(self, code: int, body: bytes, headers: list[Header], *, head_only: bool = False) -> None:
        """As `answer`, with a body and headers that came from upstream."""
        close = self.will_close
        self.write(raw_answer(code, body, headers, close=close, head_only=head_only))
        self.finish()

    def finish(self) -> None:
        """The response has been written to its end."""
        if self._state is State.CLOSED:
            return
        unread = self.head is None or not self._parser.complete
        close = self._close_announced or self._front.draining
        self._forget_request()
        if close:
            self._close_lingering() if unread else self.close()
            return
        self._parser.next()
        self._close_announced = False
        self._state = State.HEAD
        self._expire_in(self._front.limits.idle_seconds)
        if self._buffer:
            self._front.loop.call_soon(self._next)

    def finish_and_close(self) -> None:
        """As `finish`, but nothing further is read from this connection."""
        self._close_announced = True
        self.finish()

    def _forget_request(self) -> None:
        self._parser.release()
        self.head = None
        self.served = None

    def _next(self) -> None:
        if self._state is State.HEAD and self._buffer:
            data, self._buffer = self._buffer, b""
            self._searched = 0
            self._head_data(data)

    # -- ending

    def upgrade(self, stream: ClientStream) -> bytes:
        """Hand the connection to a stream. Returns what the client sent behind its request."""
        self._state = State.STREAM
        self.deadline = NEVER
        self._forget_request()
        self.stream = stream
        early, self._buffer = self._buffer, b""
        return early

    def close_if_idle(self) -> None:
        if self._state is State.HEAD and not self._buffer:
            self.close()

    def _close_lingering(self) -> None:
        """Read on for a moment: closing with unread bytes resets the connection, and the answer is lost with it."""
        self._state = State.LINGER
        self._buffer = b""
        self._resume_reading()
        self._expire_in(self._front.limits.linger_seconds)
        if self.transport is not None and self.transport.can_write_eof():
            self.transport.write_eof()

    def close(self) -> None:
        """Write what is still buffered, then close; abort when that takes too long."""
        self._state = State.CLOSED
        if self.transport is not None:
            self._expire_in(self._front.limits.stall_seconds)
            self.transport.close()

    def abort(self) -> None:
        """End the connection at once, in a way that cannot be taken for the end of a response."""
        self._state = State.CLOSED
        if self.transport is not None:
            self.transport.abort()
