"""What an approval is for: a digest over everything that decides what a request does, and over nothing
else.

Two requests with one digest do the same thing for the same caller; an approval of one is an approval of the
other. Left out: the order of JSON keys and of different query parameters, the client's own `timeout`, and
how an exec is transported (one exec of a user is a WebSocket GET and then, maybe, a SPDY POST).
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from chaperone.core.approval import Target
from chaperone.core.body import media_type, read_json
from chaperone.core.identity import Caller
from chaperone.core.request import Request

_STREAMS = ("exec", "attach", "portforward")
_NAME_DIGITS = 16


def request_digest(
    request: Request, caller: Caller, target: Target, *, policy: str, policy_generation: int, cluster: str
) -> str:
    """ "sha256:<64 hex>" over the canonical JSON (RFC 8785) of the request, who asks, the target and the
    policy.
    """
    decides = {
        "cluster": cluster,
        "caller": {
            "issuer": caller.issuer,
            "subject": caller.subject,
            "username": caller.username,
            "run": caller.run,
        },
        "request": {
            "verb": _verb(request),
            "path": request.path,
            "query": [list(pair) for pair in _query(request)],
            "upgrade": "" if _is_stream(request) else request.upgrade,
            "contentType": _content_type(request),
            "body": body_sha256(request),
        },
        "target": {"uid": target.uid, "version": target.version},
        "policy": {"name": policy, "generation": policy_generation},
    }
    return f"sha256:{hashlib.sha256(canonical_json(decides)).hexdigest()}"


def approval_name(digest: str, attempt: int = 1) -> str:
    """The ApprovalRequest's name: a retry finds it without memory. attempt > 1 after an earlier one has
    ended.

    It holds a part of the digest only: who finds an object by this name must still compare the whole.
    """
    name = f"apr-{digest.removeprefix('sha256:')[:_NAME_DIGITS]}"
    return name if attempt <= 1 else f"{name}-{attempt}"


def body_sha256(request: Request) -> str:
    """64 hex digits, "" without a body. Of JSON its canonical form is hashed, so key order does not matter;
    of all else, and of JSON whose numbers could be read differently, the bytes as sent.
    """
    body = request.as_sent or request.body
    if not body:
        return ""
    canonical = None if _is_proxied(request) else _canonical_body(request, body)
    return hashlib.sha256(body if canonical is None else canonical).hexdigest()


def canonical_json(value: Any) -> bytes:
    """RFC 8785 for objects with string keys, lists, strings, integers, booleans and null; integers keep all
    their digits. Raises ValueError for anything else (floats, lone surrogates).
    """
    try:
        return _written(value).encode()
    except UnicodeEncodeError as error:
        raise ValueError("a lone surrogate has no canonical form") from error


def _written(value: Any) -> str:
    if isinstance(value, dict):
        members = sorted(value.items(), key=_utf16)
        return (
            "{"
            + ",".join([f"{json.dumps(key, ensure_ascii=False)}:{_written(item)}" for key, item in members])
            + "}"
        )
    if isinstance(value, list):
        return "[" + ",".join([_written(item) for item in value]) + "]"
    if value is None or isinstance(value, str | int):
        return json.dumps(value, ensure_ascii=False)
    raise ValueError(f"a {type(value).__name__} has no canonical form")


def _utf16(member: tuple[str, Any]) -> bytes:
    return member[0].encode("utf-16-be")


def _canonical_body(request: Request, body: bytes) -> bytes | None:
    if "json" not in _content_type(request).partition(";")[0]:
        return None
    value = read_json(body)
    if not isinstance(value, dict | list):
        return None
    try:
        return canonical_json(value)
    except ValueError:
        return None


def _is_stream(request: Request) -> bool:
    return request.is_connect and request.subresource in _STREAMS


def _is_proxied(request: Request) -> bool:
    return request.verb == "proxy" or (request.is_connect and request.subresource == "proxy")


def _verb(request: Request) -> str:
    """What goes on behind a proxy depends on the HTTP method; what an exec does, does not."""
    if _is_stream(request):
        return "connect"
    return f"connect {request.method}" if _is_proxied(request) else request.verb


def _query(request: Request) -> tuple[tuple[str, str], ...]:
    """Sorted by key alone: the values of one key (the words of a command) keep their order. Behind a proxy
    every parameter, and its place, belongs to the server there.
    """
    if _is_proxied(request):
        return request.parameters
    kept = [pair for pair in request.parameters if pair[0] != "timeout"]
    return tuple(sorted(kept, key=lambda pair: pair[0]))


def _content_type(request: Request) -> str:
    """Media type and charset in one spelling; what a missing one means is written out. "" without a body."""
    if not request.body:
        return ""
    if _is_proxied(request):
        return request.content_type
    name, charset = media_type(request.content_type)
    return f"{name or 'application/json'}{'' if charset in ('', 'utf-8') else f';charset={charset}'}"
