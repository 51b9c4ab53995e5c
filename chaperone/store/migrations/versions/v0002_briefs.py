"""Briefs of large records, runs by when they began, and PostgreSQL's vacuum in step with inserts.

Searches walk an index alone only where the vacuum has seen the records; by default it waits for a fifth of the table.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

VACUUM = "autovacuum_vacuum_insert_scale_factor = 0.02, autovacuum_vacuum_insert_threshold = 20000"
FIRST_WITH_IT = (13, 0)


def upgrade() -> None:
    op.add_column("records", sa.Column("brief", sa.LargeBinary, nullable=True))
    op.create_index("callers_first", "callers", ["first"])
    dialect = op.get_bind().dialect
    if dialect.name == "postgresql" and (dialect.server_version_info or (0,)) >= FIRST_WITH_IT:
        op.execute(f"ALTER TABLE records SET ({VACUUM})")
