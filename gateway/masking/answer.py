"""One answer on its way through masking: how it is asked for, how it is read, what the client gets of it.

Headers are taken from a list of known ones; what a filter changes they must not vouch for (lengths, digests, tags), and
what they say in words is masked as well.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from enum import Enum

from gateway.http.framing import Header
from gateway.http.upstream import BODILESS, UpstreamError
from gateway.masking.bodies import Body, EmptyBody, ObjectBody, WatchBody
from gateway.masking.inflation import Inflation
from gateway.masking.list_body import ListBody
from gateway.masking.negotiation import Media, accepts_gzip, asked, media_of
from gateway.masking.sight import Sight

MOST_HELD = 64 * 1024
"""Bytes of an answer for whose end its head waits."""
COMPRESSION = 1
"""zlib's level; the API server takes the same."""
AS_THEY_ARE = frozenset(
    {
        b"audit-id",
        b"cache-control",
        b"content-type",
        b"date",
        b"retry-after",
        b"vary",
        b"www-authenticate",
        b"x-content-type-options",
        b"x-kubernetes-pf-flowschema-uid",
        b"x-kubernetes-pf-prioritylevel-uid",
    }
)
"""Headers that hold nothing of an object."""
NOT_OURS_TO_SAY = frozenset(
    {
        b"accept-ranges",
        b"content-digest",
        b"content-encoding",
        b"content-length",
        b"content-md5",
        b"content-range",
        b"digest",
        b"etag",
        b"last-modified",
        b"repr-digest",
        b"set-cookie",
    }
)
"""About the bytes that the API server sent, or a credential."""


class Shape(Enum):
    """What a request is answered with when all goes well."""

    OBJECT = "one JSON object"
    LIST = "a list, or a Table"
    WATCH = "an event a line"
    LOG = "the lines of a log"
    ANY = "JSON or text of any kind: what a proxied server says, metrics"


MakeText = Callable[[Sight], Body]
"""A body of plain text."""


class AnswerFilter:
    """Implements gateway.http.body_filter.BodyFilter."""

    __slots__ = (
        "_body",
        "_gzip",
        "_gzip_asked",
        "_held",
        "_held_size",
        "_inflation",
        "_make_text",
        "_shape",
        "_sight",
    )

    def __init__(self, sight: Sight, shape: Shape, make_text: MakeText) -> None:
        self._sight = sight
        self._shape = shape
        self._make_text = make_text
        self._body: Body = EmptyBody()
        self._inflation: Inflation | None = None
        self._gzip_asked = False
        self._gzip: zlib._Compress | None = None
        self._held: list[bytes] | None = []
        self._held_size = 0

    # -- what the relay looks at

    @property
    def live(self) -> bool:
        return self._body.live

    @property
    def patience(self) -> float:
        return self._body.patience

    @property
    def counts(self) -> Mapping[str, int]:
        return self._sight.counts

    # -- asking

    def ask(self, headers: list[Header]) -> list[Header]:
        encodings = tuple(value for name, value in headers if name.lower() == b"accept-encoding")
        self._gzip_asked = accepts_gzip(encodings)
        return asked(headers, texts=self._shape is Shape.ANY)

    # -- the head

    def head(self, code: int, headers: list[Header]) -> list[Header]:
        self._body = self._body_for(code, _value(headers, b"content-type"))
        self._inflation = _inflation(_value(headers, b"content-encoding"))
        return [kept for header in headers if (kept := self._header(*header)) is not None]

    def _header(self, name: bytes, value: bytes) -> Header | None:
        lower = name.lower()
        if lower in AS_THEY_ARE:
            return name, value
        if lower in NOT_OURS_TO_SAY:
            return None
        text = value.decode("utf-8", "backslashreplace")
        masked = self._sight.text(text)
        return (name, value) if masked == text else (name, _one_line(masked))

    def _body_for(self, code: int, content_type: str) -> Body:
        if code in BODILESS or not content_type:
            return EmptyBody()
        media, shape = media_of(content_type), self._shape
        if media is Media.JSON:
            return self._json(code)
        if media is Media.TEXT and (code >= 400 or shape in (Shape.LOG, Shape.ANY)):
            return self._make_text(self._sight)
        raise UpstreamError(
            "policy masks secrets in this answer, and it comes in a form that cannot be read for that "
            f"({content_type[:100]!r}); ask for JSON (or text, for logs)",
            code=406,
        )

    def _json(self, code: int) -> Body:
        if code < 400 and self._shape is Shape.WATCH:
            return WatchBody(self._sight)
        if code < 400 and self._shape is Shape.LIST:
            return ListBody(self._sight)
        if code < 400 and self._shape is Shape.LOG:
            return self._make_text(self._sight)
        return ObjectBody(self._sight)

    # -- the body

    def data(self, piece: bytes) -> bytes:
        if self._inflation is None:
            return self._let_go(self._body.data(piece))
        return self._let_go(b"".join([self._body.data(part) for part in self._inflation.data(piece)]))

    def idle(self) -> bytes:
        return self._flushed(self._body.idle())

    def cut(self) -> bytes:
        return self._last(self._body.cut())

    def end(self) -> bytes:
        if self._inflation is not None:
            self._inflation.end()
        return self._last(self._body.end())

    def tell(self, *, whole: bool) -> list[Header]:
        told = [(b"Chaperone-Masked", self._told() if whole else b"streaming")]
        if self._gzip is not None:
            told.append((b"Content-Encoding", b"gzip"))
        return told

    def _told(self) -> bytes:
        counts = self._sight.counts
        rules = f"; rules={','.join(sorted(counts))}" if counts else ""
        return f"{sum(counts.values())}{rules}".encode("ascii", "replace")

    # -- held until it is known whether it is short

    def _let_go(self, out: bytes) -> bytes:
        if self._held is None or self._body.live:
            return out if self._gzip is None else self._gzip.compress(out)
        self._held.append(out)
        self._held_size += len(out)
        return self._begin_long() if self._held_size > MOST_HELD else b""

    def _begin_long(self) -> bytes:
        """It is a long one: what was held goes, compressed if the client likes."""
        held, self._held = b"".join(self._held or ()), None
        if not self._gzip_asked or self._body.live:
            return held
        self._gzip = zlib.compressobj(COMPRESSION, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
        return self._gzip.compress(held)

    def _flushed(self, out: bytes) -> bytes:
        if not out:
            return b""
        sent = self._let_go(out)
        if self._held:
            sent = self._begin_long()
        return sent if self._gzip is None else sent + self._gzip.flush(zlib.Z_SYNC_FLUSH)

    def _last(self, out: bytes) -> bytes:
        held, self._held = self._held, None
        out = b"".join([*(held or ()), out])
        return out if self._gzip is None else self._gzip.compress(out) + self._gzip.flush()


def _value(headers: list[Header], name: bytes) -> str:
    """Of all headers of that name together: two of them mean nothing that is known here."""
    return ",".join([value.decode("latin-1") for key, value in headers if key.lower() == name])


def _inflation(encoding: str) -> Inflation | None:
    """Raises UpstreamError for an encoding that cannot be undone."""
    coding = encoding.strip().lower()
    if coding in ("", "identity"):
        return None
    if coding in ("gzip", "x-gzip"):
        return Inflation()
    raise UpstreamError("the answer is encoded in a way that cannot be undone, so it is withheld")


def _one_line(text: str) -> bytes:
    """As a header can hold it."""
    return "".join(char if " " <= char <= "~" else "?" for char in text).encode("ascii")
