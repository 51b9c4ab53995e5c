"""Conditions on the resulting object: what it will say once the request is done, whoever wrote which part of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from chaperone.core import rights
from chaperone.core.policy import RiskSettings
from chaperone.core.request import Request
from chaperone.core.risk.fields import UNREADABLE, any_object, any_of, field, is_mapping, is_one_of
from chaperone.core.risk.row import NO, UNKNOWN, YES, Condition, Outcome, Reads, Test

ObjectTest = Callable[[Mapping[str, Any], Request, RiskSettings], Outcome]


def resulting_object(request: Request) -> Mapping[str, Any] | None:
    """What the request would store, or None when that is not known."""
    obj = request.payload.object
    return obj if is_mapping(obj) and "object" not in request.payload.undetermined else None


def on_object(test: ObjectTest) -> Test:
    """A test of the resulting object; UNKNOWN when there is none to look at."""

    def tested(request: Request, settings: RiskSettings) -> Outcome:
        obj = resulting_object(request)
        return UNKNOWN if obj is None else test(obj, request, settings)

    return tested


def _condition(name: str, text: str, test: ObjectTest) -> Condition:
    return Condition(name, text, on_object(test), Reads.OBJECT)


def _known(answer: bool | None) -> Outcome:
    return UNKNOWN if answer is None else YES if answer else NO


# Rights


def _admin_like(obj: Mapping[str, Any], request: Request, settings: RiskSettings) -> Outcome:
    role = rights.role_key(obj, request.namespace)
    if role is None:
        return UNKNOWN
    if role[1] in settings.admin_roles:
        return YES
    if settings.powerful_roles is None:
        return UNKNOWN
    return YES if role in settings.powerful_roles else NO


def _powerful_role(obj: Mapping[str, Any], request: Request, _: RiskSettings) -> Outcome:
    outcome = _known(rights.rules_are_powerful(field(obj, "rules")))
    return any_of((outcome, _grows(obj))) if request.resource == "clusterroles" else outcome


def _grows(obj: Mapping[str, Any]) -> Outcome:
    """Does aggregation add rules to this ClusterRole, or add its rules to another?"""
    if field(obj, "aggregationRule") is not None:
        return YES
    labels = field(obj, "metadata", "labels")
    if labels is None:
        return NO
    if not is_mapping(labels):
        return UNKNOWN
    return YES if any(str(label).startswith(rights.AGGREGATE_TO) for label in labels) else NO


def _signer_role(obj: Mapping[str, Any], _: Request, __: RiskSettings) -> Outcome:
    return _known(rights.rules_allow_signing(field(obj, "rules")))


_SYSTEM_SUBJECTS = {"Group": ("system:masters", "system:unauthenticated"), "User": ("system:anonymous",)}


def _system_subject(obj: Mapping[str, Any], _: Request, __: RiskSettings) -> Outcome:
    return any_object(field(obj, "subjects"), _is_system_subject)


def _is_system_subject(subject: Mapping[str, Any]) -> Outcome:
    kind = field(subject, "kind")
    if not isinstance(kind, str):
        return UNKNOWN
    return is_one_of(field(subject, "name"), _SYSTEM_SUBJECTS.get(kind, ()))


ADMIN_LIKE = _condition("admin-like", "naming an administrator's or another powerful role", _admin_like)
POWERFUL_ROLE = _condition(
    "powerful-role", "with rules that can grow, or that aggregation makes grow", _powerful_role
)
SIGNER_ROLE = _condition("signer-role", "with a rule that may approve or sign for signers", _signer_role)
SYSTEM_SUBJECT = _condition(
    "system-subject", "with a subject that is everybody or the super group", _system_subject
)


# Single fields


def _field_is(*path: str, wanted: tuple[str, ...]) -> ObjectTest:
    return lambda obj, _, __: is_one_of(field(obj, *path), wanted)


SA_TOKEN_SECRET = _condition(
    "sa-token-secret",
    "of type kubernetes.io/service-account-token",
    _field_is("type", wanted=("kubernetes.io/service-account-token",)),
)
CLIENT_CSR = _condition(
    "client-csr",
    "for signer kubernetes.io/kube-apiserver-client",
    _field_is("spec", "signerName", wanted=("kubernetes.io/kube-apiserver-client",)),
)
EXPOSED_SERVICE = _condition(
    "exposed-service",
    "of type NodePort or LoadBalancer",
    _field_is("spec", "type", wanted=("NodePort", "LoadBalancer")),
)


def _external_ips(obj: Mapping[str, Any], _: Request, __: RiskSettings) -> Outcome:
    addresses = field(obj, "spec", "externalIPs")
    if addresses is None or addresses == []:
        return NO
    return YES if isinstance(addresses, list) else UNKNOWN


def _node_volume(obj: Mapping[str, Any], _: Request, __: RiskSettings) -> Outcome:
    spec = field(obj, "spec")
    if not is_mapping(spec):
        return UNKNOWN
    return YES if "hostPath" in spec or "local" in spec else NO


def _wide_ingress(obj: Mapping[str, Any], _: Request, __: RiskSettings) -> Outcome:
    spec = field(obj, "spec")
    # `backend` is what v1beta1 calls the default backend; the oldest supported servers still serve it.
    backends = (field(spec, "defaultBackend"), field(spec, "backend"))
    if any(backend is not None and backend is not UNREADABLE for backend in backends):
        return YES
    return any_object(field(spec, "rules"), _is_wide_rule)


def _is_wide_rule(rule: Mapping[str, Any]) -> Outcome:
    host = field(rule, "host")
    if host is None:
        return YES
    if not isinstance(host, str):
        return UNKNOWN
    return YES if not host or host.startswith("*") else NO


EXTERNAL_IPS = _condition("external-ips", "with externalIPs", _external_ips)
NODE_VOLUME = _condition("node-volume", "on a node's own disk (hostPath or local)", _node_volume)
WIDE_INGRESS = _condition(
    "wide-ingress", "with a wildcard, an empty host or a default backend", _wide_ingress
)
