"""Bearer tokens before anyone trusts them: where a request may carry one, and what a JWT must look like.

Everything here is strict reading: one credential in one place, one way to decode it, bounded sizes. It
verifies no signature (the gateway does, with the issuer's keys) and must never guess: a token that can be
read in two ways is refused.
Sources: RFC 6750, RFC 7515, RFC 7519, RFC 8725; kubernetes/apiserver pkg/authentication/request/websocket.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

MAX_TOKEN_BYTES = 16 * 1024
"""Longer tokens are refused before they are decoded; identity providers stay well below."""
MAX_DEPTH = 32
"""Nesting of JSON in a token."""
MAX_KEY_ID = 256
MAX_AUDIENCES = 64
LATEST = 253402300799
"""Seconds at the end of the year 9999: no date in a token lies behind it."""

BEARER_PROTOCOL = "base64url.bearer.authorization.k8s.io."
"""The WebSocket subprotocol in which a browser carries its token."""
EXPECTED_TYPES = frozenset({"jwt", "at+jwt", "jose"})
"""`typ` in lower case, without "application/": ID tokens, RFC 9068 access tokens, SPIFFE JWT-SVIDs."""

TRY_AGAIN = (
    "the bearer token was not accepted; get a fresh one from your issuer (the audit record has the reason)"
)

_CREDENTIAL = re.compile(r"[A-Za-z0-9\-._~+/]+=*")
_SEGMENT = re.compile(r"[A-Za-z0-9_-]+")
_PROTOCOL = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z/]+")
"""A token of RFC 9110, and the slash, which none has: kubectl's port-forward offers `SPDY/3.1+portforward.k8s.io`."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a request has no caller.

    code: 400 (ambiguous request), 401 (no proof of identity), 403 (proved, but an identity that may not be
    used here) or 503 (cannot be decided now). public_message: for the client. audit_reason: for the
    audit record, without any part of the token.
    """

    code: int
    public_message: str
    audit_reason: str


def unauthenticated(reason: str) -> Refused:
    return Refused(401, TRY_AGAIN, reason)


def forbidden(reason: str) -> Refused:
    """For a verified token: the reason speaks of the caller's own claims, so the caller may read it."""
    return Refused(403, f"the token is valid, but {reason}", reason)


@dataclass(frozen=True, slots=True)
class Token:
    """The one credential of a request. subprotocols: what else is offered, to go upstream."""

    value: str = field(repr=False)
    subprotocols: tuple[str, ...] = ()


def extract_token(
    authorization_values: Sequence[str], websocket_protocols: str | None, is_websocket: bool
) -> Token | Refused:
    """Find the one credential of a request.

    authorization_values: one entry for each Authorization header line. websocket_protocols: the header
    Sec-WebSocket-Protocol, its lines joined by commas, or None. is_websocket: the upgrade as the connection
    layer has verified it.
    """
    if len(authorization_values) > 1:
        return Refused(400, "send exactly one Authorization header", "more than one Authorization header")
    offered = _subprotocols(websocket_protocols)
    if offered is None and is_websocket:
        return Refused(400, "Sec-WebSocket-Protocol is malformed", "malformed Sec-WebSocket-Protocol")
    carried = [entry for entry in offered or () if entry.lower().startswith(BEARER_PROTOCOL)]
    if carried and (authorization_values or len(carried) > 1):
        return unauthenticated("more than one credential")
    if carried and not is_websocket:
        return unauthenticated("a bearer subprotocol outside of a WebSocket upgrade")
    rest = tuple(entry for entry in offered or () if entry not in carried)
    if carried:
        return _from_subprotocol(carried[0], rest)
    if not authorization_values:
        return Refused(401, "no bearer token was sent", "no credential")
    return _from_header(authorization_values[0], rest if is_websocket else ())


def _subprotocols(value: str | None) -> tuple[str, ...] | None:
    """The entries of the header; None when one is not a token of RFC 9110 (an empty one included)."""
    if value is None:
        return ()
    entries = tuple(entry.strip(" \t") for entry in value.split(","))
    return entries if all(_PROTOCOL.fullmatch(entry) for entry in entries) else None


def _from_header(value: str, subprotocols: tuple[str, ...]) -> Token | Refused:
    words = value.strip(" \t").split(" ")
    if len(words) != 2 or words[0].lower() != "bearer":
        return unauthenticated("the Authorization header is not `Bearer TOKEN`")
    return _checked(words[1], subprotocols)


def _from_subprotocol(entry: str, rest: tuple[str, ...]) -> Token | Refused:
    if not entry.startswith(BEARER_PROTOCOL):
        return unauthenticated("a bearer subprotocol in the wrong case")
    if not rest:
        return unauthenticated("a bearer subprotocol without another subprotocol")
    encoded = entry.removeprefix(BEARER_PROTOCOL)
    if len(encoded) > MAX_TOKEN_BYTES * 4 // 3 + 4:
        return unauthenticated("the token is too long")
    try:
        return _checked(decode_segment(encoded).decode("ascii"), rest)
    except ValueError:
        return unauthenticated("the bearer subprotocol is not base64url of a token")


def _checked(value: str, subprotocols: tuple[str, ...]) -> Token | Refused:
    if len(value) > MAX_TOKEN_BYTES:
        return unauthenticated("the token is too long")
    if not _CREDENTIAL.fullmatch(value):
        return unauthenticated("the token is empty or holds characters that no token has")
    return Token(value, subprotocols)


@dataclass(frozen=True, slots=True)
class Unverified:
    """A well-formed JWT of which nothing is proved. key_id: "" is a key id; None: the token names none."""

    algorithm: str
    key_id: str | None
    issuer: str
    claims: Mapping[str, Any] = field(repr=False)
    signing_input: bytes = field(repr=False)
    signature: bytes = field(repr=False)


def read_token(token: str, max_bytes: int = MAX_TOKEN_BYTES) -> Unverified | Refused:
    """Decode a compact JWS with a claims set, in the only way there is to read it."""
    if len(token) > max_bytes:
        return unauthenticated("the token is too long")
    parts = token.split(".")
    if len(parts) != 3:
        return unauthenticated("the token does not have three parts")
    try:
        header, claims = (read_object(decode_segment(part)) for part in parts[:2])
        signature = decode_segment(parts[2])
    except ValueError as error:
        return unauthenticated(f"the token is malformed: {error}")
    if fault := _header_fault(header):
        return unauthenticated(fault)
    issuer = claims.get("iss")
    if not isinstance(issuer, str):
        return unauthenticated("the token names no issuer")
    signing_input = token[: len(parts[0]) + 1 + len(parts[1])].encode("ascii")
    return Unverified(header["alg"], header.get("kid"), issuer, claims, signing_input, signature)


def _header_fault(header: Mapping[str, Any]) -> str:
    """What is wrong with a JOSE header, or "". `jku`, `jwk`, `x5u` and `x5c` are not even looked at."""
    if not isinstance(header.get("alg"), str):
        return "the header names no algorithm"
    if "crit" in header:
        return "the header has critical extensions, and none is understood"
    kind = header.get("typ", "JWT")
    if not isinstance(kind, str) or kind.lower().removeprefix("application/") not in EXPECTED_TYPES:
        return "the header's typ is not that of a JWT"
    key_id = header.get("kid")
    if "kid" in header and (not isinstance(key_id, str) or len(key_id) > MAX_KEY_ID):
        return "the header's kid is not a short string"
    return ""


def decode_segment(text: str) -> bytes:
    """base64url without padding, in its one canonical spelling (RFC 7515, section 2). Raises ValueError."""
    if not _SEGMENT.fullmatch(text):
        raise ValueError("not base64url without padding")
    try:
        decoded = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error as error:
        raise ValueError("not base64url") from error
    if base64.urlsafe_b64encode(decoded).rstrip(b"=") != text.encode("ascii"):
        raise ValueError("not canonical base64url")
    return decoded


def read_object(raw: bytes) -> dict[str, Any]:
    """One JSON object of UTF-8, without duplicate keys, lone surrogates, NaN, or numbers beyond 64 bits.

    Raises ValueError with a reason that quotes nothing of the input.
    """
    try:
        value = _DECODER.decode(raw.decode("utf-8"))
    except UnicodeDecodeError:
        raise ValueError("not UTF-8") from None
    except json.JSONDecodeError:
        raise ValueError("not JSON") from None
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 - one family of errors for the caller
    if raw.count(b"{") + raw.count(b"[") > MAX_DEPTH and _depth(value) > MAX_DEPTH:
        raise ValueError("nested too deeply")
    if b"\\u" in raw:
        _refuse_surrogates(value)
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a key stands twice")
    return result


def _integer(text: str) -> int:
    if len(text) > 20 or not -(2**63) <= int(text) < 2**63:
        raise ValueError("a number does not fit 64 bits")
    return int(text)


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("a number is out of range")
    return value


def _constant(text: str) -> NoReturn:
    raise ValueError("NaN or Infinity")


def _depth(value: object) -> int:
    depth, level = 0, [value]
    while level:
        depth += 1
        level = [
            child
            for item in level
            if isinstance(item, dict | list)
            for child in (item.values() if isinstance(item, dict) else item)
        ]
    return depth - 1


def _refuse_surrogates(value: object) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError("half a character") from None


_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique, parse_int=_integer, parse_float=_float, parse_constant=_constant
)


def check_claims(
    claims: Mapping[str, Any], *, issuer: str, audiences: frozenset[str], leeway: float, now: float
) -> Refused | None:
    """The registered claims of a token whose signature is verified (RFC 7519, section 4.1); None: in order.

    issuer: to be equal byte for byte. audiences: one is enough. leeway: seconds of clock skew. now: Unix s.
    """
    if claims.get("iss") != issuer:
        return unauthenticated("the token is from another issuer")
    if not _is_for(claims.get("aud"), audiences):
        return unauthenticated("the token is not for one of the configured audiences")
    return _date_fault(claims, leeway, now)


def _is_for(audience: object, audiences: frozenset[str]) -> bool:
    named = [audience] if isinstance(audience, str) else audience
    if not isinstance(named, list) or len(named) > MAX_AUDIENCES:
        return False
    return all(isinstance(name, str) for name in named) and not audiences.isdisjoint(named)


def _date_fault(claims: Mapping[str, Any], leeway: float, now: float) -> Refused | None:
    for claim in ("exp", "nbf", "iat"):
        if claim in claims and not is_date(claims[claim]):
            return unauthenticated(f"the claim {claim} is not a date")
    if "exp" not in claims:
        return unauthenticated("the token never expires")
    if claims["exp"] + leeway <= now:
        return unauthenticated("the token has expired")
    for claim in ("nbf", "iat"):
        if claim in claims and claims[claim] - leeway > now:
            return unauthenticated(f"the token is not valid yet ({claim})")
    return None


def is_date(value: object) -> bool:
    """A NumericDate (RFC 7519, section 2): a number, which a boolean is not, within the years of a clock."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= LATEST
