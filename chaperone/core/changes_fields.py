"""The fields of an object, and how two states of it differ. Pure.

A field is a path of keys that ends in what is no mapping, or in an empty one. A list is one field as a whole: who else
has changed an item of it has changed the field. What servers write by themselves is no field.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from typing import Any, NamedTuple

from chaperone.core.legible import visible
from chaperone.core.masking.placeholder import find
from chaperone.core.url import REDACTED

Path = tuple[str, ...]
Object = Mapping[str, Any]

SERVERS = frozenset(
    {"resourceVersion", "generation", "managedFields", "creationTimestamp", "uid", "selfLink"}
    | {"deletionTimestamp", "deletionGracePeriodSeconds"}
)
"""What the API server keeps in `metadata` for itself."""
LAST_APPLIED = ("metadata", "annotations", "kubectl.kubernetes.io/last-applied-configuration")
"""kubectl's own copy of what was applied."""
CONTROLLERS = (
    "deployment.kubernetes.io/",
    "pv.kubernetes.io/",
    "volume.kubernetes.io/",
    "volume.beta.kubernetes.io/",
    "control-plane.alpha.kubernetes.io/",
)
"""How annotations begin that the control plane's own controllers keep."""
MOST_DEPTH = 200
"""Of an object whose fields are looked at; what lies deeper is one field."""


class Missing(Enum):
    """What stands in the place of a field that is not there."""

    MISSING = "missing"


ABSENT = Missing.MISSING


class FieldChange(NamedTuple):
    """before, after: a value (JSON), or ABSENT."""

    before: Any
    after: Any


Fields = Mapping[Path, FieldChange]


def steady(obj: Object, *, status: bool = False) -> dict[str, Any]:
    """Without what servers write. status: the state is one of the subresource `status`, so that is kept."""
    kept = {key: value for key, value in obj.items() if status or key != "status"}
    metadata = kept.get("metadata")
    if isinstance(metadata, Mapping):
        kept["metadata"] = {key: value for key, value in metadata.items() if key not in SERVERS}
    return kept


def is_controllers(path: Path) -> bool:
    """Whether a controller of the control plane keeps this field."""
    return path[:2] == ("metadata", "annotations") and path[-1].startswith(CONTROLLERS)


def leaves(obj: Object) -> dict[Path, Any]:
    """Every field and its value."""
    return dict(_leaves(obj, ()))


def _leaves(value: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    if not isinstance(value, Mapping) or (path and not value) or len(path) >= MOST_DEPTH:
        yield path, value
        return
    for key, child in value.items():
        yield from _leaves(child, (*path, str(key)))


def differences(before: Object, after: Object) -> dict[Path, FieldChange]:
    """Fields that are not the same in both, in the order of their paths."""
    was, now = leaves(before), leaves(after)
    pairs = {path: FieldChange(was.get(path, ABSENT), now.get(path, ABSENT)) for path in was.keys() | now}
    return {path: pairs[path] for path in sorted(pairs) if not same(*pairs[path])}


def solid(fields: Fields) -> Fields:
    """Without mappings that were empty on one side: what is in them on the other is there field by field."""
    above = {path[:length] for path in fields for length in range(1, len(path))}
    return {path: change for path, change in fields.items() if path not in above}


def value_at(obj: Object, path: Path) -> Any:
    """ABSENT where there is none."""
    value: Any = obj
    for key in path:
        if not isinstance(value, Mapping) or key not in value:
            return ABSENT
        value = value[key]
    return value


def same(one: Any, other: Any) -> bool:
    """As JSON: true is not 1, and 1 is 1.0."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def with_values(obj: Object, values: Mapping[Path, Any]) -> dict[str, Any]:
    """A copy in which these fields have these values; ABSENT takes a field away, and mappings that are empty then."""
    made = _copied(obj)
    for path, value in values.items():
        if value is ABSENT:
            _remove(made, path)
    for path, value in values.items():
        if value is not ABSENT:
            _put(made, path, value)
    return made


def _copied(obj: Object) -> dict[str, Any]:
    """Its mappings anew; lists and values are shared, for they are never changed."""
    return {key: _copied(value) if isinstance(value, Mapping) else value for key, value in obj.items()}


def _remove(obj: dict[str, Any], path: Path) -> None:
    parents: list[dict[str, Any]] = [obj]
    for key in path[:-1]:
        child = parents[-1].get(key)
        if not isinstance(child, dict):
            return
        parents.append(child)
    if parents[-1].get(path[-1]) and isinstance(parents[-1][path[-1]], dict):
        return  # somebody else has put something there
    parents[-1].pop(path[-1], None)
    for parent, key in zip(reversed(parents[:-1]), reversed(path[:-1]), strict=True):
        if not parent[key]:
            del parent[key]


def _put(obj: dict[str, Any], path: Path, value: Any) -> None:
    for key in path[:-1]:
        child = obj.get(key)
        if not isinstance(child, dict):
            child = obj[key] = {}
        obj = child
    if value == {} and isinstance(obj.get(path[-1]), dict):
        return
    obj[path[-1]] = value


# What is hidden in a record


def placeholders(value: Any) -> frozenset[str]:
    """Everything in a value that stands for what was masked before it was recorded."""
    return frozenset(mark for text in texts(value) for mark in _marks(text))


def texts(value: Any) -> Iterator[str]:
    """Every text at any depth, keys among them."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, Mapping):
            waiting += [*map(str, item), *item.values()]
        elif isinstance(item, list):
            waiting += item


def _marks(text: str) -> Iterator[str]:
    for found in find(text):
        yield found.placeholder
    if REDACTED in text:
        yield REDACTED  # the record was written without a token that stood here


# In words

NAMED = 5
"""Fields or objects that a sentence names."""


def named(words: Iterable[str]) -> str:
    """The first of them, and how many more there are."""
    listed = list(words)
    more = f" and {len(listed) - NAMED} more" if len(listed) > NAMED else ""
    return visible(", ".join(listed[:NAMED]), 800) + more


def spelled(path: Iterable[str | int]) -> str:
    """`spec.template.metadata.labels[app.kubernetes.io/name]`, legible."""
    words = ""
    for part in path:
        if isinstance(part, int):
            words += f"[{part}]"
        elif part.isidentifier() or part.replace("-", "_").isidentifier():
            words += f".{part}" if words else part
        else:
            words += f"[{visible(part, 253)}]"
    return words


def told(fields: Fields) -> Iterator[tuple[str, FieldChange]]:
    """The fields as people read them: without mappings that were empty on one side, and without kubectl's own copy."""
    for path, change in solid(fields).items():
        if path != LAST_APPLIED:
            yield from detailed(path, change)


def detailed(path: Path, change: FieldChange) -> Iterator[tuple[str, FieldChange]]:
    """The same change as people read it: lists item by item, by name where all of them have one."""
    yield from _detailed(list(path), change)


def _detailed(path: list[str | int], change: FieldChange) -> Iterator[tuple[str, FieldChange]]:
    before, after = change
    if same(before, after):
        return
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        pairs = _keyed(before, after)
    elif isinstance(before, list) and isinstance(after, list) and before and after:
        pairs = _items(before, after)
    else:
        yield spelled(path), change
        return
    for key, pair in pairs:
        yield from _detailed([*path, key], pair)


Pairs = Iterator[tuple[str | int, FieldChange]]


def _keyed(before: Mapping[str, Any], after: Mapping[str, Any]) -> Pairs:
    for key in sorted(before.keys() | after.keys()):
        yield key, FieldChange(before.get(key, ABSENT), after.get(key, ABSENT))


def _items(before: list[Any], after: list[Any]) -> Pairs:
    was, now = _names(before), _names(after)
    if was is not None and now is not None:
        for name in {**was, **now}:
            yield f"name={name}", FieldChange(was.get(name, ABSENT), now.get(name, ABSENT))
        return
    for at in range(max(len(before), len(after))):
        yield at, FieldChange(*(items[at] if at < len(items) else ABSENT for items in (before, after)))


def _names(items: list[Any]) -> dict[str, Any] | None:
    """By name; None where one has none, or two the same."""
    names = {
        item["name"]: item for item in items if isinstance(item, Mapping) and type(item.get("name")) is str
    }
    return names if len(names) == len(items) else None
