"""Rows R50 to R62 and R64: medium and low."""

from __future__ import annotations

from chaperone.core.policy import RiskSettings
from chaperone.core.request import Request
from chaperone.core.risk.changes import CLOUD_ROLE, RECLAIM_CHANGE
from chaperone.core.risk.content import EXPOSED_SERVICE, WIDE_INGRESS
from chaperone.core.risk.options import BULK, FORCED, STRONG_DELETE, STRONG_EVICTION
from chaperone.core.risk.places import SENSITIVE_NS
from chaperone.core.risk.row import (
    ANY_VERB,
    CHANGES,
    DELETES,
    GATEWAY_ONLY,
    LOW,
    MEDIUM,
    NO,
    NON_RESOURCE,
    WRITES,
    YES,
    Clause,
    Condition,
    Outcome,
    Row,
    clause,
)

OPEN_ROOTS = ("api", "apis", "openapi", "healthz", "livez", "readyz")
OPEN_PATHS = ("/version", "/version/", "/.well-known/openid-configuration", "/openid/v1/jwks")


def _is_internal(request: Request, _: RiskSettings) -> Outcome:
    """Everything but discovery, OpenAPI, health, version and the cluster's public keys."""
    if request.path in OPEN_PATHS:
        return NO
    root, *rest = request.path.removeprefix("/").removesuffix("/").split("/")
    plain = root in OPEN_ROOTS and "%" not in request.path and not {"", ".", ".."}.intersection(rest)
    return NO if plain else YES


INTERNAL_PATH = Condition(
    "non-resource", "other than discovery, OpenAPI, health, version and public keys", _is_internal
)

ROWS = (
    Row(
        "R50",
        MEDIUM,
        "This code runs later, when nobody is looking",
        (clause(("create",), "batch", "jobs", "cronjobs"),),
    ),
    Row(
        "R51",
        MEDIUM,
        "Deleted events no longer show what happened",
        (Clause(DELETES, (("", "events"), ("events.k8s.io", "events"))),),
    ),
    Row(
        "R52",
        MEDIUM,
        "A changed quota or limit range lets workloads take more than their share",
        (clause((*CHANGES, *DELETES), "", "resourcequotas", "limitranges"),),
    ),
    Row(
        "R53",
        MEDIUM,
        "The service becomes reachable from outside the cluster",
        (clause(WRITES, "", "services", when=(EXPOSED_SERVICE,)),),
    ),
    Row(
        "R54",
        MEDIUM,
        "The ingress takes requests for hosts that it does not name",
        (
            Clause(
                WRITES,
                (("networking.k8s.io", "ingresses"), ("extensions", "ingresses")),
                (WIDE_INGRESS,),
            ),
        ),
    ),
    Row(
        "R55",
        MEDIUM,
        "Pods of this service account act with a cloud role",
        (clause(WRITES, "", "serviceaccounts", when=(CLOUD_ROLE,)),),
    ),
    Row(
        "R56",
        MEDIUM,
        "Volumes may be dropped, or copied to where others can read them",
        (
            clause(DELETES, "storage.k8s.io", "storageclasses"),
            clause(CHANGES, "", "persistentvolumes", when=(RECLAIM_CHANGE,)),
            clause(
                (*WRITES, *DELETES),
                "snapshot.storage.k8s.io",
                "volumesnapshots",
                "volumesnapshotcontents",
                "volumesnapshotclasses",
            ),
        ),
    ),
    Row(
        "R57",
        MEDIUM,
        "Pods of a higher priority push others off their nodes",
        (clause((*WRITES, *DELETES), "scheduling.k8s.io", "priorityclasses"),),
    ),
    Row(
        "R58",
        MEDIUM,
        "A pod can be made to look ready, or to live at another address",
        (clause(CHANGES, "", "pods/status"),),
    ),
    Row(
        "R59",
        MEDIUM,
        "A running pod gains or loses processor and memory",
        (clause(CHANGES, "", "pods/resize"),),
    ),
    Row(
        "R60",
        MEDIUM,
        "Logs of these namespaces often repeat secrets",
        (clause(("get",), "", "pods/log", when=(SENSITIVE_NS,)),),
        GATEWAY_ONLY,
    ),
    Row(
        "R61",
        MEDIUM,
        "So much at once fills the cluster's storage",
        (clause(("create",), "*", "*/*", when=(BULK,)),),
        GATEWAY_ONLY,
    ),
    Row(
        "R62",
        MEDIUM,
        "The options override other owners, skip a clean shutdown or leave dependents behind",
        (
            clause(WRITES, "*", "*/*", when=(FORCED,)),
            clause(DELETES, "*", "*/*", when=(STRONG_DELETE,)),
            clause(("create",), "", "pods/eviction", when=(STRONG_EVICTION,)),
        ),
        GATEWAY_ONLY,
    ),
    Row(
        "R64",
        LOW,
        "The path shows the insides of the API server",
        (Clause(ANY_VERB, (NON_RESOURCE,), (INTERNAL_PATH,)),),
        GATEWAY_ONLY,
    ),
)
