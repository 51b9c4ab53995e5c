"""JSON inside a text, as a tree whose strings know where they stand."""

from __future__ import annotations

import json
import re
from typing import Any

import orjson

from chaperone.core.masking.nested import Nested, Slot

MAX_TEXT = 8 * 1024 * 1024
MAX_DEPTH = 100
"""Levels; deeper texts are not taken apart."""

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"(?P<key>\s*+:)?')


def read_json(text: str) -> Nested | None:
    """None for what is not JSON, or cannot be put together again (duplicate keys, lone surrogates)."""
    if len(text) > MAX_TEXT:
        return None
    try:
        root = orjson.loads(text)
    except ValueError:
        return None
    if not isinstance(root, dict | list):
        return None
    roots = [root]
    slots = _slots(roots, text)
    return None if slots is None else Nested(text, roots, slots, _write, read_json)


def _slots(roots: list[Any], text: str) -> list[Slot] | None:
    """The strings of the tree in the order of the text; None where there are not as many."""
    tokens = [match.span() for match in _STRING.finditer(text) if match["key"] is None]
    places: list[tuple[Any, str | int, str]] = []
    if not _collect(roots, places, 0) or len(places) != len(tokens):
        return None
    return [
        Slot(container, key, value, start, end)
        for (container, key, value), (start, end) in zip(places, tokens, strict=True)
    ]


def _collect(node: Any, places: list[tuple[Any, str | int, str]], depth: int) -> bool:
    """False: nested too deep."""
    if depth > MAX_DEPTH:
        return False
    for key, child in node.items() if isinstance(node, dict) else enumerate(node):
        if isinstance(child, str):
            places.append((node, key, child))
        elif isinstance(child, dict | list) and not _collect(child, places, depth + 1):
            return False
    return True


def _write(_token: str, _old: str, new: str) -> str:
    return json.dumps(new, ensure_ascii=False)
