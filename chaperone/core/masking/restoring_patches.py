"""What a write makes of the object that the agent sees: the patch applied to the masked document.

In that world a secret is its placeholder, wherever an operation takes it, so the outcome shows each place to which one
would go. The server's own patching is not repeated here where it needs a schema: a strategic merge patch and an applied
configuration are taken as parts of the object, in which lists are whole or name their items.
Sources: RFC 6902, RFC 7396; kubernetes/apimachinery pkg/util/strategicpatch.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import jsonpatch
import orjson
from jsonpatch import JsonPointer, JsonPointerException

from chaperone.core.body import Media
from chaperone.core.masking.place import Path
from chaperone.core.masking.restoring_search import copied, placeholders, strings

_CARRYING = frozenset({"copy", "move"})
_READING = _CARRYING | {"test"}
MOST_COPIED = 3 * 1024 * 1024
"""Bytes that the operations of one patch may copy; the API server's own limit."""
_INAPPLICABLE = (
    jsonpatch.JsonPatchException,
    JsonPointerException,
    TypeError,
    KeyError,
    IndexError,
    ValueError,
)


class Fault(NamedTuple):
    """Why a write cannot be restored. path: of the field that it is about. stale: the object has changed since."""

    path: str
    reason: str
    stale: bool = False


class Outcome(NamedTuple):
    """document: the object as the agent would see it, or the part of it that the body is; None where it cannot be told.
    reads: whether an operation reads what the object holds (copy, move, test)."""

    document: Any
    faults: tuple[Fault, ...] = ()
    reads: bool = False


def malformed(media: Media, body: Any) -> bool:
    """Whether a JSON patch is no list of operations: each has an `op` and a `path`, and pointers are text."""
    if media is not Media.JSON_PATCH:
        return not isinstance(body, dict)
    return not all(
        isinstance(each, dict)
        and isinstance(each.get("op"), str)
        and isinstance(each.get("path"), str)
        and isinstance(each.get("from", ""), str)
        for each in body
    )


def outcome(media: Media, body: Any, masked: dict[str, Any]) -> Outcome:
    """masked: the live object as the agent sees it."""
    if media is Media.JSON_PATCH:
        return _stepped(body, masked)
    if media is Media.MERGE_PATCH:
        return Outcome(merged(masked, body))
    return Outcome(body)


def merged(target: Any, patch: Any) -> Any:
    """RFC 7396. Neither is changed; the outcome shares parts of both."""
    if not isinstance(patch, dict):
        return patch
    out = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            out.pop(key, None)
        else:
            out[key] = merged(out.get(key), value)
    return out


def leaves(media: Media, body: Any) -> Iterator[tuple[Path, str, bool]]:
    """Every string of a body with its path in the object: (path, text, whether it can hold no placeholder at all: a key,
    or the words of an operation)."""
    if media is not Media.JSON_PATCH:
        yield from strings(body)
        return
    for operation in body:
        path = _parts(operation)
        for key, value in operation.items():
            if key == "value":
                yield from (((*path, *below), text, bare) for below, text, bare in strings(value))
            else:
                yield from ((path, text, True) for _, text, _ in strings({key: value}))


def reads_object(media: Media, body: Any) -> bool:
    """Whether a JSON patch has operations that read what the object holds."""
    return media is Media.JSON_PATCH and any(operation["op"] in _READING for operation in body)


def has_secret(value: Any) -> bool:
    """Whether a part of the masked document holds a placeholder. Raises UnopenableError."""
    return any(placeholders(text) for _, text, _ in strings(value))


def _stepped(operations: list[Any], masked: dict[str, Any]) -> Outcome:
    document: Any = copied(masked)
    faults: list[Fault] = []
    reads = reads_object(Media.JSON_PATCH, operations)
    twice = 0
    for operation in copied(operations):
        kind, path = operation["op"], operation["path"]
        try:
            twice += _copied(operation, document)
            fault = Fault(path, _TOO_MUCH) if twice > MOST_COPIED else _forbidden(operation, document)
            if fault is not None:
                faults.append(fault)
            elif kind != "test":
                document = jsonpatch.JsonPatch([operation]).apply(document, in_place=True)
        except _INAPPLICABLE:
            return Outcome(None, (*faults, Fault(path, _UNCLEAR)), reads)
    if not isinstance(document, dict):
        faults.append(Fault("", _NO_OBJECT))
    return Outcome(document, tuple(faults), reads)


def _copied(operation: dict[str, Any], document: Any) -> int:
    """Bytes that an operation makes twice: a few operations could make gigabytes."""
    if operation["op"] != "copy":
        return 0
    return len(orjson.dumps(JsonPointer(operation.get("from", "")).resolve(document)))


_UNCLEAR = "the operation cannot be applied to the object as it is, so what it would do with its secrets is not known"
_NO_OBJECT = "the patch leaves no object behind"
_TOO_MUCH = "the operations copy more than the API server takes"
_CARRIES = (
    "a masked value stands at {}, and may not be copied or moved; write its placeholder to the new place"
)
_GUESSES = "a masked value can only be tested against its placeholder, as it was read"
_OLD = "the placeholder that it is tested against stands for an older value; read the object again"


def _forbidden(operation: dict[str, Any], document: Any) -> Fault | None:
    """What would carry a secret elsewhere, or tell whether a guess is right."""
    kind, path = operation["op"], operation["path"]
    if kind in _CARRYING:
        source = operation.get("from", "")
        if has_secret(JsonPointer(source).resolve(document)):
            return Fault(source, _CARRIES.format(source))
    if kind == "test":
        there = JsonPointer(path).resolve(document)
        if has_secret(there) and there != operation.get("value"):
            return (
                Fault(path, _OLD, stale=True) if has_secret(operation.get("value")) else Fault(path, _GUESSES)
            )
    return None


def _parts(operation: dict[str, Any]) -> Path:
    try:
        return tuple(JsonPointer(operation["path"]).parts)
    except JsonPointerException:
        return (operation["path"],)
