"""Objects that the controller's tests speak of."""

from __future__ import annotations

from typing import Any

from chaperone.core.approval import Approval, Phase
from chaperone.core.identity import Identity
from chaperone.core.policy import Access, ApprovalTerms, Limits, Policy
from chaperone.core.verdict import Mode

CODER = Identity("system:serviceaccount:agents:coder")


def policy(name: str = "coders", *access: Access, identity: Identity = CODER, uid: str = "uid-1") -> Policy:
    return Policy(
        name=name,
        uid=uid,
        generation=3,
        mode=Mode.ENFORCE,
        identity=identity,
        access=access,
        defaults={},
        approval=ApprovalTerms(),
        limits=Limits(),
        masking_profile="Standard",
        recording_streams="Required",
    )


def policy_object(name: str = "coders", **spec: Any) -> dict[str, Any]:
    """An AgentPolicy as the cluster holds it."""
    return {
        "apiVersion": "chaperone.dev/v1alpha1",
        "kind": "AgentPolicy",
        "metadata": {"name": name, "uid": f"uid-{name}", "generation": 1},
        "spec": {
            "subjects": [{"groups": ["ai-agents"]}],
            "identity": {"serviceAccount": {"namespace": "agents", "name": "coder"}},
            **spec,
        },
    }


def approval(phase: Phase, **fields: Any) -> Approval:
    values: dict[str, Any] = {
        "name": "req-1",
        "uid": "uid-req-1",
        "resource_version": "7",
        "digest": "sha256:" + "0" * 64,
        "policy": "coders",
        "policy_generation": 1,
        "required": 1,
        **fields,
    }
    return Approval(phase=phase, **values)


def approval_object(phase: str, name: str = "req-1", **status: Any) -> dict[str, Any]:
    """An ApprovalRequest as the cluster holds it: made at 1, expires at 500 (Unix seconds)."""
    return {
        "apiVersion": "chaperone.dev/v1alpha1",
        "kind": "ApprovalRequest",
        "metadata": {"name": name, "uid": f"uid-{name}", "creationTimestamp": "1970-01-01T00:00:01Z"},
        "spec": {
            "requester": {"username": "agent-1"},
            "digest": "sha256:" + "0" * 64,
            "policy": {"name": "coders", "generation": 1},
            "required": 1,
            "expiresAt": "1970-01-01T00:08:20Z",
        },
        "status": {"phase": phase, **status},
    }
