"""AdmissionReviews as an API server sends them, and what comes back."""

from __future__ import annotations

import base64
import json
from typing import Any

from flask.testing import FlaskClient

GATEWAY = "system:serviceaccount:kube-chaperone:chaperone-gateway"
CONSOLE = "system:serviceaccount:kube-chaperone:chaperone-console"
CONTROLLER = "system:serviceaccount:kube-chaperone:chaperone-controller"
CODER = "system:serviceaccount:agents:coder"


def review(
    resource: str,
    operation: str = "UPDATE",
    *,
    user: str = "alice",
    group: str = "chaperone.dev",
    version: str = "v1alpha1",
    subresource: str = "",
    name: str = "it",
    namespace: str = "",
    groups: tuple[str, ...] = ("system:authenticated",),
    extra: dict[str, list[str]] | None = None,
    obj: Any = None,
    old: Any = None,
    **more: Any,
) -> dict[str, Any]:
    """A whole AdmissionReview. obj, old: None where the operation has none."""
    request = {
        "uid": "review-1",
        "kind": {"group": group, "version": version, "kind": resource.capitalize()},
        "resource": {"group": group, "version": version, "resource": resource},
        "operation": operation,
        "name": name,
        "userInfo": {"username": user, "groups": list(groups), **({"extra": extra} if extra else {})},
        "object": obj,
        "oldObject": old,
        "dryRun": False,
        **({"subResource": subresource} if subresource else {}),
        **({"namespace": namespace} if namespace else {}),
        **more,
    }
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}


def ask(client: FlaskClient, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """The `response` of the review that comes back; its uid is checked, its patch decoded."""
    answer = client.post(path, json=body)
    assert answer.status_code == 200, answer.get_data(as_text=True)
    document = answer.get_json()
    assert (document["apiVersion"], document["kind"]) == ("admission.k8s.io/v1", "AdmissionReview")
    response: dict[str, Any] = document["response"]
    assert response["uid"] == body["request"]["uid"]
    if "patch" in response:
        assert response["patchType"] == "JSONPatch"
        response["patch"] = json.loads(base64.b64decode(response["patch"]))
    return response
