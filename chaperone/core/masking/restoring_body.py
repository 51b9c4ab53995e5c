"""The body that is sent in place of the one that came: values for placeholders, and the state of the object that they
were read from, so that an older value is never written over a newer one.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import orjson

from chaperone.core.body import Decoded, Media
from chaperone.core.masking.place import Path
from chaperone.core.masking.restoring_places import mapped

Resolve = Callable[[str, Path], str]
_SAFE_DIGITS = 18
"""Integers of so many digits fit into 64 bits."""
_VERSION: Path = ("metadata", "resourceVersion")


class UnpinnableError(ValueError):
    """The body has no place for the version of the object."""


def restored(raw: bytes, decoded: Decoded, resolve: Resolve | None) -> bytes:
    """The body with its placeholders resolved, as JSON (which every reader of YAML reads). Raises NotTextError."""
    if resolve is None:
        return raw
    body = _spelled(raw, decoded.value)
    if decoded.media is Media.JSON_PATCH:
        return orjson.dumps([_operation(each, resolve) for each in body])
    return orjson.dumps(mapped(body, resolve))


def pinned(raw: bytes, media: Media, version: str) -> bytes:
    """The same for this state of the object alone. raw: JSON. A version that the body brings itself stays. Raises
    UnpinnableError."""
    body = _spelled(raw, None)
    if media is Media.JSON_PATCH:
        pin = {"op": "replace", "path": "/metadata/resourceVersion", "value": version}
        return orjson.dumps([pin, *body])
    metadata = body.get("metadata") or {}
    if not isinstance(metadata, dict):
        raise UnpinnableError
    if not metadata.get("resourceVersion"):
        body["metadata"] = {**metadata, "resourceVersion": version}
    return orjson.dumps(body)


def _operation(operation: dict[str, Any], resolve: Resolve) -> dict[str, Any]:
    if "value" not in operation:
        return operation
    path = tuple(
        part.replace("~1", "/").replace("~0", "~") for part in str(operation.get("path")).split("/")[1:]
    )
    return {
        **operation,
        "value": mapped(operation["value"], lambda text, below: resolve(text, (*path, *below))),
    }


def _spelled(raw: bytes, otherwise: Any) -> Any:
    """The body as JSON, with its numbers as they are spelled; of YAML, what was read before."""
    try:
        return json.loads(raw, parse_int=_integer, parse_float=orjson.Fragment)
    except ValueError:
        return otherwise


def _integer(text: str) -> Any:
    return int(text) if len(text) <= _SAFE_DIGITS else orjson.Fragment(text)
