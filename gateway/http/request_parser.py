"""From the bytes of one connection to requests: the HTTP parser, and the checks around it that it does not make."""

from __future__ import annotations

import httptools

from gateway.http.framing import Fault, Head, Header, read_head
from gateway.http.front import Front
from gateway.http.upload import Upload


class RequestParser:
    """One request after another: `read` a whole head, `feed` the body if it has one, then `next`.

    surplus: there were bytes behind a chunked body, or the parser stopped there; nothing further may be read.
    """

    __slots__ = (
        "_front",
        "_head_complete",
        "_headers",
        "_last",
        "_last_headers",
        "_last_line",
        "_parser",
        "_same",
        "_same_raw",
        "complete",
        "surplus",
        "target",
        "upload",
    )

    def __init__(self, front: Front) -> None:
        self._front = front
        self._parser = httptools.HttpRequestParser(self)
        self._last: Head | None = None
        self._last_line = (b"", "")
        self._same: Head | None = None
        self._same_raw = b""
        self._last_headers: list[Header] = []
        self.surplus = False
        self.upload: Upload | None = None
        self.next()

    def next(self) -> None:
        """Forget the request that was read."""
        self._headers: list[Header] = []
        self._head_complete = False
        self.target = b""
        self.complete = False
        self.release()

    def release(self) -> None:
        """Give the body's share of the worker's memory back."""
        if self.upload is not None:
            self.upload.release()
            self.upload = None

    @property
    def method(self) -> str:
        """As far as one was read."""
        return str(self._parser.get_method().decode("ascii")) if self._head_complete else ""

    def read(self, raw: bytes) -> Head | Fault:
        """One head, whole, with nothing behind it.

        Between two messages the parser stands where it stood before the last one: the same bytes read the same again.
        """
        if raw == self._same_raw and self._same is not None:
            self._head_complete = self.complete = True
            return self._same
        head = self._parse(raw)
        repeatable = isinstance(head, Head) and head.keep_alive and not head.has_body and not head.upgrade
        self._same, self._same_raw = (head, raw) if repeatable and isinstance(head, Head) else (None, b"")
        return head

    def _parse(self, raw: bytes) -> Head | Fault:
        parser = self._parser
        try:
            parser.feed_data(raw)
        except httptools.HttpParserUpgrade:
            self.complete = True
        except httptools.HttpParserError as error:
            return Fault(400, f"the request is malformed ({type(error).__name__})")
        if not self._head_complete or self.surplus:
            return Fault(400, "the request does not begin with a request line")
        method = parser.get_method()
        if not raw.startswith(b"%s %s HTTP/" % (method, self.target)):
            return Fault(400, "the request line must be METHOD, one space, path, one space, HTTP/1.1")
        head = self._read_headers(method, parser.get_http_version())
        if isinstance(head, Fault):
            return head
        if bool(parser.should_upgrade()) != bool(head.upgrade):
            return Fault(400, "the request can be read both with and without an upgrade")
        if head.has_body == self.complete:
            return Fault(400, "the request can be read both with and without a body")
        if head.has_body:
            self.upload = Upload(self._front, head.content_length)
        return head

    def _read_headers(self, method: bytes, version: str) -> Head | Fault:
        """Clients send the same headers with every request of a connection; those are read once."""
        limits, line = self._front.limits, (method, version)
        if self._last is not None and line == self._last_line and self._headers == self._last_headers:
            return self._last.again(self.target, limits)
        head = read_head(method, self.target, version, self._headers, limits)
        if isinstance(head, Head) and not head.has_body:
            self._last, self._last_line, self._last_headers = head, line, self._headers
        return head

    def feed(self, data: bytes, upload: Upload) -> Fault | None:
        """Bytes of the body. `complete` says whether they were the last."""
        upload.begin_read(len(data))
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            if not self.complete:
                return Fault(400, f"the body is malformed ({type(error).__name__})")
            self.surplus = True
        return upload.fault()

    # -- httptools

    def on_message_begin(self) -> None:
        if self._head_complete:
            self.surplus = True

    def on_url(self, url: bytes) -> None:
        if not self._head_complete:
            self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Late ones are trailers, and dropped."""
        if not self._head_complete:
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        self._head_complete = True

    def on_body(self, piece: bytes) -> None:
        if self.upload is not None and not self.complete:
            self.upload.add(piece)

    def on_message_complete(self) -> None:
        self.complete = True
