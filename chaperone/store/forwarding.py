"""Every record once to a target, in the order of its chain, across restarts: at least once, and known by its id.

How far a target has come is kept in the store under the forwarder's name, after each batch that the target took.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from chaperone.core.chain import read_sealed
from chaperone.store.delivery import DeliveryError, Target, TooLargeError
from chaperone.store.engine import unavailable
from chaperone.store.formats import Outgoing, outgoing
from chaperone.store.interface import StoreUnavailableError
from chaperone.store.opening import Store
from chaperone.store.tables import cursors, writers

BATCH = 200
BATCH_BYTES = 1 << 20
"""Bytes of records in one delivery, but for a larger record alone; less for a target that found that too large."""
LONGEST_PAUSE = 60.0


class Forwarder:
    """name: under which its place is kept; two with the same name would share it."""

    def __init__(self, store: Store, name: str, target: Target) -> None:
        self._store = store
        self._name = name
        self._target = target
        self._room = BATCH_BYTES

    def forward(self) -> int:
        """All that is new; how many. Raises DeliveryError and StoreUnavailableError: what was taken before it counts."""
        sent = 0
        for number, writer in self._writers():
            for batch in self._batches(self._after(writer, self._place(number))):
                self._deliver(number, batch)
                sent += len(batch)
        return sent

    def follow(
        self, wait: Callable[[float], bool], told: Callable[[str], None], *, every: float = 1.0
    ) -> None:
        """Until `wait(seconds)` says that it is over. told: hears of what fails; it is tried again, ever more slowly."""
        pause = every
        while not wait(pause):
            try:
                self.forward()
            except (DeliveryError, StoreUnavailableError) as fault:
                pause = min(LONGEST_PAUSE, pause * 2)
                told(f"{fault}; again in {pause:.0f} s")
            else:
                pause = every

    def _batches(self, items: Iterable[Outgoing]) -> Iterator[list[Outgoing]]:
        batch: list[Outgoing] = []
        size = 0
        for item in items:
            if batch and (len(batch) >= BATCH or size + len(item.line) > self._room):
                yield batch
                batch, size = [], 0
            batch.append(item)
            size += len(item.line)
        if batch:
            yield batch

    def _deliver(self, number: int, batch: Sequence[Outgoing]) -> None:
        """What is too large goes in halves; one record that is too large by itself goes as its brief."""
        try:
            self._target.deliver(batch)
        except TooLargeError:
            if len(batch) > 1:
                self._room = min(self._room, sum(len(item.line) for item in batch)) // 2
                half = len(batch) // 2
                self._deliver(number, batch[:half])
                self._deliver(number, batch[half:])
                return
            brief = batch[0].brief()
            if len(brief.line) >= len(batch[0].line):
                raise
            self._target.deliver([brief])
        self._keep(number, batch[-1].sealed.link.sequence)

    def _after(self, writer: str, sequence: int) -> Iterator[Outgoing]:
        for line, _ in self._store.lines(writer, after=sequence):
            sealed = read_sealed(line)
            if sealed is not None and sealed.link.sequence > sequence:
                yield outgoing(sealed)

    def _writers(self) -> list[tuple[int, str]]:
        with unavailable("the audit store did not answer"), self._store.engine.connect() as connection:
            rows = connection.execute(sa.select(writers).order_by(writers.c.number)).all()
        return [(row.number, row.name) for row in rows]

    def _place(self, number: int) -> int:
        own = (cursors.c.name == self._name) & (cursors.c.writer == number)
        with unavailable("the audit store did not answer"), self._store.engine.connect() as connection:
            return int(connection.scalar(sa.select(cursors.c.sequence).where(own)) or 0)

    def _keep(self, number: int, sequence: int) -> None:
        engine = self._store.engine
        insert = (postgresql.insert if engine.dialect.name == "postgresql" else sqlite.insert)(cursors)
        row = {"name": self._name, "writer": number, "sequence": sequence}
        kept = insert.values(row).on_conflict_do_update(
            index_elements=[cursors.c.name, cursors.c.writer], set_={"sequence": sequence}
        )
        with unavailable("the forwarder's place could not be kept"), engine.begin() as connection:
            connection.execute(kept)
