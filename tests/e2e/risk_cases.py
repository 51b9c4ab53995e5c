"""One real request, or more, for each of the 64 rows of the risk catalogue, and which lock must stop it.

Every request that could do harm asks for a dry run, which is judged, held and admitted like the act itself. `AT` in an
API version stands for what the server under test calls it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from chaperone.core.risk.catalogue import ROWS_BY_ID
from chaperone.core.verdict import RiskLevel

SPACE = "catalogue"
HOME = "kube-chaperone"
AGENT = "catalogue"
"""Identity agents/catalogue: bound to cluster-admin, so that RBAC stops nothing."""
STRICT = "catalogue-strict"
"""Identity agents/catalogue-strict: the same, under a policy that denies medium too, so that admission shows ratings."""

MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
ADMISSION = "/apis/admissionregistration.k8s.io/v1"
IMAGE = "registry.example.org/none:1"


class Direct(Enum):
    """What happens to the request when it goes straight to the API server with the identity's own token."""

    REFUSED = "refused by the guard"
    REFUSED_WITH_CONDITIONS = "refused by the guard where the server has matchConditions, not seen before"
    REFUSED_BY_POLICY = "refused by the admission policies of 1.30 and newer, never seen by webhooks"
    UNSEEN = "not seen by admission"


DEFAULT = {
    RiskLevel.CRITICAL: "Deny",
    RiskLevel.HIGH: "Hold",
    RiskLevel.MEDIUM: "Allow",
    RiskLevel.LOW: "Allow",
}


@dataclass(frozen=True)
class Case:
    """row: must be among those that are found. path: with its query. since: the release that has the resource."""

    row: str
    method: str
    path: str
    body: Any = None
    what: str = ""
    type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    gateway: str = ""
    direct: Direct = Direct.REFUSED
    since: tuple[int, int] = (1, 20)
    padding: int = 0

    @property
    def id(self) -> str:
        return f"{self.row}-{self.what or self.method.lower()}"

    @property
    def expected(self) -> str:
        """The verdict at the gateway: by default what the row's level means."""
        return self.gateway or DEFAULT[ROWS_BY_ID[self.row].level]

    def payload(self, server: tuple[int, int]) -> bytes | None:
        if self.body is None:
            return None
        return (_at(json.dumps(self.body), server) + " " * self.padding).encode()

    def target(self, server: tuple[int, int]) -> str:
        """The path, as a dry run where that means something."""
        path = _at(self.path, server)
        plain = self.method == "GET" or path.endswith("/token") or "/exec?" in path
        return path if plain else f"{path}{'&' if '?' in path else '?'}dryRun=All"


def _at(text: str, server: tuple[int, int]) -> str:
    policy, batch = ("v1", "v1") if server >= (1, 22) else ("v1beta1", "v1beta1")
    return text.replace("policy/AT", f"policy/{policy}").replace("batch/AT", f"batch/{batch}")


def core(resource: str, namespace: str = SPACE) -> str:
    return f"/api/v1/namespaces/{namespace}/{resource}"


def obj(version: str, kind: str, name: str = "", **fields: Any) -> dict[str, Any]:
    metadata = {"name": name or "made", **fields.pop("metadata", {})}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **fields}


def pod(name: str = "made", *, container: Any = None, **spec: Any) -> dict[str, Any]:
    return obj("v1", "Pod", name, spec=pod_spec(container=container, **spec))


def pod_spec(*, container: Any = None, **spec: Any) -> dict[str, Any]:
    """Of a pod that no node takes."""
    main = {"name": "main", "image": IMAGE, **(container or {})}
    return {"nodeSelector": {"nowhere": "1"}, "containers": [main], **spec}


def deployment(name: str = "made", **more: Any) -> dict[str, Any]:
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": pod_spec(**more)}
    spec = {"replicas": 2, "selector": {"matchLabels": labels}, "template": template}
    return obj("apps/v1", "Deployment", name, spec=spec)


PRIVILEGED = {"securityContext": {"privileged": True}}
ROOT_VOLUME = [{"name": "root", "hostPath": {"path": "/"}}]
ANYBODY = {"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": "system:unauthenticated"}
SOMEBODY = {"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "somebody"}


def binding(kind: str, role: str, subject: dict[str, Any] = SOMEBODY) -> dict[str, Any]:
    ref = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role}
    return obj("rbac.authorization.k8s.io/v1", kind, roleRef=ref, subjects=[subject])


def role(kind: str, **rule: Any) -> dict[str, Any]:
    return obj("rbac.authorization.k8s.io/v1", kind, rules=[rule])


ESCALATE = {"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles"], "verbs": ["escalate"]}
SIGN = {"apiGroups": ["certificates.k8s.io"], "resources": ["signers"], "verbs": ["sign"]}
THINGS = "/apis/catalogue.example.org/v1/namespaces/catalogue/things"
UNSEEN, CONDITIONS = Direct.UNSEEN, Direct.REFUSED_WITH_CONDITIONS
BY_POLICY = Direct.REFUSED_BY_POLICY

RIGHTS = (
    Case("R01", "POST", f"{RBAC}/clusterrolebindings", binding("ClusterRoleBinding", "view")),
    Case("R02", "POST", f"{RBAC}/namespaces/catalogue/rolebindings", binding("RoleBinding", "admin")),
    Case(
        "R02",
        "POST",
        f"{RBAC}/namespaces/kube-system/rolebindings",
        binding("RoleBinding", "view"),
        what="beside-the-control-plane",
    ),
    Case("R03", "POST", f"{RBAC}/clusterroles", role("ClusterRole", **ESCALATE)),
    Case("R04", "POST", f"{RBAC}/namespaces/catalogue/rolebindings", binding("RoleBinding", "view", ANYBODY)),
    Case(
        "R05",
        "GET",
        core("configmaps/asked-as-somebody"),
        headers={"Impersonate-User": "somebody", "Impersonate-Group": "system:masters"},
        gateway="refused",
        direct=UNSEEN,
    ),
    Case(
        "R06",
        "POST",
        core("serviceaccounts/builder/token"),
        obj("authentication.k8s.io/v1", "TokenRequest", spec={"audiences": ["none"]}),
    ),
    Case(
        "R07",
        "POST",
        core("secrets"),
        obj(
            "v1",
            "Secret",
            metadata={"annotations": {"kubernetes.io/service-account.name": "builder"}},
            type="kubernetes.io/service-account-token",
        ),
    ),
    Case("R08", "GET", "/api/v1/secrets?limit=1", direct=UNSEEN),
    Case(
        "R09",
        "POST",
        "/apis/certificates.k8s.io/v1/certificatesigningrequests",
        obj(
            "certificates.k8s.io/v1",
            "CertificateSigningRequest",
            spec={
                "request": "CSR",
                "signerName": "kubernetes.io/kube-apiserver-client",
                "usages": ["client auth"],
            },
        ),
    ),
    Case(
        "R10",
        "PATCH",
        "/apis/certificates.k8s.io/v1/certificatesigningrequests/catalogue/approval",
        {"status": {"conditions": [{"type": "Approved", "status": "True", "reason": "x", "message": "x"}]}},
        type=MERGE,
    ),
    Case("R10", "POST", f"{RBAC}/clusterroles", role("ClusterRole", **SIGN), what="signer-role"),
)

GUARD = (
    Case(
        "R11",
        "POST",
        f"{ADMISSION}/mutatingwebhookconfigurations",
        obj("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration"),
        direct=BY_POLICY,
    ),
    Case(
        "R12",
        "DELETE",
        f"{ADMISSION}/validatingwebhookconfigurations/chaperone-agent-guard",
        direct=BY_POLICY,
    ),
    Case(
        "R12",
        "DELETE",
        f"{ADMISSION}/validatingadmissionpolicies/chaperone-agents",
        what="policy",
        direct=UNSEEN,
        since=(1, 30),
    ),
    Case("R13", "GET", "/api/v1/nodes/NODE/proxy/healthz"),
    Case(
        "R25",
        "PATCH",
        "/apis/apiregistration.k8s.io/v1/apiservices/v1.apps",
        {"metadata": {"labels": {"a": "b"}}},
        type=MERGE,
    ),
    Case(
        "R26",
        "POST",
        "/apis/chaperone.dev/v1alpha1/agentpolicies",
        obj(
            "chaperone.dev/v1alpha1",
            "AgentPolicy",
            spec={
                "subjects": [{"groups": ["x"]}],
                "identity": {"serviceAccount": {"namespace": "agents", "name": "x"}},
            },
        ),
    ),
    Case(
        "R26",
        "PATCH",
        "/apis/chaperone.dev/v1alpha1/agentpolicies/catalogue",
        {"spec": {"mode": "Monitor"}},
        what="own-policy",
        type=MERGE,
    ),
    Case(
        "R26",
        "DELETE",
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/agentpolicies.chaperone.dev",
        what="definition",
    ),
    Case("R27", "POST", core("configmaps", HOME), obj("v1", "ConfigMap"), what="config-map"),
    Case("R27", "DELETE", f"{RBAC}/namespaces/{HOME}/rolebindings/chaperone-gateway-home", what="binding"),
    Case("R27", "POST", core("pods/any/exec?command=true", HOME), what="exec"),
    Case("R27", "DELETE", f"/api/v1/namespaces/{HOME}", what="itself"),
)

PODS = (
    Case("R14", "POST", core("pods"), pod(container=PRIVILEGED)),
    Case(
        "R14",
        "POST",
        core("pods"),
        pod(initContainers=[{"name": "first", "image": IMAGE, **PRIVILEGED}]),
        what="init-container",
    ),
    Case("R15", "POST", core("pods"), pod(volumes=ROOT_VOLUME)),
    Case("R16", "POST", core("pods"), pod(hostPID=True)),
    Case("R17", "POST", "/apis/apps/v1/namespaces/catalogue/deployments", deployment(container=PRIVILEGED)),
    Case(
        "R17",
        "POST",
        "/apis/batch/AT/namespaces/catalogue/cronjobs",
        obj(
            "batch/AT",
            "CronJob",
            spec={
                "schedule": "0 0 1 1 *",
                "jobTemplate": {
                    "spec": {"template": {"spec": pod_spec(volumes=ROOT_VOLUME, restartPolicy="Never")}}
                },
            },
        ),
        what="cron-job",
    ),
    Case(
        "R17",
        "POST",
        THINGS,
        obj("catalogue.example.org/v1", "Thing", spec={"template": pod_spec(hostNetwork=True)}),
        what="custom-resource",
        direct=CONDITIONS,
    ),
    Case("R18", "POST", core("pods", "agents"), pod(serviceAccountName=AGENT)),
    Case(
        "R19",
        "PATCH",
        core("configmaps/aws-auth", "kube-system"),
        {"data": {"mapRoles": "[]"}},
        type=MERGE,
    ),
    Case(
        "R20",
        "POST",
        "/api/v1/persistentvolumes",
        obj(
            "v1",
            "PersistentVolume",
            spec={
                "capacity": {"storage": "1Mi"},
                "accessModes": ["ReadWriteOnce"],
                "hostPath": {"path": "/"},
            },
        ),
    ),
)

DESTRUCTION = (
    Case(
        "R21",
        "DELETE",
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/things.catalogue.example.org",
    ),
    Case("R22", "DELETE", "/api/v1/namespaces/catalogue"),
    Case("R23", "DELETE", core("configmaps")),
    Case("R23", "DELETE", THINGS, what="custom-resources", direct=CONDITIONS),
    Case("R24", "DELETE", core("persistentvolumeclaims/claim")),
)

RUNTIME = (
    Case("R28", "GET", core("pods/idle/exec?command=true")),
    Case("R28", "POST", core("pods/idle/exec?command=true")),
    Case("R29", "GET", core("pods/idle/attach")),
    Case(
        "R30",
        "PATCH",
        core("pods/idle/ephemeralcontainers"),
        {"spec": {"ephemeralContainers": [{"name": "debug", "image": IMAGE}]}},
        type=STRATEGIC,
        since=(1, 23),
    ),
    Case("R31", "GET", core("pods/idle/portforward?ports=80")),
    Case("R32", "GET", core("services/front/proxy/")),
    Case("R32", "GET", core("pods/idle/proxy/"), what="pod"),
    Case(
        "R33",
        "PATCH",
        core("pods/idle"),
        {"spec": {"containers": [{"name": "main", "image": f"{IMAGE}-other"}]}},
        type=STRATEGIC,
    ),
    Case(
        "R34",
        "PATCH",
        "/apis/apps/v1/namespaces/catalogue/deployments/web",
        {"spec": {"template": {"spec": {"containers": [{"name": "sidecar", "image": IMAGE}]}}}},
        type=STRATEGIC,
    ),
)

SERVICES = (
    Case(
        "R35",
        "PATCH",
        "/api/v1/namespaces/catalogue",
        {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "privileged"}}},
        type=MERGE,
    ),
    Case(
        "R36",
        "PUT",
        "/api/v1/namespaces/catalogue/finalize",
        obj("v1", "Namespace", SPACE, spec={"finalizers": []}),
    ),
    Case(
        "R36",
        "PATCH",
        core("serviceaccounts/kept"),
        {"metadata": {"finalizers": None}},
        what="finalizer",
        type=MERGE,
    ),
    Case("R37", "GET", core("secrets/secret"), direct=UNSEEN),
    Case("R38", "PATCH", core("secrets/secret"), {"stringData": {"a": "b"}}, type=MERGE, what="secret"),
    Case("R38", "PATCH", core("configmaps/settings"), {"data": {"a": "c"}}, type=MERGE, what="config-map"),
    Case("R38", "DELETE", core("configmaps/settings")),
    Case("R39", "DELETE", "/apis/apps/v1/namespaces/catalogue/deployments/web"),
    Case(
        "R40",
        "PATCH",
        "/apis/apps/v1/namespaces/catalogue/deployments/web/scale",
        {"spec": {"replicas": 0}},
        type=MERGE,
    ),
    Case(
        "R40",
        "PATCH",
        "/apis/apps/v1/namespaces/catalogue/deployments/web",
        {"spec": {"replicas": 9}},
        what="replicas",
        type=MERGE,
    ),
    Case(
        "R41",
        "POST",
        core("pods/idle/eviction"),
        obj("policy/AT", "Eviction", "idle", deleteOptions={"dryRun": ["All"]}),
    ),
    Case("R41", "DELETE", core("pods/catalogue-idle", "kube-system"), what="control-plane"),
    Case("R42", "DELETE", "/api/v1/nodes/NODE"),
    Case(
        "R43",
        "PATCH",
        "/api/v1/nodes/NODE",
        {"spec": {"unschedulable": True}},
        type=MERGE,
    ),
    Case(
        "R43",
        "PATCH",
        "/api/v1/nodes/NODE/status",
        {"status": {"allocatable": {"example.org/x": "1"}}},
        what="status",
        type=MERGE,
    ),
    Case(
        "R44",
        "POST",
        core("pods/idle/binding"),
        obj("v1", "Binding", "idle", target={"kind": "Node", "name": "NODE"}),
    ),
    Case(
        "R45",
        "POST",
        core("services"),
        obj("v1", "Service", spec={"ports": [{"port": 80}], "externalIPs": ["192.0.2.1"]}),
    ),
    Case(
        "R45",
        "PATCH",
        core("services/front/status"),
        {"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}},
        what="status",
        type=MERGE,
    ),
    Case("R46", "POST", core("configmaps", "kube-system"), obj("v1", "ConfigMap", "coredns")),
    Case("R47", "DELETE", "/apis/networking.k8s.io/v1/namespaces/catalogue/networkpolicies/closed"),
    Case(
        "R48",
        "PATCH",
        "/apis/policy/AT/namespaces/catalogue/poddisruptionbudgets/web",
        {"metadata": {"labels": {"a": "b"}}},
        type=MERGE,
    ),
    Case("R49", "POST", core("pods", "kube-system"), pod()),
    Case(
        "R63",
        "PATCH",
        "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/kube-scheduler",
        {"spec": {"holderIdentity": "agent"}},
        type=MERGE,
        # No rule and no approval lifts it, although its level is high.
        gateway="Deny",
        direct=BY_POLICY,
    ),
)

MEDIUM = (
    Case(
        "R50",
        "POST",
        "/apis/batch/v1/namespaces/catalogue/jobs",
        obj("batch/v1", "Job", spec={"template": {"spec": pod_spec(restartPolicy="Never")}}),
    ),
    Case("R51", "DELETE", core("events/noted"), direct=UNSEEN),
    Case("R52", "PATCH", core("resourcequotas/quota"), {"spec": {"hard": {"pods": "90"}}}, type=MERGE),
    Case(
        "R53",
        "POST",
        core("services"),
        obj("v1", "Service", spec={"type": "NodePort", "ports": [{"port": 80}]}),
    ),
    Case(
        "R54",
        "POST",
        "/apis/networking.k8s.io/v1/namespaces/catalogue/ingresses",
        obj(
            "networking.k8s.io/v1",
            "Ingress",
            spec={"defaultBackend": {"service": {"name": "front", "port": {"number": 80}}}},
        ),
    ),
    Case(
        "R55",
        "PATCH",
        core("serviceaccounts/builder"),
        {"metadata": {"annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/x"}}},
        type=MERGE,
    ),
    Case("R56", "DELETE", "/apis/storage.k8s.io/v1/storageclasses/catalogue"),
    Case(
        "R57",
        "POST",
        "/apis/scheduling.k8s.io/v1/priorityclasses",
        obj("scheduling.k8s.io/v1", "PriorityClass", value=1000),
    ),
    Case(
        "R58",
        "PATCH",
        core("pods/idle/status"),
        {"status": {"podIP": "192.0.2.1"}},
        type=MERGE,
        direct=CONDITIONS,
    ),
    Case(
        "R59",
        "PATCH",
        core("pods/idle/resize"),
        {"spec": {"containers": [{"name": "main", "resources": {"requests": {"cpu": "1m"}}}]}},
        type=STRATEGIC,
        since=(1, 33),
    ),
    Case("R60", "GET", core("pods/catalogue-idle/log", "kube-system"), direct=UNSEEN),
    Case("R61", "POST", core("configmaps"), obj("v1", "ConfigMap"), padding=1_100_000, direct=UNSEEN),
    Case(
        "R62",
        "PATCH",
        core("serviceaccounts/forced?fieldManager=catalogue&force=true"),
        obj("v1", "ServiceAccount", "forced"),
        type=APPLY,
        direct=UNSEEN,
    ),
    Case("R64", "GET", "/metrics", direct=UNSEEN),
)

CASES = (*RIGHTS, *GUARD, *PODS, *DESTRUCTION, *RUNTIME, *SERVICES, *MEDIUM)
