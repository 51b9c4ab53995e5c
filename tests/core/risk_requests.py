"""Requests for the tests of the risk catalogue, in one line each."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from chaperone.core.policy import RiskSettings
from chaperone.core.request import Origin, Payload, Request
from chaperone.core.risk import assess
from chaperone.core.risk.row import Outcome

MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
JSON_PATCH = "application/json-patch+json"
APPLY = "application/apply-patch+yaml"

RBAC = "rbac.authorization.k8s.io"
GUARD = "kube-chaperone"
SETTINGS = RiskSettings(guard_namespace=GUARD, privileged_accounts=frozenset(), powerful_roles=frozenset())

METHODS = {
    "create": "POST",
    "update": "PUT",
    "patch": "PATCH",
    "delete": "DELETE",
    "deletecollection": "DELETE",
}
Obj = Mapping[str, Any]


def ask(
    verb: str,
    resource: str,
    group: str = "",
    *,
    ns: str = "dev",
    name: str = "x",
    obj: Any = None,
    old: Any = None,
    options: Any = None,
    unread: tuple[str, ...] = (),
    query: str = "",
    body: bytes = b"",
    patch: object = None,
    content_type: str = MERGE,
    origin: Origin = Origin.GATEWAY,
) -> Request:
    """A request for a resource ("pods/exec" names a subresource). patch: sent as the JSON body."""
    base, _, subresource = resource.partition("/")
    named = not subresource and verb in ("create", "list", "watch", "deletecollection")
    return Request(
        method=METHODS.get(verb, "GET"),
        verb=verb,
        path="/irrelevant",
        query=query,
        parameters=tuple(parse_qsl(query, keep_blank_values=True)),
        is_resource=True,
        group=group,
        version="v1",
        resource=base,
        subresource=subresource,
        namespace=ns,
        name="" if named else name,
        content_type=content_type if verb == "patch" else "",
        body=json.dumps(patch).encode() if patch is not None else body,
        payload=Payload(obj, old, options, frozenset(unread)),
        origin=origin,
    )


def path(path: str, verb: str = "get") -> Request:
    return Request(method=verb.upper(), verb=verb, path=path)


def rows(request: Request, settings: RiskSettings = SETTINGS) -> tuple[str, ...]:
    return assess(request, settings).rows


def marked(request: Request, settings: RiskSettings = SETTINGS) -> dict[str, bool]:
    """Row id → undetermined."""
    return {found.row: found.undetermined for found in assess(request, settings).findings}


def outcome(row: str, request: Request, settings: RiskSettings = SETTINGS) -> Outcome:
    """What the catalogue says of one row."""
    undetermined = marked(request, settings).get(row)
    return Outcome.NO if undetermined is None else Outcome.UNKNOWN if undetermined else Outcome.YES


def pod(*, containers: Any = None, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "x"}, "spec": {"containers": containers or [container()], **spec}}


def container(name: str = "main", image: str = "nginx:1", **fields: Any) -> dict[str, Any]:
    return {"name": name, "image": image, **fields}


def privileged(name: str = "main") -> dict[str, Any]:
    return container(name, securityContext={"privileged": True})


def workload(spec: Any = None, **fields: Any) -> dict[str, Any]:
    """A Deployment, or any kind with the pod spec at spec.template.spec."""
    template = {"spec": spec if spec is not None else pod()["spec"]}
    return {"metadata": {"name": "x"}, "spec": {"template": template, **fields}}


def meta(**metadata: Any) -> dict[str, Any]:
    return {"metadata": {"name": "x", **metadata}}
