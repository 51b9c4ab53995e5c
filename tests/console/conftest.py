"""A console without sockets: a cluster in memory, an issuer that nobody asks, and browsers with a login of their own."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from chaperone.core.authentication import Issuer
from chaperone.kube.errors import RefusedError, UnreachableError
from chaperone.kube.official import (
    AGENT_POLICIES,
    AGENT_SESSIONS,
    APPROVAL_REQUESTS,
    SUBJECT_ACCESS_REVIEWS,
    Listing,
    Obj,
)
from chaperone.settings.console import ConsoleListenSettings, ConsoleSettings, LoginSettings
from console.app import Services, create_app
from console.cluster import Cluster
from console.person import Person, remember
from console.rights import Rights

URL = "https://console.example"
KEY = b"k" * 32


@dataclass
class FakeApi:
    """Objects by path; rights as (user or group, verb, resource, name or "*")."""

    objects: dict[str, Obj] = field(default_factory=dict)
    rights: set[tuple[str, str, str, str]] = field(default_factory=set)
    patches: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    refusal: str = ""
    away: bool = False
    questions: int = 0

    def add(self, kind: Any, obj: Obj) -> Obj:
        self.objects[kind.path(obj["metadata"]["name"])] = obj
        return obj

    def allow(self, who: str, verb: str, resource: str, name: str = "*") -> None:
        self.rights.add((who, verb, resource, name))

    def find(self, path: str) -> Obj | None:
        self._answer()
        return self.objects.get(path)

    def list(self, path: str, **query: str) -> Listing:
        self._answer()
        assert query == {"resourceVersion": "0"}
        return Listing(tuple(obj for at, obj in self.objects.items() if at.startswith(path + "/")), "1")

    def create(self, path: str, obj: Mapping[str, Any]) -> Obj:
        self._answer()
        assert path == SUBJECT_ACCESS_REVIEWS.path()
        self.questions += 1
        spec = obj["spec"]
        asked = spec["resourceAttributes"]
        assert asked["group"] == "chaperone.dev"
        names = {asked["name"], "*"}
        allowed = any(
            (who, asked["verb"], asked["resource"], name) in self.rights
            for who in (spec["user"], *spec["groups"])
            for name in names
        )
        return {"status": {"allowed": allowed}}

    def merge(self, path: str, patch: Mapping[str, Any]) -> Obj:
        self._answer()
        if self.refusal:
            raise RefusedError(f"PATCH {path}", 403, "Forbidden", self.refusal)
        self.patches.append((path, patch))
        return {}

    def _answer(self) -> None:
        if self.away:
            raise UnreachableError("cannot reach the API server")


@dataclass
class Stage:
    api: FakeApi
    browser: Callable[..., FlaskClient]
    services: Services
    now: list[float]


@pytest.fixture
def settings(tmp_path: Path) -> ConsoleSettings:
    key = tmp_path / "cookie.key"
    key.write_bytes(KEY)
    return ConsoleSettings(
        listen=ConsoleListenSettings(certificate=tmp_path / "c", key=tmp_path / "k"),
        url=URL,
        login=LoginSettings(issuer=tmp_path / "people.yaml", client_id="console"),
        cookie_key=key,
        cluster="test-cluster",
    )


@pytest.fixture
def stage(settings: ConsoleSettings) -> Stage:
    """`browser("alice", "oncall")` is one that has logged in; `browser()` has not."""
    api, now = FakeApi(), [time.time()]
    services = Services(settings, Cluster(api), Rights(api), clock=lambda: now[0])
    issuer = Issuer(url="https://issuer.example", audiences=frozenset({"console"}))
    app = create_app(services, issuer, KEY)

    def browser(username: str = "", *groups: str) -> FlaskClient:
        client = app.test_client()
        if username:
            with client.session_transaction(base_url=URL) as cookie:
                remember(cookie, Person(username, groups, now[0], now[0]))
                cookie["csrf"] = "token"
        return client

    return Stage(api, browser, services, now)


def approval(name: str = "apr-1", phase: str = "Pending", **spec: Any) -> Obj:
    return {
        "apiVersion": "chaperone.dev/v1alpha1",
        "kind": "ApprovalRequest",
        "metadata": {"name": name, "uid": f"uid-{name}", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {
            "type": "Request",
            "requester": {"username": "agent-1", "agent": "coder", "run": "run-1"},
            "request": {
                "verb": "delete",
                "apiGroup": "",
                "resource": "namespaces",
                "namespace": "dev",
                "name": "dev",
            },
            "digest": "sha256:" + "a" * 64,
            "policy": {"name": "coders", "generation": 1},
            "risk": {"level": "critical", "reasons": ["deletes a namespace"]},
            "required": 1,
            "expiresAt": "2036-01-01T00:00:00Z",
            **spec,
        },
        "status": {"phase": phase},
    }


__all__ = ["AGENT_POLICIES", "AGENT_SESSIONS", "APPROVAL_REQUESTS", "URL", "FakeApi", "Stage", "approval"]
