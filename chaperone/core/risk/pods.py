"""Rows R14 to R20: pods that own their node, and what makes such pods."""

from __future__ import annotations

from chaperone.core.risk.content import NODE_VOLUME
from chaperone.core.risk.places import in_namespaces, named
from chaperone.core.risk.podspec import (
    HOST_NS,
    HOST_PATH,
    OWNS_NODE,
    POD_SPEC_PATHS,
    PRIVILEGED,
    PRIVILEGED_SA,
    WORKLOADS,
)
from chaperone.core.risk.row import CHANGES, CRITICAL, CUSTOM, WRITES, Clause, Row, clause

_CUSTOM = ((CUSTOM, "*"),)

ROWS = (
    Row(
        "R14",
        CRITICAL,
        "A privileged container has the same power over the node as its root user",
        (
            clause(WRITES, "", "pods", when=(PRIVILEGED,)),
            # Ephemeral containers exist in no other request.
            clause(CHANGES, "", "pods/ephemeralcontainers", when=(PRIVILEGED,)),
        ),
    ),
    Row(
        "R15",
        CRITICAL,
        "A hostPath volume opens the node's own files to the pod",
        (clause(WRITES, "", "pods", when=(HOST_PATH,)),),
    ),
    Row(
        "R16",
        CRITICAL,
        "The pod shares the node's processes, network or memory instead of having its own",
        (clause(WRITES, "", "pods", when=(HOST_NS,)),),
    ),
    Row(
        "R17",
        CRITICAL,
        "The pods that this object makes would own the node they land on",
        (
            Clause(WRITES, tuple(WORKLOADS), (OWNS_NODE,)),
            Clause(WRITES, _CUSTOM, (OWNS_NODE,)),
        ),
    ),
    Row(
        "R18",
        CRITICAL,
        "The code would run with the rights of a powerful service account",
        (
            Clause(WRITES, tuple(POD_SPEC_PATHS), (PRIVILEGED_SA,)),
            Clause(WRITES, _CUSTOM, (PRIVILEGED_SA,)),
        ),
    ),
    Row(
        "R19",
        CRITICAL,
        "On EKS this config map says which cloud identities are cluster administrators",
        (clause(CHANGES, "", "configmaps", when=(in_namespaces("kube-system"), named("aws-auth"))),),
    ),
    Row(
        "R20",
        CRITICAL,
        "Whoever claims this volume gets a piece of the node's disk",
        (clause(("create",), "", "persistentvolumes", when=(NODE_VOLUME,)),),
    ),
)
