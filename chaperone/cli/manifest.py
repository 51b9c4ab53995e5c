"""Files of Kubernetes objects, with the line on which each field stands.

YAML as kubectl reads it: several documents, lists of objects, dates as text. Refused with the line: a key that stands
twice, tags of other languages, merge keys, and files whose aliases would grow without bounds.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from yaml.constructor import SafeConstructor

from chaperone.cli.faults import WrongUsageError
from chaperone.core.legible import visible

MAX_BYTES = 8 * 1024 * 1024
MAX_NODES = 500_000
MAX_DEPTH = 128
STDIN = "-"

_TEXT_TAGS = frozenset({"tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:value"})
_COLLECTION_TAGS = frozenset({"tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"})
_KNOWN_TAGS = (
    _TEXT_TAGS
    | _COLLECTION_TAGS
    | {f"tag:yaml.org,2002:{kind}" for kind in ("null", "bool", "int", "float", "str")}
)
_PARENT = re.compile(r"(?:\.[^.\[]*|\[\d+\])$")


class UnreadableError(Exception):
    """A file, or a document in it, that is no YAML of objects. line: counted from 1, 0 when it has none."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(reason)
        self.line = line


@dataclass(frozen=True, slots=True)
class Document:
    """One object. lines: path ("spec.rules[2].match") to line; "" is the object itself."""

    value: Any
    lines: Mapping[str, int] = field(default_factory=dict)

    def line(self, path: str) -> int:
        """Where a field stands; of one that is missing, where its parent does."""
        while path and path not in self.lines:
            shorter = _PARENT.sub("", path)
            path = shorter if shorter != path else ""
        return self.lines.get(path, 1)

    @property
    def kind(self) -> str:
        return str(self.value.get("kind") or "") if isinstance(self.value, Mapping) else ""


def read_file(name: str) -> str:
    """The text of a file, or of standard input for "-". Raises WrongUsageError when it cannot be read."""
    try:
        raw = sys.stdin.buffer.read(MAX_BYTES + 1) if name == STDIN else _read(Path(name))
        if len(raw) > MAX_BYTES:
            raise WrongUsageError(f"{shown(name)} is larger than {MAX_BYTES // 1024 // 1024} MiB")
        return raw.decode()
    except OSError as error:
        raise WrongUsageError(f"{shown(name)} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise WrongUsageError(f"{shown(name)} is not UTF-8 text") from error


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_BYTES + 1)


def shown(name: str) -> str:
    """A file name for people."""
    return "standard input" if name == STDIN else visible(name, 400)


def read_documents(text: str) -> Iterator[Document]:
    """Every object of a text, those inside a List one by one. Raises UnreadableError, also after the first ones."""
    try:
        for node in yaml.compose_all(text, Loader=yaml.CSafeLoader):
            yield from _objects(node)
    except yaml.MarkedYAMLError as error:
        if text.lstrip().startswith("{"):
            yield from _json_objects(text)
            return
        last = text.rstrip("\n").count("\n")
        line = min(error.problem_mark.line, last) + 1 if error.problem_mark else 0
        raise UnreadableError(line, f"is not YAML: {error.problem or error}") from error
    except yaml.YAMLError as error:
        raise UnreadableError(0, f"is not YAML: {error}") from error


def _json_objects(text: str) -> Iterator[Document]:
    """JSON that is no YAML, because of its escapes; without lines."""
    try:
        value = json.loads(text, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise UnreadableError(getattr(error, "lineno", 0), f"is not JSON: {error}") from error
    yield from _split(value, {}, 1)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return found


def _objects(node: yaml.Node) -> Iterator[Document]:
    whole = _Reader()
    value = whole.value(node, "")
    if value is not None:
        yield from _split(value, whole.lines, node.start_mark.line + 1)


def _split(value: Any, lines: Mapping[str, int], line: int) -> Iterator[Document]:
    if not isinstance(value, dict):
        raise UnreadableError(line, "is not an object with fields")
    items = value.get("items")
    if str(value.get("kind") or "").endswith("List") and isinstance(items, list):
        for at, item in enumerate(items):
            yield Document(item, _below(lines, f"items[{at}]"))
        return
    yield Document(value, lines)


def _below(lines: Mapping[str, int], path: str) -> dict[str, int]:
    return {
        key[len(path) :].lstrip("."): line
        for key, line in lines.items()
        if key == path or key.startswith((f"{path}.", f"{path}["))
    }


class _Reader:
    """Turns one document's nodes into values, and notes lines."""

    def __init__(self) -> None:
        self.lines: dict[str, int] = {}
        self._scalars = SafeConstructor()
        self._nodes = 0

    def value(self, node: yaml.Node, path: str, depth: int = 0) -> Any:
        self._nodes += 1
        if self._nodes > MAX_NODES or depth > MAX_DEPTH:
            raise _fault(node, "is too large or too deep; are there aliases in it?")
        self.lines[path] = node.start_mark.line + 1
        if node.tag not in _KNOWN_TAGS:
            raise _fault(node, f"holds the tag {visible(node.tag, 80)}, which Kubernetes does not know")
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path, depth)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, f"{path}[{at}]", depth + 1) for at, item in enumerate(node.value)]
        return self._scalar(node)

    def _mapping(self, node: yaml.MappingNode, path: str, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
            if key is None or key_node.tag == "tag:yaml.org,2002:merge":
                raise _fault(key_node, "holds a key that is not plain text; write merged fields out")
            if key in found:
                raise _fault(key_node, f'holds the key "{visible(key, 80)}" twice')
            below = f"{path}.{key}" if path else key
            found[key] = self.value(value_node, below, depth + 1)
            self.lines[below] = key_node.start_mark.line + 1
        return found

    def _scalar(self, node: yaml.Node) -> Any:
        if node.tag in _TEXT_TAGS:
            return node.value
        if node.tag in _COLLECTION_TAGS:
            raise _fault(node, "holds a value of another kind than its tag")
        try:
            return self._scalars.construct_object(node)
        except (ValueError, yaml.YAMLError) as error:
            raise _fault(node, f"holds a number that cannot be read: {visible(node.value, 40)}") from error


def _fault(node: yaml.Node, reason: str) -> UnreadableError:
    return UnreadableError(node.start_mark.line + 1, reason)
