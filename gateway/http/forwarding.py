"""An upstream request, built from nothing: judged path, allowed client headers, our own identity last."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

from chaperone.core.request import Request
from gateway.http.framing import Head, Header

HEADER_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
TARGET = re.compile(r"/[!-~]*")
TOKEN = re.compile(r"[!-~]+")
WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
IDENTITY_PREFIX = "impersonate-"


class UnsendableError(ValueError):
    """Something of ours cannot stand in a request head; nothing may be sent."""


def identity_block(headers: Iterable[tuple[str, str]]) -> bytes:
    """The impersonation headers as they go on the wire.

    Raises UnsendableError unless there is exactly one non-empty Impersonate-User and every line is one line: the API
    server would run a request without it as the gateway itself.
    """
    lines, users = [], 0
    for name, value in headers:
        if not HEADER_NAME.fullmatch(name) or not name.lower().startswith(IDENTITY_PREFIX):
            raise UnsendableError(f"{name!r} is no impersonation header")
        if not value or not value.isascii() or not value.isprintable() or value != value.strip():
            raise UnsendableError(f"the value of {name} cannot stand in a header")
        users += name.lower() == "impersonate-user"
        lines.append(f"{name}: {value}\r\n")
    if users != 1:
        raise UnsendableError("exactly one Impersonate-User is needed")
    return "".join(lines).encode("ascii")


def upstream_request(
    request: Request,
    head: Head,
    *,
    forwarded: Sequence[Header],
    host: str,
    identity: bytes,
    token: str,
    audit_id: str,
    subprotocols: Sequence[str] = (),
) -> bytes:
    """Head and body: the length announced is that of the body sent. forwarded: the client's headers, or what a filter
    made of them. Raises UnsendableError."""
    parts = _own(request, host, token, audit_id)
    same = forwarded is head.forwarded
    parts.append(client_lines(head) if same else _filtered_lines(tuple(forwarded), head.user_agent))
    if request.upgrade:
        parts.append(_upgrade(request.upgrade, subprotocols))
    return _with_body(parts, identity, request)


def client_lines(head: Head) -> bytes:
    """The client's own headers, written once for all requests that bring the same."""
    if not head.lines:
        head.lines = _lines(head.forwarded, head.user_agent)
    return head.lines


@lru_cache(512)
def _filtered_lines(forwarded: tuple[Header, ...], user_agent: str) -> bytes:
    """What a filter reads is asked for in the gateway's own name: the API server indents JSON for some user agents."""
    return _lines(forwarded, f"chaperone ({user_agent})" if user_agent else "chaperone")


def _lines(forwarded: Sequence[Header], user_agent: str) -> bytes:
    written = b"".join([b"%s: %s\r\n" % header for header in forwarded])
    return b"%sUser-Agent: %s\r\n" % (written, user_agent.encode("ascii")) if user_agent else written


def own_request(request: Request, *, host: str, identity: bytes, token: str, audit_id: str) -> bytes:
    """A request that the gateway makes by itself, as the agent; it asks for JSON. Raises UnsendableError."""
    content_type = request.content_type
    parts = _own(request, host, token, audit_id)
    parts.append(b"Accept: application/json\r\nUser-Agent: chaperone\r\n")
    if content_type:
        if not content_type.isascii() or not content_type.isprintable():
            raise UnsendableError("the content type cannot stand in a header")
        parts.append(f"Content-Type: {content_type}\r\n".encode("ascii"))
    return _with_body(parts, identity, request)


def _with_body(parts: list[bytes], identity: bytes, request: Request) -> bytes:
    if not identity:
        raise UnsendableError("there is nobody to impersonate")
    if request.body or request.method in WITH_BODY:
        parts.append(b"Content-Length: %d\r\n" % len(request.body))
    parts.extend((identity, b"\r\n", request.body))
    return b"".join(parts)


def _own(request: Request, host: str, token: str, audit_id: str) -> list[bytes]:
    return [
        _request_line(request.method, request.target),
        _own_lines(host, token),
        audit_id.encode("ascii"),
        b"\r\n",
    ]


@lru_cache(512)
def _request_line(method: str, target: str) -> bytes:
    if not TARGET.fullmatch(target) or not HEADER_NAME.fullmatch(method):
        raise UnsendableError("the request line holds what no request line may hold")
    return f"{method} {target} HTTP/1.1\r\n".encode("ascii")


@lru_cache(2)
def _own_lines(host: str, token: str) -> bytes:
    """The same for every request until the credential is renewed. Ends where the audit id follows."""
    if not TOKEN.fullmatch(token):
        raise UnsendableError("the gateway's own credential is empty or cannot stand in a header")
    return f"Host: {host}\r\nAuthorization: Bearer {token}\r\nAudit-ID: ".encode("ascii")


def _upgrade(protocol: str, subprotocols: Sequence[str]) -> bytes:
    written = "SPDY/3.1" if protocol == "spdy/3.1" else protocol
    lines = f"Connection: Upgrade\r\nUpgrade: {written}\r\n"
    if subprotocols:
        lines += f"Sec-WebSocket-Protocol: {', '.join(subprotocols)}\r\n"
    return lines.encode("ascii")
