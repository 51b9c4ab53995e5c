"""What one run may ask for, in numbers; time is an argument."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chaperone.core.policy import Limits
from gateway.limits import MOST_BUCKETS, RunLimits, run_key, strictest
from tests.gateway.stage import AGENT

RUN = run_key(AGENT)


class Stream:
    def __init__(self, limits: RunLimits) -> None:
        self.limits = limits
        self.reasons: list[str] = []

    def close(self, reason: str) -> None:
        self.reasons.append(reason)
        self.limits.closed(RUN, self)


def admitted(limits: RunLimits, policy: Limits, times: list[float]) -> list[int]:
    return [limits.admit(RUN, policy, now) for now in times]


@pytest.mark.parametrize(
    ("policy", "times", "expected"),
    [
        (Limits(), [0.0] * 100, [0] * 100),
        (Limits(requests_per_second=1, burst=2), [0, 0, 0, 0.5, 1.0, 1.0], [0, 0, 1, 1, 0, 1]),
        (Limits(requests_per_second=10), [0.0] * 11, [0] * 10 + [1]),
        (Limits(requests_per_second=0.1, burst=1), [0, 0, 9, 10], [0, 10, 1, 0]),
        (Limits(requests_per_second=0, burst=1), [0, 0, 1000], [0, 60, 60]),
        (Limits(requests_per_second=1, burst=1), [100, 0, 101], [0, 1, 0]),
    ],
    ids=[
        "unlimited",
        "burst and refill",
        "burst by default",
        "slow",
        "nothing refills",
        "a clock that goes back",
    ],
)
def test_a_bucket_admits(policy: Limits, times: list[float], expected: list[int]) -> None:
    assert admitted(RunLimits(), policy, times) == expected


def test_runs_do_not_share_a_bucket() -> None:
    limits, one = RunLimits(), Limits(requests_per_second=1, burst=1)
    assert limits.admit(RUN, one, 0.0) == 0
    assert limits.admit(run_key(replace(AGENT, run="other")), one, 0.0) == 0
    assert limits.admit(RUN, one, 0.0) > 0


def test_buckets_are_bounded_and_the_busy_one_is_kept() -> None:
    limits, one = RunLimits(), Limits(requests_per_second=0.001, burst=1)
    for number in range(MOST_BUCKETS):
        limits.admit(("i", "s", str(number)), one, float(number))
    assert limits.admit(RUN, one, MOST_BUCKETS + 0.0) == 0
    assert limits.admit(RUN, one, MOST_BUCKETS + 1.0) > 0
    assert len(limits._buckets) <= MOST_BUCKETS


def test_streams_are_counted_once_and_closed_together() -> None:
    limits, two = RunLimits(), Limits(concurrent_streams=2)
    streams = [Stream(limits), Stream(limits)]
    for stream in streams:
        assert limits.may_open(RUN, two)
        limits.opened(RUN, stream)
    assert not limits.may_open(RUN, two)
    assert limits.close_run(RUN, "terminated") == 2
    limits.closed(RUN, streams[0])
    assert limits.open_streams == 0
    assert [stream.reasons for stream in streams] == [["terminated"], ["terminated"]]
    assert limits.close_run(RUN, "again") == 0


def test_the_strictest_of_several_policies_counts() -> None:
    combined = strictest([Limits(requests_per_second=5, burst=9), Limits(requests_per_second=2), Limits()])
    assert (combined.requests_per_second, combined.burst, combined.concurrent_streams) == (2, 9, None)
