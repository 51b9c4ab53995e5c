"""ApprovalRequests for tests of the command line."""

from __future__ import annotations

import copy
from typing import Any

Obj = dict[str, Any]
DIGEST = "sha256:" + "a" * 64


def approval(name: str = "delete-dev-1", *, phase: str = "Pending", **spec: Any) -> Obj:
    """A request to delete the namespace dev, created and expiring around the year 2100."""
    whole: Obj = {
        "type": "Request",
        "requester": {
            "username": "repo:acme/web",
            "groups": ["ai-agents"],
            "issuer": "https://issuer.example",
            "subject": "sub-1",
            "run": "run-7",
            "agent": "coder",
        },
        "request": {
            "verb": "delete",
            "apiVersion": "v1",
            "resource": "namespaces",
            "name": "dev",
            "path": "/api/v1/namespaces/dev",
            "query": "propagationPolicy=Background",
        },
        "digest": DIGEST,
        "policy": {"name": "coding-agents", "generation": 1, "rule": "namespaces"},
        "risk": {
            "level": "critical",
            "reasons": ["R22: With the namespace goes everything that lives in it"],
        },
        "required": 1,
        "reason": "the branch is merged",
        "expiresAt": "2100-01-01T01:00:00Z",
        "useWithin": "600s",
        **spec,
    }
    return {
        "apiVersion": "chaperone.dev/v1alpha1",
        "kind": "ApprovalRequest",
        "metadata": {
            "name": name,
            "uid": f"uid-{name}",
            "resourceVersion": "1",
            "creationTimestamp": "2026-01-01T00:00:00Z",
        },
        "spec": copy.deepcopy(whole),
        "status": {"phase": phase, "approvals": f"0/{whole['required']}"},
    }


def access(name: str = "access-1", phase: str = "Pending") -> Obj:
    obj = approval(
        name,
        phase=phase,
        type="Access",
        access={
            "identity": "ann",
            "roleRef": {"kind": "ClusterRole", "name": "edit"},
            "namespaces": ["dev", "stage"],
            "duration": "30m",
        },
    )
    del obj["spec"]["request"]
    return obj
