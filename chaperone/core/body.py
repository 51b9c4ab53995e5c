"""Request bodies: from bytes to the one value that everybody reads alike, or to the reason why not.

What the API server would store must be what policy saw: duplicate keys, NaN, lone surrogates, YAML that two
versions of YAML read differently, and content types that disagree with the body are refused. Sources: RFC
8259; kubernetes/apiserver pkg/endpoints/handlers (patch types, default content type); YAML 1.1 and 1.2.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from enum import Enum
from typing import Any

import orjson

from chaperone.core.legible import visible
from chaperone.core.yaml_document import read_yaml

MAX_BODY = 3 * 1024 * 1024
"""Bytes; the API server's own limit."""
MAX_YAML = 128 * 1024
"""Bytes of a body that is YAML and not JSON: reading it costs a hundred times as much."""
MAX_DEPTH = 128
"""Objects and lists inside each other."""


class Media(Enum):
    """The body formats of the API server that are known here."""

    JSON = "application/json"
    YAML = "application/yaml"
    PROTOBUF = "application/vnd.kubernetes.protobuf"
    CBOR = "application/cbor"
    JSON_PATCH = "application/json-patch+json"
    MERGE_PATCH = "application/merge-patch+json"
    STRATEGIC_MERGE_PATCH = "application/strategic-merge-patch+json"
    APPLY = "application/apply-patch+yaml"
    APPLY_CBOR = "application/apply-patch+cbor"


PATCHES = frozenset(
    {Media.JSON_PATCH, Media.MERGE_PATCH, Media.STRATEGIC_MERGE_PATCH, Media.APPLY, Media.APPLY_CBOR}
)
_YAML = frozenset({Media.YAML, Media.APPLY})
_BINARY = {
    Media.PROTOBUF: (b"k8s\x00",),
    Media.CBOR: (b"\xd9\xd9\xf7",),
    Media.APPLY_CBOR: (b"\xd9\xd9\xf7",),
}
"""How a body of a binary format begins."""
_UNLIKE_YAML = re.compile(rb"[0-9][eE][-+]?[0-9]|[0-9]{19}")
"""JSON numbers that YAML readers do not all read as JSON readers do."""
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_BY_NAME = {media.value: media for media in Media} | {
    "text/yaml": Media.YAML,
    "application/x-yaml": Media.YAML,
}


@dataclass(frozen=True, slots=True)
class Decoded:
    """value: the decoded body, None when there is none. An object, or for a JSON Patch a list of objects."""

    value: Any
    media: Media = Media.JSON


@dataclass(frozen=True, slots=True)
class Undecodable:
    """opaque: a format that the API server reads and we do not (protobuf, CBOR): the body is undetermined,
    and who needs it refuses with this code. Otherwise the body is wrong, and the request is always
    refused with it.
    """

    reason: str
    code: int
    opaque: bool = False


def decode(body: bytes, content_type: str = "", verb: str = "create") -> Decoded | Undecodable:
    """Read the body of one request. content_type: the header's value, "" when missing. verb: the request's
    verb.

    A missing content type means JSON, but for a patch, whose content type says what kind of patch it is. Not
    for what goes on behind a proxy subresource: that body is in words of the server there.
    """
    if len(body) > MAX_BODY:
        return Undecodable(f"the body is longer than {MAX_BODY} bytes", 413)
    if not body:
        return Decoded(None)
    media = media_of(content_type, verb)
    if isinstance(media, Undecodable):
        return media
    if media in _BINARY:
        return _binary(body, media)
    value = _text(body, media)
    if isinstance(value, Undecodable):
        return value
    expected: type = list if media is Media.JSON_PATCH else dict
    if not isinstance(value, expected):
        kind = "a list of operations" if expected is list else "an object"
        return Undecodable(f"the body is not {kind}, which {media.value} must be", 400)
    return Decoded(value, media)


def media_of(content_type: str, verb: str) -> Media | Undecodable:
    """The format that a Content-Type header names. Unknown, malformed, or for another verb:
    Undecodable(415).
    """
    name, charset = media_type(content_type)
    if charset not in ("", "utf-8", "utf8", "us-ascii"):
        return Undecodable(f"charset {visible(charset, 40)!r} is not supported; send UTF-8", 415)
    if not name and verb != "patch":
        return Media.JSON
    media = _BY_NAME.get(name)
    if media is None:
        return Undecodable(f"content type {visible(content_type, 80)!r} is not supported", 415)
    if (media in PATCHES) is not (verb == "patch"):
        patches = ", ".join(sorted(patch.value for patch in PATCHES))
        remedy = f"one of {patches}" if verb == "patch" else "application/json"
        return Undecodable(f"content type {media.value} does not fit {verb}; send {remedy}", 415)
    return media


def media_type(content_type: str) -> tuple[str, str]:
    """Name and charset of a Content-Type value, in lower case; "" where there is none."""
    name, _, parameters = content_type.partition(";")
    for parameter in parameters.split(";"):
        key, _, value = parameter.partition("=")
        if key.strip().lower() == "charset":
            return name.strip().lower(), value.strip().strip('"').lower()
    return name.strip().lower(), ""


def _binary(body: bytes, media: Media) -> Undecodable:
    if not body.startswith(_BINARY[media]):
        return Undecodable(f"the body is not {media.value}, as its content type says", 400)
    return Undecodable(f"a body in {media.value} cannot be judged; send application/json", 415, opaque=True)


def _text(body: bytes, media: Media) -> Any | Undecodable:
    """A YAML body that is JSON (as kubectl sends it for apply) is read as JSON, unless YAML could differ."""
    if media not in _YAML:
        return read_json(body)
    if body.lstrip()[:1] == b"{" and not _UNLIKE_YAML.search(_STRING.sub(b"", body)):
        value = read_json(body)
        if not isinstance(value, Undecodable):
            return value
    return _read_yaml(body)


def read_json(body: bytes) -> Any | Undecodable:
    """Strict JSON: no duplicate keys, no NaN, no lone surrogates, bounded depth; integers of any size stay
    exact.
    """
    try:
        value = orjson.loads(body)
        if _is_deep(body, value):
            return Undecodable(f"the body is nested more than {MAX_DEPTH} deep", 400)
        if orjson.dumps(value) != body.strip(b" \t\r\n"):
            value = json.loads(body, object_pairs_hook=_unique)
    except ValueError as error:
        return Undecodable(f"the body is not readable JSON: {visible(str(error), 200)}", 400)
    return value


def _read_yaml(body: bytes) -> Any | Undecodable:
    if len(body) > MAX_YAML:
        return Undecodable(f"the body is YAML and longer than {MAX_YAML} bytes; send it as JSON", 413)
    try:
        return read_yaml(body, MAX_DEPTH)
    except ValueError as error:
        return Undecodable(f"the body is not readable YAML: {visible(str(error), 200)}", 400)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    unique: dict[str, Any] = {}
    for key, value in pairs:
        if key in unique:
            raise ValueError(f"the key {key!r} stands twice in one object")
        unique[key] = value
    return unique


def _is_deep(body: bytes, value: Any) -> bool:
    """Few brackets cannot be deep: that is looked at first."""
    if body.count(b"{") + body.count(b"[") <= MAX_DEPTH:
        return False
    level, depth = [value], 0
    while level and depth <= MAX_DEPTH:
        level, depth = [child for parent in level for child in _children(parent)], depth + 1
    return depth > MAX_DEPTH


def _children(parent: Any) -> list[Any]:
    """The objects and lists directly inside."""
    if not isinstance(parent, dict | list):
        return []
    children = parent.values() if isinstance(parent, dict) else parent
    return [child for child in children if isinstance(child, dict | list)]
