"""The way of an answer to its client. Every byte of a response, and of a tunnel's downstream, passes `Relay` here.

It frames bodies anew, keeps back-pressure, and never ends a response cleanly that did not end cleanly upstream.
A BodyFilter, when there is one, sees everything before the client does.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from gateway.http.answers import CLOSE, end_to_end, special, status_line
from gateway.http.connection import ClientConnection
from gateway.http.framing import Header
from gateway.http.upstream import BODILESS, UpstreamConnection, UpstreamError

log = logging.getLogger(__name__)


class BodyFilter(Protocol):
    def head(self, code: int, headers: list[Header]) -> list[Header]: ...
    def data(self, piece: bytes) -> bytes: ...
    def end(self) -> bytes: ...


@dataclass(slots=True)
class Outcome:
    """How a forwarded request ended; not changed any more. code: upstream's, 0 when there was none.

    error: set when upstream failed; `answered` then tells whether the client has already seen the head of a response.
    complete: the client has the whole response.
    """

    code: int
    complete: bool
    answered: bool
    error: UpstreamError | None = None


class Relay:
    """One response on its way. `ended` is called exactly once, unless `cut` is called before."""

    __slots__ = (
        "_admit",
        "_answered",
        "_bodiless",
        "_chunked",
        "_client",
        "_ended",
        "_ending",
        "_filter",
        "_head_only",
        "_json_lines",
        "_last",
        "_started",
        "_upstream",
        "bytes_sent",
        "code",
    )

    def __init__(
        self,
        client: ClientConnection | None,
        ended: Callable[[Outcome], None],
        body_filter: BodyFilter | None = None,
        *,
        head_only: bool = False,
        admit: Callable[[int], None] | None = None,
    ) -> None:
        """admit: asked with upstream's code before the client sees a byte; raises UpstreamError to withhold it."""
        self._client = client
        self._ended = ended
        self._filter = body_filter
        self._admit = admit
        self._head_only = head_only
        self._upstream: UpstreamConnection | None = None
        self._started = False
        self._answered = False
        self._chunked = False
        self._bodiless = False
        self._ending = False
        self._json_lines = False
        self._last = b""
        self.code = 0
        self.bytes_sent = 0

    def source(self, upstream: UpstreamConnection) -> None:
        """The connection that will answer; needed to pause and to cut it before the first byte."""
        self._upstream = upstream

    # -- from upstream

    def received(self, upstream: UpstreamConnection, pieces: list[bytes], complete: bool) -> None:
        out: list[bytes] = []
        try:
            if not self._started:
                self._begin(upstream, out)
            self._body(pieces, complete, out)
        except UpstreamError as error:
            self._fail(error)
            return
        except Exception:
            log.exception("the filter of a response failed")
            self._fail(UpstreamError("the answer could not be checked for secrets, so it is withheld"))
            return
        self._send(out)
        if complete:
            self._complete()
        elif self._ending:
            self.end_at_border()

    def upgraded(self, upstream: UpstreamConnection, _early: bytes) -> None:
        upstream.abort()
        self._end(UpstreamError("the API server switched protocols without being asked"))

    def lost(self, error: UpstreamError) -> None:
        self._upstream = None
        self._fail(error)

    def _fail(self, error: UpstreamError) -> None:
        """Never a clean end: a response that has begun is broken off, another becomes the exchange's answer."""
        self.cut()
        if self._answered and self._client is not None:
            self._client.abort()
        self._end(error)

    # -- head and body

    def _begin(self, upstream: UpstreamConnection, out: list[bytes]) -> None:
        self.code = code = upstream.code
        if 300 <= code < 400 and code != 304:
            raise UpstreamError(f"the API server answered with a redirect ({code}), which is never followed")
        if self._admit is not None:
            self._admit(code)
        headers = end_to_end(upstream.headers)
        if self._filter is not None:
            headers = self._filter.head(code, headers)
            headers = [header for header in headers if header[0].lower() != b"content-length"]
        self._started = True
        if self._client is None:
            return
        self._bodiless = self._head_only or code in BODILESS
        self._frame(headers, http10=self._client.head is not None and self._client.head.http10)
        out.append(status_line(code))
        if headers:
            out += (b"\r\n".join(map(b": ".join, headers)), b"\r\n")
        if self._chunked:
            out.append(b"Transfer-Encoding: chunked\r\n")
        if self._client.will_close:
            out.append(CLOSE)
        out.append(b"\r\n")

    def _frame(self, headers: list[Header], *, http10: bool) -> None:
        sized = False
        for name, value in headers:
            lower = special(name)
            if not lower:
                continue
            if lower == b"content-length":
                sized = True
            elif lower == b"content-type":
                self._json_lines = b"json" in value
        self._chunked = not (self._bodiless or sized or http10)

    def _body(self, pieces: list[bytes], complete: bool, out: list[bytes]) -> None:
        if self._bodiless:
            return
        if self._filter is not None:
            pieces = [changed for piece in pieces if (changed := self._filter.data(piece))]
            if complete and (rest := self._filter.end()):
                pieces.append(rest)
        if pieces:
            size = sum(map(len, pieces))
            self.bytes_sent += size
            self._last = pieces[-1][-1:]
            if self._chunked:
                out.append(b"%x\r\n" % size)
                out.extend(pieces)
                out.append(b"\r\n")
            else:
                out.extend(pieces)
        if complete and self._chunked:
            out.append(b"0\r\n\r\n")

    def stream(self, piece: bytes) -> None:
        """Downstream bytes of an upgraded connection."""
        self.bytes_sent += len(piece)
        if self._client is not None:
            self._client.write(piece)

    def _send(self, out: list[bytes]) -> None:
        if self._client is not None and out:
            self._answered = True
            self._client.write(b"".join(out))

    def _complete(self) -> None:
        self._upstream = None
        if self._client is not None:
            self._client.finish()
        self._end(None)

    def _end(self, error: UpstreamError | None) -> None:
        ended, self._ended = self._ended, _already_ended
        complete = error is None and self._client is not None
        ended(Outcome(self.code, complete, self._answered, error))

    # -- from the client's side

    def client_writable(self, writable: bool) -> None:
        if self._upstream is None:
            return
        if writable:
            self._upstream.resume_reading()
        else:
            self._upstream.pause_reading()

    def client_gone(self, *, carry_through: bool) -> None:
        """carry_through: let the request run to its end upstream; its answer is read and dropped."""
        self._client = None
        if carry_through:
            self.client_writable(True)
        else:
            self.cut()

    def cut(self) -> None:
        """Drop the upstream side at once."""
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            upstream.abort()

    def end_at_border(self) -> None:
        """End a watch between two events: as soon as what was sent last ended one. The client asks again."""
        self._ending = True
        upstream, client = self._upstream, self._client
        if upstream is None or client is None or not self._started or upstream.mid_chunk:
            return
        if not self._chunked or (self._json_lines and self._last not in (b"", b"\n")):
            return
        self.cut()
        client.write(b"0\r\n\r\n")
        client.finish_and_close()
        self._end(None)


def _already_ended(_outcome: Outcome) -> None:
    """A response ends once; what comes after is nobody's."""
