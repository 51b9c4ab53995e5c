"""The first tables: records with what they are searched by, checkpoints, keys, tallies, holds, cursors."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

WORD = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
FACTS = ("caller", "verb", "verdict", "risk", "code", "policy", "resource", "namespace", "name", "stage")


def upgrade() -> None:
    op.create_table(
        "writers",
        sa.Column("number", NUMBER, primary_key=True, autoincrement=True),
        _word("name"),
        sa.UniqueConstraint("name"),
    )
    op.create_table(
        "callers",
        sa.Column("number", NUMBER, primary_key=True, autoincrement=True),
        *(_word(name) for name in ("digest", "run", "agent", "model", "issuer", "username")),
        _number("first"),
        sa.UniqueConstraint("digest"),
    )
    op.create_index("callers_run", "callers", ["run"])
    op.create_index("callers_agent", "callers", ["agent", "first"])
    _records()
    op.create_table(
        "checkpoints",
        sa.Column("id", NUMBER, primary_key=True, autoincrement=False),
        sa.Column("reason", WORD, primary_key=True),
        _number("at"),
        sa.Column("line", sa.LargeBinary, nullable=False),
    )
    op.create_table("keys", sa.Column("name", WORD, primary_key=True), _word("public"))
    op.create_table(
        "tallies",
        sa.Column("minute", NUMBER, primary_key=True, autoincrement=False),
        sa.Column("writer", NUMBER, primary_key=True, autoincrement=False),
        sa.Column("verdict", WORD, primary_key=True),
        _number("count"),
    )
    op.create_table(
        "holds", sa.Column("run", WORD, primary_key=True), _word("reason"), _word("by"), _number("since")
    )
    op.create_table(
        "cursors",
        sa.Column("name", WORD, primary_key=True),
        sa.Column("writer", NUMBER, primary_key=True, autoincrement=False),
        _number("sequence"),
    )


def _records() -> None:
    op.create_table(
        "records",
        sa.Column("id", NUMBER, primary_key=True, autoincrement=False),
        _number("at"),
        _word("audit_id"),
        _word("stage"),
        _number("caller"),
        *(_word(name) for name in ("verb", "verdict", "risk")),
        _number("code"),
        *(_word(name) for name in ("policy", "resource", "namespace", "name")),
        sa.Column("line", sa.LargeBinary, nullable=False),
    )
    op.create_index("records_facts", "records", ["at", "id", *FACTS])
    op.create_index("records_caller", "records", ["caller", "at", "id"])
    op.create_index("records_audit_id", "records", ["audit_id"])


def _word(name: str) -> sa.Column[str]:
    return sa.Column(name, WORD, nullable=False)


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, NUMBER, nullable=False)
