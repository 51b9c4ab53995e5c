"""What an answer consists of: one object, a list of them, a table, an event of a watch, a Status."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from chaperone.core.masking.keys import is_secret
from chaperone.core.masking.place import Path, Place
from chaperone.core.masking.scope import Frame, scope_of
from chaperone.core.masking.walk import KEY_NAME, Walk
from chaperone.core.masking.work import LINES

_EVENTS = frozenset({"ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR"})


def walk_document(walk: Walk, document: Any, place: Place, base: Path = ()) -> None:
    """Walk all objects of an answer."""
    if isinstance(document, list):
        for index, item in enumerate(document):
            walk_document(walk, item, place, (*base, index))
    elif isinstance(document, dict):
        if _is_event(document):
            walk_document(walk, document["object"], place, (*base, "object"))
        elif document.get("kind") == "Table" and isinstance(document.get("rows"), list):
            _table(walk, document, place, base)
        elif isinstance(document.get("items"), list) and _is_list(document, place):
            _list(walk, document, place, base)
        else:
            _object(walk, document, place, base)


def _is_event(document: dict[str, Any]) -> bool:
    return (
        document.get("type") in _EVENTS
        and isinstance(document.get("object"), dict)
        and "kind" not in document
    )


def _is_list(document: dict[str, Any], place: Place) -> bool:
    kind = document.get("kind")
    return kind.endswith("List") if isinstance(kind, str) else not place.name


def _object(walk: Walk, node: dict[str, Any], place: Place, base: Path) -> None:
    frame = scope_of(node, place, walk.work.terms, base)
    if _is_secret(place) and node.get("kind") != "Secret":
        walk.secret(node, frame)
    elif _is_config_map(place) and node.get("kind") != "ConfigMap":
        walk.config_map(node, frame)
    walk.object_(node, frame)


def _is_secret(place: Place) -> bool:
    """Whether the URL is that of Secrets: then everything there is one, whatever it calls itself."""
    return place.kind == "Secret" or (place.resource == "secrets" and not place.group)


def _is_config_map(place: Place) -> bool:
    return place.kind == "ConfigMap" or (place.resource == "configmaps" and not place.group)


def _list(walk: Walk, document: dict[str, Any], place: Place, base: Path) -> None:
    kind = document.get("kind")
    if isinstance(kind, str) and kind.endswith("List") and kind != "List" and not place.kind:
        place = replace(place, kind=kind.removesuffix("List"))
    for index, item in enumerate(document["items"]):
        walk_document(walk, item, place, (*base, "items", index))
    scope = scope_of(document, place, walk.work.terms, base)
    for key, value in document.items():
        if isinstance(value, dict):
            walk.object_(value, (scope, key))


def _table(walk: Walk, table: dict[str, Any], place: Place, base: Path) -> None:
    """Cells are columns of an object; a column may show a field whose name says that it is a secret."""
    secret = _secret_columns(walk, table.get("columnDefinitions"))
    for index, row in enumerate(table["rows"]):
        if not isinstance(row, dict):
            continue
        where = (*base, "rows", index)
        inner = row.get("object")
        if isinstance(inner, dict):
            walk_document(walk, inner, place, (*where, "object"))
        cells = row.get("cells")
        if isinstance(cells, list):
            metadata = inner if isinstance(inner, dict) else {}
            scope = scope_of(metadata, place, walk.work.terms, where)
            scope.root = row
            _cells(walk, cells, (scope, "cells"), secret)


def _secret_columns(walk: Walk, columns: Any) -> frozenset[int]:
    names = (
        [column.get("name") if isinstance(column, dict) else "" for column in columns]
        if isinstance(columns, list)
        else []
    )
    return frozenset(
        index
        for index, name in enumerate(names)
        if isinstance(name, str) and is_secret(walk.work.judge(name))
    )


def _cells(walk: Walk, cells: list[Any], frame: Frame, secret: frozenset[int]) -> None:
    for index, cell in enumerate(cells):
        if isinstance(cell, str) and cell:
            if index in secret and not _is_count(cell):
                walk.work.hide(cells, index, frame, KEY_NAME)
            walk.work.leaves.append((cells, index, frame, LINES))


def _is_count(cell: str) -> bool:
    """A column such as "Secrets" of a ServiceAccount says how many."""
    return cell.isdigit() or cell in ("<none>", "<unknown>")
