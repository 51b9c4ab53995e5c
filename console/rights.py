"""What the person who has logged in may see and do: asked of RBAC, by a SubjectAccessReview for each page and action."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from chaperone.kube.official import SUBJECT_ACCESS_REVIEWS
from console.person import Person

OWN = "chaperone.dev"
REMEMBERED = 15.0
"""Seconds for which an answer is believed. Actions are asked of RBAC again by the webhook or right before they happen."""
MOST = 10_000

Question = tuple[str, tuple[str, ...], str, str, str, str]


class Cluster(Protocol):
    """What is used of `chaperone.kube.official.Api`. Raises KubeError."""

    def create(self, path: str, obj: Mapping[str, Any]) -> dict[str, Any]: ...


class Rights:
    """Remembers answers for a moment: a page asks the same thing several times."""

    def __init__(self, cluster: Cluster, clock: Callable[[], float] = time.monotonic) -> None:
        self._cluster = cluster
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[Question, tuple[float, bool]] = {}

    def may(
        self,
        person: Person,
        verb: str,
        resource: str,
        *,
        name: str = "",
        namespace: str = "",
        fresh: bool = False,
    ) -> bool:
        """Does RBAC let this person do this to our own kinds? fresh: past the memory. Raises KubeError."""
        question = (person.username, person.groups, verb, resource, name, namespace)
        now = self._clock()
        with self._lock:
            known = self._known.get(question)
        if known is not None and now - known[0] < REMEMBERED and not fresh:
            return known[1]
        answer = self._ask(person, verb, resource, name, namespace)
        with self._lock:
            if len(self._known) >= MOST:
                self._known.clear()
            self._known[question] = (now, answer)
        return answer

    def _ask(self, person: Person, verb: str, resource: str, name: str, namespace: str) -> bool:
        resource, _, subresource = resource.partition("/")
        attributes = {
            "verb": verb,
            "group": OWN,
            "version": "*",
            "resource": resource,
            "subresource": subresource,
            "name": name,
            "namespace": namespace,
        }
        spec = {
            "user": person.username,
            "groups": [*person.groups, "system:authenticated"],
            "resourceAttributes": attributes,
        }
        review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
        status = self._cluster.create(SUBJECT_ACCESS_REVIEWS.path(), review).get("status") or {}
        return status.get("allowed") is True and not status.get("denied")
