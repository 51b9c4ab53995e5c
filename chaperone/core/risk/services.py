"""Rows R35 to R49 and R63: what the cluster and its applications need to keep working, and their data."""

from __future__ import annotations

from chaperone.core.risk.changes import FINALIZER_REMOVED, META_CHANGE, NODE_CHANGE, SCALE_RISK
from chaperone.core.risk.content import EXTERNAL_IPS
from chaperone.core.risk.places import OTHER_SECRETS, SENSITIVE_NS, in_namespaces, named
from chaperone.core.risk.row import CHANGES, DELETES, GATEWAY_ONLY, HIGH, READS, WRITES, Clause, Row, clause

_SCALABLE = (
    ("apps", "deployments"),
    ("apps", "statefulsets"),
    ("apps", "replicasets"),
    ("", "replicationcontrollers"),
)

ROWS = (
    Row(
        "R35",
        HIGH,
        "Labels and annotations of a namespace switch its security checks on and off",
        # A write to status may change the metadata too.
        (clause(CHANGES, "", "namespaces", "namespaces/status", when=(META_CHANGE,)),),
    ),
    Row(
        "R36",
        HIGH,
        "Without the finalizer nobody cleans up what belongs to the object",
        (
            clause(("update",), "", "namespaces/finalize"),
            clause(CHANGES, "*", "*", "*/status", when=(FINALIZER_REMOVED,)),
        ),
    ),
    Row(
        "R37",
        HIGH,
        "The answer holds credentials of applications",
        (clause(READS, "", "secrets", when=(OTHER_SECRETS,)),),
        GATEWAY_ONLY,
    ),
    Row(
        "R38",
        HIGH,
        "Applications that read this can stop working, and the old value is not kept",
        (clause((*CHANGES, *DELETES), "", "secrets", "configmaps"),),
    ),
    Row(
        "R39",
        HIGH,
        "The workload goes down, with all its pods",
        (clause(DELETES, "apps", "deployments", "statefulsets", "daemonsets"),),
    ),
    Row(
        "R40",
        HIGH,
        "So large a change of replicas means an outage or a bill",
        (
            clause(CHANGES, "*", "*/scale", when=(SCALE_RISK,)),
            Clause(CHANGES, _SCALABLE, (SCALE_RISK,)),
        ),
    ),
    Row(
        "R41",
        HIGH,
        "A running pod is ended or has to move to another node",
        (
            clause(("create",), "", "pods/eviction"),
            clause(("delete",), "", "pods", when=(SENSITIVE_NS,)),
        ),
    ),
    Row(
        "R42",
        HIGH,
        "The cluster loses this node's capacity and the objects tied to it",
        (clause(DELETES, "", "nodes"),),
    ),
    Row(
        "R43",
        HIGH,
        "This steers pods towards a node, or away from it",
        (
            clause(CHANGES, "", "nodes", when=(NODE_CHANGE,)),
            clause(CHANGES, "", "nodes/status"),
        ),
    ),
    Row(
        "R44",
        HIGH,
        "The pod lands on a node that the scheduler did not choose",
        (clause(("create",), "", "pods/binding", "bindings"),),
    ),
    Row(
        "R45",
        HIGH,
        "A service that claims such addresses receives other people's traffic",
        (
            clause(WRITES, "", "services", when=(EXTERNAL_IPS,)),
            clause(CHANGES, "", "services/status"),
        ),
    ),
    Row(
        "R46",
        HIGH,
        "The cluster's name server answers what this config map says",
        (
            clause(
                (*WRITES, *DELETES),
                "",
                "configmaps",
                when=(in_namespaces("kube-system"), named("coredns")),
            ),
        ),
    ),
    Row(
        "R47",
        HIGH,
        "Connections that a network policy kept out may come in",
        (clause((*CHANGES, *DELETES), "networking.k8s.io", "networkpolicies"),),
    ),
    Row(
        "R48",
        HIGH,
        "Without this budget, evictions may stop every replica at once",
        (clause((*CHANGES, *DELETES), "policy", "poddisruptionbudgets"),),
    ),
    Row(
        "R49",
        HIGH,
        "Pods in this namespace are part of the control plane, and other guards often look away here",
        (clause((*WRITES, *DELETES), "", "pods", when=(in_namespaces("kube-system", "kube-node-lease"),)),),
    ),
    Row(
        "R63",
        HIGH,
        "Whoever takes a control plane lease stops the controller that held it",
        (clause((*WRITES, *DELETES), "coordination.k8s.io", "leases", when=(in_namespaces("kube-system"),)),),
        GATEWAY_ONLY,
    ),
)
