"""All 64 rows of the risk catalogue on a real API server: through the gateway, and straight past it.

Straight at the API server RBAC lets the identity do everything (cluster-admin), so what stops it there is admission.
Rows that admission never sees go through there, which the tests show as well: docs/risk-rows.md says what stops them.
"""

from __future__ import annotations

import base64
import json
import ssl
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest
import urllib3
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from chaperone.core.risk.catalogue import CATALOGUE
from chaperone.kube.admission_policies import POLICIES_FROM
from chaperone.kube.configurations import GUARDED_FROM
from hack.cluster.kubeconfig import load_flattened, only_cluster
from hack.stack import audit, objects, people, up
from hack.stack.kubectl import Kubectl
from tests.e2e.agents import Agents
from tests.e2e.risk_cases import AGENT, CASES, SPACE, STRICT, Case, Direct, deployment, obj, pod
from tests.e2e.waiting import until

pytestmark = pytest.mark.cluster

ADMIN = [{"roleRef": {"kind": "ClusterRole", "name": "cluster-admin"}, "clusterWide": True}]
DEFAULTS = {"critical": "Deny", "high": "RequireApproval", "medium": "Allow", "low": "Allow"}
PARALLEL = 8
LOCKS = ("admission webhook", "ValidatingAdmissionPolicy")
"""How an API server names what has refused a request."""
SEEN_FROM = {
    Direct.REFUSED: (1, 0),
    Direct.REFUSED_WITH_CONDITIONS: GUARDED_FROM,
    Direct.REFUSED_BY_POLICY: POLICIES_FROM,
    Direct.UNSEEN: (9, 0),
}


@dataclass(frozen=True)
class Met:
    """An HTTP answer."""

    code: int
    text: str


@dataclass(frozen=True)
class Way:
    """One way to the API server: its URL, and a token."""

    url: str
    token: str
    pool: urllib3.PoolManager

    def send(self, case: Case, node: str, server: tuple[int, int]) -> Met:
        body = case.payload(server)
        answer = self.pool.request(
            case.method,
            self.url + case.target(server).replace("NODE", node),
            body=body.replace(b"NODE", node.encode()).replace(b'"CSR"', _csr()) if body else None,
            headers={
                "Authorization": f"Bearer {self.token}",
                "User-Agent": agent_name(case),
                "Content-Type": case.type,
                **case.headers,
            },
            timeout=60,
            retries=False,
        )
        return Met(answer.status, answer.data.decode("utf-8", "replace")[:4000])


@dataclass(frozen=True)
class Outcome:
    """What one case met on both ways, and the gateway's last record of it."""

    gateway: Met
    direct: Met
    record: Mapping[str, Any]


def agent_name(case: Case) -> str:
    return f"risk-rows/{CASES.index(case)}-{case.id}"


def _csr() -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "agent")])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    return json.dumps(base64.b64encode(request.public_bytes(serialization.Encoding.PEM)).decode()).encode()


@pytest.fixture(scope="module")
def server(stack: up.Stack) -> tuple[int, int]:
    return objects.major_minor(stack.cluster.version)


@pytest.fixture(scope="module")
def furniture(admin: Kubectl, server: tuple[int, int]) -> Iterator[str]:
    """Objects for the requests to be about; a node's name comes out."""
    admin.apply("making the namespace", [objects.namespace(SPACE)])
    admin.apply("making the definition", [_definition()])
    admin.must("waiting for it", "wait", "--for=condition=Established", "crd/things.catalogue.example.org")
    made = _furniture("policy/v1" if server >= (1, 22) else "policy/v1beta1")
    admin.apply("making the objects", made, server_side=False)
    admin.run("delete", "csr", "catalogue", "--ignore-not-found")
    admin.must("making a CSR", "create", "-f", "-", stdin=json.dumps(_pending_csr()))
    yield "catalogue"
    for resource, names in (
        ("node,csr,storageclass,pv", ["catalogue"]),
        ("configmap/aws-auth", []),
        ("pod/catalogue-idle", []),
    ):
        admin.run("delete", resource, *names, "-n", "kube-system", "--ignore-not-found", "--wait=false")
    admin.run("patch", "sa", "kept", "-n", SPACE, "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
    admin.run("delete", "namespace", SPACE, "--wait=false")
    admin.run("delete", "crd", "things.catalogue.example.org", "--wait=false")


def _definition() -> dict[str, Any]:
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.catalogue.example.org"},
        "spec": {
            "group": "catalogue.example.org",
            "names": {"kind": "Thing", "plural": "things", "singular": "thing"},
            "scope": "Namespaced",
            "versions": [version],
        },
    }


def _furniture(policy: str) -> list[dict[str, Any]]:
    def here(made: dict[str, Any], namespace: str = SPACE) -> dict[str, Any]:
        return {**made, "metadata": {**made["metadata"], "namespace": namespace}}

    selector = {"matchLabels": {"app": "web"}}
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}
    about = {"kind": "Pod", "namespace": SPACE, "name": "idle"}
    return [
        here(pod("idle")),
        here(pod("catalogue-idle"), "kube-system"),
        here(deployment("web")),
        here(obj("v1", "Secret", "secret", stringData={"a": "a"})),
        here(obj("v1", "ConfigMap", "settings", data={"a": "b"})),
        here(obj("v1", "ConfigMap", "aws-auth", data={"mapRoles": ""}), "kube-system"),
        here(obj("v1", "ServiceAccount", "builder")),
        here(obj("v1", "ServiceAccount", "kept", metadata={"finalizers": ["example.org/keep"]})),
        here(obj("v1", "Service", "front", spec={"ports": [{"port": 80}]})),
        here(obj("v1", "PersistentVolumeClaim", "claim", spec=claim)),
        here(obj("v1", "ResourceQuota", "quota", spec={"hard": {"pods": "100"}})),
        here(obj("v1", "Event", "noted", involvedObject=about, reason="x", message="x", type="Normal")),
        here(obj("networking.k8s.io/v1", "NetworkPolicy", "closed", spec={"podSelector": {}})),
        here(obj(policy, "PodDisruptionBudget", "web", spec={"minAvailable": 1, "selector": selector})),
        here(obj("catalogue.example.org/v1", "Thing", "one", spec={})),
        obj("v1", "Node", "catalogue", spec={"taints": [{"key": "none", "effect": "NoSchedule"}]}),
        obj("storage.k8s.io/v1", "StorageClass", "catalogue", provisioner="example.org/none"),
    ]


def _pending_csr() -> dict[str, Any]:
    spec = {
        "request": json.loads(_csr()),
        "signerName": "kubernetes.io/kube-apiserver-client",
        "usages": ["client auth"],
    }
    return obj("certificates.k8s.io/v1", "CertificateSigningRequest", "catalogue", spec=spec)


@pytest.fixture(scope="module")
def ways(stack: up.Stack, agents: Agents) -> tuple[Way, Way]:
    """(through the gateway, straight at the API server)."""
    streams: dict[str, Any] = {
        "masking": {"profile": "Off", "reason": "a test"},
        "recording": {"streams": "Off"},
    }
    agents.govern(AGENT, access=ADMIN, defaults=DEFAULTS, approval={"holdFor": "1s"}, **streams)
    agents.govern(STRICT, access=ADMIN, defaults={**DEFAULTS, "medium": "Deny"}, **streams)
    kubeconfig = stack.layout.kubeconfig("direct-risk-rows")
    people.write_account(stack.admin, kubeconfig, STRICT, namespace="agents")
    cluster = only_cluster(load_flattened(kubeconfig))
    authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
    agent = agents.kubectl(AGENT)
    return (
        Way(stack.gateway_url, people.token_of(agent.kubeconfig), _pool(stack.layout.ca_file.read_text())),
        Way(cluster["server"], people.token_of(kubeconfig), _pool(authority)),
    )


def _pool(authority: str) -> urllib3.PoolManager:
    context = ssl.create_default_context(cadata=authority)
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # clusters' own authorities may lack key identifiers
    return urllib3.PoolManager(ssl_context=context, maxsize=PARALLEL)


@pytest.fixture(scope="module")
def met(
    stack: up.Stack, ways: tuple[Way, Way], furniture: str, server: tuple[int, int]
) -> dict[str, Outcome]:
    """Everything sent once, in parallel: held requests wait for a second."""
    gateway, direct = ways
    with ThreadPoolExecutor(PARALLEL) as pool:
        through = [pool.submit(gateway.send, case, furniture, server) for case in CASES]
        past = [pool.submit(direct.send, case, furniture, server) for case in CASES]
    names = {agent_name(case) for case in CASES}
    records = until("the records of all requests", lambda: _records(stack, names))
    return {
        agent_name(case): Outcome(through[n].result(), past[n].result(), records[agent_name(case)])
        for n, case in enumerate(CASES)
    }


def _records(stack: up.Stack, names: set[str]) -> dict[str, Mapping[str, Any]]:
    """The last record of each; nothing as long as one is missing."""
    found: dict[str, Mapping[str, Any]] = {}
    refused = {case.path: agent_name(case) for case in CASES if case.expected == "refused"}
    for record in audit.records(stack.layout):
        # What is refused before it is read as a request has no user agent on record, only its URI.
        name = record.get("userAgent") or refused.get(record["requestURI"], "")
        if name in names and record["stage"] == "ResponseComplete":
            found[name] = record
    return found if names <= found.keys() else {}


def test_every_row_has_a_request() -> None:
    assert {case.row for case in CASES} == {row.id for row in CATALOGUE}
    assert len({case.id for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_through_the_gateway(case: Case, met: dict[str, Outcome], server: tuple[int, int]) -> None:
    outcome = met[agent_name(case)]
    record, answer = outcome.record, outcome.gateway
    if case.expected == "refused":
        assert answer.code == 403
        assert "impersonation headers are not accepted" in record["reason"]
        return
    assert case.row in record.get("risk", {}).get("rows", []), (record, answer)
    if server < case.since and answer.code == 404:
        return  # rated by its path, and found by a dry run not to exist on this server
    assert record["verdict"] == case.expected, (record, answer)
    match case.expected:
        case "Deny":
            assert answer.code == 403
            assert f"({case.row})" in answer.text
        case "Hold":
            assert answer.code in (403, 429), answer
            assert "approve" in answer.text
        case _:
            assert answer.code not in (401, 403, 429), answer


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_straight_at_the_api_server(case: Case, met: dict[str, Outcome], server: tuple[int, int]) -> None:
    if server < case.since:
        pytest.skip(f"{case.path} exists from Kubernetes {case.since[0]}.{case.since[1]} on")
    answer = met[agent_name(case)].direct
    if server < SEEN_FROM[case.direct]:
        assert not any(lock in answer.text for lock in LOCKS), answer
        assert answer.code != 403, answer
        return
    assert answer.code == 403, answer
    assert "chaperone" in answer.text, answer
    assert any(lock in answer.text for lock in LOCKS), answer
    if "guard" in answer.text:
        assert f"({case.row})" in answer.text, answer
