"""What stands around the webhook: an API server that knows approvals and RBAC, policies as listed, the
whole app."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flask.testing import FlaskClient

from chaperone.core.policy import RiskSettings
from chaperone.kube.errors import UnreachableError
from chaperone.kube.official import AGENT_POLICIES, APPROVAL_REQUESTS, SUBJECT_ACCESS_REVIEWS, Obj
from chaperone.settings.webhook import WebhookListenSettings, WebhookSettings
from webhook.app import create_app
from webhook.gathering import Gathering
from webhook.standing import OnChange, Standing

NOW = 1_000_000.0


class FakeCluster:
    """approvals by name; may_approve, may_request: (user or group, policy, namespace) triples that RBAC allows."""

    def __init__(self) -> None:
        self.approvals: dict[str, Obj] = {}
        self.may_approve: set[tuple[str, str, str]] = set()
        self.may_request: set[tuple[str, str, str]] = set()
        self.away = False
        self.questions: list[Mapping[str, Any]] = []

    def find(self, path: str) -> Obj | None:
        self._answer()
        return self.approvals.get(path.removeprefix(APPROVAL_REQUESTS.path() + "/"))

    def create(self, path: str, obj: Mapping[str, Any]) -> Obj:
        self._answer()
        assert path == SUBJECT_ACCESS_REVIEWS.path()
        spec = obj["spec"]
        self.questions.append(spec)
        asked = spec["resourceAttributes"]
        assert asked["group"] == "chaperone.dev"
        known = {"approve approvals": self.may_approve, "request accessrequests": self.may_request}
        allowed = known[f"{asked['verb']} {asked['resource']}"]
        who = (spec["user"], *spec["groups"])
        return {
            "status": {"allowed": any((name, asked["name"], asked["namespace"]) in allowed for name in who)}
        }

    def _answer(self) -> None:
        if self.away:
            raise UnreachableError("cannot reach the API server")


class FakeCache:
    """A cache whose list and age the test sets."""

    def __init__(self, on_change: OnChange) -> None:
        self.on_change = on_change
        self.seconds = 0.0

    def age(self) -> float:
        return self.seconds


class World:
    """One webhook with everything around it."""

    def __init__(self, *policies: Obj, listed: bool = True) -> None:
        self.cluster = FakeCluster()
        self.caches: dict[str, FakeCache] = {}
        self.settings = WebhookSettings(listen=WebhookListenSettings(certificate=Path("c"), key=Path("k")))
        standing = Standing(RiskSettings(), self.settings.max_policy_age)
        standing.follow(self._cache)
        self.gathering = Gathering(self.cluster, standing)
        self.app = create_app(self.settings, self.gathering, clock=lambda: NOW)
        if listed:
            self.list_policies(*policies)

    def list_policies(self, *policies: Obj) -> None:
        """As if the API server had just told all of them."""
        for path, cache in self.caches.items():
            cache.on_change(tuple(policies) if path == AGENT_POLICIES.path() else ())

    def age_policies(self, seconds: float) -> None:
        for cache in self.caches.values():
            cache.seconds = seconds

    @property
    def client(self) -> FlaskClient:
        return self.app.test_client()

    def _cache(self, path: str, on_change: OnChange) -> FakeCache:
        self.caches[path] = FakeCache(on_change)
        return self.caches[path]


def policy_object(name: str = "coders", **spec: Any) -> Obj:
    """An AgentPolicy as listed, whose identity is agents/coder."""
    return {
        "apiVersion": "chaperone.dev/v1alpha1",
        "kind": "AgentPolicy",
        "metadata": {"name": name, "uid": f"uid-{name}", "generation": 1, "resourceVersion": "1"},
        "spec": {
            "subjects": [{"groups": ["ai-agents"]}],
            "identity": {"serviceAccount": {"namespace": "agents", "name": "coder"}},
            **spec,
        },
    }
