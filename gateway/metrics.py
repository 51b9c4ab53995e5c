"""Numbers for Prometheus, cheap enough for every request: what every request adds to is counted here in plain numbers,
and handed to the client library once a second and before each scrape (`flush`).

With several workers the client library keeps its values in files (`PROMETHEUS_MULTIPROC_DIR`, set by the
supervisor before this module is imported), and any worker answers for all. Labels are closed sets: no name,
path or user of a request ever becomes one; masking rules are named by whoever writes them.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Mapping

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

VERBS = frozenset((
    "get", "list", "watch", "create", "update", "patch", "delete", "deletecollection", "proxy",
    "head", "post", "put", "options", "connect",
))  # fmt: skip
VERDICTS = frozenset(("Allow", "Hold", "Deny"))
HOLD_OUTCOMES = (
    "spent", "lost race", "retry", "timeout", "gone", "overload", "unavailable",
    "used", "denied", "busy", "lost", "changed", "withdrawn", "ended",
)  # fmt: skip
UPSTREAM_REASONS = ("connect", "tls", "timeout", "reset", "protocol", "credential")
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
RECORDING_STATES = ("sealed", "truncated", "partial", "failed", "refused")
OTHER = "other"
MOST_RULES = 1000

disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for every first one, which nothing reads


class Tally:
    """Requests that share their labels, since the last flush. buckets: by the places in BUCKETS, and those above."""

    __slots__ = ("buckets", "count", "seconds")

    def __init__(self) -> None:
        self.count = 0
        self.seconds = 0.0
        self.buckets = [0] * (len(BUCKETS) + 1)

    def hand_over(self, histogram: Histogram) -> None:
        """The library has no public way to observe many at once; `tests/gateway/test_metrics.py` holds it to this one."""
        histogram._sum.inc(self.seconds)
        for counted, bucket in zip(self.buckets, histogram._buckets, strict=True):
            if counted:
                bucket.inc(counted)
        self.count, self.seconds, self.buckets = 0, 0.0, [0] * len(self.buckets)


class GatewayMetrics:
    """One worker's numbers. registry: a fresh one in tests."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry = registry or CollectorRegistry()
        name = "chaperone_gateway_"
        self._requests = Counter(
            name + "requests", "Requests answered", ("verb", "verdict", "code"), registry=registry
        )
        self._duration = Histogram(
            name + "request_duration_seconds",
            "From the request's last header to the answer's end; held time included",
            ("verb",),
            buckets=BUCKETS,
            registry=registry,
        )
        self._connections = Gauge(
            name + "connections", "Open client connections", registry=registry, multiprocess_mode="livesum"
        )
        self._streams = Gauge(
            name + "streams_open",
            "Open watches, logs and tunnels",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._held = Gauge(
            name + "held", "Requests that wait for people", registry=registry, multiprocess_mode="livesum"
        )
        self._holds = Counter(name + "holds", "Holds by outcome", ("outcome",), registry=registry)
        self._upstream = Counter(
            name + "upstream_errors", "No answer from the API server", ("reason",), registry=registry
        )
        self._audit_queue = Gauge(
            name + "audit_queue",
            "Records that wait for the writer",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._audit_failures = Counter(
            name + "audit_failures", "Writes that the audit sink failed", registry=registry
        )
        self._policy_age = Gauge(
            name + "policy_age_seconds",
            "Since the API server last confirmed the policies",
            registry=registry,
            multiprocess_mode="livemax",
        )
        self._masked = Counter(
            name + "masked_values", "Values masked in answers, by rule", ("rule",), registry=registry
        )
        self._recordings = Counter(
            name + "recordings",
            "Streams that were to be recorded, by how that ended",
            ("state",),
            registry=registry,
        )
        self._tokens = Counter(name + "token_cache", "Tokens looked up", ("result",), registry=registry)
        self._sessions = Gauge(
            name + "sessions_active",
            "AgentSessions that are active in the cluster",
            registry=registry,
            multiprocess_mode="livemax",
        )
        self._terminated = Counter(
            name + "runs_terminated", "Runs that a person has terminated while served here", registry=registry
        )
        self._tallies: dict[tuple[str, str, int], Tally] = {}
        self._rules: set[str] = set()
        self._tokens_seen = {True: 0, False: 0}
        self._preset()

    def observe(self, verb: str, verdict: str, code: int, seconds: float) -> None:
        """One answered request. Whatever is not in the closed sets is counted as "other"."""
        tally = self._tallies.get((verb, verdict, code))
        if tally is None:
            tally = self._tally(verb, verdict, code)
        tally.count += 1
        tally.seconds += seconds
        tally.buckets[bisect_left(BUCKETS, seconds)] += 1

    def connections(self, count: int) -> None:
        self._connections.set(count)

    def streams(self, count: int) -> None:
        self._streams.set(count)

    def held(self, count: int) -> None:
        self._held.set(count)

    def hold(self, outcome: str) -> None:
        self._holds.labels(outcome if outcome in HOLD_OUTCOMES else OTHER).inc()

    def upstream_error(self, reason: str) -> None:
        self._upstream.labels(reason if reason in UPSTREAM_REASONS else OTHER).inc()

    def masked(self, counts: Mapping[str, int]) -> None:
        """Rules are named in the rule files and in policies: as many as there are, and no more than MOST_RULES."""
        for rule, count in counts.items():
            known = rule in self._rules or len(self._rules) < MOST_RULES
            if known:
                self._rules.add(rule)
            self._masked.labels(rule if known else OTHER).inc(count)

    def recording(self, state: str) -> None:
        self._recordings.labels(state if state in RECORDING_STATES else OTHER).inc()

    def sessions(self, active: int) -> None:
        self._sessions.set(active)

    def terminated(self) -> None:
        self._terminated.inc()

    def token_cache(self, *, hit: bool) -> None:
        self._tokens_seen[hit] += 1

    def audit_queue(self, depth: int) -> None:
        self._audit_queue.set(depth)

    def audit_failure(self) -> None:
        self._audit_failures.inc()

    def policy_age(self, seconds: float) -> None:
        self._policy_age.set(seconds)

    def exposition(self) -> bytes:
        """The text for Prometheus: of all workers where there are several."""
        self.flush()
        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            return generate_latest(self.registry)
        together = CollectorRegistry()
        MultiProcessCollector(together)  # type: ignore[no-untyped-call]
        return generate_latest(together)

    def flush(self) -> None:
        """Hand over what was counted since the last time."""
        for (verb, verdict, code), tally in self._tallies.items():
            if tally.count:
                self._requests.labels(verb, verdict, str(code) if code else OTHER).inc(tally.count)
                tally.hand_over(self._duration.labels(verb))
        for hit, word in ((True, "hit"), (False, "miss")):
            self._tokens.labels(word).inc(self._tokens_seen[hit])
            self._tokens_seen[hit] = 0

    def _tally(self, verb: str, verdict: str, code: int) -> Tally:
        known = (
            verb if verb in VERBS else OTHER,
            verdict if verdict in VERDICTS else OTHER,
            code if 100 <= code <= 599 else 0,
        )
        return self._tallies.setdefault(known, Tally())

    def _preset(self) -> None:
        """Series that alarms are built on exist from the start, at zero."""
        for outcome in HOLD_OUTCOMES:
            self._holds.labels(outcome)
        for reason in UPSTREAM_REASONS:
            self._upstream.labels(reason)
        for result in ("hit", "miss"):
            self._tokens.labels(result)
        for state in RECORDING_STATES:
            self._recordings.labels(state)
