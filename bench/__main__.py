"""`make bench`: starts a stack of its own, measures, prints tables, stops. Exit code 1 when a target is missed."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from bench import admission, masking, small_get, waiting
from hack.cluster.errors import ClusterError
from hack.stack import people, programs, up

GROUP = "bench"
MASKED_GROUP = "bench-masked"
RULES = 50
WATCH_LIMIT = 100.0
HELD_LIMIT = 50.0


def main() -> int:
    print("bench: starting a stack of its own; about 4 minutes in all", flush=True)
    with tempfile.TemporaryDirectory(prefix="chaperone-bench-") as folder:
        try:
            stack = up.start(Path(folder), log=lambda text: print(f"bench: {text}", flush=True))
            return _measure(stack)
        except ClusterError as error:
            print(f"bench: {error}", file=sys.stderr)
            return 1
        finally:
            up.stop(Path(folder), log=lambda text: None)


def _measure(stack: up.Stack) -> int:
    token = govern(stack)
    waiting.settle(stack)
    gateway, peer = small_get.measure(stack, token)
    ratio = gateway.microseconds / peer.microseconds
    print(f"\n{'small GET, 16 connections':<28}{'CPU µs':>10}{'requests/s':>12}{'p50 ms':>9}{'p99 ms':>9}")
    for figure in (gateway, peer):
        numbers = (
            f"{figure.microseconds:>10.0f}{figure.per_second:>12.0f}{figure.p50:>9.1f}{figure.p99:>9.1f}"
        )
        print(f"{figure.name:<28}{numbers}")
    print(f"{'gateway : kubectl proxy':<28}{ratio:>10.2f}   (target: at most 1.00)")
    memory = [(waiting.watches(stack, token), WATCH_LIMIT), (waiting.held(stack, token), HELD_LIMIT)]
    print(f"\n{'memory of the gateway':<28}{'count':>10}{'kB each':>12}")
    for waited, limit in memory:
        print(f"{waited.name:<28}{waited.count:>10}{waited.kilobytes:>12.1f}   (target: under {limit:.0f})")
    reviews = admission.measure(stack)
    print("\n" + "\n".join(admission.table(reviews)))
    small = masking.small(
        stack.gateway_url + small_get.PATH,
        str(stack.layout.ca_file),
        programs.running(stack.layout)["gateway"],
        unmasked=token,
        masked=govern(stack, MASKED_GROUP, {"profile": "Standard"}),
    )
    passed = masking.measure()
    print("\n" + "\n".join(masking.table(passed, small)))
    missed = (
        masking.missed(passed, small)
        or ratio > 1
        or any(waited.kilobytes >= limit for waited, limit in memory)
    )
    missed = missed or reviews.judged.per_second < admission.TARGET
    print("\nbench: a target was missed" if missed else "\nbench: all targets met")
    return 1 if missed else 0


def govern(stack: up.Stack, group: str = GROUP, masked: dict[str, str] | None = None) -> str:
    """A policy with 50 rules of which the last one decides, and a token of an agent that it governs. masked: its terms of
    masking; None: off."""
    rules: list[dict[str, Any]] = [
        {
            "name": f"rule-{n}",
            "match": {"namespaces": [f"team-{n}-*"], "resources": ["namespaces", "pods"]},
            "action": "Deny",
        }
        for n in range(RULES - 2)
    ]
    rules.append(
        {
            "name": "hold",
            "match": {"verbs": ["delete"], "resources": ["configmaps"]},
            "action": "RequireApproval",
        }
    )
    rules.append({"name": "rest", "match": {"verbs": ["*"]}, "action": "Allow"})
    spec = {
        "subjects": [{"groups": [group]}],
        "identity": {"serviceAccount": {"namespace": "agents", "name": group}},
        "access": [{"roleRef": {"kind": "ClusterRole", "name": "admin"}, "clusterWide": True}],
        "rules": rules,
        "masking": masked or {"profile": "Off", "reason": "a bench"},
    }
    policy = {
        "apiVersion": "chaperone.dev/v1alpha1",
        "kind": "AgentPolicy",
        "metadata": {"name": group},
        "spec": spec,
    }
    stack.admin.apply("applying the bench policy", [policy])
    path = stack.layout.kubeconfig(group)
    people.write_agent(
        stack.layout, path, stack.gateway_url, subject=f"{group}-agent", groups=[group], run="run-bench"
    )
    up.wait_for_agent(path, "/api/v1/namespaces/default")
    return people.token_of(path)


def _rule(name: str, action: str, **match: list[str]) -> dict[str, Any]:
    return {"name": name, "match": match, "action": action}


if __name__ == "__main__":
    sys.exit(main())
