"""The head of a request, from parsed header lines to one strict reading.

The parser has already refused what is malformed by its grammar (bare LF, folded lines, Content-Length beside
Transfer-Encoding, NUL). Here is what it leaves open: doubled headers, absolute targets, HTTP/1.0 framing, names
with underscores, impersonation headers, upgrades. Pure: no connection, no clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from gateway.http.limits import HttpLimits
from gateway.http.upgrade import UpgradeError, asked_upgrade

Header = tuple[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a request is refused before anybody looks at what it asks. The connection closes after the answer."""

    code: int
    message: str


@dataclass(slots=True, kw_only=True)
class Head:
    """The head of one request, not changed once it has been read. target: as sent, still percent-encoded.

    forwarded: the client's headers that may travel upstream, in order, names as they will be written.
    content_length: None when there is none; chunked then says whether a body follows.
    hold, reason: said to the gateway alone. hold: "" or "never"; reason: in the client's own words, untrusted.
    """

    method: str
    target: str
    http10: bool = False
    keep_alive: bool = True
    forwarded: list[Header] = field(default_factory=list)
    authorization: list[bytes] = field(default_factory=list)
    subprotocols: list[bytes] = field(default_factory=list)
    upgrade: str = ""
    content_type: str = ""
    user_agent: str = ""
    content_length: int | None = None
    chunked: bool = False
    expects_continue: bool = False
    hold: str = ""
    reason: str = ""
    token: str = field(default="", repr=False)
    """Of the Authorization header, once it has been read and its caller was known. Never of an upgrade."""
    lines: bytes = field(default=b"", repr=False)
    """The headers that travel upstream as they are written there, once that was done."""

    @property
    def has_body(self) -> bool:
        return self.chunked or bool(self.content_length)

    def again(self, target: bytes, limits: HttpLimits) -> Head | Fault:
        """The same method and headers for another target, on the same connection."""
        if fault := _target_fault(self.method, target, limits):
            return fault
        text = target.decode("ascii")
        return self if text == self.target else replace(self, target=text)


REPEATABLE = {
    b"accept": b"Accept",
    b"accept-encoding": b"Accept-Encoding",
    b"x-stream-protocol-version": b"X-Stream-Protocol-Version",
    b"tracestate": b"tracestate",
}
"""Forwarded as often as sent."""
SINGLE = {
    b"content-type": b"Content-Type",
    b"if-none-match": b"If-None-Match",
    b"if-modified-since": b"If-Modified-Since",
    b"sec-websocket-key": b"Sec-WebSocket-Key",
    b"sec-websocket-version": b"Sec-WebSocket-Version",
    b"traceparent": b"traceparent",
}
"""Forwarded; twice is a fault, for two readers could take different ones."""
TO_US = frozenset({b"chaperone-hold", b"chaperone-reason"})
"""Read here and never forwarded: how the client wants to be held, and why it asks."""
WEBSOCKET_ONLY = frozenset({b"sec-websocket-key", b"sec-websocket-version"})
FRAMING = frozenset(
    {
        b"host",
        b"connection",
        b"upgrade",
        b"transfer-encoding",
        b"content-length",
        b"expect",
        b"authorization",
        b"sec-websocket-protocol",
        b"user-agent",
        *TO_US,
    }
)
"""Read here and written anew."""

_PRINTABLE = bytes(range(0x20, 0x7F)) + b"\t"
_USER_AGENT_LIMIT = 512
_REASON_LIMIT = 1024


def read_head(
    method: bytes, target: bytes, version: str, headers: Sequence[Header], limits: HttpLimits
) -> Head | Fault:
    """One reading of a request's head, or why there is none."""
    if len(headers) > limits.header_count:
        return Fault(431, f"more than {limits.header_count} headers")
    if version not in ("1.1", "1.0"):
        return Fault(505, "only HTTP/1.1 is spoken here")
    if fault := _target_fault(method, target, limits):
        return fault
    head = Head(method=method.decode("ascii"), target=target.decode("ascii"), http10=version == "1.0")
    framing: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        if fault := _take(head, framing, name.lower(), value):
            return fault
    return _read_framing(head, framing, limits) or head


def _target_fault(method: bytes | str, target: bytes, limits: HttpLimits) -> Fault | None:
    if len(method) + len(target) + 12 > limits.request_line_bytes:
        return Fault(414, f"the request line is longer than {limits.request_line_bytes} bytes")
    if not target.startswith(b"/"):
        return Fault(400, "the request target must be a path; absolute and authority forms are refused")
    if not target.isascii():
        return Fault(400, "the request target holds bytes outside of ASCII; percent-encode them")
    return None


def _take(head: Head, framing: dict[bytes, list[bytes]], name: bytes, value: bytes) -> Fault | None:
    """Sort one header into what is forwarded, what is read here, and what is dropped."""
    if name in FRAMING:
        framing.setdefault(name, []).append(value)
        return None
    written = REPEATABLE.get(name)
    if written is None and name in SINGLE:
        written = SINGLE[name]
        if any(known == written for known, _ in head.forwarded):
            return Fault(400, f"two {written.decode()} headers")
    if written is None:
        return _stranger(name)
    if value.translate(None, _PRINTABLE):
        return Fault(400, f"the header {written.decode()} holds characters that are not printable ASCII")
    head.forwarded.append((written, value))
    return None


def _stranger(name: bytes) -> Fault | None:
    """Every other header is dropped, and some say that the sender tries to be somebody else."""
    if name.replace(b"_", b"-").startswith(b"impersonate"):
        return Fault(
            403,
            "impersonation headers are not accepted: the gateway decides, from the verified token alone, "
            "whom a request runs as; remove them (kubectl: --as, --as-group, --as-uid)",
        )
    if b"_" in name:
        return Fault(
            403,
            f"the header name {name.decode('latin-1')[:64]!r} has an underscore, which some servers read "
            "as a dash; rename or remove it",
        )
    return None


def _read_framing(head: Head, framing: dict[bytes, list[bytes]], limits: HttpLimits) -> Fault | None:
    hosts = framing.get(b"host", ())
    if len(hosts) > 1 or (not hosts and not head.http10):
        return Fault(400, "send exactly one Host header")
    head.authorization = framing.get(b"authorization", [])
    if len(head.authorization) > 1:
        return Fault(400, "send exactly one Authorization header")
    return (
        _read_body_framing(head, framing, limits)
        or _read_connection(head, framing)
        or _read_to_us(head, framing)
        or _read_remaining(head, framing)
    )


def _read_body_framing(head: Head, framing: dict[bytes, list[bytes]], limits: HttpLimits) -> Fault | None:
    encodings, lengths = framing.get(b"transfer-encoding", ()), framing.get(b"content-length", ())
    if encodings:
        if head.http10:
            return Fault(400, "HTTP/1.0 has no Transfer-Encoding")
        if lengths or len(encodings) > 1 or encodings[0].lower() != b"chunked":
            return Fault(400, "the only Transfer-Encoding accepted is one `chunked`, without Content-Length")
        head.chunked = True
    elif lengths:
        if len(lengths) > 1 or not lengths[0].isdigit() or len(lengths[0]) > 18:
            return Fault(400, "Content-Length must be one decimal number")
        head.content_length = int(lengths[0])
        if head.content_length > limits.body_bytes:
            return Fault(413, f"the body is larger than the limit of {limits.body_bytes} bytes")
    return None


def _read_connection(head: Head, framing: dict[bytes, list[bytes]]) -> Fault | None:
    connection = framing.get(b"connection", ())
    try:
        head.upgrade = asked_upgrade(head.method, connection, framing.get(b"upgrade", ()))
    except UpgradeError as error:
        return Fault(400, str(error))
    if head.upgrade and (head.http10 or head.has_body):
        return Fault(400, "an upgrade needs HTTP/1.1 and has no body")
    tokens = {token.strip(b" \t").lower() for value in connection for token in value.split(b",")}
    head.keep_alive = b"close" not in tokens and not head.http10
    return None


def _read_to_us(head: Head, framing: dict[bytes, list[bytes]]) -> Fault | None:
    if framing.keys().isdisjoint(TO_US):
        return None
    hold, reason = framing.get(b"chaperone-hold", ()), framing.get(b"chaperone-reason", ())
    if len(hold) > 1 or len(reason) > 1:
        return Fault(400, "send Chaperone-Hold and Chaperone-Reason at most once each")
    head.hold = hold[0].strip(b" \t").lower().decode("latin-1") if hold else ""
    if head.hold not in ("", "never"):
        return Fault(
            400, "the only value of Chaperone-Hold is `never`: tell me at once instead of holding me"
        )
    head.reason = reason[0][:_REASON_LIMIT].decode("utf-8", "replace").strip() if reason else ""
    return None


def _read_remaining(head: Head, framing: dict[bytes, list[bytes]]) -> Fault | None:
    expected = framing.get(b"expect", ())
    if expected and (len(expected) > 1 or expected[0].strip().lower() != b"100-continue"):
        return Fault(417, "the only expectation understood is 100-continue")
    head.expects_continue = bool(expected) and not head.http10
    head.subprotocols = framing.get(b"sec-websocket-protocol", [])
    head.user_agent = readable(b" ".join(framing.get(b"user-agent", ()))[:_USER_AGENT_LIMIT])
    names = {name.lower() for name, _ in head.forwarded} if head.upgrade or head.forwarded else set()
    if head.upgrade == "websocket" and not names >= WEBSOCKET_ONLY:
        return Fault(400, "a WebSocket handshake needs Sec-WebSocket-Key and Sec-WebSocket-Version")
    if head.upgrade != "websocket" and (head.subprotocols or names & WEBSOCKET_ONLY):
        return Fault(400, "WebSocket headers without a WebSocket upgrade")
    for name, value in head.forwarded:
        if name == b"Content-Type":
            head.content_type = value.decode("ascii")
    return None


def readable(raw: bytes) -> str:
    """Printable ASCII only, so that one value stays one line in every log; anything else becomes "?"."""
    text = raw.decode("latin-1")
    return text if text.isascii() and text.isprintable() else _escaped(text)


def _escaped(text: str) -> str:
    return "".join(char if " " <= char <= "~" else "?" for char in text)
