"""A configuration document, read field by field: each mistake is noted with its path, none stops the reading.

A field that nobody asked for is a mistake too: a misspelt rule must not be a rule that is silently not there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from chaperone.core.policy import Fault

_DURATION = re.compile(r"(?:(\d{1,5})m)?(?:(\d{1,5})s)?")


class Document:
    """One mapping of a configuration file. Readers return an empty value where they note a fault."""

    def __init__(self, value: object, path: str, faults: list[Fault]) -> None:
        self.path = path
        self.faults = faults
        self._asked: set[str] = set()
        self._fields: Mapping[object, object] = {}
        if isinstance(value, Mapping):
            self._fields = value
        elif value is not None:
            self.fault("", "must be a mapping of fields")

    def fault(self, key: str, message: str) -> None:
        self.faults.append(Fault(self.at(key), message))

    def at(self, key: str) -> str:
        """The path of a field; of the document itself for ""."""
        return ".".join(part for part in (self.path, key) if part)

    def has(self, key: str) -> bool:
        return self._fields.get(key) is not None

    def text(self, key: str, default: str = "") -> str:
        value = self._take(key)
        if value is None:
            return default
        if not isinstance(value, str):
            self.fault(key, "must be a string (put it in quotes)")
            return ""
        return value

    def flag(self, key: str, *, default: bool) -> bool:
        value = self._take(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            self.fault(key, "must be true or false")
            return default
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of distinct, non-empty strings."""
        kept: list[str] = []
        for index, value in enumerate(self._list(key)):
            if not isinstance(value, str) or not value:
                self.fault(f"{key}[{index}]", "must be a non-empty string")
            elif value in kept:
                self.fault(f"{key}[{index}]", f"{value!r} stands here twice")
            else:
                kept.append(value)
        return tuple(kept)

    def seconds(self, key: str, default: float) -> float:
        """A duration: a whole number of seconds, or "90s", "5m", "1m30s"."""
        value = self._take(key)
        if value is None:
            return default
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return float(value)
        matched = _DURATION.fullmatch(value) if isinstance(value, str) and value else None
        if matched is None:
            self.fault(key, 'must be a duration such as "30s" or "2m"')
            return default
        return int(matched[1] or 0) * 60.0 + int(matched[2] or 0)

    def child(self, key: str) -> Document:
        return Document(self._take(key), self.at(key), self.faults)

    def children(self, key: str) -> Iterator[Document]:
        for index, value in enumerate(self._list(key)):
            yield Document({} if value is None else value, self.at(f"{key}[{index}]"), self.faults)

    def close(self) -> None:
        """Note every field that nobody asked for."""
        for key in self._fields:
            if key not in self._asked:
                self.fault(str(key)[:80], "is not a field here: check its spelling and its place")

    def _take(self, key: str) -> object:
        self._asked.add(key)
        return self._fields.get(key)

    def _list(self, key: str) -> list[object]:
        value = self._take(key)
        if value is None or isinstance(value, list):
            return value or []
        self.fault(key, "must be a list")
        return []
