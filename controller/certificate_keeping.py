"""Keeps the webhook's certificate in its Secret and its authorities in the webhook configurations. Gather, decide, act.

One step a pass: every step is a single write that carries the resourceVersion it was decided on, so that two
controllers cannot both take it, and the next pass goes on from whatever was reached.
"""

from __future__ import annotations

import base64
import binascii
import logging
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from chaperone.kube.configurations import AGENT_GUARD, APPROVALS, OWN_KINDS
from chaperone.kube.official import MUTATING_WEBHOOKS, SECRETS, VALIDATING_WEBHOOKS, Obj
from chaperone.kube.rbac import APP_LABELS
from chaperone.settings.controller import CertificateSettings
from controller import certificates as life
from controller.certificates import SINCE, Material, Pair, Step, Terms
from controller.issuance import new_pair

log = logging.getLogger(__name__)

Issue = Callable[[tuple[str, ...], float, float], Pair]

CONFIGURATIONS = (
    MUTATING_WEBHOOKS.path(APPROVALS),
    VALIDATING_WEBHOOKS.path(OWN_KINDS),
    VALIDATING_WEBHOOKS.path(AGENT_GUARD),
)


class Cluster(Protocol):
    """What is used of `chaperone.kube.official.Api`. All raise KubeError."""

    def find(self, path: str) -> Obj | None: ...
    def create(self, path: str, obj: Mapping[str, Any]) -> Obj: ...
    def replace(self, path: str, obj: Mapping[str, Any]) -> Obj: ...


class CertificateKeeper:
    """namespace: ours. clock: Unix seconds. issue: makes a new pair."""

    def __init__(
        self,
        cluster: Cluster,
        settings: CertificateSettings,
        namespace: str,
        clock: Callable[[], float],
        issue: Issue = new_pair,
    ) -> None:
        self._cluster = cluster
        self._settings = settings
        self._namespace = namespace
        self._clock = clock
        self._issue = issue

    def keep(self) -> None:
        """One pass. Raises KubeError; a configuration that somebody has deleted stays deleted."""
        secret = self._cluster.find(SECRETS.path(self._settings.secret, namespace=self._namespace))
        material = _read(secret)
        configurations = {path: live for path in CONFIGURATIONS if (live := self._cluster.find(path))}
        spread = material is not None and all(
            life.carries(live, _encoded(material.bundle)) for live in configurations.values()
        )
        step = life.decide(material, self._clock(), self._terms(), spread=spread)
        if step is not Step.KEEP:
            material = self._taken(step, material)
            self._write(secret, material)
            log.info("the webhook's certificate: %s", step.value)
        if material is not None:
            self._spread(material, configurations)

    def _terms(self) -> Terms:
        ours = self._settings
        full = f"{ours.service}.{self._namespace}.svc"
        return Terms(
            (full, f"{ours.service}.{self._namespace}"), ours.lifetime, ours.renew_before, ours.overlap
        )

    def _taken(self, step: Step, material: Material | None) -> Material:
        now, terms = self._clock(), self._terms()
        if material is None or step is Step.ISSUE:
            return life.issued(self._issue(terms.names, now, terms.lifetime), now)
        if step is Step.PREPARE:
            return life.prepared(material, self._issue(terms.names, now, terms.lifetime), now)
        return life.promoted(material, now) if step is Step.PROMOTE else life.retired(material, now)

    def _write(self, live: Obj | None, material: Material) -> None:
        data = {key: _encoded(value) for key, value in life.secret_data(material).items()}
        if live is None:
            self._cluster.create(SECRETS.path(namespace=self._namespace), self._manifest(data, material))
            return
        metadata = dict(live["metadata"])
        metadata["annotations"] = {**(metadata.get("annotations") or {}), SINCE: f"{material.since:.0f}"}
        path = SECRETS.path(self._settings.secret, namespace=self._namespace)
        self._cluster.replace(path, {**live, "metadata": metadata, "data": data})

    def _manifest(self, data: Mapping[str, str], material: Material) -> Obj:
        metadata = {
            "name": self._settings.secret,
            "namespace": self._namespace,
            "labels": dict(APP_LABELS),
            "annotations": {SINCE: f"{material.since:.0f}"},
        }
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "kubernetes.io/tls",
            "metadata": metadata,
            "data": dict(data),
        }

    def _spread(self, material: Material, configurations: Mapping[str, Obj]) -> None:
        bundle = _encoded(material.bundle)
        for path, live in configurations.items():
            if not life.carries(live, bundle):
                self._cluster.replace(path, life.trusting(live, bundle))
                log.info("%s now trusts the webhook's certificate", live["metadata"]["name"])


def _read(secret: Obj | None) -> Material | None:
    """A Secret that cannot be read is begun anew."""
    if secret is None:
        return None
    try:
        data = {
            key: base64.b64decode(value, validate=True) for key, value in (secret.get("data") or {}).items()
        }
    except (binascii.Error, TypeError):
        return None
    return life.read_secret(data, secret["metadata"].get("annotations") or {})


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()
