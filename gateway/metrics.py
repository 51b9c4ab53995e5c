"""Numbers for Prometheus, cheap enough for every request: label children are looked up once and kept.

With several workers the client library keeps its values in files (`PROMETHEUS_MULTIPROC_DIR`, set by the
supervisor before this module is imported), and any worker answers for all. Labels are closed sets: no name,
path or user of a request ever becomes one.
"""

from __future__ import annotations

import os
from collections.abc import Callable

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
    "used", "denied", "busy", "lost", "changed", "ended",
)  # fmt: skip
UPSTREAM_REASONS = ("connect", "tls", "timeout", "reset", "protocol", "credential")
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
OTHER = "other"

disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for every first one, which nothing reads


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
        self._tokens = Counter(name + "token_cache", "Tokens looked up", ("result",), registry=registry)
        self._children: dict[tuple[str, str, int], tuple[Callable[[], None], Callable[[float], None]]] = {}
        self._preset()

    def observe(self, verb: str, verdict: str, code: int, seconds: float) -> None:
        """One answered request. Whatever is not in the closed sets is counted as "other"."""
        child = self._children.get((verb, verdict, code))
        if child is None:
            child = self._child(verb, verdict, code)
        child[0]()
        child[1](seconds)

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

    def token_cache(self, *, hit: bool) -> None:
        (self._token_hit if hit else self._token_miss)()

    def audit_queue(self, depth: int) -> None:
        self._audit_queue.set(depth)

    def audit_failure(self) -> None:
        self._audit_failures.inc()

    def policy_age(self, seconds: float) -> None:
        self._policy_age.set(seconds)

    def exposition(self) -> bytes:
        """The text for Prometheus: of all workers where there are several."""
        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            return generate_latest(self.registry)
        together = CollectorRegistry()
        MultiProcessCollector(together)  # type: ignore[no-untyped-call]
        return generate_latest(together)

    def _child(
        self, verb: str, verdict: str, code: int
    ) -> tuple[Callable[[], None], Callable[[float], None]]:
        known = (
            verb if verb in VERBS else OTHER,
            verdict if verdict in VERDICTS else OTHER,
            code if 100 <= code <= 599 else 0,
        )
        counter = self._requests.labels(known[0], known[1], str(known[2]) if known[2] else OTHER)
        child = (counter.inc, self._duration.labels(known[0]).observe)
        self._children[known] = child
        return child

    def _preset(self) -> None:
        """Series that alarms are built on exist from the start, at zero."""
        for outcome in HOLD_OUTCOMES:
            self._holds.labels(outcome)
        for reason in UPSTREAM_REASONS:
            self._upstream.labels(reason)
        self._token_hit = self._tokens.labels("hit").inc
        self._token_miss = self._tokens.labels("miss").inc
