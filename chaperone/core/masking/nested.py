"""A document inside a text: taken apart into a tree whose strings know where they stand, put together again exactly.

Only the strings that were changed are written anew, at their own places; every other character stays. The result is
read again before it is used: what does not come out as meant is not used at all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class Slot(NamedTuple):
    """A string of the tree, and where its token stands in the text: [start, end)."""

    container: Any
    key: str | int
    value: str
    start: int
    end: int


@dataclass(slots=True)
class Nested:
    """roots: the trees, one for each document in the text, in a list so that a lone string has a container too.

    write: the token for a slot that got another value: (old token, old value, new value) → new token.
    read: reads a text of the same format.
    """

    text: str
    roots: list[Any]
    slots: list[Slot]
    write: Callable[[str, str, str], str]
    read: Callable[[str], Nested | None]
    shared: bool = field(default=False)
    """Several slots may stand at one place (an alias in YAML)."""

    def rewritten(self) -> str | None:
        """The text with what was changed in the tree; the text itself when nothing was. None: it cannot be written."""
        changed: dict[tuple[int, int], tuple[Slot, str]] = {}
        for slot in self.slots:
            now = slot.container[slot.key]
            if now != slot.value:
                changed[slot.start, slot.end] = (slot, now)
        if not changed:
            return self.text
        text = self._spliced(sorted(changed.items()))
        return text if self._reads_as_meant(text) else None

    def _spliced(self, changes: list[tuple[tuple[int, int], tuple[Slot, str]]]) -> str:
        parts, at = [], 0
        for (start, end), (slot, now) in changes:
            parts += [self.text[at:start], self.write(self.text[start:end], slot.value, now)]
            at = end
        return "".join([*parts, self.text[at:]])

    def _reads_as_meant(self, text: str) -> bool:
        again = self.read(text)
        if again is None or len(again.slots) != len(self.slots):
            return False
        return self.shared or again.roots == self.roots
