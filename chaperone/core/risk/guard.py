"""Rows R11 to R13 and R25 to R27: what would blind, replace or starve the guard."""

from __future__ import annotations

from chaperone.core.request import CONNECT_SUBRESOURCES
from chaperone.core.risk.places import GUARD_ITSELF, GUARD_NS, name_ends
from chaperone.core.risk.row import (
    ANY_VERB,
    CRITICAL,
    DELETES,
    GATEWAY_ONLY,
    WRITES,
    Clause,
    Row,
    Target,
    clause,
)

ADMISSION = "admissionregistration.k8s.io"
GUARD_GROUP = "chaperone.dev"

_CONNECTS: tuple[Target, ...] = tuple(
    ("", f"{resource}/{subresource}")
    for resource, subresources in CONNECT_SUBRESOURCES.items()
    for subresource in subresources
)

ROWS = (
    Row(
        "R11",
        CRITICAL,
        "A mutating webhook reads and rewrites every object that passes it",
        (clause((*WRITES, *DELETES), ADMISSION, "mutatingwebhookconfigurations"),),
        GATEWAY_ONLY,
    ),
    Row(
        "R12",
        CRITICAL,
        "Changing admission webhooks or policies can switch off the checks on agents",
        (
            clause(
                (*WRITES, *DELETES),
                ADMISSION,
                "validatingwebhookconfigurations",
                "validatingadmissionpolicies",
                "validatingadmissionpolicybindings",
                "mutatingadmissionpolicies",
                "mutatingadmissionpolicybindings",
            ),
        ),
        GATEWAY_ONLY,
    ),
    Row(
        "R13",
        CRITICAL,
        "The kubelet behind this path runs commands in any pod of the node, with no admission and no audit",
        (
            clause(ANY_VERB, "", "nodes/proxy"),
            clause(("proxy",), "", "nodes"),
        ),
    ),
    Row(
        "R25",
        CRITICAL,
        "An APIService decides which server answers for a whole API group",
        (clause((*WRITES, *DELETES), "apiregistration.k8s.io", "apiservices"),),
    ),
    Row(
        "R26",
        CRITICAL,
        "An agent may not touch the policies, approvals and sessions that govern agents",
        (
            clause((*WRITES, *DELETES), GUARD_GROUP, "*/*"),
            clause(
                (*WRITES, *DELETES),
                "apiextensions.k8s.io",
                "customresourcedefinitions",
                when=(name_ends("." + GUARD_GROUP),),
            ),
        ),
    ),
    Row(
        "R27",
        CRITICAL,
        "The guard itself runs in this namespace",
        (
            clause((*WRITES, *DELETES), "*", "*/*", when=(GUARD_NS,)),
            Clause(ANY_VERB, _CONNECTS, (GUARD_NS,)),
            clause(("proxy",), "", "pods", "services", when=(GUARD_NS,)),
            clause(("create",), "", "namespaces", when=(GUARD_ITSELF,)),
        ),
    ),
)
