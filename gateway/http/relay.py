"""The way of an answer to its client. Every byte of a response, and of a tunnel's downstream, passes `Relay` here.

It frames bodies anew, keeps back-pressure, and never ends a response cleanly that did not end cleanly upstream.
A BodyFilter, when there is one, sees everything before the client does. The head waits until the filter lets go of the
first bytes: until then a fault becomes a plain error, and the head can say what the filter has done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from gateway.http.answer_copy import AnswerCopy
from gateway.http.answers import CLOSE, VIA, end_to_end, special, status_line
from gateway.http.body_filter import BodyFilter, withheld
from gateway.http.connection import ClientConnection
from gateway.http.framing import Header
from gateway.http.upstream import BODILESS, UpstreamConnection, UpstreamError


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
        "_copy",
        "_ended",
        "_ending",
        "_filter",
        "_head_only",
        "_headers",
        "_json_lines",
        "_last",
        "_silence",
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
        admit: Callable[[int, bool], None] | None = None,
        copy: AnswerCopy | None = None,
    ) -> None:
        """admit: asked with upstream's code, and whether the whole answer has been filtered, before the client sees a
        byte; raises UpstreamError to withhold it. copy: is given the body as it comes."""
        self._client = client
        self._ended = ended
        self._filter = body_filter
        self._admit = admit
        self._copy = copy
        self._head_only = head_only
        self._upstream: UpstreamConnection | None = None
        self._headers: list[Header] | None = None
        self._silence: asyncio.TimerHandle | None = None
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
            if self._headers is None:
                self._headers = self._read_head(upstream)
            if self._copy is not None:
                self._copy.take(upstream, pieces)
            if self._filter is not None:
                pieces = self._filtered(self._filter, pieces, complete)
            self._pass_on(pieces, complete, out)
        except Exception as error:  # noqa: BLE001 - it ends in an answer, or breaks one off
            self._fail(withheld(error))
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

    def _read_head(self, upstream: UpstreamConnection) -> list[Header]:
        self.code = code = upstream.code
        if 300 <= code < 400 and code != 304:
            raise UpstreamError(f"the API server answered with a redirect ({code}), which is never followed")
        headers = end_to_end(upstream.headers)
        if self._client is None:
            self._filter = None
        self._bodiless = self._head_only or code in BODILESS
        if self._filter is None:
            return headers
        headers = self._filter.head(code, headers)
        return [header for header in headers if header[0].lower() != b"content-length"]

    def _filtered(self, body_filter: BodyFilter, pieces: list[bytes], complete: bool) -> list[bytes]:
        if self._silence is not None:
            self._silence.cancel()
            self._silence = None
        if self._bodiless:
            return []
        changed = [out for piece in pieces if (out := body_filter.data(piece))]
        if complete:
            if rest := body_filter.end():
                changed.append(rest)
        elif body_filter.patience:
            self._silence = asyncio.get_running_loop().call_later(body_filter.patience, self._silent)
        return changed

    def _silent(self) -> None:
        """Upstream has said nothing for a while; what was held back in case more of it came is let go."""
        self._silence = None
        out: list[bytes] = []
        if self._filter is None or self._upstream is None:
            return
        try:
            if piece := self._filter.idle():
                self._pass_on([piece], complete=False, out=out)
        except Exception as error:  # noqa: BLE001 - it breaks the answer off
            self._fail(withheld(error))
            return
        self._send(out)

    def _pass_on(self, pieces: list[bytes], complete: bool, out: list[bytes]) -> None:
        if not self._started:
            if self._filter is not None and not (pieces or complete or self._filter.live):
                return
            self._begin(complete, sum(map(len, pieces)), out)
        self._body(pieces, complete, out)

    def _begin(self, complete: bool, size: int, out: list[bytes]) -> None:
        """size: of the body, where the whole of it is there."""
        headers = self._headers or []
        whole = complete and self._filter is not None
        if self._admit is not None:
            self._admit(self.code, whole)
        self._started = True
        if self._client is None:
            return
        if self._filter is not None:
            headers = headers + self._filter.tell(whole=whole)
            if whole and not self._bodiless:
                headers.append((b"Content-Length", b"%d" % size))
        self._frame(headers, http10=self._client.head is not None and self._client.head.http10)
        out += (status_line(self.code), VIA)
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
        if self._silence is not None:
            self._silence.cancel()
            self._silence = None
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
        out: list[bytes] = []
        try:
            rest = self._filter.cut() if self._filter is not None else b""
            self._body([rest] if rest else [], complete=True, out=out)
        except Exception as error:  # noqa: BLE001 - it breaks the answer off
            self._fail(withheld(error))
            return
        self.cut()
        self._send(out)
        client.finish_and_close()
        self._end(None)


def _already_ended(_outcome: Outcome) -> None:
    """A response ends once; what comes after is nobody's."""
