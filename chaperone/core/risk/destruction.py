"""Rows R21 to R24: deletes that take much more with them than they name."""

from __future__ import annotations

from chaperone.core.risk.row import CRITICAL, DELETES, Row, clause

ROWS = (
    Row(
        "R21",
        CRITICAL,
        "With its definition, every object of this kind disappears from the cluster",
        (clause(DELETES, "apiextensions.k8s.io", "customresourcedefinitions"),),
    ),
    Row(
        "R22",
        CRITICAL,
        "With the namespace goes everything that lives in it",
        (clause(("delete",), "", "namespaces"),),
    ),
    Row(
        "R23",
        CRITICAL,
        "One call deletes however many objects there are",
        (clause(("deletecollection",), "*", "*/*"),),
    ),
    Row(
        "R24",
        CRITICAL,
        "Stored data may be lost for good",
        (clause(DELETES, "", "persistentvolumes", "persistentvolumeclaims"),),
    ),
)
