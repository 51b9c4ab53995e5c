"""What every page asks before it shows or does something."""

from __future__ import annotations

from typing import Any

from flask import abort, current_app, g, request

from chaperone.core.legible import visible


def require(
    verb: str, kind: str, name: str = "", *, role: str = "chaperone-approver", fresh: bool = False
) -> None:
    """403 in words unless RBAC lets the person do this to our kinds. role: a stock ClusterRole that would."""
    if not services().rights.may(g.person, verb, kind, name=name, fresh=fresh):
        abort(403, f"you may not {verb} {kind}.chaperone.dev: ask for the ClusterRole {role}")


def found(obj: Any, kind: str) -> Any:
    """The object, or 404."""
    if obj is None:
        abort(404, f"there is no such {kind} (any more)")
    return obj


def is_part() -> bool:
    """htmx asks for the changing part of a page only."""
    return bool(request.headers.get("HX-Request"))


def services() -> Any:
    """What the pages work with (console.app.Services)."""
    return current_app.extensions["chaperone"]


def shown(value: object, most: int = 253) -> str:
    """A value from the cluster, made visible; "" for None."""
    return "" if value is None else visible(str(value), most)


def visible_lines(value: object, most: int = 20_000) -> str:
    """Text of strangers on several lines: line ends stay, whatever else cannot be seen is shown."""
    return "\n".join(visible(line, most) for line in str(value)[:most].splitlines())
