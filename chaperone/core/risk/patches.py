"""What a patch can change, told from the patch alone. A "no" here is a proof; everything doubtful is a "yes".

Merge patches (RFC 7396), strategic merge patches and JSON patches (RFC 6902) name what they change. An apply does not:
a field that its manager owned and no longer sends is removed, so an apply touches everything.
Source of the directives: kubernetes/apimachinery pkg/util/strategicpatch; of lenient pointers: evanphx/json-patch.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from chaperone.core.request import Request
from chaperone.core.risk.fields import is_mapping

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCHES = ("application/apply-patch+yaml", "application/apply-patch+cbor")

LARGEST_PROOF = 256 * 1024
"""Bytes of a patch that are still read in search of a proof; above it, the outcome is asked for."""

Path = tuple[str, ...]


def patch_type(content_type: str) -> str:
    """The media type as the API server compares it: everything before the first ";", case and blanks kept."""
    return content_type.split(";", 1)[0]


def may_create(request: Request) -> bool:
    """Could this patch create its object? Only an apply can; an unknown kind of patch is taken for one."""
    return patch_type(request.content_type) not in (JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH)


def is_apply(request: Request) -> bool:
    return request.verb == "patch" and patch_type(request.content_type) in APPLY_PATCHES


def patch_touches(patch: object | None, content_type: str, paths: Iterable[Path]) -> bool:
    """Could this decoded patch change anything at, above or below one of these paths?

    patch: the decoded document (duplicate keys already refused); None: unknown, so True. content_type: of the request.
    """
    kind = patch_type(content_type)
    if kind == JSON_PATCH:
        return any(_operations_touch(patch, path) for path in paths)
    if kind == MERGE_PATCH:
        return any(_merge_touches(patch, path) for path in paths)
    if kind == STRATEGIC_PATCH:
        return any(_merge_touches(patch, path, directives=True) for path in paths)
    return True


def document(request: Request) -> object | None:
    """The body of a patch, decoded; None when it is none, too large, or could be read in two ways."""
    if request.verb != "patch" or not request.body or len(request.body) > LARGEST_PROOF:
        return None
    try:
        return _strictly(request.body.decode())
    except (ValueError, RecursionError):
        return None


def _strictly(text: str) -> object:
    decoded: object = json.loads(text, object_pairs_hook=_unambiguous, parse_constant=_refuse)
    return decoded


def _unambiguous(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    read = dict(pairs)
    if len(read) != len(pairs):
        raise ValueError("an object has the same key twice")
    return read


def _refuse(constant: str) -> object:
    raise ValueError(f"{constant} is no JSON")


def _merge_touches(patch: object, path: Path, *, directives: bool = False) -> bool:
    for key in path:
        if not is_mapping(patch):
            return True  # a scalar, a list or null replaces everything below it
        if directives and any(str(name).startswith("$") for name in patch):
            return True  # $patch, $retainKeys and $deleteFromPrimitiveList reach keys that are not named
        if key not in patch:
            return False
        patch = patch[key]
    return True


def _operations_touch(patch: object, path: Path) -> bool:
    if not isinstance(patch, list):
        return True
    return any(not is_mapping(step) or _operation_touches(step, path) for step in patch)


_OPERATIONS: Mapping[str, tuple[str, ...]] = {
    "test": (),
    "add": ("path",),
    "remove": ("path",),
    "replace": ("path",),
    "copy": ("path",),
    "move": ("path", "from"),
}
"""Which members of an operation name something that it changes."""


def _operation_touches(step: Mapping[str, Any], path: Path) -> bool:
    name = step.get("op")
    members = _OPERATIONS.get(name) if isinstance(name, str) else None
    if members is None:
        return True
    return any(_pointer_meets(step.get(member), path) for member in members)


def _pointer_meets(pointer: object, path: Path) -> bool:
    # Without its leading slash a pointer is invalid, yet servers have been seen to take it.
    if not isinstance(pointer, str) or not pointer.startswith("/"):
        return True
    keys = tuple(key.replace("~1", "/").replace("~0", "~") for key in pointer[1:].split("/"))
    shorter = min(len(keys), len(path))
    return keys[:shorter] == path[:shorter]
