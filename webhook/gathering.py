"""What a decision needs from the cluster: policies (cached), one approval by name, one question to RBAC.
No decisions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from chaperone.kube.official import APPROVAL_REQUESTS, SUBJECT_ACCESS_REVIEWS, Obj
from webhook.standing import Standing


class Cluster(Protocol):
    """What is used of `chaperone.kube.official.Api`. Both raise KubeError."""

    def find(self, path: str) -> Obj | None: ...
    def create(self, path: str, obj: Mapping[str, Any]) -> Obj: ...


class Gathering:
    """Asks the cluster. Every method may raise KubeError; the caller of the webhook then gets a refusal."""

    def __init__(self, cluster: Cluster, standing: Standing) -> None:
        self._cluster = cluster
        self.standing = standing

    def approval(self, name: str) -> Obj | None:
        """The live ApprovalRequest, read past every cache: its phase decides."""
        return self._cluster.find(APPROVAL_REQUESTS.path(name))

    def may(self, user: Mapping[str, Any], verb: str, resource: str, policy: str, namespace: str) -> bool:
        """What RBAC says: this verb on this resource of chaperone.dev, of the policy's name, in this namespace.

        user: the review's userInfo. namespace "": cluster-wide, or a cluster-scoped target.
        """
        review = access_review(user, verb, resource, policy, namespace)
        answer = self._cluster.create(SUBJECT_ACCESS_REVIEWS.path(), review)
        status = answer.get("status") or {}
        return status.get("allowed") is True and not status.get("denied")


def access_review(
    user: Mapping[str, Any], verb: str, resource: str, policy: str, namespace: str
) -> dict[str, Any]:
    """The SubjectAccessReview that asks. `approvals` and `accessrequests` are resources that exist only for RBAC."""
    attributes = {
        "verb": verb,
        "group": "chaperone.dev",
        "version": "*",
        "resource": resource,
        "name": policy,
        "namespace": namespace,
    }
    subject = {
        "user": user.get("username", ""),
        "uid": user.get("uid", ""),
        "groups": list(user.get("groups") or ()),
        "extra": dict(user.get("extra") or {}),
    }
    return {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {**subject, "resourceAttributes": attributes},
    }
