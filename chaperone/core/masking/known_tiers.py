"""Automata over the starts of known values. Only the start of a form goes into one, so that it stays small; the rest is
compared.

Few starts are searched by their first bytes with vector instructions, many times as fast as by an automaton, and that is
built in a moment; for many starts there is an automaton that takes its time to be compiled (`known_literals`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from ahocorasick_rs import BytesAhoCorasick, Implementation, MatchKind

ANCHOR = 24
"""Bytes of a form that the automaton looks for; the rest is compared."""
MIN_PART = 32
"""Bytes of a value that was cut short; fewer are a start that many values share."""
FEW = 64
"""Anchors that are still searched with vector instructions."""


@dataclass(frozen=True, slots=True)
class Form:
    """One form of one value. is_plain: the value as it is, whose neighbours say nothing about it."""

    text: bytes
    placeholder: str
    is_plain: bool


Anchors = Callable[[bytes], Iterable[tuple[int, int]]]
"""Where anchors stand in a text: (index of the anchor, where it starts), overlapping ones too. For any number of
threads."""
Compile = Callable[[Sequence[bytes]], Anchors]
"""Makes an automaton of anchors: not empty, none twice. Raises ValueError for what it cannot take."""


class Tier:
    """Forms, and what finds them."""

    def __init__(self, forms: Iterable[Form], compiled: Compile) -> None:
        """Raises what `compiled` raises."""
        self.forms = tuple(forms)
        by_anchor: dict[bytes, list[Form]] = {}
        for form in self.forms:
            by_anchor.setdefault(form.text[:ANCHOR], []).append(form)
        self._by_anchor = list(by_anchor.values())
        self.is_small = len(by_anchor) <= FEW
        self._anchors = compiled(list(by_anchor))

    def matches(self, raw: bytes) -> Iterator[tuple[int, int, Form]]:
        """(start, end, form) of whole forms, and of long ones that were cut short."""
        for index, start in self._anchors(raw):
            for form in self._by_anchor[index]:
                end = _end_of(form.text, raw, start)
                if end - start >= min(len(form.text), max(MIN_PART, len(form.text) // 2)):
                    yield start, end, form


def quick(anchors: Sequence[bytes]) -> Anchors:
    """Built in a moment; searched fast where anchors are few, and none of them is there."""
    first = _automaton(anchors, MatchKind.LeftmostFirst)
    all_of_them = cache(lambda: _automaton(anchors, MatchKind.Standard))

    def find(raw: bytes) -> Iterable[tuple[int, int]]:
        if not first.find_matches_as_indexes(raw):
            return ()
        found = all_of_them().find_matches_as_indexes(raw, overlapping=True)
        return [(index, start) for index, start, _ in found]

    return find


def _automaton(anchors: Sequence[bytes], kind: MatchKind) -> BytesAhoCorasick:
    return BytesAhoCorasick(anchors, matchkind=kind, implementation=Implementation.ContiguousNFA)


def _end_of(form: bytes, raw: bytes, start: int) -> int:
    """Where the form ends in the bytes: where the two begin to differ, when it was cut short."""
    if raw.startswith(form, start):
        return start + len(form)
    low, high = min(ANCHOR, len(form)), len(form)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if raw.startswith(form[:middle], start) else (low, middle - 1)
    return start + low
