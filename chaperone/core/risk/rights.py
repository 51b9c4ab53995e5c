"""Rows R01 to R10: rights and identity."""

from __future__ import annotations

from chaperone.core.risk.content import (
    ADMIN_LIKE,
    CLIENT_CSR,
    POWERFUL_ROLE,
    SA_TOKEN_SECRET,
    SIGNER_ROLE,
    SYSTEM_SUBJECT,
)
from chaperone.core.risk.places import CONTROL_PLANE_SECRETS, in_namespaces
from chaperone.core.risk.row import CHANGES, CRITICAL, GATEWAY_ONLY, READS, WRITES, Clause, Row, clause

RBAC = "rbac.authorization.k8s.io"
CERTIFICATES = "certificates.k8s.io"

ROWS = (
    Row(
        "R01",
        CRITICAL,
        "A cluster role binding hands out rights in every namespace at once",
        (clause(WRITES, RBAC, "clusterrolebindings"),),
    ),
    Row(
        "R02",
        CRITICAL,
        "This role binding makes somebody an administrator, or reaches into the control plane's namespace",
        (
            clause(WRITES, RBAC, "rolebindings", when=(ADMIN_LIKE,)),
            clause(WRITES, RBAC, "rolebindings", when=(in_namespaces("kube-system"),)),
        ),
    ),
    Row(
        "R03",
        CRITICAL,
        "Whoever holds this role can give themselves more rights than it lists",
        (clause(WRITES, RBAC, "roles", "clusterroles", when=(POWERFUL_ROLE,)),),
    ),
    Row(
        "R04",
        CRITICAL,
        "This binding gives rights to anonymous callers or to the group that no check can stop",
        (clause(WRITES, RBAC, "rolebindings", "clusterrolebindings", when=(SYSTEM_SUBJECT,)),),
    ),
    Row(
        "R05",
        CRITICAL,
        "The request asks to act under another identity",
        (
            Clause(
                ("impersonate",),
                (
                    ("", "users"),
                    ("", "groups"),
                    ("", "serviceaccounts"),
                    ("authentication.k8s.io", "userextras"),
                    ("authentication.k8s.io", "userextras/*"),
                    ("authentication.k8s.io", "uids"),
                ),
            ),
        ),
        GATEWAY_ONLY,
    ),
    Row(
        "R06",
        CRITICAL,
        "A token minted for a service account stays valid after this session has ended",
        (clause(("create",), "", "serviceaccounts/token"),),
    ),
    Row(
        "R07",
        CRITICAL,
        "A secret of this type is filled with a service account token that has no expiry",
        (clause(WRITES, "", "secrets", when=(SA_TOKEN_SECRET,)),),
    ),
    Row(
        "R08",
        CRITICAL,
        "The answer holds the credentials that the control plane itself runs on",
        (clause(READS, "", "secrets", when=(CONTROL_PLANE_SECRETS,)),),
        GATEWAY_ONLY,
    ),
    Row(
        "R09",
        CRITICAL,
        "Once signed, this request becomes a client certificate for the API server",
        (clause(("create",), CERTIFICATES, "certificatesigningrequests", when=(CLIENT_CSR,)),),
    ),
    Row(
        "R10",
        CRITICAL,
        "This approves or issues a certificate, or lets a role do so",
        (
            clause(
                CHANGES,
                CERTIFICATES,
                "certificatesigningrequests/approval",
                "certificatesigningrequests/status",
            ),
            clause(WRITES, RBAC, "roles", "clusterroles", when=(SIGNER_ROLE,)),
        ),
    ),
)
