"""Rows R28 to R34: code and connections inside workloads that already run."""

from __future__ import annotations

from chaperone.core.risk.changes import CONTAINER_ADDED, IMAGE_CHANGE
from chaperone.core.risk.podspec import WORKLOADS
from chaperone.core.risk.row import ANY_VERB, CHANGES, HIGH, Clause, Row, clause

_CONNECT = ("get", "create")

ROWS = (
    Row(
        "R28",
        HIGH,
        "Commands run inside the container, with its token and everything mounted in it",
        (clause(_CONNECT, "", "pods/exec"),),
    ),
    Row(
        "R29",
        HIGH,
        "What is typed goes straight into a process that is already running",
        (clause(_CONNECT, "", "pods/attach"),),
    ),
    Row(
        "R30",
        HIGH,
        "A new container joins a running pod, which is as good as a shell in it",
        (clause(CHANGES, "", "pods/ephemeralcontainers"),),
    ),
    Row(
        "R31",
        HIGH,
        "A raw connection into the pod that no network policy sees",
        (clause(_CONNECT, "", "pods/portforward"),),
    ),
    Row(
        "R32",
        HIGH,
        "Any HTTP request can be sent to what runs behind this pod or service",
        (
            clause(ANY_VERB, "", "pods/proxy", "services/proxy"),
            clause(("proxy",), "", "pods", "services"),
        ),
    ),
    Row(
        "R33",
        HIGH,
        "The running pod is restarted with other code",
        (clause(CHANGES, "", "pods", when=(IMAGE_CHANGE,)),),
    ),
    Row(
        "R34",
        HIGH,
        "The workload gets other code, or a container beside the ones it has",
        (
            Clause(CHANGES, tuple(WORKLOADS), (IMAGE_CHANGE,)),
            Clause(CHANGES, tuple(WORKLOADS), (CONTAINER_ADDED,)),
        ),
    ),
)
