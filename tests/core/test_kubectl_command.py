"""Requests told as the kubectl command that asks for the same."""

from __future__ import annotations

from typing import Any

import pytest

from chaperone.core.audit import Stage, record
from chaperone.core.gate import judge
from chaperone.core.kubectl_command import command
from chaperone.core.policy import policy_set
from chaperone.core.recorded_request import Recorded, read
from chaperone.core.request import Request, parse
from tests.core.policies import CALLER, policy_object, rule

OPEN = policy_set([policy_object("p", [rule("Allow", "all")])])
NS = "/api/v1/namespaces/dev"


def told(line: str, upgrade: str = "") -> str:
    method, target = line.split()
    request = parse(
        method,
        target,
        upgrade=upgrade,
        content_type="application/json-patch+json" if method == "PATCH" else "",
    )
    assert isinstance(request, Request), request
    verdict = judge(request, CALLER, OPEN, None, 0.0)
    terms: dict[str, Any] = {"audit_id": "a", "received_at": 0.0, "now": 0.0, "request": request}
    back = read(record(Stage.COMPLETE, caller=CALLER, verdict=verdict, code=200, **terms))
    assert isinstance(back, Recorded), back
    return command(back)


@pytest.mark.parametrize(
    ("line", "upgrade", "words"),
    [
        (f"GET {NS}/pods/web", "", "kubectl get pods web --namespace dev"),
        ("GET /apis/apps/v1/namespaces/dev/deployments", "", "kubectl get deployments.apps --namespace dev"),
        (
            "GET /api/v1/pods?labelSelector=app%3Dweb&limit=500",
            "",
            "kubectl get pods --all-namespaces --selector=app=web --chunk-size=500",
        ),
        (f"GET {NS}/pods?watch=1", "", "kubectl get pods --namespace dev --watch"),
        ("GET /api/v1/namespaces", "", "kubectl get namespaces"),
        ("GET /api/v1/namespaces/dev", "", "kubectl get namespaces dev"),
        (f"DELETE {NS}/pods/web", "", "kubectl delete pods web --namespace dev"),
        (f"DELETE {NS}/pods", "", "kubectl delete pods --namespace dev --all"),
        (
            f"DELETE {NS}/pods?fieldSelector=status.phase%3DFailed",
            "",
            "kubectl delete pods --namespace dev --field-selector=status.phase=Failed",
        ),
        (
            f"GET {NS}/pods/web/log?container=app&tailLines=5&sinceSeconds=60&follow=true",
            "",
            "kubectl logs web --namespace dev --container=app --tail=5 --since=60s --follow",
        ),
        (f"GET {NS}/pods/web/log?previous=1", "", "kubectl logs web --namespace dev --previous"),
        (
            f"POST {NS}/pods/web/exec?command=sh&command=-c&command=echo+a%27b&container=app&stdin=true&tty=true",
            "spdy/3.1",
            "kubectl exec web --namespace dev --container=app --stdin --tty -- sh -c 'echo a'\"'\"'b'",
        ),
        (f"GET {NS}/pods/web/attach?stdin=false", "websocket", "kubectl attach web --namespace dev"),
        (
            f"POST {NS}/pods/web/portforward?ports=80&ports=443",
            "spdy/3.1",
            "kubectl port-forward web --namespace dev 80 443",
        ),
        (
            "GET /apis/apps/v1/namespaces/dev/deployments/web/scale",
            "",
            "kubectl get --raw /apis/apps/v1/namespaces/dev/deployments/web/scale",
        ),
        (
            f"POST {NS}/pods/web/exec?command=a%0arm+-rf+%27%5cb%27%1b%5b2J%e2%80%ae",
            "spdy/3.1",
            r"kubectl exec web --namespace dev -- $'a\x0arm -rf \'\\b\'\x1b[2J\xe2\x80\xae'",
        ),
        ("GET /metrics", "", "kubectl get --raw /metrics"),
        ("POST /metrics", "", '# post of path "/metrics": its body is not in the record'),
        (
            f"POST {NS}/configmaps",
            "",
            '# create of configmaps in namespace "dev": its body is not in the record',
        ),
        (
            f"PATCH {NS}/configmaps/a",
            "",
            '# patch of configmaps "a" in namespace "dev": its body is not in the record',
        ),
        (
            f"POST {NS}/pods/web/eviction",
            "",
            '# create of pods/eviction "web" in namespace "dev": its body is not in the record',
        ),
    ],
)
def test_sentence(line: str, upgrade: str, words: str) -> None:
    assert told(line, upgrade) == words
