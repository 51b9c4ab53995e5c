"""Verification of audit chains, as a fold over stored lines: what was edited, removed, reordered or added, and where.

Lines may come from any number of writers, mixed; those of one writer in their stored order. Nothing here reads a file,
a clock or a key: whether a signature is good is asked of the caller.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from hashlib import sha256
from typing import Any

from chaperone.core.chain import Checkpoint, Kept, Link, Reason, Sealed, origin, read_checkpoint, read_sealed
from chaperone.core.legible import visible

REMEMBERED = 65_536
"""Records that are remembered, of all writers together, to tell a line delivered twice from a forged one."""
MOST_FINDINGS = 1000
_TIME = re.compile(rb'"stageTimestamp":"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)')


class Kind(Enum):
    """What can be found. The first group are faults; the second are notes, which are no sign of tampering."""

    EDITED = "Edited"
    REPLACED = "Replaced"
    MISSING = "Missing"
    REORDERED = "Reordered"
    FORGED = "Forged"
    NO_RECORD = "NoRecord"
    SIGNATURE = "Signature"
    KEY = "UnknownKey"
    CHECKPOINT = "Checkpoint"
    TRUNCATED = "Truncated"
    COLUMNS = "Columns"

    HALF_WRITTEN = "HalfWritten"
    TWICE = "DeliveredTwice"
    CLOCK = "ClockBackwards"
    LATER = "BeginsLater"

    @property
    def is_fault(self) -> bool:
        return self not in (Kind.HALF_WRITTEN, Kind.TWICE, Kind.CLOCK, Kind.LATER)


class Trust(Enum):
    """What the caller says of a signature."""

    GOOD = "good"
    BAD = "bad"
    UNKNOWN_KEY = "unknown key"


CheckSignature = Callable[[Checkpoint], Trust]


@dataclass(frozen=True, slots=True)
class Finding:
    """where: file and line, or as the caller names places; sequence 0: of no record."""

    kind: Kind
    writer: str
    sequence: int
    where: str
    text: str


@dataclass(frozen=True, slots=True)
class ChainSummary:
    """One writer's chain. signed: the last sequence that a good checkpoint covers; closed: the writer ended in order."""

    writer: str
    first: int
    last: int
    records: int
    signed: int
    closed: bool
    pruned: int

    @property
    def unsigned(self) -> int:
        """Records at the end that no signature covers yet."""
        return max(0, self.last - self.signed)


@dataclass(frozen=True, slots=True)
class Verification:
    """What a whole check came to. findings: in the order in which they were met; counts: of all, also those left out."""

    chains: tuple[ChainSummary, ...]
    findings: tuple[Finding, ...]
    counts: dict[Kind, int]

    @property
    def faults(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.kind.is_fault)

    @property
    def is_good(self) -> bool:
        return not any(kind.is_fault for kind in self.counts)


@dataclass(slots=True)
class _Chain:
    """Where the check of one writer stands."""

    end: Link
    first: int = 0
    records: int = 0
    signed: int = 0
    closed: bool = False
    pruned: int = 0
    kept: Kept | None = None
    kept_at: int = 0
    kept_count: int = 0
    kept_digest: Any = field(default_factory=sha256)
    second: bytes = b""
    gaps: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=MOST_FINDINGS))
    expected: dict[int, Checkpoint] = field(default_factory=dict)


class ChainCheck:
    """Feed lines with `line`, then ask for the `result`.

    excerpt: chains may begin after their first record, as in an export of some days.
    """

    def __init__(self, check_signature: CheckSignature, *, excerpt: bool = False) -> None:
        self._check_signature = check_signature
        self._excerpt = excerpt
        self._chains: dict[str, _Chain] = {}
        self._seen: dict[tuple[str, int], bytes] = {}
        self._findings: list[Finding] = []
        self._counts: dict[Kind, int] = {}

    def expect(self, line: bytes, where: str) -> None:
        """A checkpoint that was kept elsewhere: the chain must come to it. To be called before the records."""
        checkpoint = read_checkpoint(line)
        if checkpoint is None:
            self._find(Kind.NO_RECORD, "", 0, where, "this is no checkpoint")
        elif self._is_trusted(checkpoint, where):
            self._chain(checkpoint.link.writer).expected[checkpoint.link.sequence] = checkpoint

    def line(self, data: bytes, where: str, *, cut: bool = False) -> Sealed | None:
        """One stored line, without its line end; the record, when it is one. cut: it has no line end, and is the last."""
        sealed = read_sealed(data)
        if sealed is not None:
            self._record(sealed, where)
            return sealed
        checkpoint = read_checkpoint(data)
        if checkpoint is not None:
            if self._is_trusted(checkpoint, where):
                self._checkpoint(checkpoint, where)
        elif cut:
            text = f"the last line is half written ({len(data)} bytes), as a crash leaves it"
            self._find(Kind.HALF_WRITTEN, "", 0, where, text)
        elif data:
            text = f"a line that is no record of a chain: {visible(data[:60].decode(errors='replace'))}"
            self._find(Kind.NO_RECORD, "", 0, where, text)
        return None

    def found(self, kind: Kind, link: Link, where: str, text: str) -> None:
        """Something that only the caller can see, such as columns that do not say what the record says."""
        self._find(kind, link.writer, link.sequence, where, text)

    def result(self) -> Verification:
        for writer, chain in self._chains.items():
            self._end_kept(writer, chain, "")
            self._unmet(writer, chain)
        chains = tuple(
            ChainSummary(
                writer,
                chain.first,
                chain.end.sequence,
                chain.records,
                chain.signed,
                chain.closed,
                chain.pruned,
            )
            for writer, chain in sorted(self._chains.items())
        )
        return Verification(chains, tuple(self._findings), dict(self._counts))

    # Records

    def _record(self, sealed: Sealed, where: str) -> None:
        link = sealed.link
        chain = self._chain(link.writer)
        if not sealed.is_intact:
            self._find(Kind.EDITED, link.writer, link.sequence, where, "its bytes do not give its hash")
        if chain.kept is not None and link.sequence <= chain.pruned:
            self._kept_record(chain, chain.kept, sealed, where)
            return
        self._end_kept(link.writer, chain, where)
        expected = chain.end.sequence + 1
        if link.sequence < expected:
            self._behind(chain, sealed, where)
            return
        if link.sequence > expected:
            self._ahead(chain, link, where)
        elif sealed.previous != chain.end.hash:
            text = f"it does not follow on record {chain.end.sequence}: one of the two was replaced"
            self._find(Kind.REPLACED, link.writer, link.sequence, where, text)
        self._clock(chain, sealed, where)
        self._move_on(chain, link, where)

    def _move_on(self, chain: _Chain, link: Link, where: str) -> None:
        chain.first = chain.first or link.sequence
        chain.records += 1
        chain.closed = False
        chain.end = link
        self._seen[link[:2]] = link.hash
        if len(self._seen) > REMEMBERED:
            del self._seen[next(iter(self._seen))]
        wanted = chain.expected.pop(link.sequence, None)
        if wanted is not None:
            self._compare(chain, wanted, link.hash, where)

    def _ahead(self, chain: _Chain, link: Link, where: str) -> None:
        first = chain.end.sequence + 1
        if chain.records == 0 and self._excerpt:
            self._find(Kind.LATER, link.writer, link.sequence, where, "the excerpt begins here")
            return
        chain.gaps.append((first, link.sequence - 1))
        missing = (
            f"record {first}" if first == link.sequence - 1 else f"records {first} to {link.sequence - 1}"
        )
        text = f"{missing} missing before record {link.sequence}"
        self._find(Kind.MISSING, link.writer, first, where, text)

    def _behind(self, chain: _Chain, sealed: Sealed, where: str) -> None:
        """A sequence that the chain has passed: delivered twice, moved, or forged."""
        link = sealed.link
        if self._seen.get(link[:2]) == link.hash and sealed.is_intact:
            self._find(Kind.TWICE, link.writer, link.sequence, where, "the same record once more")
        elif any(first <= link.sequence <= last for first, last in chain.gaps):
            text = f"it stands behind record {chain.end.sequence}"
            self._find(Kind.REORDERED, link.writer, link.sequence, where, text)
        else:
            text = f"another record {link.sequence}, behind record {chain.end.sequence}"
            self._find(Kind.FORGED, link.writer, link.sequence, where, text)

    def _clock(self, chain: _Chain, sealed: Sealed, where: str) -> None:
        """Clocks may be set back; records are ordered by their sequence, not by their time."""
        found = _TIME.search(sealed.line)
        second = found[1] if found is not None else chain.second
        if second < chain.second:
            text = f"the clock went back, from {chain.second.decode()} to {second.decode()}"
            self._find(Kind.CLOCK, sealed.link.writer, sealed.link.sequence, where, text)
        chain.second = second

    # What a pruning kept

    def _kept_record(self, chain: _Chain, kept: Kept, sealed: Sealed, where: str) -> None:
        link = sealed.link
        while chain.kept_at < len(kept.sequences) and kept.sequences[chain.kept_at] < link.sequence:
            self._lost(link.writer, kept.sequences[chain.kept_at], where)
            chain.kept_at += 1
        if chain.kept_at == len(kept.sequences) or kept.sequences[chain.kept_at] != link.sequence:
            text = "it stands among pruned records, and the pruning did not keep it"
            self._find(Kind.FORGED, link.writer, link.sequence, where, text)
            return
        chain.kept_at += 1
        chain.kept_count += 1
        chain.kept_digest.update(link.hash)
        chain.records += 1
        chain.first = chain.first or link.sequence

    def _end_kept(self, writer: str, chain: _Chain, where: str) -> None:
        kept, chain.kept = chain.kept, None
        if kept is None:
            return
        for sequence in kept.sequences[chain.kept_at :]:
            self._lost(writer, sequence, where)
        whole = chain.kept_count == len(kept.sequences)
        if whole and chain.kept_digest.digest() != kept.digest:
            text = "a record under legal hold was replaced: what was kept is not what the pruning signed"
            self._find(Kind.REPLACED, writer, kept.sequences[0] if kept.sequences else 0, where, text)

    def _lost(self, writer: str, sequence: int, where: str) -> None:
        self._find(Kind.MISSING, writer, sequence, where, f"record {sequence}, under legal hold, is missing")

    # Checkpoints

    def _is_trusted(self, checkpoint: Checkpoint, where: str) -> bool:
        trust = self._check_signature(checkpoint)
        link = checkpoint.link
        if trust is Trust.BAD:
            text = "the checkpoint's signature does not fit: it was edited"
            self._find(Kind.SIGNATURE, link.writer, link.sequence, where, text)
        elif trust is Trust.UNKNOWN_KEY:
            text = f"the checkpoint is signed by a key that is not trusted: {visible(checkpoint.key, 100)}"
            self._find(Kind.KEY, link.writer, link.sequence, where, text)
        return trust is Trust.GOOD

    def _checkpoint(self, checkpoint: Checkpoint, where: str) -> None:
        link = checkpoint.link
        chain = self._chain(link.writer)
        if checkpoint.reason is Reason.PRUNE and chain.records == 0:
            chain.kept, chain.pruned, chain.end = checkpoint.kept, link.sequence, link
            chain.signed = link.sequence
            return
        if self._excerpt and chain.records == 0 and chain.end.sequence == 0:
            chain.end, chain.signed = link, link.sequence
            return
        if link.sequence > chain.end.sequence:
            first = chain.end.sequence + 1
            text = f"records {first} to {link.sequence} are missing: a checkpoint of {checkpoint.time} covers them"
            self._find(Kind.TRUNCATED, link.writer, first, where, text)
            chain.end = link
            return
        known = link.hash if link == chain.end else self._seen.get(link[:2])
        if known is not None:
            self._compare(chain, checkpoint, known, where)
        if checkpoint.reason is Reason.CLOSE:
            chain.closed = link.sequence == chain.end.sequence

    def _compare(self, chain: _Chain, checkpoint: Checkpoint, known: bytes, where: str) -> None:
        link = checkpoint.link
        if known == link.hash:
            chain.signed = max(chain.signed, link.sequence)
            return
        text = f"the checkpoint of {checkpoint.time} signed another record {link.sequence}: the chain was rewritten"
        self._find(Kind.CHECKPOINT, link.writer, link.sequence, where, text)

    def _unmet(self, writer: str, chain: _Chain) -> None:
        """Checkpoints from elsewhere that the chain never came to."""
        for sequence, checkpoint in sorted(chain.expected.items()):
            if sequence > chain.end.sequence:
                end, signed = chain.end.sequence, checkpoint.time
                text = f"the chain ends at record {end}; a checkpoint of {signed} covers {sequence}"
                self._find(Kind.TRUNCATED, writer, chain.end.sequence + 1, "", text)
                return

    # What they share

    def _chain(self, writer: str) -> _Chain:
        chain = self._chains.get(writer)
        if chain is None:
            chain = self._chains[writer] = _Chain(origin(writer))
        return chain

    def _find(self, kind: Kind, writer: str, sequence: int, where: str, text: str) -> None:
        self._counts[kind] = self._counts.get(kind, 0) + 1
        if len(self._findings) < MOST_FINDINGS:
            self._findings.append(Finding(kind, writer, sequence, where, text))
