"""The tables of an audit store. Migrations are the truth of what a database has; a test holds the two together.

A record's id is its writer's number and its sequence in one integer, so nothing can be stored twice. The index `facts`
holds every column that is searched by, in the order of time: any search is a walk along it that never touches the records
themselves, and inserts append to it.
"""

from __future__ import annotations

import sqlalchemy as sa

SEQUENCE_BITS = 40
metadata = sa.MetaData()

WORD = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
"""Compared byte by byte: an index in a locale's order is slow, and changes with the system's library."""
NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
"""SQLite's INTEGER has 64 bits, and only a column of that very type is the row's own number."""

writers = sa.Table(
    "writers",
    metadata,
    sa.Column("number", NUMBER, primary_key=True, autoincrement=True),
    sa.Column("name", WORD, nullable=False, unique=True),
)

callers = sa.Table(
    "callers",
    metadata,
    sa.Column("number", NUMBER, primary_key=True, autoincrement=True),
    sa.Column("digest", WORD, nullable=False, unique=True),
    sa.Column("run", WORD, nullable=False),
    sa.Column("agent", WORD, nullable=False),
    sa.Column("model", WORD, nullable=False),
    sa.Column("issuer", WORD, nullable=False),
    sa.Column("username", WORD, nullable=False),
    sa.Column("first", NUMBER, nullable=False),
    sa.Index("callers_run", "run"),
    sa.Index("callers_agent", "agent", "first"),
    sa.Index("callers_first", "first"),
)
"""One row for each verified identity of a run. first: microseconds since 1970."""

records = sa.Table(
    "records",
    metadata,
    sa.Column("id", NUMBER, primary_key=True, autoincrement=False),
    sa.Column("at", NUMBER, nullable=False),
    sa.Column("audit_id", WORD, nullable=False),
    sa.Column("stage", WORD, nullable=False),
    sa.Column("caller", NUMBER, nullable=False),
    sa.Column("verb", WORD, nullable=False),
    sa.Column("verdict", WORD, nullable=False),
    sa.Column("risk", WORD, nullable=False),
    sa.Column("code", NUMBER, nullable=False),
    sa.Column("policy", WORD, nullable=False),
    sa.Column("resource", WORD, nullable=False),
    sa.Column("namespace", WORD, nullable=False),
    sa.Column("name", WORD, nullable=False),
    sa.Column("brief", sa.LargeBinary),
    sa.Column("line", sa.LargeBinary, nullable=False),
    sa.Index(
        "records_facts",
        "at",
        "id",
        "caller",
        "verb",
        "verdict",
        "risk",
        "code",
        "policy",
        "resource",
        "namespace",
        "name",
        "stage",
    ),
    sa.Index("records_caller", "caller", "at", "id"),
    sa.Index("records_audit_id", "audit_id"),
)
"""at: microseconds since 1970; caller: 0 for nobody that was verified; resource: "deployments.apps/scale"; brief: what
lists show of a large record, NULL for a line that is short."""

checkpoints = sa.Table(
    "checkpoints",
    metadata,
    sa.Column("id", NUMBER, primary_key=True, autoincrement=False),
    sa.Column("reason", WORD, primary_key=True),
    sa.Column("at", NUMBER, nullable=False),
    sa.Column("line", sa.LargeBinary, nullable=False),
)
"""id: of the record that the checkpoint signs; with reason Prune, of the last one that was removed."""

keys = sa.Table(
    "keys",
    metadata,
    sa.Column("name", WORD, primary_key=True),
    sa.Column("public", WORD, nullable=False),
)
"""Public keys of those who signed, PEM. Who distrusts the database compares them with what he has been given."""

tallies = sa.Table(
    "tallies",
    metadata,
    sa.Column("minute", NUMBER, primary_key=True, autoincrement=False),
    sa.Column("writer", NUMBER, primary_key=True, autoincrement=False),
    sa.Column("verdict", WORD, primary_key=True),
    sa.Column("count", NUMBER, nullable=False),
)
"""Ended requests of each minute (since 1970): one row a writer, so that writers never wait for each other."""

holds = sa.Table(
    "holds",
    metadata,
    sa.Column("run", WORD, primary_key=True),
    sa.Column("reason", WORD, nullable=False),
    sa.Column("by", WORD, nullable=False),
    sa.Column("since", NUMBER, nullable=False),
)

cursors = sa.Table(
    "cursors",
    metadata,
    sa.Column("name", WORD, primary_key=True),
    sa.Column("writer", NUMBER, primary_key=True, autoincrement=False),
    sa.Column("sequence", NUMBER, nullable=False),
)
"""How far each forwarder has delivered each chain."""


def record_id(writer: int, sequence: int) -> int:
    return writer << SEQUENCE_BITS | sequence


def split_id(number: int) -> tuple[int, int]:
    """(writer, sequence)."""
    return number >> SEQUENCE_BITS, number & (1 << SEQUENCE_BITS) - 1
