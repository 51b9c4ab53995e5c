"""From the bytes of a body to what it would store. Strict: what two readers could take differently is refused.

The API server takes JSON, YAML and protobuf. JSON and YAML are read here; protobuf and CBOR are left undetermined,
and the rules then count every condition on them as matched.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import orjson
import yaml

JSON_TYPES = frozenset(
    {
        "",
        "application/json",
        "application/merge-patch+json",
        "application/strategic-merge-patch+json",
        "application/json-patch+json",
    }
)
YAML_TYPES = frozenset({"application/yaml", "application/apply-patch+yaml"})
BINARY_TYPES = frozenset(
    {"application/vnd.kubernetes.protobuf", "application/cbor", "application/apply-patch+cbor"}
)
MOST_DEPTH = 512


@dataclass(frozen=True, slots=True)
class Unusable:
    """A body that no rule can be applied to. code: 400 or 415."""

    code: int
    message: str


class Opaque:
    """A body in an encoding that is not read here."""


OPAQUE = Opaque()


def read_body(body: bytes, content_type: str) -> object | Unusable | Opaque:
    """The decoded document. An empty body is None."""
    if not body:
        return None
    media = content_type.partition(";")[0].strip().lower()
    if media in JSON_TYPES:
        return _json(body)
    if media in YAML_TYPES:
        return _yaml(body)
    if media in BINARY_TYPES:
        return OPAQUE
    return Unusable(415, f"the content type {media[:80]!r} is not one that the API server stores")


def read_object(body: bytes) -> Mapping[str, Any] | None:
    """An object from the API server itself; None when it is no JSON object."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None


def _json(body: bytes) -> object | Unusable:
    try:
        orjson.loads(body)
        document: object = json.loads(body, object_pairs_hook=_unique, parse_constant=_constant)
    except _DuplicateKeyError as error:
        return Unusable(400, str(error))
    except (ValueError, RecursionError):
        return Unusable(400, "the body is not the JSON that its Content-Type promises")
    return document


class _DuplicateKeyError(ValueError):
    pass


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise _DuplicateKeyError("the body has the same key twice in one object")
    return result


def _constant(text: str) -> NoReturn:
    raise ValueError(text)


class _Loader(yaml.CSafeLoader if hasattr(yaml, "CSafeLoader") else yaml.SafeLoader):  # type: ignore[misc]
    """One document, no aliases (they expand without bound), no doubled keys, timestamps left as strings."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            raise yaml.YAMLError("aliases are not accepted")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        result: dict[Hashable, Any] = super().construct_mapping(node, deep)
        if len(result) != len(node.value):
            raise _DuplicateKeyError("the body has the same key twice in one object")
        return result


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _yaml(body: bytes) -> object | Unusable:
    if body.lstrip()[:1] == b"{":
        return _json(body)
    try:
        document: object = yaml.load(body, _Loader)  # noqa: S506 - a SafeLoader
    except _DuplicateKeyError as error:
        return Unusable(400, str(error))
    except (yaml.YAMLError, ValueError, RecursionError):
        return Unusable(400, "the body is not the YAML that its Content-Type promises")
    return document
