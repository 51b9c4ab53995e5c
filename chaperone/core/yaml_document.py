"""One YAML document as JSON values, in the part of YAML that all its versions and readers agree on.

Anchors, aliases, tags, merge keys, duplicate or non-string keys and scalars that YAML 1.1 and 1.2 read
differently (`yes`, `010`, `1e3`, `12:30`, dates) are refused: a quoted string is always clear.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,17})")
_FLOAT = re.compile(r"-?(?:0|[1-9][0-9]{0,17})\.[0-9]{1,17}")
_UNCLEAR = re.compile(
    r"(?i:y|n|yes|no|on|off|true|false|null)"
    r"|=|<<"
    r"|[-+]?[0-9][0-9_]*"
    r"|[-+]?0[xXoObB][0-9a-fA-F_]+"
    r"|[-+]?(?:\.[0-9_]+|[0-9][0-9_,]*(?:\.[0-9_]*)?)(?:[eE][-+]?[0-9]+)?"
    r"|[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?"
    r"|[-+]?\.(?i:inf|nan)"
    r"|[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt\s].*)?"
)
"""Plain scalars that some reader takes for a number, a boolean, a date or a merge key."""


class _Builder:
    """Puts events together. stack: the collections that are open; keys: for each mapping the key that
    waits.
    """

    def __init__(self, max_depth: int) -> None:
        self.max_depth = max_depth
        self.root: Any = None
        self.documents = 0
        self.stack: list[dict[str, Any] | list[Any]] = []
        self.keys: list[str | None] = []

    def take(self, event: yaml.Event) -> None:
        if isinstance(event, yaml.DocumentStartEvent):
            self._start_document()
        elif isinstance(event, yaml.AliasEvent):
            raise _fault(event, "an alias is not accepted; write the value out")
        elif isinstance(event, yaml.NodeEvent):
            self._node(event)
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            self.stack.pop()
            self.keys.pop()

    def _start_document(self) -> None:
        self.documents += 1
        if self.documents > 1:
            raise ValueError("there is more than one document")

    def _node(self, event: Any) -> None:
        if event.anchor is not None or event.tag is not None:
            raise _fault(event, "an anchor or a tag is not accepted; write plain values")
        if isinstance(event, yaml.ScalarEvent):
            self._scalar(event)
            return
        collection: dict[str, Any] | list[Any] = {} if isinstance(event, yaml.MappingStartEvent) else []
        self._add(collection, event)
        if len(self.stack) >= self.max_depth:
            raise _fault(event, f"nested more than {self.max_depth} deep")
        self.stack.append(collection)
        self.keys.append(None)

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        value = _plain(event) if event.implicit[0] else event.value
        if self._awaits_key():
            self._key(value, event)
        else:
            self._add(value, event)

    def _awaits_key(self) -> bool:
        return bool(self.stack) and isinstance(self.stack[-1], dict) and self.keys[-1] is None

    def _key(self, key: Any, event: yaml.Event) -> None:
        if not isinstance(key, str):
            raise _fault(event, "a key is not a string; quote it")
        if key in self.stack[-1]:
            raise _fault(event, f"the key {key!r} stands twice in one mapping")
        self.keys[-1] = key

    def _add(self, value: Any, event: yaml.Event) -> None:
        if not self.stack:
            self.root = value
            return
        parent, key = self.stack[-1], self.keys[-1]
        if isinstance(parent, list):
            parent.append(value)
        elif key is None:
            raise _fault(event, "a key is not a string")
        else:
            parent[key] = value
            self.keys[-1] = None


def read_yaml(body: bytes, max_depth: int) -> Any:
    """The value of the one document in a body. Raises ValueError with line and reason for everything
    unclear.
    """
    builder = _Builder(max_depth)
    try:
        for event in yaml.parse(body.decode(), Loader=yaml.CSafeLoader):
            builder.take(event)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error
    return builder.root


def _plain(event: yaml.ScalarEvent) -> Any:
    text = event.value
    if text in _NULL:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    if _UNCLEAR.fullmatch(text):
        raise _fault(event, f"{text!r} means different things to different readers; quote it")
    return text


def _fault(event: yaml.Event, reason: str) -> ValueError:
    line = event.start_mark.line + 1 if event.start_mark else 0
    return ValueError(f"line {line}: {reason}")
