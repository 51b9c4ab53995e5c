"""What a query decides: list or watch, the one name that a field selector requires, and what is said twice.

Sources: kubernetes/apimachinery pkg/fields/selector.go (grammar of field selectors),
pkg/runtime/conversion.go (booleans), kubernetes/apiserver requestinfo.go (which selector names an object).
"""

from __future__ import annotations

from collections.abc import Sequence

from chaperone.core.legible import visible
from chaperone.core.url import Unreadable

Parameters = Sequence[tuple[str, str]]

_REPEATABLE = frozenset({"watch", "command", "ports", "dryRun"})
"""Lists, and `watch`, of which the first value is known to decide."""
_INTEGERS = frozenset({"limit", "timeoutSeconds"})
_UNREADABLE_SELECTOR = Unreadable(
    400, "the fieldSelector cannot be read; write field=value, separated by commas"
)


def asks_watch(parameters: Parameters) -> bool:
    """The first `watch` decides; only "0" and "false" in any letter case mean no."""
    for key, value in parameters:
        if key == "watch":
            return value != "0" and value.lower() != "false"
    return False


def ambiguity(parameters: Parameters) -> Unreadable | None:
    """A parameter given twice with different values, or a dry run that is none."""
    first: dict[str, str] = {}
    for key, value in parameters:
        if key == "dryRun" and value != "All":
            return Unreadable(400, 'dryRun must be "All"')
        if first.setdefault(key, value) != value and key not in _REPEATABLE:
            return Unreadable(
                400, f"the query gives {visible(key, 80)!r} more than once, with different values"
            )
    return None


def selected_name(parameters: Parameters) -> str | Unreadable:
    """The name that `fieldSelector` requires exactly, or "". Unreadable when list options do not parse: the
    API server would judge them by a fallback and then refuse them.
    """
    selector = ""
    for key, value in parameters:
        if key == "fieldSelector":
            selector = value
        elif key in _INTEGERS and not _is_integer(value):
            return Unreadable(400, f"{key} must be a whole number")
    return _exact_name(selector) if selector else ""


def _exact_name(selector: str) -> str | Unreadable:
    name = ""
    for term in sorted(_terms(selector)):
        if not term:
            continue
        requirement = _requirement(term)
        if requirement is None:
            return _UNREADABLE_SELECTOR
        field, operator, value = requirement
        if field == "metadata.name" and operator != "!=" and not name:
            name = value
    return name if _may_be_path_segment(name) else ""


def _terms(selector: str) -> list[str]:
    """Split at commas; a backslash shields the next character and stays."""
    terms, start, shielded = [], 0, False
    for at, character in enumerate(selector):
        if shielded:
            shielded = False
        elif character == "\\":
            shielded = True
        elif character == ",":
            terms.append(selector[start:at])
            start = at + 1
    return [*terms, selector[start:]]


def _requirement(term: str) -> tuple[str, str, str] | None:
    """Field, operator and unescaped value; split at the first operator, the longest that stands there."""
    at = min((found for found in (term.find("!="), term.find("=")) if found >= 0), default=-1)
    if at < 0:
        return None
    operator = next(sign for sign in ("!=", "==", "=") if term.startswith(sign, at))
    value = _unescaped(term[at + len(operator) :])
    return None if value is None else (term[:at], operator, value)


def _unescaped(value: str) -> str | None:
    """None where a backslash shields nothing, or a comma or equals sign stands unshielded."""
    plain, shielded = [], False
    for character in value:
        if not shielded and character == "\\":
            shielded = True
            continue
        if (character in "\\,=") != shielded:
            return None
        plain.append(character)
        shielded = False
    return None if shielded else "".join(plain)


def _may_be_path_segment(name: str) -> bool:
    return name not in (".", "..") and "/" not in name and "%" not in name


def _is_integer(value: str) -> bool:
    return value.isascii() and value.removeprefix("-").removeprefix("+").isdigit()
