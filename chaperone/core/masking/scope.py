"""The object that a value belongs to, and the way from it to the value.

While a document is walked, the way is a chain of frames (parent frame, step); only where something is masked it becomes
a path. A step is a key, a list index, or a Boundary: what follows is inside a text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from chaperone.core.masking.place import Path, Place, item_step, key_step
from chaperone.core.masking.terms import Terms
from chaperone.core.policy.terms import Exemption


class Boundary(Protocol):
    """Where a way goes on inside a text. roots: the documents that the text holds."""

    roots: list[Any]


@dataclass(slots=True)
class Scope:
    """One object. base: the way to it in the document. exempt: the exemptions that hold for it."""

    root: Any
    uid: str
    base: Path = ()
    exempt: tuple[Exemption, ...] = ()


Frame = Scope | tuple[Any, Any]
"""(parent frame, step); the outermost is the Scope."""


class Where(NamedTuple):
    """scope: the object; path and path_class as in SecretPlace."""

    scope: Scope
    path: Path
    path_class: str


def scope_of(node: Any, place: Place, terms: Terms, base: Path = ()) -> Scope:
    """The scope of an object (or of what stands for one, such as a Status)."""
    metadata = node.get("metadata") if isinstance(node, dict) else None
    known: dict[str, Any] = metadata if isinstance(metadata, dict) else {}
    namespace = _text(known.get("namespace")) or place.namespace
    uid = _text(known.get("uid"))
    if not uid:
        name = _text(known.get("name")) or place.name
        uid = f"{place.group}/{place.resource}/{namespace}/{name}"
    exempt = (
        tuple(each for each in terms.exempt if _reaches(each, node, place, namespace)) if terms.exempt else ()
    )
    return Scope(node, uid, base, exempt)


def where(frame: Frame, key: str | int) -> Where:
    """The way to a value: what `frame` leads to, and the last step."""
    steps: list[Any] = [key]
    while isinstance(frame, tuple):
        steps.append(frame[1])
        frame = frame[0]
    node, path, text = frame.root, list(frame.base), ""
    documents: list[Any] | None = None
    for at in range(len(steps) - 1, -1, -1):
        step = steps[at]
        if isinstance(step, str):
            text += key_step(step)
        elif isinstance(step, int):
            text += "" if node is documents and len(documents) == 1 else item_step(node[step])
        else:
            documents = node = step.roots
            continue
        node = node[step]
        if documents is None:
            path.append(step)
    return Where(frame, tuple(path), text.removeprefix("."))


def is_exempt(place: Where) -> bool:
    return any(exemption.covers(place.path_class) for exemption in place.scope.exempt)


def _reaches(exemption: Exemption, node: Any, place: Place, namespace: str) -> bool:
    """Whether an exemption speaks of this object. The URL decides; what an object says of itself only where the URL
    leaves it open, as in a `List`.
    """
    if place.resource:
        names, group = _singulars(place.resource.lower()), place.group
    else:
        kind = _text(node.get("kind")).lower() if isinstance(node, dict) else ""
        names = {kind, f"{kind}s", f"{kind}es", f"{kind.removesuffix('y')}ies"}
        group = _text(node.get("apiVersion")).rpartition("/")[0] if isinstance(node, dict) else ""
    return exemption.api_group == group and exemption.kind.lower() in names and exemption.reaches(namespace)


def _singulars(resource: str) -> set[str]:
    """The resource, and what its kind may be called."""
    return {
        resource,
        resource.removesuffix("s"),
        resource.removesuffix("es"),
        f"{resource.removesuffix('ies')}y",
    }


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
