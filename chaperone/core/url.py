"""Request targets: from raw bytes of strangers to one canonical path and query that everybody reads alike.

Decoded once and written anew: what is judged is what is sent upstream, byte for byte. What two parsers
could read differently (dot segments, empty segments, encoded slashes, semicolons, double encoding) is
refused, never repaired. Sources: RFC 3986 sections 2 and 3.3; the escape rules of Go's net/url, which the
API server reads with.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import quote, unquote_to_bytes

from chaperone.core.legible import visible

MAX_PATH = 16 * 1024
MAX_QUERY = 48 * 1024
"""Longest path and longest query, in bytes, as sent and as written anew."""

REDACTED = "REDACTED"

_SEGMENT_SAFE = "!$&'()*+,=:@"
_PLAIN_PATH = re.compile(r"(?:/[A-Za-z0-9_~!$&'()*+,=:@-][A-Za-z0-9_~!$&'()*+,=:@.-]*)+/?|/")
"""Nothing to decode, and no segment that starts with a dot: canonical as it stands."""
_RAW_PATH = re.compile(r"/[A-Za-z0-9._~!$&'()*+,=:@%/-]*")
_PLAIN_QUERY = re.compile(r"[A-Za-z0-9._~-]+=[A-Za-z0-9._~-]*(?:&[A-Za-z0-9._~-]+=[A-Za-z0-9._~-]*)*")
_RAW_QUERY = re.compile(r"[A-Za-z0-9._~!$&'()*+,=:@%/?-]*")
_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
_CONTROL_BUT_LINES = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_NUL = re.compile("\x00")
_HIDDEN_STRUCTURE = re.compile(r"[/\\;]|[\x00-\x1f\x7f-\x9f]")

_TOKEN_KEYS = {"access_token", "auth_token", "authorization", "bearer", "bearer_token", "id_token", "jwt"}
_TOKEN_KEYS |= {"refresh_token", "token"}
_SECRET_KEYS = {"api_key", "apikey", "client_secret", "code", "key", "passwd", "password", "pwd", "secret"}
_SECRET_KEYS |= {"sig", "signature", *_TOKEN_KEYS}
_SEPARATOR = re.compile("([&;?])")
_HIDDEN = "the path holds a dot segment, or an encoded slash, backslash, semicolon or control character"
_JWT = re.compile(r"eyJ[A-Za-z0-9_-]{4,}\.[A-Za-z0-9_-]{4,}(?:\.[A-Za-z0-9_-]*)*")
_USER_INFO = re.compile(r"//[^/?#@]*@")


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A request that cannot be brought into one form that everybody reads alike. Answer: this status code."""

    code: int
    reason: str


class Path(NamedTuple):
    """segments: decoded, none of them empty. slash: a slash ends the path (never set for the root)."""

    segments: tuple[str, ...]
    slash: bool


class Query(NamedTuple):
    """canonical: ready for the request line, without "?". parameters: the same, decoded, in order."""

    canonical: str
    parameters: tuple[tuple[str, str], ...]


NO_QUERY = Query("", ())
_LONG_QUERY = Unreadable(400, f"the query is longer than {MAX_QUERY} bytes")


def read_path(raw: str) -> Path | Unreadable:
    """Read a raw, percent-encoded path."""
    if len(raw) > MAX_PATH:
        return Unreadable(400, f"the path is longer than {MAX_PATH} bytes")
    if _PLAIN_PATH.fullmatch(raw):
        return _split(raw[1:].split("/"))
    if not _RAW_PATH.fullmatch(raw):
        return Unreadable(400, _strange_character(raw))
    if _BROKEN_ESCAPE.search(raw):
        return Unreadable(400, "the path holds a percent sign that starts no escape")
    try:
        segments = [unquote_to_bytes(part).decode() if "%" in part else part for part in raw[1:].split("/")]
    except UnicodeDecodeError:
        return Unreadable(400, "the path is not UTF-8")
    return _fault_of(segments) or _split(segments)


def canonical_path(segments: tuple[str, ...], *, slash: bool) -> str:
    """The one way in which these segments are written. slash: end with one."""
    plain = "/" + "/".join(segments) + ("/" if slash else "")
    if _PLAIN_PATH.fullmatch(plain):
        return plain
    return "/" + "/".join(quote(segment, safe=_SEGMENT_SAFE) for segment in segments) + ("/" if slash else "")


def read_query(raw: str, *, multiline: bool = False) -> Query | Unreadable:
    """Read a raw query (without "?"). multiline: line ends and tabs are allowed in every value, not only in
    `command`.
    """
    if not raw:
        return NO_QUERY
    if len(raw) > MAX_QUERY:
        return _LONG_QUERY
    if _PLAIN_QUERY.fullmatch(raw):
        query = Query(raw, tuple([_pair(part) for part in raw.split("&")]))
        return _credential_in(query) or query
    if not _RAW_QUERY.fullmatch(raw):
        return Unreadable(400, _strange_character(raw, "query"))
    if _BROKEN_ESCAPE.search(raw):
        return Unreadable(400, "the query holds a percent sign that starts no escape")
    try:
        parameters = tuple(
            (_decoded(key), _decoded(value)) for key, value in map(_pair, raw.split("&")) if key or value
        )
    except UnicodeDecodeError:
        return Unreadable(400, "the query is not UTF-8")
    canonical = "&".join(f"{quote(key, safe='')}={quote(value, safe='')}" for key, value in parameters)
    if len(canonical) > MAX_QUERY:
        return _LONG_QUERY
    return _checked(Query(canonical, parameters), multiline=multiline)


def redact_target(raw: str, limit: int = 2048) -> str:
    """A raw request target for logs: no value of a credential-like parameter, no JWT, no control character,
    bounded.
    """
    raw = raw[: MAX_PATH + MAX_QUERY]
    if "//" in raw:
        raw = _USER_INFO.sub(f"//{REDACTED}@", raw)
    path, mark, query = raw.partition("?")
    if mark:
        raw = path + mark + "".join(map(_redacted_piece, _SEPARATOR.split(query)))
    return visible(redact_tokens(raw), limit)


def redact_tokens(text: str) -> str:
    """The text without anything that looks like a JSON Web Token."""
    return _JWT.sub(REDACTED, text) if "eyJ" in text else text


def _split(segments: list[str]) -> Path:
    if segments[-1]:
        return Path(tuple(segments), slash=False)
    return Path(tuple(segments[:-1]), slash=len(segments) > 1)


def _fault_of(segments: list[str]) -> Unreadable | None:
    """What makes a decoded path ambiguous, if anything."""
    for at, segment in enumerate(segments):
        if not segment and at < len(segments) - 1:
            return Unreadable(400, "the path holds an empty segment (//)")
        if _is_hidden_structure(segment):
            return Unreadable(400, _HIDDEN)
        if "%" in segment and _is_layered(segment):
            return Unreadable(400, "the path is encoded more than once")
    return None


def _is_hidden_structure(segment: str) -> bool:
    return segment in (".", "..") or _HIDDEN_STRUCTURE.search(segment) is not None


def _is_layered(segment: str) -> bool:
    """True when decoding a segment again, and again, could ever yield structure (or never ends)."""
    for _ in range(4):
        again = unquote_to_bytes(segment).decode(errors="replace")
        if again == segment:
            return False
        if _is_hidden_structure(again):
            return True
        segment = again
    return True


def _checked(query: Query, *, multiline: bool) -> Query | Unreadable:
    for key, value in query.parameters:
        forbidden = _NUL if key == "command" else _CONTROL_BUT_LINES if multiline else _CONTROL
        if _CONTROL.search(key) or forbidden.search(value):
            return Unreadable(400, "the query holds a control character")
    return _credential_in(query) or query


def _credential_in(query: Query) -> Unreadable | None:
    for key, _ in query.parameters:
        if key.lower().replace("-", "_") in _TOKEN_KEYS:
            return Unreadable(
                401, "a credential in the query is never accepted; send it in the Authorization header"
            )
    return None


def _pair(part: str) -> tuple[str, str]:
    key, _, value = part.partition("=")
    return key, value


def _decoded(part: str) -> str:
    return unquote_to_bytes(part.replace("+", " ")).decode()


def _strange_character(raw: str, where: str = "path") -> str:
    if where == "path" and not raw.startswith("/"):
        return "the request target must start with a slash (origin form)"
    allowed = _RAW_PATH if where == "path" else _RAW_QUERY
    strange = next(character for character in raw if not allowed.fullmatch("/" + character))
    return f"the {where} holds a character that is not allowed, or only percent-encoded: {visible(strange)!r}"


def _redacted_piece(piece: str) -> str:
    key, mark, _ = piece.partition("=")
    if not mark:
        return piece
    names_secret = _names_secret(key) if len(key) <= 64 else _names_secret.__wrapped__(key)
    return f"{key}={REDACTED}" if names_secret else piece


@lru_cache(maxsize=512)
def _names_secret(key: str) -> bool:
    """Of a raw key, however it is encoded. Remembered for keys of ordinary length."""
    name = unquote_to_bytes(key.replace("+", " ").encode(errors="replace")).decode(errors="replace")
    return name.strip().lower().replace("-", "_") in _SECRET_KEYS
