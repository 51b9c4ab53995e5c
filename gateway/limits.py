"""What one run may ask for: requests per second (token bucket) and streams open at the same time.

Counted in each worker for itself. Time is an argument.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from chaperone.core.identity import Caller
from chaperone.core.policy import Limits

RunKey = tuple[str, str, str]
"""(issuer, subject, run): one execution of a model, or the subject itself when the token names no run."""

MOST_BUCKETS = 10_000

Number = TypeVar("Number", int, float)


def run_key(caller: Caller) -> RunKey:
    return (caller.issuer, caller.subject, caller.run)


def strictest(limits: Iterable[Limits]) -> Limits:
    """The lowest of every limit that any of the governing policies sets."""
    every = tuple(limits)
    return Limits(
        requests_per_second=_lowest(limit.requests_per_second for limit in every),
        burst=_lowest(limit.burst for limit in every),
        concurrent_streams=_lowest(limit.concurrent_streams for limit in every),
        mutations_per_run=_lowest(limit.mutations_per_run for limit in every),
        max_run_duration=_lowest(limit.max_run_duration for limit in every),
    )


def _lowest(values: Iterable[Number | None]) -> Number | None:
    return min((value for value in values if value is not None), default=None)


class Stream(Protocol):
    """A watch, a log that is followed, or a tunnel."""

    def close(self, reason: str) -> None: ...


@dataclass(slots=True)
class _Bucket:
    tokens: float
    filled_at: float


class RunLimits:
    """Buckets and open streams by run."""

    __slots__ = ("_buckets", "_streams", "open_streams")

    def __init__(self) -> None:
        self._buckets: dict[RunKey, _Bucket] = {}
        self._streams: dict[RunKey, set[Stream]] = {}
        self.open_streams = 0

    def admit(self, key: RunKey, limits: Limits, now: float) -> int:
        """Take one request out of the bucket. 0: admitted; otherwise after how many seconds to try again."""
        rate = limits.requests_per_second
        if rate is None:
            return 0
        size = float(limits.burst if limits.burst is not None else max(1.0, rate))
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._new_bucket(key, size, now)
        bucket.tokens = min(size, bucket.tokens + max(0.0, now - bucket.filled_at) * rate)
        bucket.filled_at = now
        if bucket.tokens >= 1.0:
            bucket.tokens -= 1.0
            return 0
        return max(1, -int(-(1.0 - bucket.tokens) // rate)) if rate > 0 else 60

    def _new_bucket(self, key: RunKey, size: float, now: float) -> _Bucket:
        if len(self._buckets) >= MOST_BUCKETS:
            self._forget_oldest()
        bucket = self._buckets[key] = _Bucket(size, now)
        return bucket

    def _forget_oldest(self) -> None:
        """Drop the half that was asked last the longest ago; those buckets are the fullest."""
        by_age = sorted(self._buckets.items(), key=lambda item: item[1].filled_at)
        for key, _ in by_age[: len(by_age) // 2]:
            del self._buckets[key]

    def may_open(self, key: RunKey, limits: Limits) -> bool:
        """May this run open one more stream?"""
        most = limits.concurrent_streams
        return most is None or len(self._streams.get(key, ())) < most

    def opened(self, key: RunKey, stream: Stream) -> None:
        self._streams.setdefault(key, set()).add(stream)
        self.open_streams += 1

    def closed(self, key: RunKey, stream: Stream) -> None:
        streams = self._streams.get(key)
        if streams is None or stream not in streams:
            return
        streams.discard(stream)
        self.open_streams -= 1
        if not streams:
            del self._streams[key]

    def close_run(self, key: RunKey, reason: str) -> int:
        """Close every open stream of a run (the kill switch). How many there were."""
        streams = tuple(self._streams.get(key, ()))
        for stream in streams:
            stream.close(reason)
        return len(streams)

    def every_stream(self) -> tuple[Stream, ...]:
        return tuple(stream for streams in self._streams.values() for stream in streams)
