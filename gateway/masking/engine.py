"""The masking engine of one worker: its detectors, its key, and what each run has been shown masked.

Implements gateway.masking.choice.Engine. Detectors with the patterns of a policy are made once for all callers under the
same terms.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from pathlib import Path

from chaperone import pattern_cache
from chaperone.core.masking import STANDARD, Collect, Detector, Masker, Mint, Place, SecretPlace, Terms
from chaperone.core.masking.known import KnownValues, Later
from chaperone.core.masking.known_tiers import Compile, quick
from chaperone.core.masking.report import Report
from chaperone.core.masking.rules import built_in
from chaperone.core.masking.stream import TextStream
from chaperone.core.masking.text_finder import TextFinder
from gateway.limits import RunKey
from gateway.masking.gate import Gate, form_rules, is_gated
from gateway.masking.per_run import PerRun
from gateway.masking.sight import CLEARS_NOTHING, Clears, Sight

try:
    from chaperone.core.masking.known_literals import literals
except ImportError:  # no Hyperscan for this processor: known values are searched more slowly
    COMPILED: Compile = quick
else:
    COMPILED = literals

MOST_DETECTORS = 64
MOST_MASKERS = 4
"""Terms under which one run is remembered: policies change while it runs."""
TEXT = "text"
"""The path class of what stands in a text that is no object."""


class Memory:
    """What one run has been shown masked, and its maskers. later: when automata are compiled that take long."""

    def __init__(self, later: Later) -> None:
        self.known = KnownValues(compiled=COMPILED, later=later)
        self.maskers: dict[Terms, Masker] = {}

    def collect(self, found: SecretPlace) -> None:
        self.known.add(found.value, found.placeholder)

    def note(self, value: str, placeholder: str, _rule: str) -> None:
        self.known.add(value, placeholder)


class MaskingEngine:
    """key: of the placeholders, the same in every worker. folder: where compiled patterns are kept; None: nowhere.
    Raises ValueError for a key that is too short."""

    def __init__(self, key: bytes, folder: Path | None) -> None:
        self._mint = Mint(key)
        self._compiling = ThreadPoolExecutor(1, "known-values")
        self._memories = PerRun(partial(Memory, self._compiling.submit))
        self._built_in = pattern_cache.detector(folder)
        self._gate = Gate(pattern_cache.engine(form_rules(built_in()), folder))
        self._with_more = lru_cache(MOST_DETECTORS)(
            lambda patterns, keys: pattern_cache.detector(folder, patterns, keys)
        )

    def masker(self, terms: Terms, run: RunKey) -> Masker:
        memory = self._memories.of(run)
        masker = memory.maskers.get(terms)
        if masker is None:
            if len(memory.maskers) >= MOST_MASKERS:
                memory.maskers.clear()
            masker = Masker(terms, self._detector(terms), self._mint, memory.known)
            memory.maskers[terms] = masker
        return masker

    def for_people(self) -> Masker:
        """By the standard terms, for no run: nothing that an agent has read changes what people see."""
        return Masker(STANDARD, self._built_in, self._mint)

    def _detector(self, terms: Terms) -> Detector:
        return self._with_more(terms.patterns, terms.keys) if terms.patterns or terms.keys else self._built_in

    def collect(self, run: RunKey) -> Collect:
        return self._memories.of(run).collect

    def stream(self, terms: Terms, run: RunKey, sight: Sight, *, keep_length: bool = False) -> CountedStream:
        """keep_length: a `*` for each byte, for what counts its bytes: terminals and tar."""
        memory, place = self._memories.of(run), sight.place
        finder = TextFinder(
            self._detector(terms),
            self._mint,
            memory.known,
            uid=f"{place.group}/{place.resource}/{place.namespace}/{place.name}",
            path_class=TEXT,
            note=memory.note,
        )
        return CountedStream(TextStream(finder, keep_length=keep_length), sight)

    def clears(self, terms: Terms, run: RunKey, place: Place) -> Clears:
        if not is_gated(place, terms):
            return CLEARS_NOTHING
        return Clears(self._gate.doubtful, self._memories.of(run).known.hits)


class CountedStream:
    """A text stream whose finds are counted with the rest of its answer."""

    def __init__(self, stream: TextStream, sight: Sight) -> None:
        self._stream = stream
        self._sight = sight

    @property
    def held(self) -> int:
        return self._stream.held

    def feed(self, piece: bytes) -> bytes:
        return self._counted(self._stream.feed(piece))

    def idle(self) -> bytes:
        return self._counted(self._stream.idle())

    def flush(self) -> bytes:
        return self._counted(self._stream.flush())

    def _counted(self, out: bytes) -> bytes:
        if self._stream.report:
            self._sight.count(self._stream.report)
            self._stream.report = Report()
        return out
