"""The console's view of the cluster: lists are remembered for a moment, keep their order, and never hide its own writes."""

from __future__ import annotations

import pytest

from chaperone.kube.errors import UnreachableError
from console.cluster import REMEMBERED, Cluster
from console.person import Person
from tests.console.conftest import APPROVAL_REQUESTS, FakeApi, approval

ALICE = Person("alice", (), 0.0, 0.0)


def names(cluster: Cluster) -> list[str]:
    return [obj["metadata"]["name"] for obj in cluster.approvals()]


def test_a_list_is_good_for_a_moment() -> None:
    api, now = FakeApi(), [0.0]
    cluster = Cluster(api, clock=lambda: now[0])
    api.add(APPROVAL_REQUESTS, approval("apr-1"))
    assert names(cluster) == ["apr-1"]
    api.add(APPROVAL_REQUESTS, approval("apr-2"))
    now[0] = REMEMBERED / 2
    assert names(cluster) == ["apr-1"]
    assert cluster.approval("apr-2") is not None, "a single object is always asked for"
    now[0] = REMEMBERED
    assert names(cluster) == ["apr-2", "apr-1"]


def test_what_the_console_wrote_is_seen_at_once() -> None:
    api = FakeApi()
    cluster = Cluster(api, clock=lambda: 0.0)
    assert names(cluster) == []
    api.add(APPROVAL_REQUESTS, approval("apr-1"))
    cluster.decide("apr-1", ALICE, "Approved", "")
    assert names(cluster) == ["apr-1"]


def test_an_error_is_not_remembered() -> None:
    api = FakeApi(away=True)
    cluster = Cluster(api, clock=lambda: 0.0)
    with pytest.raises(UnreachableError):
        cluster.approvals()
    api.away = False
    assert names(cluster) == []


def test_those_of_one_second_keep_their_order() -> None:
    api = FakeApi()
    for name in ("b", "c", "a"):
        api.add(APPROVAL_REQUESTS, approval(name))
    newer = approval("0")
    newer["metadata"]["creationTimestamp"] = "2026-01-02T00:00:00Z"
    api.add(APPROVAL_REQUESTS, newer)
    assert names(Cluster(api)) == ["0", "c", "b", "a"]
