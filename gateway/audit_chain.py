"""The chain of one worker's records: seals each, and says when a signed checkpoint is due. For the writer's thread."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chaperone.core.audit import encode
from chaperone.core.chain import Link, Reason, Sealed, origin, seal
from chaperone.store.signing import Signer


@dataclass(frozen=True, slots=True)
class CheckpointTerms:
    """A checkpoint is written after so many records, or so many seconds after the first that none covers yet."""

    records: int = 1000
    seconds: float = 60.0


class SignedChain:
    """`resume` before the first `seal`. wall: Unix seconds; clock: monotonic seconds."""

    def __init__(
        self,
        writer: str,
        signer: Signer,
        *,
        wall: Callable[[], float],
        clock: Callable[[], float],
        terms: CheckpointTerms | None = None,
    ) -> None:
        self.link = origin(writer)
        self._signer = signer
        self._wall = wall
        self._clock = clock
        self._terms = terms or CheckpointTerms()
        self._signed = 0
        self._unsigned_since: float | None = None

    def resume(self, link: Link) -> None:
        """Carry on after this one. What was written before and never signed is signed soon."""
        self.link = link
        self._signed = 0
        self._unsigned_since = self._clock() if link.sequence else None

    def seal(self, record: Mapping[str, Any]) -> Sealed:
        """The record as the chain's next one. Raises TypeError or ValueError when it cannot be encoded, and then the
        chain is as it was."""
        return self.seal_line(encode(record), record)

    def seal_line(self, line: bytes, record: Mapping[str, Any]) -> Sealed:
        """Of a record that is encoded already. record: what its searched fields are read from. Raises ValueError."""
        sealed = seal(self.link, line, record)
        self.link = sealed.link
        return sealed

    def back_to(self, link: Link) -> None:
        """Forget what was sealed since: it was not written."""
        self.link = link

    @property
    def due_in(self) -> float | None:
        """Seconds until a checkpoint is due; None when there is nothing to sign."""
        if self._unsigned_since is None:
            return None
        return max(0.0, self._unsigned_since + self._terms.seconds - self._clock())

    def checkpoint_due(self, batch: Sequence[Sealed]) -> bool:
        unsigned = self.link.sequence - self._signed
        return (bool(batch) and unsigned >= self._terms.records) or self.due_in == 0.0

    def checkpoint(self, reason: Reason) -> bytes:
        """The signed line of the chain as it is now."""
        return self._signer.checkpoint(self.link, self._wall(), reason)

    def written(self, *, signed: bool) -> None:
        """All that was sealed is in the store; signed: with a checkpoint behind it."""
        if signed:
            self._signed, self._unsigned_since = self.link.sequence, None
        elif self._unsigned_since is None:
            self._unsigned_since = self._clock()
