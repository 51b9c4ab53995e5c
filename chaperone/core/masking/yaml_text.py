"""YAML inside a text (one document or many), as trees whose scalars know where they stand.

Read event by event, never constructed: no tag makes an object, no alias is followed into a collection. Every scalar is
a string here, numbers too: the text is free to hold a placeholder instead.
"""

from __future__ import annotations

import json
import re
from typing import Any

import yaml

from chaperone.core.masking.nested import Nested, Slot
from chaperone.core.masking.placeholder import find

MAX_TEXT = 2 * 1024 * 1024
MAX_DEPTH = 100

_LIKE_YAML = re.compile(r"(?m)^[ \t]*(?:- +)*[\"']?[\w./\-]+[\"']?[ \t]*:(?:[ \t]|$)|^---|^[ \t]*- ")
_BLOCK = re.compile(r"[|>][-+0-9]*[ \t]*(?:#[^\n]*)?\n")
_PROPERTIES = re.compile(r"(?:[&!]\S*\s+)*")
_PLAIN_SAFE = re.compile(r"[A-Za-z][\w.@/\-]*")


class _UnclearError(Exception):
    """The text is YAML, and cannot be put together again."""


class _Builder:
    """Puts events together. stack: the collections that are open, each with the key that waits for a value."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.roots: list[Any] = []
        self.slots: list[Slot] = []
        self.shared = False
        self.stack: list[tuple[Any, list[str]]] = []
        self.anchors: dict[str, Slot] = {}

    def take(self, event: Any) -> None:
        kind = event.__class__
        if kind is yaml.ScalarEvent:
            self._scalar(event)
        elif kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
            self._open({} if kind is yaml.MappingStartEvent else [])
        elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
            self.stack.pop()
        elif kind is yaml.AliasEvent:
            self._alias(event.anchor)

    def _scalar(self, event: Any) -> None:
        start, end = event.start_mark.index, event.end_mark.index
        if self._awaits_key():
            self._key(event.value)
            return
        if event.anchor is not None or event.tag is not None:
            start = _PROPERTIES.match(self.text, start).end()  # type: ignore[union-attr]
        container, key = self._add(event.value)
        slot = Slot(container, key, event.value, start, end)
        self.slots.append(slot)
        if event.anchor is not None:
            self.anchors[event.anchor] = slot

    def _alias(self, anchor: str) -> None:
        """A scalar stands at both places; of a collection only its own place is looked at."""
        self.shared = True
        if self._awaits_key():
            self._key(f"*{anchor}")
            return
        slot = self.anchors.get(anchor)
        container, key = self._add(slot.value if slot else None)
        if slot:
            self.slots.append(Slot(container, key, slot.value, slot.start, slot.end))

    def _open(self, collection: Any) -> None:
        if self._awaits_key() or len(self.stack) >= MAX_DEPTH:
            raise _UnclearError
        self._add(collection)
        self.stack.append((collection, []))

    def _awaits_key(self) -> bool:
        return bool(self.stack) and isinstance(self.stack[-1][0], dict) and not self.stack[-1][1]

    def _key(self, key: str) -> None:
        parent, waiting = self.stack[-1]
        if key in parent:
            raise _UnclearError
        waiting.append(key)

    def _add(self, value: Any) -> tuple[Any, str | int]:
        parent, waiting = self.stack[-1] if self.stack else (self.roots, [])
        if isinstance(parent, list):
            parent.append(value)
            return parent, len(parent) - 1
        key = waiting.pop()
        parent[key] = value
        return parent, key


def looks_like_yaml(text: str) -> bool:
    """Whether it is worth a try: a line with a key or an item of a list, and nothing that only templates have."""
    return _LIKE_YAML.search(text) is not None


def read_yaml(text: str) -> Nested | None:
    """None for what is not YAML, not clear (a key twice), or only a scalar."""
    if len(text) > MAX_TEXT:
        return None
    builder = _Builder(text)
    try:
        for event in yaml.parse(text, Loader=yaml.CSafeLoader):
            builder.take(event)
    except (yaml.YAMLError, _UnclearError, ValueError):
        return None
    if not any(isinstance(root, dict | list) for root in builder.roots):
        return None
    return Nested(text, builder.roots, builder.slots, _write, read_yaml, shared=builder.shared)


def _write(token: str, old: str, new: str) -> str:
    """In the style in which it stood, where what changed can be seen in it; else in double quotes."""
    if _BLOCK.match(token):
        return _in_block(token, old, new)
    if token[:1] == '"':
        return json.dumps(new, ensure_ascii=False)
    if token[:1] == "'" and "\n" not in new:
        return "'" + new.replace("'", "''") + "'"
    if _PLAIN_SAFE.fullmatch(new) or (token == old and _differs_by_placeholders(new)):
        return new
    return json.dumps(new, ensure_ascii=False)


def _differs_by_placeholders(new: str) -> bool:
    """Whether a plain scalar stays one: what was put in needs no quotes, so the rest of it did not either."""
    return next(find(new), None) is not None


def _in_block(token: str, old: str, new: str) -> str:
    """A block scalar line by line; in double quotes where its lines are not its value's (folded, or joined)."""
    lines = token.splitlines(keepends=True)
    head, body = lines[0], lines[1:]
    values, ends = old.rstrip("\n").split("\n"), token[len(token.rstrip("\n")) :]
    indent = min((len(line) - len(line.lstrip(" ")) for line in body if line.strip()), default=0)
    seen = [line[indent:].rstrip("\r\n") for line in body[: len(values)]]
    if not head.startswith("|") or seen != values or _line_ends(old) != _line_ends(new):
        return json.dumps(new, ensure_ascii=False) + ends
    written = [" " * indent + line if line else "" for line in new.rstrip("\n").split("\n")]
    return head + "\n".join(written) + ends


def _line_ends(text: str) -> int:
    """How many of them are at its end."""
    return len(text) - len(text.rstrip("\n"))
