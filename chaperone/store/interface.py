"""What an audit store is asked for, and what it answers, whichever database is behind it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from chaperone.core.chain import Link, Sealed


class StoreUnavailableError(OSError):
    """The store cannot be reached, is full, or refuses: nothing of the batch was written, unless said otherwise."""


class StoreMismatchError(Exception):
    """The address names no audit store that this version can use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Which records; an empty field asks for nothing. since, until: Unix seconds (until is exclusive).

    object: name, or resource/name (`deployments.apps/web`); text: a piece of the record as it is stored.
    """

    run: str = ""
    agent: str = ""
    issuer: str = ""
    user: str = ""
    verb: str = ""
    object: str = ""
    resource: str = ""
    namespace: str = ""
    verdict: str = ""
    risk: str = ""
    policy: str = ""
    stage: str = ""
    code: int = 0
    since: float = 0.0
    until: float = 0.0
    text: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """A stored record. id: of the store; time: Unix seconds; line: the exact bytes.

    Where briefs were asked for, the record of a large one lacks its long fields, which `omitted` names with their bytes,
    and its line is empty.
    """

    id: int
    writer: str
    sequence: int
    time: float
    record: Mapping[str, Any]
    line: bytes


@dataclass(frozen=True, slots=True)
class Page:
    """Newest first. cursor: for the next page, "" when there is none. searched: Unix seconds back to which everything was
    searched, where patience ended the search before it had enough; else 0.0."""

    records: tuple[Found, ...]
    cursor: str
    searched: float = 0.0


@dataclass(frozen=True, slots=True)
class Tally:
    """Requests that ended in one bucket of time, by verdict. start: Unix seconds."""

    start: float
    verdict: str
    count: int


@dataclass(frozen=True, slots=True)
class RunSummary:
    """A run that has records. first: Unix seconds of its first record."""

    run: str
    agent: str
    model: str
    issuer: str
    username: str
    first: float


@dataclass(frozen=True, slots=True)
class Hold:
    """A run whose records no pruning removes. since: Unix seconds."""

    run: str
    reason: str
    by: str
    since: float


@dataclass(frozen=True, slots=True)
class Pruned:
    """What one pruning did. held: records that stay because their run is under legal hold."""

    removed: int
    held: int


class RecordWriter(Protocol):
    """The one writer of one chain. All methods raise StoreUnavailableError."""

    def open(self) -> Link | None:
        """Connect; where this writer's chain ends in the store, None when it has none."""
        ...

    def append(self, batch: Sequence[Sealed], checkpoint: bytes | None, *, durable: bool) -> None:
        """All of it, or none of it. checkpoint: a signed line to be kept after the batch."""
        ...

    def close(self) -> None: ...


class AuditStore(Protocol):
    """What people and programs ask. All methods raise StoreUnavailableError; ValueError for a cursor that is none.

    Pages hold at most `limit` records, and fewer where they are large: the cursor alone says whether there are more.
    brief: as lists show them.
    """

    def search(
        self,
        query: Query,
        *,
        limit: int = 50,
        cursor: str = "",
        brief: bool = False,
        patience: float | None = None,
    ) -> Page:
        """Newest first. patience: seconds after which it stops, wherever it has come to, and the page says where."""
        ...

    def timeline(
        self,
        run: str,
        *,
        limit: int = 1000,
        after: str = "",
        brief: bool = False,
        issuer: str = "",
        user: str = "",
        writes: bool = False,
    ) -> Page:
        """The records of a run, oldest first; cursor as `after`. issuer, user: of this caller alone, as others may name
        their runs the same; writes: without get, list and watch, but of subresources."""
        ...

    def get(self, audit_id: str) -> tuple[Found, ...]:
        """Every stage of one request, in their order."""
        ...

    def counts(self, since: float, until: float, bucket: float) -> tuple[Tally, ...]:
        """Ended requests by verdict and bucket (seconds, at least 60), oldest first."""
        ...

    def runs(self, *, limit: int = 100, agent: str = "") -> tuple[RunSummary, ...]:
        """The runs that were seen first most lately."""
        ...

    def holds(self) -> tuple[Hold, ...]: ...
    def hold(self, run: str, *, reason: str, by: str, now: float) -> None: ...
    def release(self, run: str) -> bool:
        """False: it was not held."""
        ...

    def lines(self, writer: str) -> Iterator[tuple[bytes, str]]:
        """Everything of one chain in its order, checkpoints among it: (line, where)."""
        ...

    def writers(self) -> tuple[str, ...]: ...
    def close(self) -> None: ...
