"""Detection without Hyperscan: one pass for the keywords of all rules, then RE2 for each rule that may match in a text.

Gives the same answers as the Hyperscan engine, since both end in `chaperone.core.masking.rule.finds`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import ahocorasick_rs

from chaperone.core.masking.batch import Batch
from chaperone.core.masking.detection import Span
from chaperone.core.masking.rule import Rule, compiled


class KeywordDetector:
    """A Detector. May be used by any number of threads."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = tuple(rules)
        self._always = frozenset(index for index, rule in enumerate(rules) if not rule.keywords)
        words = sorted({word for rule in rules for word in rule.keywords})
        self._rules_of = [
            frozenset(i for i, rule in enumerate(rules) if word in rule.keywords) for word in words
        ]
        self._automaton = ahocorasick_rs.BytesAhoCorasick([word.encode() for word in words] or [b"\0" * 64])

    def spans(self, text: str) -> list[Span]:
        return [span for _, span in self.scan([text])]

    def scan(self, texts: Sequence[str]) -> list[tuple[int, Span]]:
        batch = Batch(texts)
        candidates = {(index, rule) for index in range(len(texts)) for rule in self._always}
        for word, start, _end in self._keywords(batch.block):
            index = batch.index_at(start)
            candidates.update((index, rule) for rule in self._rules_of[word])
        return [
            (index, span)
            for index, rule in sorted(candidates)
            for span in batch.spans(index, self._rules[rule])
        ]

    def hits(self, raw: bytes) -> bool:
        return any(_gate(self._rules[rule]).search(raw) for rule in sorted(self._candidates(raw)))

    def _candidates(self, raw: bytes) -> frozenset[int]:
        words = {word for word, _, _ in self._keywords(raw)}
        return self._always.union(*(self._rules_of[word] for word in words))

    def _keywords(self, raw: bytes) -> Iterator[tuple[int, int, int]]:
        """(keyword, start, end) wherever one stands, overlapping ones too."""
        return iter(self._automaton.find_matches_as_indexes(raw.lower(), overlapping=True))


def _gate(rule: Rule) -> Any:
    """The pattern for many lines at once: `^` and `$` match at each."""
    return compiled("(?m)" + rule.gate_pattern.replace(r"\z", "$"))
