"""The Flask application: read a review, let the endpoint's function decide, answer.

Every path ends in an answer. An exception is a denial for our own kinds and for guarded identities; a
request of anybody else is let through, so that a fault of ours never takes the cluster down. Logs hold
names and outcomes, never a body.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from flask import Flask, Response, request
from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from chaperone.kube.errors import KubeError
from chaperone.settings.webhook import WebhookSettings
from webhook import approvals, guard, policies, sessions
from webhook.gathering import Gathering
from webhook.review import ALLOWED, Answer, UnreadableReview, denied, read_review, write_review

log = logging.getLogger(__name__)

Obj = Mapping[str, Any]
Decide = Callable[[Obj], Answer]

OUTCOMES = {True: "allowed", False: "denied"}
UNREADABLE = "unreadable"

UNSURE = (
    "policies could not be read recently enough to decide: try again when the API server answers the webhook"
)


class NotReadyError(Exception):
    """Nothing is known of policies yet: answered as an HTTP error, so that the failurePolicy of the webhook
    configuration decides (Fail where only agents are matched, Ignore where everybody is)."""


def create_app(settings: WebhookSettings, gathering: Gathering, *, clock: Callable[[], float]) -> Flask:
    """The application. clock: Unix seconds."""
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = settings.body_bytes
    endpoints = Endpoints(settings, gathering, clock)
    for name, decide, open_to in (
        ("mutate-approval", endpoints.stamp, _nobody),
        ("mutate-session", endpoints.stamp_session, _nobody),
        ("validate-approval", endpoints.approval, _nobody),
        ("validate-policy", endpoints.policy, _nobody),
        ("validate-session", endpoints.session, _nobody),
        ("guard", endpoints.guard, endpoints.is_stranger),
    ):
        app.add_url_rule(f"/{name}", name, endpoints.served(name, decide, open_to), methods=["POST"])
    app.add_url_rule("/healthz", "healthz", lambda: ("ok\n", 200))
    app.add_url_rule("/readyz", "readyz", endpoints.readiness)
    app.add_url_rule("/metrics", "metrics", endpoints.metrics)
    return app


class Endpoints:
    """Gather for one review, call the pure decision, count the outcome."""

    def __init__(self, settings: WebhookSettings, gathering: Gathering, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._gathering = gathering
        self._clock = clock
        self._registry = CollectorRegistry()
        self._reviews = Counter(
            "chaperone_webhook_reviews",
            "Admission reviews answered",
            ["endpoint", "outcome"],
            registry=self._registry,
        )

    def served(self, name: str, decide: Decide, is_open_to: Callable[[Obj], bool]) -> Callable[[], Response]:
        """A view: bounded body in, review out."""
        counted = {allowed: self._reviews.labels(name, word) for allowed, word in OUTCOMES.items()}
        self._reviews.labels(
            name, UNREADABLE
        )  # counted from zero, so that the first one is seen as an increase

        def view() -> Response:
            try:
                review = _read_request()
                answer = self._decided(name, decide, is_open_to, review)
            except UnreadableReview as error:
                return self._refused(name, error.code, error.message)
            except NotReadyError as error:
                return self._refused(name, 503, str(error))
            counted[answer.allowed].inc()
            return Response(write_review(review["uid"], answer), mimetype="application/json")

        return view

    def _decided(self, name: str, decide: Decide, is_open_to: Callable[[Obj], bool], review: Obj) -> Answer:
        try:
            answer = decide(review)
        except NotReadyError:
            raise
        except KubeError as error:
            log.warning("%s %s: the cluster could not be asked: %s", name, _what(review), error)
            answer = denied(
                f"{_what(review)}: the cluster could not be asked: try again",
                code=503,
                reason="InternalError",
            )
        except Exception as error:  # noqa: BLE001 - every fault ends in an answer
            _log_fault(name, review, error)
            if is_open_to(review):
                return ALLOWED
            answer = denied(
                f"{_what(review)}: kube-chaperone failed to decide, so this is refused",
                code=500,
                reason="InternalError",
            )
        if not answer.allowed:
            log.info("%s %s by %s: denied: %s", name, _what(review), _who(review), answer.message)
        return answer

    def _refused(self, name: str, code: int, message: str) -> Response:
        self._reviews.labels(name, UNREADABLE).inc()
        return Response(f"{message}\n", code, mimetype="text/plain")

    def readiness(self) -> tuple[str, int]:
        if self._gathering.standing.fresh() is None:
            return f"{UNSURE}\n", 503
        return "ok\n", 200

    def metrics(self) -> Response:
        registry = self._registry
        if self._settings.workers > 1:  # whichever worker is asked answers for all
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return Response(generate_latest(registry), mimetype="text/plain; version=0.0.4")

    # One method an endpoint: gather, then ask the pure function.

    def stamp(self, review: Obj) -> Answer:
        return approvals.stamp(review, self._gathering, self._settings.accounts, self._clock())

    def approval(self, review: Obj) -> Answer:
        return approvals.validate(review, self._gathering, self._settings.accounts, self._clock())

    def policy(self, review: Obj) -> Answer:
        return policies.validate(review, self._settings.accounts, self._guarded())

    def session(self, review: Obj) -> Answer:
        return sessions.check_session(
            review, accounts=self._settings.accounts, guarded=self._guarded(), now=self._clock()
        )

    def stamp_session(self, review: Obj) -> Answer:
        return sessions.stamp(review, self._clock(), console=self._settings.accounts.console)

    def guard(self, review: Obj) -> Answer:
        if self.is_stranger(review):
            return ALLOWED
        return guard.decide(review, self._gathering, self._clock())

    def is_stranger(self, review: Obj) -> bool:
        """Neither one of the identities that policies hand out, nor forwarded by a gateway."""
        return not guard.is_guarded(review["userInfo"], self._guarded())

    def _guarded(self) -> frozenset[str]:
        latest = self._gathering.standing.latest()
        if latest is None:
            raise NotReadyError(UNSURE)
        return latest.guarded


def _read_request() -> Obj:
    """The review in the HTTP request; its size is bounded by MAX_CONTENT_LENGTH, which Flask answers with
    413."""
    if request.mimetype != "application/json":
        raise UnreadableReview(415, "send an AdmissionReview as application/json")
    return read_review(request.get_data(cache=False))


def _nobody(_review: Obj) -> bool:
    return False


def _what(review: Obj) -> str:
    resource = review["resource"]["resource"]
    sub = f"/{review['subResource']}" if review.get("subResource") else ""
    place = f"{review['namespace']}/" if review.get("namespace") else ""
    return repr(f"{review['operation']} {resource}{sub} {place}{review.get('name', '')}".strip())


def _who(review: Obj) -> str:
    return repr(str(review["userInfo"].get("username", "")))


def _log_fault(name: str, review: Obj, error: Exception) -> None:
    """Where it happened and what kind of fault it was; its text may quote a body, so it is left out."""
    frames = "".join(traceback.format_tb(error.__traceback__))
    log.error(
        "%s %s by %s failed with %s\n%s", name, _what(review), _who(review), type(error).__name__, frames
    )
