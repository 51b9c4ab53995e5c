"""Detection by Hyperscan: all rules at once over a block; what it flags is decided by `rule.finds`.

Its own offsets are ends of matches only: starts would cost a third of the rules. A database and its scratch memory belong
to one thread, so each thread loads its own from the same compiled bytes.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from typing import Any

import hyperscan

from chaperone.core.masking.batch import Batch
from chaperone.core.masking.detection import Span
from chaperone.core.masking.rule import Rule

SHORT_REPEAT = 5
"""Upper bounds that are harmless."""
_LONG_REPEAT = re.compile(r"(\[(?:[^\]\\]|\\.)+\]|\\[wd]|\.)\{(\d+),(\d+)\}")


def compile_rules(rules: Sequence[Rule]) -> bytes:
    """The compiled form of the rules, good for this version of Hyperscan and this kind of processor. Takes seconds.

    Raises ValueError for rules that Hyperscan cannot compile.
    """
    database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
    try:
        database.compile(
            expressions=expressions(rules),
            ids=list(range(len(rules))),
            flags=[hyperscan.HS_FLAG_MULTILINE] * len(rules),
        )
    except hyperscan.error as error:
        raise ValueError(f"the masking rules do not compile: {error}") from error
    return hyperscan.dumpb(database)


def expressions(rules: Sequence[Rule]) -> list[bytes]:
    """What is compiled, in the order of the rules: the compiled form is good for exactly these."""
    return [_expression(rule) for rule in rules]


def _expression(rule: Rule) -> bytes:
    """A pattern that matches wherever the rule does. The end of a text is the end of a line of the block.

    Upper bounds of long repeats are left out: Vectorscan 5.4.12 misses matches of some alternatives that hold them.
    """
    return _LONG_REPEAT.sub(_without_bound, rule.gate_pattern.replace(r"\z", "$")).encode()


def _without_bound(match: re.Match[str]) -> str:
    atom, least, most = match.groups()
    if int(most) <= SHORT_REPEAT or _may_hold_line_end(atom):
        return match[0]
    return f"{atom}{{{least},}}"


def _may_hold_line_end(atom: str) -> bool:
    """Without a bound it would reach over the texts of a block."""
    if atom.startswith("[^"):
        return not ("\\s" in atom or "\\n" in atom)
    return any(escape in atom for escape in ("\\s", "\\n", "\\r", "\\S", "\\W"))


class HyperscanDetector:
    """A Detector. compiled: what `compile_rules` made of the same rules. May be used by any number of threads."""

    def __init__(self, rules: Sequence[Rule], compiled: bytes) -> None:
        self._rules = tuple(rules)
        self._compiled = compiled
        self._threads = threading.local()
        self._database()

    def spans(self, text: str) -> list[Span]:
        return [span for _, span in self.scan([text])]

    def scan(self, texts: Sequence[str]) -> list[tuple[int, Span]]:
        if not texts:
            return []
        batch = Batch(texts)
        flagged: set[tuple[int, int]] = set()

        def note(rule: int, _start: int, end: int, _flags: int, _context: object) -> None:
            flagged.add((end, rule))

        self._database().scan(batch.block, note)
        candidates = {(batch.index_at(max(end - 1, 0)), rule) for end, rule in flagged}
        return [
            (index, span)
            for index, rule in sorted(candidates)
            for span in batch.spans(index, self._rules[rule])
        ]

    def hits(self, raw: bytes) -> bool:
        try:
            self._database().scan(raw, _stop)
        except hyperscan.ScanTerminated:
            return True
        return False

    def _database(self) -> Any:
        database = getattr(self._threads, "database", None)
        if database is None:
            database = hyperscan.loadb(self._compiled, hyperscan.HS_MODE_BLOCK)
            database.scratch = hyperscan.Scratch(database)
            self._threads.database = database
        return database


def _stop(_rule: int, _start: int, _end: int, _flags: int, _context: object) -> bool:
    return True
