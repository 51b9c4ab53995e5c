"""Audit ids are UUIDs that begin with their time, and never the same."""

from __future__ import annotations

import uuid

from gateway.audit_ids import AuditIds


def test_ids_are_uuids_and_differ() -> None:
    ids = AuditIds()
    made = [ids.new() for _ in range(2000)]
    assert len(set(made)) == 2000
    assert {uuid.UUID(one).version for one in made} == {7}
    assert {uuid.UUID(one).variant for one in made} == {uuid.RFC_4122}
    assert {str(uuid.UUID(one)) for one in made} == set(made)


def test_ids_sort_by_their_time() -> None:
    moments = iter([1_700_000_000.0, 1_700_000_000.5, 1_800_000_000.25])
    ids = AuditIds(lambda: next(moments))
    made = [ids.new() for _ in range(3)]
    assert made == sorted(made)
    assert int(made[0].replace("-", "")[:12], 16) == 1_700_000_000_000
