"""The values that were masked before in a run, found again in any text and in many forms.

Bounded: the oldest values are forgotten first. Values that have just come are in a small automaton that is built anew
for each of them; when it is full it is set aside, and many such become one that is compiled, beside everything else. At
no time is a value in none: the small ones serve until the compiled one is there.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain

from chaperone.core.masking.batch import Batch
from chaperone.core.masking.detection import KnownSpan
from chaperone.core.masking.known_forms import forms, is_telling
from chaperone.core.masking.known_tiers import FEW, Compile, Form, Tier, quick

MOST_VALUES = 2_000
MOST_BYTES = 4 << 20
"""Of all values together, one form of each."""
MIN_BEGINNING = 3
"""Bytes of a value that has only begun."""
JOIN = 16
"""Automata of about one size that become one."""
MOST_COMPILED = 8_192
"""Forms in one compiled automaton: more take too long, and too much memory."""

_PADDING = ord("=")
_BASE64 = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_")

Later = Callable[[Callable[[], None]], object]
"""Sees to it that some work is done, perhaps in another thread."""


def at_once(work: Callable[[], None]) -> None:
    work()


@dataclass(frozen=True, slots=True)
class _Aside:
    """Some values in an automaton of their own. is_final: alone, it is as good as it gets."""

    values: tuple[bytes, ...]
    tier: Tier
    is_final: bool

    @property
    def level(self) -> int:
        """Those of one level are of about one size."""
        level, most = 0, FEW
        while len(self.tier.forms) > most:
            level, most = level + 1, most * JOIN
        return level


class KnownValues:
    """The values of one run. Any number of threads may add and look.

    compiled: makes the automata that are searched for long. later: when it does.
    """

    def __init__(
        self,
        most_values: int = MOST_VALUES,
        most_bytes: int = MOST_BYTES,
        *,
        compiled: Compile = quick,
        later: Later = at_once,
    ) -> None:
        self._most_values = most_values
        self._most_bytes = most_bytes
        self._compiled = compiled
        self._later = later
        self._values: dict[bytes, tuple[Form, ...]] = {}
        self._size = 0
        self._fresh: list[bytes] = []
        self._aside: list[_Aside] = []
        self._tiers: tuple[Tier, ...] | None = ()
        self._lock = threading.Lock()
        self._settling = threading.Lock()

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
            self._values[raw] = tuple(Form(form, placeholder, form == raw) for form in forms(raw))
            self._size += len(raw)
            self._fresh.append(raw)
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

    @staticmethod
    def _span(batch: Batch, found: tuple[int, int, Form]) -> tuple[int, KnownSpan]:
        start, end, form = found
        if not form.is_plain:
            start, end = _widened(batch.block, start, end)
        index = batch.index_at(start)
        start, end = batch.characters(index, start, end)
        return index, KnownSpan(start, end, form.placeholder)

    def _forget_oldest(self) -> None:
        """What is forgotten may still be found, until all in its automaton are, or it is joined."""
        forgotten = False
        while len(self._values) > self._most_values or self._size > self._most_bytes:
            oldest = next(iter(self._values))
            del self._values[oldest]
            self._size -= len(oldest)
            forgotten = True
        if forgotten:
            self._fresh = [value for value in self._fresh if value in self._values]
            self._aside = [aside for aside in self._aside if self._lives(aside)]

    def _lives(self, aside: _Aside) -> bool:
        return any(value in self._values for value in reversed(aside.values))

    # -- automata

    def _current(self) -> tuple[Tier, ...]:
        """All that there are."""
        tiers = self._tiers
        if tiers is None:
            with self._lock:
                are_aside = len(self._aside)
                self._tiers = tiers = self._arranged()
                has_more = len(self._aside) > are_aside
            if has_more:
                self._later(self._settle)
        return tiers

    def _arranged(self) -> tuple[Tier, ...]:
        """Fresh values are set aside where the next one would make their automaton too large."""
        while self._fresh:
            values = _that_fit(self._fresh, self._values)
            tier = Tier(self._forms(values), quick)
            if tier.is_small and len(values) == len(self._fresh):
                return (*(aside.tier for aside in self._aside), tier)
            self._aside.append(_Aside(values, tier, is_final=tier.is_small))
            self._fresh = self._fresh[len(values) :]
        return tuple(aside.tier for aside in self._aside)

    def _settle(self) -> None:
        """Join and compile what was set aside. One thread does it at a time; the others go on with what there is."""
        with self._settling:
            while due := self._due():
                self._replace(due, self._joined(due))

    def _due(self) -> list[_Aside]:
        """What becomes one compiled automaton next."""
        with self._lock:
            for level in sorted({aside.level for aside in self._aside}):
                alike = [aside for aside in self._aside if aside.level == level]
                if len(alike) >= JOIN:
                    return alike[:JOIN]
            return [aside for aside in self._aside if not aside.is_final][:1]

    def _joined(self, parts: Sequence[_Aside]) -> _Aside:
        with self._lock:
            values = tuple(value for part in parts for value in part.values if value in self._values)
            found = self._forms(values)
        return _Aside(values, self._tier(found), is_final=True)

    def _tier(self, found: Sequence[Form]) -> Tier:
        if len(found) > MOST_COMPILED:
            return Tier(found, quick)
        try:
            return Tier(found, self._compiled)
        except ValueError:  # searched more slowly, then
            return Tier(found, quick)

    def _replace(self, parts: Sequence[_Aside], joined: _Aside) -> None:
        """Values may have been forgotten meanwhile."""
        with self._lock:
            kept = [aside for aside in self._aside if not any(aside is part for part in parts)]
            self._aside = [*kept, joined] if self._lives(joined) else kept
            self._tiers = None

    def _forms(self, values: Iterable[bytes]) -> list[Form]:
        return list(chain.from_iterable(self._values[value] for value in values))


def _that_fit(values: Sequence[bytes], known: Mapping[bytes, Sequence[Form]]) -> tuple[bytes, ...]:
    """The first of these values, as many as fit into a small automaton; at least one."""
    sizes = accumulate(len(known[value]) for value in values)
    return tuple(values[: max(1, sum(size <= FEW for size in sizes))])


def _widened(raw: bytes, start: int, end: int) -> tuple[int, int]:
    """One character more on each side: in base64 it holds bits of the value."""
    if start and raw[start - 1] in _BASE64:
        start -= 1
    if end < len(raw) and raw[end] in _BASE64:
        end += 1
    while end < len(raw) and raw[end] == _PADDING:
        end += 1
    return start, end
