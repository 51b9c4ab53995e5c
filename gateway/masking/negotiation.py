"""What the API server is asked for where its answer has to be read here: JSON, plain, not compressed.

Clients decode by the type of the answer, so JSON is understood by those that would rather have had protobuf
(kubernetes/apiserver pkg/endpoints/handlers/negotiation; client-go rest/request.go).
"""

from __future__ import annotations

from enum import Enum
from functools import lru_cache

from gateway.http.framing import Header

JSON = "application/json"
TEXT_TYPES = frozenset({"application/openmetrics-text", "application/javascript", "application/x-yaml"})
"""Readable as text although they are not named so."""
KEPT_PARAMETERS = frozenset({"as", "g", "v", "stream", "profile", "q"})
"""Of an Accept clause for JSON. `pretty` is not among them: compact JSON is read faster."""
CONDITIONAL = frozenset({b"if-none-match", b"if-modified-since"})
"""Compare with what the API server sent, which is not what the client got."""
PLAIN = (b"Accept-Encoding", b"identity")


class Media(Enum):
    """How a body can be read."""

    JSON = "json"
    TEXT = "text"
    UNKNOWN = "unknown"


@lru_cache(64)
def media_of(content_type: str) -> Media:
    """By the value of a Content-Type header. Unknown also where the text is in another character set than UTF-8."""
    kind, _, parameters = content_type.partition(";")
    kind = kind.strip().lower()
    charset = _parameters(parameters).get("charset", "utf-8").strip('"').lower()
    if charset not in ("utf-8", "utf8", "us-ascii"):
        return Media.UNKNOWN
    if kind == JSON or (kind.startswith("application/") and kind.endswith("+json")):
        return Media.JSON
    return Media.TEXT if kind.startswith("text/") or kind in TEXT_TYPES else Media.UNKNOWN


def asked(headers: list[Header], *, texts: bool) -> list[Header]:
    """The client's headers as they go upstream. texts: plain text can be read as well as JSON."""
    return list(_asked(tuple(headers), texts))


@lru_cache(512)
def _asked(headers: tuple[Header, ...], texts: bool) -> tuple[Header, ...]:
    accepted: list[bytes] = []
    kept: list[Header] = []
    for header in headers:
        name = header[0].lower()
        if name == b"accept":
            accepted.append(header[1])
        elif name != b"accept-encoding" and name not in CONDITIONAL:
            kept.append(header)
    accept = narrowed(b",".join(accepted).decode("latin-1"), texts=texts)
    return (*kept, (b"Accept", accept.encode("latin-1")), PLAIN)


def narrowed(accept: str, *, texts: bool) -> str:
    """An Accept header, clause by clause, without what cannot be read here."""
    clauses = [clause for part in accept.split(",") if (clause := _clause(part, texts=texts))]
    return ",".join(dict.fromkeys(clauses)) or (f"{JSON},text/plain" if texts else JSON)


def _clause(text: str, *, texts: bool) -> str:
    """ "" for what is dropped."""
    kind, _, rest = text.partition(";")
    kind = kind.strip().lower()
    parameters = _parameters(rest)
    if texts and (kind in ("*/*", *TEXT_TYPES) or kind.startswith("text/")):
        return ";".join([kind, *(f"{name}={value}" for name, value in parameters.items())])
    if kind in ("*/*", "application/*"):
        kind = JSON
    if kind != JSON:
        return ""
    kept = [f"{name}={value}" for name, value in parameters.items() if name in KEPT_PARAMETERS]
    return ";".join([kind, *kept])


def _parameters(text: str) -> dict[str, str]:
    """The first of each name."""
    found: dict[str, str] = {}
    for part in text.split(";"):
        name, _, value = part.partition("=")
        if name.strip():
            found.setdefault(name.strip().lower(), value.strip())
    return found


@lru_cache(256)
def accepts_gzip(headers: tuple[bytes, ...]) -> bool:
    """headers: the values of the client's Accept-Encoding."""
    for part in b",".join(headers).decode("latin-1").lower().split(","):
        coding, _, rest = part.partition(";")
        if coding.strip() in ("gzip", "x-gzip"):
            return _quality(_parameters(rest).get("q", "1")) > 0
    return False


def _quality(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
