"""Reading an object field by field: every mistake is noted with its path, none stops the reading.

A field that nobody asked for is a mistake too: a misspelt rule must not be a rule that is silently not there.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeGuard

from chaperone.core.legible import visible
from chaperone.core.policy.terms import Fault

MAX_ITEMS = 256
MAX_TEXT = 4096

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(?:[0-9]{1,9}(?:\.[0-9]{1,9})?(?:ms|s|m|h))+", re.ASCII)
_PART = re.compile(r"([0-9.]+)(ms|s|m|h)", re.ASCII)


def duration(text: str) -> float | None:
    """Seconds of a duration as Go writes it ("90s", "2m", "1h30m", "1.5h"); None when it is not one."""
    if len(text) > 64 or not _DURATION.fullmatch(text):
        return None
    return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))


class Fields:
    """One mapping. Readers return the default, or an empty value, where they note a fault. null is as if left out."""

    def __init__(self, value: object, path: str, faults: list[Fault]) -> None:
        self.path = path
        self.faults = faults
        self._asked: set[str] = set()
        self._values: Mapping[object, object] = {}
        if isinstance(value, Mapping):
            self._values = value
        elif value is not None:
            self.fault("", "must be an object with fields")

    def fault(self, key: str, message: str) -> None:
        self.faults.append(Fault(self.at(key), message))

    def at(self, key: str) -> str:
        """The path of a field; of the object itself for ""."""
        return ".".join(part for part in (self.path, key) if part)

    def has(self, key: str) -> bool:
        return self._values.get(key) is not None

    def require(self, key: str, message: str = "is required") -> None:
        if not self.has(key):
            self.fault(key, message)

    def text(self, key: str, default: str = "", *, empty: bool = False) -> str:
        """A string, not empty unless `empty`; absent: the default."""
        value = self._take(key)
        if value is None:
            return default
        if isinstance(value, str) and len(value) <= MAX_TEXT and (value or empty):
            return value
        self.fault(key, f"must be a string of 1 to {MAX_TEXT} characters")
        return default

    def name(self, key: str, form: re.Pattern[str], meaning: str) -> str:
        """A string of this form; meaning: what it has to be, for the fault."""
        value = self.text(key)
        if value and not form.fullmatch(value):
            self.fault(key, f'"{visible(value, 80)}" is not {meaning}')
            return ""
        return value

    def choice(self, key: str, choices: Sequence[str], default: str) -> str:
        value = self._take(key)
        if value is None:
            return default
        if isinstance(value, str) and value in choices:
            return value
        hint = (
            ' ("Off" needs its quotes: plain YAML reads it as false)'
            if value is False and "Off" in choices
            else ""
        )
        self.fault(key, f"must be one of {', '.join(choices)}{hint}")
        return default

    def flag(self, key: str, *, default: bool = False) -> bool:
        value = self._take(key)
        if isinstance(value, bool):
            return value
        if value is not None:
            self.fault(key, "must be true or false")
        return default

    def number(self, key: str, *, least: float, most: float = 1e9) -> float | None:
        value = self._take(key)
        if value is None:
            return None
        if _is_number(value) and math.isfinite(value) and least <= value <= most:
            return float(value)
        self.fault(key, f"must be a number from {least:g} to {most:g}")
        return None

    def whole(self, key: str, *, least: int, most: int = 1_000_000_000) -> int | None:
        value = self._take(key)
        if value is None:
            return None
        if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
            return value
        self.fault(key, f"must be a whole number from {least} to {most}")
        return None

    def seconds(self, key: str, *, least: float, most: float) -> float | None:
        """A duration, as seconds."""
        value = self._take(key)
        if value is None:
            return None
        found = duration(value) if isinstance(value, str) else None
        if found is not None and least <= found <= most:
            return found
        self.fault(key, f'must be a duration such as "90s", "2m" or "1h30m", from {least:g}s to {most:g}s')
        return None

    def texts(
        self, key: str, *, empty: bool = False, may_be_empty_text: bool = False
    ) -> tuple[str, ...] | None:
        """A list of distinct strings. None: left out. A list without items is a fault unless `empty`: nobody could
        tell whether it was meant as "none" or as "any"."""
        if not self.has(key):
            self._take(key)
            return None
        items = self._items(key)
        if not items and not empty:
            self.fault(key, "must not be an empty list: leave the field out, or name something")
        kept: list[str] = []
        for index, item in enumerate(items):
            if not isinstance(item, str) or len(item) > MAX_TEXT or not (item or may_be_empty_text):
                self.fault(f"{key}[{index}]", "must be a string that is not empty")
            elif item in kept:
                self.fault(f"{key}[{index}]", f'"{visible(item, 80)}" stands here twice')
            else:
                kept.append(item)
        return tuple(kept)

    def child(self, key: str) -> Fields:
        return Fields(self._take(key), self.at(key), self.faults)

    def children(self, key: str) -> Iterator[Fields]:
        self._asked.add(key)
        for index, item in enumerate(self._items(key)):
            yield Fields({} if item is None else item, self.at(f"{key}[{index}]"), self.faults)

    def ignore(self, *keys: str) -> None:
        """Fields that are known and not read here."""
        self._asked.update(keys)

    def close(self) -> None:
        """Note every field that nobody asked for."""
        known = ", ".join(sorted(self._asked))
        for key in self._values:
            if key not in self._asked:
                self.fault(visible(str(key), 80), f"is not a field here; known are {known}")

    def _take(self, key: str) -> object:
        self._asked.add(key)
        return self._values.get(key)

    def _items(self, key: str) -> list[object]:
        value = self._take(key)
        if value is None:
            return []
        if isinstance(value, list) and len(value) <= MAX_ITEMS:
            return value
        self.fault(key, f"must be a list of at most {MAX_ITEMS} items")
        return []


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
