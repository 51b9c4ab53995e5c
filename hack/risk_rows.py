"""Writes docs/risk-rows.md: which lock stops which row of the risk catalogue.

`python -m hack.risk_rows` writes it; a test fails when it is not what this would write. What the guard sees is worked
out from the webhook configurations themselves; tests/e2e/test_risk_rows.py shows it on a real API server.
"""

import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from chaperone.core.request import CONNECT_SUBRESOURCES, Origin
from chaperone.core.risk.catalogue import CATALOGUE, UNLIFTABLE_ROWS
from chaperone.core.risk.row import CUSTOM, Row
from chaperone.core.verdict import RiskLevel
from chaperone.kube.admission_policies import ROWS_HELD
from chaperone.kube.configurations import AGENT_GUARD, OWN_KINDS, OWN_RESOURCES, webhook_configurations

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "risk-rows.md"

Triple = tuple[str, str, str]
"""API group, resource (with subresource), operation."""

NEW, OLD = (1, 30), (1, 27)
OPERATIONS = {"create": "CREATE", "update": "UPDATE", "patch": "UPDATE"} | dict.fromkeys(
    ("delete", "deletecollection"), "DELETE"
)
CONNECTS = frozenset(f"{kind}/{sub}" for kind, subs in CONNECT_SUBRESOURCES.items() for sub in subs)
BY_DEFAULT = {
    RiskLevel.CRITICAL: "denies",
    RiskLevel.HIGH: "holds",
    RiskLevel.MEDIUM: "allows, rated",
    RiskLevel.LOW: "allows, rated",
}
NOTES: Mapping[str, str] = {
    "R05": "no `impersonate` for agents' identities",
    "R08": "no `get`, `list`, `watch` of secrets in kube-system or cluster-wide",
    "R11": "no write on admissionregistration.k8s.io",
    "R12": "no write on admissionregistration.k8s.io",
    "R13": "never hand out nodes/proxy: what the kubelet does behind it is not admitted",
    "R37": "no `get`, `list`, `watch` of secrets",
    "R51": "no `delete` of events",
    "R58": "no `patch` of pods/status (only kubelets need it)",
    "R60": "no pods/log in these namespaces",
    "R61": "a ResourceQuota bounds what the identity can fill",
    "R62": "the acts themselves are guarded by their own rows; the options are not seen",
    "R63": "no write on leases in kube-system",
    "R64": "no nonResourceURLs beyond discovery",
}
"""What RBAC has to withhold where admission is blind."""


def page() -> str:
    """The whole page, Markdown."""
    lines = [
        "# Which lock stops which row",
        "",
        "Written by `python -m hack.risk_rows` from the risk catalogue, the webhook configurations and the admission",
        "policies. `tests/e2e/test_risk_rows.py` sends a real request for every row, through the gateway and straight at",
        "the API server.",
        "",
        "- **gateway**: what happens by default. *denies always*: no rule, no approval and no mode lifts it.",
        "- **guard**: what the webhook sees of the same act when it goes straight to the API server with the identity's",
        "  own token. What it sees, it judges as the gateway would. From Kubernetes 1.28 on it fails closed; before,",
        "  when the webhook is down, it lets pass.",
        "- **policy**: refused by the ValidatingAdmissionPolicies from 1.30 on, also when the webhook is down.",
        "- **RBAC**: what to withhold where admission is blind. An identity's own rights are the last lock of every row.",
        "",
        "| row | level | what | gateway | guard from 1.28 | guard before 1.28 | policy from 1.30 | RBAC |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [_line(row) for row in CATALOGUE]
    lines += [
        "",
        "*Kinds that other rows name*: before 1.28 a webhook cannot be told to look at agents alone, so its rules name",
        "kinds instead of matching everything, and custom resources are not among them.",
    ]
    return "\n".join(lines) + "\n"


def _line(row: Row) -> str:
    gateway = "denies always" if row.id in UNLIFTABLE_ROWS else BY_DEFAULT[row.level]
    held = ROWS_HELD.get(row.id, "")
    cells = (
        row.id,
        row.level.word,
        row.reason,
        gateway,
        sight(row, NEW),
        sight(row, OLD),
        held or "–",
        NOTES.get(row.id, ""),
    )
    return f"| {' | '.join(cells)} |"


def sight(row: Row, version: tuple[int, int]) -> str:
    """What the guard of a server of this version sees of a row, in words."""
    if Origin.ADMISSION not in row.seen_by:
        return "not seen"
    rules = guard_rules(version)
    acts = list(admission_acts(row))
    blind = [act for act in acts if not is_covered(act, rules)]
    if not blind:
        return "sees it"
    if all(group == "*" for group, _, _ in blind):
        return "sees it for the kinds that other rows name"
    names = sorted({f"{operation.lower()} of {resource}" for _, resource, operation in blind})
    return f"does not see {', '.join(names)}" if len(blind) < len(acts) else "not seen"


def guard_rules(version: tuple[int, int]) -> list[Mapping[str, Any]]:
    """Every rule under which a request of an agent reaches the webhook."""
    made = webhook_configurations(
        url="https://127.0.0.1", service=None, ca_bundle=b"", server_version=version, identities=()
    )
    return [
        rule
        for item in made
        if item["metadata"]["name"] in (AGENT_GUARD, OWN_KINDS)
        for webhook in item["webhooks"]
        for rule in webhook["rules"]
    ]


def admission_acts(row: Row) -> Iterator[Triple]:
    """Every (group, resource, operation) that a row is about, as far as admission knows such acts. A wildcard stands
    for what it covers: in our own group for our kinds, elsewhere for resources and their status."""
    for clause in row.clauses:
        for group, resource in clause.targets:
            operations = sorted({_operation(verb, resource) for verb in clause.verbs} - {""})
            for written in _spelled_out(group, resource):
                for operation in operations:
                    if operation != "DELETE" or "/" not in written[1]:
                        yield *written, operation


def _spelled_out(group: str, resource: str) -> Iterator[tuple[str, str]]:
    plain = "*" if group == CUSTOM else group
    if resource != "*/*":
        yield plain, resource
        return
    for kind in OWN_RESOURCES if group == "chaperone.dev" else ("*",):
        yield plain, kind
        yield plain, f"{kind}/status"


def _operation(verb: str, resource: str) -> str:
    if resource in CONNECTS:
        return "CONNECT"
    return OPERATIONS.get(verb, "")


def is_covered(act: Triple, rules: Iterable[Mapping[str, Any]]) -> bool:
    """Does one of the rules match everything that the act stands for? Events are never for a webhook."""
    group, resource, operation = act
    return resource != "events" and any(_matches(rule, group, resource, operation) for rule in rules)


def _matches(rule: Mapping[str, Any], group: str, resource: str, operation: str) -> bool:
    plain = "*" if "/" not in resource else f"*/{resource.partition('/')[2]}"
    return (
        operation in rule["operations"]
        and bool({group, "*"} & set(rule["apiGroups"]))
        and bool({resource, plain} & set(rule["resources"]))
    )


if __name__ == "__main__":
    PAGE.write_text(page())
    print(f"risk_rows: wrote {PAGE.relative_to(ROOT)}")
    sys.exit(0)
