"""Reading decoded objects without trusting their shape. Nothing here raises, whatever the object looks like.

A JSON null is an absent field, as for the API server. A value of a type that the field cannot have is UNREADABLE.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from types import NoneType
from typing import Any, Final, Literal, TypeGuard

from chaperone.core.risk.row import NO, UNKNOWN, YES, Outcome


class _Mark(Enum):
    UNREADABLE = "unreadable"


UNREADABLE: Final = _Mark.UNREADABLE
Unreadable = Literal[_Mark.UNREADABLE]


def is_mapping(value: object) -> TypeGuard[Mapping[str, Any]]:
    # Asking the abstract class is slow, so what JSON decodes to is told apart first.
    return isinstance(value, dict) or (not isinstance(value, _JSON_OTHERS) and isinstance(value, Mapping))


_JSON_OTHERS = (str, list, int, float, NoneType)


def field(obj: object, *path: str) -> Any:
    """The value at a path of keys; None when absent; UNREADABLE when something on the way is no object."""
    for key in path:
        if obj is None:
            return None
        if not is_mapping(obj):
            return UNREADABLE
        obj = obj.get(key)
    return obj


def flag(value: object) -> Outcome:
    """Is this boolean field true? Anything but a boolean cannot be told."""
    if value is None or value is False:
        return NO
    return YES if value is True else UNKNOWN


def is_one_of(value: object, wanted: Iterable[str]) -> Outcome:
    """Is this text field one of the wanted values?"""
    if value is None:
        return NO
    if not isinstance(value, str):
        return UNKNOWN
    return YES if value in wanted else NO


def objects(value: object) -> tuple[list[Mapping[str, Any]], bool]:
    """The objects of a list field, and whether that was all there is to read."""
    if value is None:
        return [], True
    if not isinstance(value, list):
        return [], False
    found = [item for item in value if is_mapping(item)]
    return found, len(found) == len(value)


def any_object(value: object, test: Callable[[Mapping[str, Any]], Outcome]) -> Outcome:
    """Does the test hold for some object of this list field?"""
    items, complete = objects(value)
    return any_of((test(item) for item in items), complete=complete)


def any_of(outcomes: Iterable[Outcome], *, complete: bool = True) -> Outcome:
    """The strongest outcome. complete False: there was more than could be looked at, so NO becomes UNKNOWN."""
    strongest = NO if complete else UNKNOWN
    for outcome in outcomes:
        if outcome is YES:
            return YES
        strongest = max(strongest, outcome)
    return strongest


def texts(value: object) -> frozenset[str] | Unreadable:
    """The entries of a list of strings."""
    if value is None:
        return frozenset()
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        return UNREADABLE
    return frozenset(value)


def flat(value: object) -> dict[str, Any] | Unreadable:
    """An object of scalars, such as labels. Nested values are refused: comparing them could recurse without end."""
    if value is None:
        return {}
    if not is_mapping(value):
        return UNREADABLE
    items = dict(value)
    return UNREADABLE if any(isinstance(item, (dict, list, Mapping)) for item in items.values()) else items
