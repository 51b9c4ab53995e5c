"""The values that were masked before in a run, found again in any text and in many forms.

Bounded: the oldest values are forgotten first. Only the start of a form goes into the automaton, so that it stays small;
the rest is compared, and a value that was cut short is found when at least half of it is there.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import ahocorasick_rs

from chaperone.core.masking.batch import Batch
from chaperone.core.masking.detection import KnownSpan
from chaperone.core.masking.known_forms import forms, is_telling

MOST_VALUES = 2_000
MOST_BYTES = 4 << 20
"""Of all values together, one form of each."""
ANCHOR = 24
"""Bytes of a form that the automaton looks for; the rest is compared."""
MIN_BEGINNING = 3
"""Bytes of a value that has only begun."""
MIN_PART = 32
"""Bytes of a value that was cut short; fewer are a start that many values share."""

_NEWEST, _RECENT = 8, 128
"""Values in the smallest automaton, which is built anew for each new value, and in the next, built anew for each full one
before it. All others are in a third."""
_QUICK = ahocorasick_rs.Implementation.ContiguousNFA
"""Built in a fifth of the time that the fastest one takes for few values."""
_NEVER = b"\0" * 64
_PADDING = ord("=")
_BASE64 = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_")


@dataclass(frozen=True, slots=True)
class _Form:
    """One form of one value. is_plain: the value as it is, whose neighbours say nothing about it."""

    text: bytes
    placeholder: str
    is_plain: bool


class _Tier:
    """An automaton over the starts of forms."""

    def __init__(self, found: Iterable[_Form] = ()) -> None:
        self.forms = list(found)
        anchors = [form.text[:ANCHOR] for form in self.forms]
        self._automaton = ahocorasick_rs.BytesAhoCorasick(anchors or [_NEVER], implementation=_QUICK)

    def matches(self, raw: bytes) -> Iterator[tuple[int, int, _Form]]:
        for index, start, _end in self._automaton.find_matches_as_indexes(raw, overlapping=True):
            form = self.forms[index]
            end = _end_of(form.text, raw, start)
            if end - start >= min(len(form.text), max(MIN_PART, len(form.text) // 2)):
                yield start, end, form


class KnownValues:
    """The values of one run. Any number of threads may add and look."""

    def __init__(self, most_values: int = MOST_VALUES, most_bytes: int = MOST_BYTES) -> None:
        self._most_values = most_values
        self._most_bytes = most_bytes
        self._values: dict[bytes, tuple[_Form, ...]] = {}
        self._size = 0
        self._newest: list[bytes] = []
        self._recent: list[bytes] = []
        self._tiers: tuple[_Tier, ...] | None = ()
        self._settled = self._middle = _Tier()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._values)

    def add(self, value: str | bytes, placeholder: str) -> bool:
        """Remember a value and what stands for it; False for one that is not worth it, or known already.

        Of two placeholders for one value the first stays.
        """
        raw = value if isinstance(value, bytes) else value.encode(errors="surrogatepass")
        raw = raw.strip()
        if len(raw) > self._most_bytes or not is_telling(raw):
            return False
        with self._lock:
            if raw in self._values:
                return False
            self._values[raw] = tuple(_Form(form, placeholder, form == raw) for form in forms(raw))
            self._size += len(raw)
            self._newest.append(raw)
            self._forget_oldest()
            self._tiers = None
        return True

    def spans(self, text: str) -> list[KnownSpan]:
        return [span for _, span in self.scan([text])]

    def scan(self, texts: Sequence[str]) -> list[tuple[int, KnownSpan]]:
        if not self._values:
            return []
        batch = Batch(texts)
        return [self._span(batch, found) for tier in self._current() for found in tier.matches(batch.block)]

    def hits(self, raw: bytes) -> bool:
        """Whether raw bytes hold a known value in some form."""
        return any(True for tier in self._current() for _ in tier.matches(raw))

    def begins(self, token: bytes) -> bool:
        """Whether the end of a text that is still coming may be the beginning of a known value in some form."""
        ends = {token, token.rpartition(b"=")[2], token.rpartition(b":")[2], token.rpartition(b"/")[2]}
        starts = tuple(end for end in ends if len(end) >= MIN_BEGINNING)
        return bool(starts) and any(
            form.text.startswith(starts) for tier in self._current() for form in tier.forms
        )

    def _tier(self, values: Iterable[bytes]) -> _Tier:
        return _Tier(chain.from_iterable(self._values[value] for value in values))

    @staticmethod
    def _span(batch: Batch, found: tuple[int, int, _Form]) -> tuple[int, KnownSpan]:
        start, end, form = found
        if not form.is_plain:
            start, end = _widened(batch.block, start, end)
        index = batch.index_at(start)
        start, end = batch.characters(index, start, end)
        return index, KnownSpan(start, end, form.placeholder)

    def _forget_oldest(self) -> None:
        while len(self._values) > self._most_values or self._size > self._most_bytes:
            oldest = next(iter(self._values))
            del self._values[oldest]
            self._size -= len(oldest)
            self._newest = [value for value in self._newest if value != oldest]
            self._recent = [value for value in self._recent if value != oldest]

    def _current(self) -> tuple[_Tier, ...]:
        """The automata as they must be now. What was forgotten may still be found until the next settling."""
        tiers = self._tiers
        if tiers is not None:
            return tiers
        with self._lock:
            if len(self._newest) > _NEWEST:
                self._recent += self._newest
                self._newest = []
                if len(self._recent) > _RECENT:
                    self._settled = _Tier(chain.from_iterable(self._values.values()))
                    self._recent = []
                self._middle = self._tier(self._recent)
            built = (self._settled, self._middle, self._tier(self._newest))
            self._tiers = tiers = tuple(tier for tier in built if tier.forms)
        return tiers


def _end_of(form: bytes, raw: bytes, start: int) -> int:
    """Where the form ends in the bytes: where the two begin to differ, when it was cut short."""
    if raw.startswith(form, start):
        return start + len(form)
    low, high = min(ANCHOR, len(form)), len(form)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if raw.startswith(form[:middle], start) else (low, middle - 1)
    return start + low


def _widened(raw: bytes, start: int, end: int) -> tuple[int, int]:
    """One character more on each side: in base64 it holds bits of the value."""
    if start and raw[start - 1] in _BASE64:
        start -= 1
    if end < len(raw) and raw[end] in _BASE64:
        end += 1
    while end < len(raw) and raw[end] == _PADDING:
        end += 1
    return start, end
