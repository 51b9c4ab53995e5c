"""The pages of policies: whom each governs, as whom they act, what its rules say, and whether it works."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import yaml
from flask import Blueprint, g, render_template

from chaperone.core.legible import visible
from console.guarding import found, require, services, shown

pages = Blueprint("policies", __name__, url_prefix="/policies")

KIND = "agentpolicies"
ROLE = "chaperone-viewer"
MOST_RUNS = 20

Obj = Mapping[str, Any]


@pages.get("/")
def listed() -> str:
    require("list", KIND, role=ROLE)
    rows = [_row(policy) for policy in services().cluster.policies()]
    return render_template("policies.html", rows=rows)


@pages.get("/<name>")
def one(name: str) -> str:
    require("get", KIND, name, role=ROLE)
    policy = found(services().cluster.policy(name), "AgentPolicy")
    return render_template(
        "policy.html",
        row=_row(policy),
        conditions=[_condition(entry) for entry in _list(policy, "status", "conditions")],
        rules=[_rule(rule) for rule in _list(policy, "spec", "rules")],
        runs=_runs(name),
        spec=visible_yaml(policy.get("spec")),
    )


def visible_yaml(value: object) -> str:
    """YAML in which every character can be seen."""
    text = yaml.safe_dump(value, sort_keys=False, allow_unicode=False, width=100)
    return "\n".join(visible(line, 4096) for line in text.splitlines())


def _runs(policy: str) -> list[dict[str, str]]:
    """The newest sessions that this policy governs, where the person may see sessions."""
    if not services().rights.may(g.person, "list", "agentsessions"):
        return []
    governed = (
        session for session in services().cluster.sessions() if policy in _list(session, "spec", "policies")
    )
    return [
        {
            "name": shown(session["metadata"]["name"]),
            "agent": shown(
                _mapping(session, "spec").get("agent") or _mapping(session, "spec").get("username")
            ),
            "run": shown(_mapping(session, "spec").get("run")),
            "phase": shown(_mapping(session, "status").get("phase") or "Active"),
        }
        for session in governed
    ][:MOST_RUNS]


def _row(policy: Obj) -> dict[str, Any]:
    spec = _mapping(policy, "spec")
    identity = _mapping(spec, "identity")
    account = _mapping(identity, "serviceAccount")
    whom = f"{account.get('namespace')}/{account.get('name')}" if account else identity.get("user")
    return {
        "name": shown(policy["metadata"]["name"]),
        "mode": shown(spec.get("mode") or "Enforce"),
        "subjects": [_subject(entry) for entry in _list(policy, "spec", "subjects")],
        "identity": shown(whom),
        "masking": shown(_mapping(spec, "masking").get("profile") or "Standard"),
        "rules": len(_list(policy, "spec", "rules")),
        "ready": next(
            (_condition(c) for c in _list(policy, "status", "conditions") if c.get("type") == "Ready"), None
        ),
    }


def _subject(entry: Obj) -> str:
    return "; ".join(_described(entry)) or "everybody whom the gateway authenticates"


def _described(entry: Obj) -> Iterator[str]:
    for key, value in entry.items():
        words = ", ".join(str(item) or '""' for item in value) if isinstance(value, list) else str(value)
        yield f"{key}: {visible(words, 500)}"


def _condition(entry: Obj) -> dict[str, str]:
    return {
        key: shown(entry.get(key), 2000)
        for key in ("type", "status", "reason", "message", "lastTransitionTime")
    }


def _rule(rule: Obj) -> dict[str, str]:
    match = _mapping(rule, "match")
    return {
        "name": shown(rule.get("name")),
        "action": shown(rule.get("action")),
        "match": "; ".join(_described(match)) or "everything",
        "message": shown(rule.get("message"), 500),
    }


def _mapping(obj: Obj, key: str) -> Obj:
    value = obj.get(key)
    return value if isinstance(value, Mapping) else {}


def _list(obj: Obj, section: str, key: str) -> list[Any]:
    value = _mapping(obj, section).get(key)
    return value if isinstance(value, list) else []
