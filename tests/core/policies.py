"""AgentPolicies, callers and requests for tests, each with only what the test is about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from chaperone.core.identity import Caller
from chaperone.core.policy import BrokenPolicy, Fault, Policy, compile_policy
from chaperone.core.request import Payload, Request, Unreadable, parse

CALLER = Caller(
    issuer="https://issuer.example",
    subject="sub-1",
    username="repo:acme/web",
    groups=("ai-agents", "ci"),
    run="run-1",
    agent="coder",
    model="m-1",
    claims={"repository_owner": "acme", "nested": {"deep": [1, 2]}},
    extra={"team": ("web",)},
)

Obj = dict[str, Any]


def policy_object(name: str = "p", /, rules: list[Obj] | None = None, **spec: Any) -> Obj:
    """Governs everybody, as agents/coder, with recording and masking off, unless told otherwise."""
    whole: Obj = {
        "subjects": [{"usernames": ["*"]}],
        "identity": {"serviceAccount": {"namespace": "agents", "name": "coder"}},
        "masking": {"profile": "Off", "reason": "a test"},
        "recording": {"streams": "Off"},
        **spec,
    }
    if rules is not None:
        whole["rules"] = rules
    return {
        "apiVersion": "chaperone.dev/v1alpha1",
        "kind": "AgentPolicy",
        "metadata": {"name": name, "uid": f"uid-{name}", "generation": 3},
        "spec": {key: value for key, value in whole.items() if value is not None},
    }


def rule(action: str = "Deny", /, name: str = "rule", message: str = "", **match: Any) -> Obj:
    told = {"message": message} if message else {}
    return {"name": name, "match": match, "action": action, **told}


def policy(name: str = "p", /, rules: list[Obj] | None = None, **spec: Any) -> Policy:
    compiled = compile_policy(policy_object(name, rules, **spec))
    assert isinstance(compiled, Policy), compiled.faults
    return compiled


def faults_of(obj: Mapping[str, Any]) -> dict[str, str]:
    """Path to message."""
    compiled = compile_policy(obj)
    return (
        {fault.path: fault.message for fault in compiled.faults} if isinstance(compiled, BrokenPolicy) else {}
    )


def warnings_of(obj: Mapping[str, Any]) -> dict[str, str]:
    compiled = compile_policy(obj)
    assert isinstance(compiled, Policy), compiled.faults
    found: tuple[Fault, ...] = compiled.warnings
    return {fault.path: fault.message for fault in found}


def ask(line: str, body: Obj | None = None, /, **fields: Any) -> Request:
    """ask("DELETE /api/v1/namespaces/dev/pods/p", ...): body is the resulting object."""
    method, target = line.split(" ")
    headers = {key: fields.pop(key) for key in ("upgrade", "content_type") if key in fields}
    request = parse(method, target, **headers)
    assert not isinstance(request, Unreadable), request
    if body is not None:
        fields.setdefault("payload", Payload(object=body))
    return replace(request, **fields)
