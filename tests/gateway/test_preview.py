"""Previews against a fake API server: what is asked as the agent, what is shown, and that nothing is ever raised."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qs

import pytest

from chaperone.core.masking import UnmaskableError
from chaperone.core.request import Payload, Request, parse
from chaperone.core.verdict import Action, Verdict
from gateway.http.upstream import UpstreamError
from gateway.preview import AS_SENT, Hide, preview
from gateway.preview_dry_run import DryRun, dry_run_of
from gateway.preview_looks import PreviewLimits
from gateway.services import Fetched

Obj = Mapping[str, Any]

HOLD = Verdict(action=Action.HOLD, policy="careful")
NS = "/api/v1/namespaces/prod"
APPS = "/apis/apps/v1/namespaces/prod"
WEB = f"{APPS}/deployments/web"
SELECTED = "labelSelector=app%3Dweb&limit=500"
LABELS = {"app": "web"}


def request_of(method: str, target: str, body: Any = None, content_type: str = "application/json") -> Request:
    raw = b"" if body is None else json.dumps(body).encode()
    request = parse(method, target, content_type=content_type if raw else "")
    assert isinstance(request, Request), request
    return replace(request, body=raw)


def obj(name: str, *owners: str, **fields: Any) -> dict[str, Any]:
    references = [{"uid": owner, "kind": "ReplicaSet", "name": owner, "controller": True} for owner in owners]
    metadata = {
        "name": name,
        "namespace": "prod",
        "uid": name,
        "labels": LABELS,
        "ownerReferences": references,
    }
    return {"kind": "Any", "metadata": metadata, **fields}


def deployment(replicas: int = 3, image: str = "web:1", **more: Any) -> dict[str, Any]:
    template = {"spec": {"containers": [{"name": "web", "image": image}]}}
    spec = {"replicas": replicas, "selector": {"matchLabels": LABELS}, "template": template, **more}
    return obj("web", spec=spec, status={"replicas": replicas})


def listing(*items: Obj, rest: int = 0) -> dict[str, Any]:
    metadata = {"remainingItemCount": rest, "continue": "more"} if rest else {}
    return {"kind": "List", "metadata": metadata, "items": list(items)}


BUDGETS = "/apis/policy/v1/namespaces/prod/poddisruptionbudgets?limit=500"
OLD_BUDGETS = "/apis/policy/v1beta1/namespaces/prod/poddisruptionbudgets?limit=500"
BUDGET = listing(obj("pdb", spec={"selector": {"matchLabels": LABELS}}, status={"disruptionsAllowed": 1}))
TWO_PODS = listing(obj("p1", "rs"), obj("p2", "rs"))


@dataclass
class Cluster:
    """Answers by "METHOD target"; what is not there is 404. A number is a refusal with that code, an exception is
    raised, a function is called. warnings: of every dry run."""

    answers: dict[str, Any]
    warnings: tuple[str, ...] = ()
    asked: list[str] = field(default_factory=list)
    bodies: dict[str, bytes] = field(default_factory=dict)
    at_once: int = 0
    most_at_once: int = 0
    slow: Callable[[], float] = lambda: 0.0

    async def fetch(
        self, method: str, target: str, *, body: bytes = b"", content_type: str = "", limit: int = 0
    ) -> Fetched:
        assert isinstance(parse(method, target, content_type=content_type), Request)
        key = f"{method} {target}"
        self.asked.append(key)
        self.bodies[key] = body
        self.at_once += 1
        self.most_at_once = max(self.at_once, self.most_at_once)
        try:
            await asyncio.sleep(self.slow())
        finally:
            self.at_once -= 1
        answer = self.answers.get(key, 404)
        if isinstance(answer, list):
            answer = answer.pop(0)
        if isinstance(answer, Exception):
            raise answer
        warnings = self.warnings if "dryRun" in target or b"dryRun" in body else ()
        if isinstance(answer, int):
            status = {"kind": "Status", "reason": "Forbidden", "message": "never", "code": answer}
            return Fetched(answer, "application/json", json.dumps(status).encode(), warnings)
        if isinstance(answer, bytes):
            return Fetched(200, "text/plain", answer, warnings)
        return Fetched(answer.get("code", 200), "application/json", json.dumps(answer).encode(), warnings)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def previewed(
    request: Request, cluster: Cluster, *, limits: PreviewLimits | None = None, clock: Clock | None = None
) -> dict[str, Any]:
    bounds = limits or PreviewLimits(seconds=30)
    found = asyncio.run(preview(request, HOLD, cluster, clock=clock or Clock(), limits=bounds))
    assert set(found) <= {"diff", "warnings", "affected", "truncated"}
    return dict(found)


# The dry run


def patch(body: Any = None, target: str = WEB) -> Request:
    return request_of("PATCH", target, body or {"spec": {}}, "application/merge-patch+json")


DRY: dict[str, tuple[Request, str, Any]] = {
    # sentence: (request, target of its dry run, its body)
    "a patch": (
        patch({"a": 1}, f"{WEB}?fieldManager=k&timeout=5s"),
        f"{WEB}?fieldManager=k&dryRun=All",
        {"a": 1},
    ),
    "a delete without options": (request_of("DELETE", WEB), f"{WEB}?dryRun=All", None),
    "a delete with options: the query is ignored": (
        request_of("DELETE", WEB, {"propagationPolicy": "Foreground", "preconditions": {"uid": "u"}}),
        f"{WEB}?dryRun=All",
        {"propagationPolicy": "Foreground", "preconditions": {"uid": "u"}, "dryRun": ["All"]},
    ),
    "a delete whose options say otherwise": (
        request_of("DELETE", WEB, {"dryRun": []}),
        f"{WEB}?dryRun=All",
        {"dryRun": ["All"]},
    ),
    "a dry run": (request_of("POST", f"{NS}/pods?dryRun=All", {}), f"{NS}/pods?dryRun=All", {}),
    "an eviction": (
        request_of("POST", f"{NS}/pods/p/eviction", {"kind": "Eviction"}),
        f"{NS}/pods/p/eviction?dryRun=All",
        {"kind": "Eviction"},
    ),
}


@pytest.mark.parametrize(("request_", "target", "body"), DRY.values(), ids=DRY)
def test_dry_runs(request_: Request, target: str, body: Any) -> None:
    dry = dry_run_of(request_)
    assert isinstance(dry, DryRun)
    assert (dry.target, json.loads(dry.body or b"null")) == (target, body)
    sent = parse(dry.method, dry.target, content_type=dry.content_type)
    assert isinstance(sent, Request)
    assert replace(sent, body=dry.body, payload=Payload(options=body)).dry_run


NEVER_DRY = {
    "exec": request_of("POST", f"{NS}/pods/p/exec?command=ls"),
    "a proxied call": request_of("POST", f"{NS}/services/s/proxy/x"),
    "a token, which would be made": request_of("POST", f"{NS}/serviceaccounts/s/token", {}),
    "no resource": request_of("POST", "/metrics"),
    "a read": request_of("GET", WEB),
    "options that cannot be read": replace(
        request_of("DELETE", WEB, {}), body=b"k8s\x00x", content_type="application/vnd.kubernetes.protobuf"
    ),
}


@pytest.mark.parametrize("request_", NEVER_DRY.values(), ids=NEVER_DRY)
def test_what_may_act_is_not_tried(request_: Request) -> None:
    assert isinstance(dry_run_of(request_), str)
    cluster = Cluster({})
    previewed(request_, cluster)
    assert all(asked.startswith("GET ") for asked in cluster.asked)


WIDGET = "/apis/example.com/v1/namespaces/prod/widgets/w"


@pytest.mark.parametrize(
    ("resource", "tried"),
    [
        ({"name": "widgets", "storageVersionHash": "x"}, True),
        ({"name": "widgets"}, False),
        ({"name": "gadgets", "storageVersionHash": "x"}, False),
    ],
    ids=["stored by Kubernetes", "nobody knows how", "something else is"],
)
def test_an_api_that_may_not_heed_a_dry_run_is_not_tried(resource: Obj, tried: bool) -> None:
    cluster = Cluster({"GET /apis/example.com/v1": {"resources": [resource]}, f"GET {WIDGET}": obj("w")})
    found = previewed(request_of("DELETE", WIDGET), cluster)
    assert (f"DELETE {WIDGET}?dryRun=All" in cluster.asked) is tried
    assert any("no dry run was made" in line for line in found["warnings"]) is not tried


def test_a_strange_subresource_is_not_tried() -> None:
    cluster = Cluster(
        {"GET /apis/example.com/v1": {"resources": [{"name": "widgets", "storageVersionHash": "x"}]}}
    )
    previewed(request_of("POST", f"{WIDGET}/restart", {}), cluster)
    assert all(asked.startswith("GET ") for asked in cluster.asked)


# What is shown


def test_an_image() -> None:
    cluster = Cluster(
        {f"GET {WEB}": deployment(), f"PATCH {WEB}?dryRun=All": deployment(image="web:2")},
        warnings=('299 - "apps/v1 is fine"',),
    )
    found = previewed(patch(), cluster)
    assert "-      - image: web:1\n+      - image: web:2\n" in found["diff"]
    assert found["warnings"] == ["apps/v1 is fine"]
    assert found["affected"] == ["pods: 3 would be replaced, for their template changes"]
    assert found["truncated"] is False
    assert len(cluster.asked) == 2


def test_fewer_replicas() -> None:
    cluster = Cluster(
        {
            f"GET {WEB}": deployment(3),
            f"PATCH {WEB}?dryRun=All": deployment(1),
            f"GET {NS}/pods?{SELECTED}": listing(obj("p1"), obj("p2"), obj("p3")),
            f"GET {BUDGETS}": BUDGET,
        }
    )
    assert previewed(patch(), cluster)["affected"] == [
        "pods: 3 are there, 2 of them would go: p1, p2, p3",
        "poddisruptionbudgets prod/pdb: would be broken: 2 of its pods would go, and it allows 1 now",
    ]


def scale(replicas: int) -> dict[str, Any]:
    spec = {"replicas": replicas} if replicas else {}
    return obj("web", spec=spec, status={"selector": "app=web"})


def test_scale_to_zero_on_a_server_without_the_new_budgets() -> None:
    cluster = Cluster(
        {
            f"GET {WEB}/scale": scale(2),
            f"PUT {WEB}/scale?dryRun=All": scale(0),
            f"GET {NS}/pods?{SELECTED}": TWO_PODS,
            f"GET {OLD_BUDGETS}": BUDGET,
        }
    )
    found = previewed(request_of("PUT", f"{WEB}/scale", scale(0)), cluster)
    assert "-  replicas: 2\n+  replicas: 0\n" in found["diff"]
    assert found["affected"][0] == "pods: 2 would go: p1, p2"
    assert "poddisruptionbudgets prod/pdb" in found["affected"][1]


def test_more_replicas_take_nothing() -> None:
    cluster = Cluster({f"GET {WEB}/scale": scale(2), f"PUT {WEB}/scale?dryRun=All": scale(5)})
    assert previewed(request_of("PUT", f"{WEB}/scale", scale(5)), cluster)["affected"] == []


def test_deleting_a_deployment() -> None:
    volumes = [{"persistentVolumeClaim": {"claimName": "data"}}]
    cluster = Cluster(
        {
            f"GET {WEB}": deployment(),
            f"DELETE {WEB}?dryRun=All": {"kind": "Status", "status": "Success"},
            f"GET {APPS}/replicasets?{SELECTED}": listing(obj("rs", "web"), obj("other")),
            f"GET {NS}/pods?{SELECTED}": listing(obj("p1", "rs", spec={"volumes": volumes}), obj("p2", "rs")),
            f"GET {BUDGETS}": BUDGET,
        }
    )
    found = previewed(request_of("DELETE", WEB, {"propagationPolicy": "Background"}), cluster)
    assert "-    replicas: 3" not in found["diff"]
    assert "-  replicas: 3\n" in found["diff"]
    assert found["affected"] == [
        "replicasets.apps: 1 would go with it: rs",
        "pods: 2 would go with it: p1, p2",
        "poddisruptionbudgets prod/pdb: would be broken: 2 of its pods would go, and it allows 1 now",
        "persistentvolumeclaims: 1 stay behind: prod/data",
    ]
    assert found["warnings"] == []


@pytest.mark.parametrize(
    "request_",
    [
        request_of("DELETE", WEB, {"propagationPolicy": "Orphan"}),
        request_of("DELETE", WEB, {"orphanDependents": True}),
        request_of("DELETE", f"{WEB}?propagationPolicy=Orphan"),
    ],
    ids=["body", "older body", "query"],
)
def test_orphans_stay(request_: Request) -> None:
    cluster = Cluster({f"GET {WEB}": deployment(), f"GET {NS}/pods?{SELECTED}": listing(obj("p", "web"))})
    assert previewed(request_, cluster)["affected"] == ["pods: 1 would stay, without an owner: p"]
    assert f"GET {BUDGETS}" not in cluster.asked


def test_deleting_a_custom_resource() -> None:
    cluster = Cluster(
        {
            "GET /apis/example.com/v1": {"resources": []},
            f"GET {WIDGET}": obj("w"),
            f"GET {APPS}/statefulsets?limit=500": listing(obj("db", "w")),
        }
    )
    assert previewed(request_of("DELETE", WIDGET), cluster)["affected"] == [
        "statefulsets.apps: 1 would go with it: db"
    ]
    assert len(cluster.asked) <= 12


def test_what_owns_nothing_is_not_searched() -> None:
    path = f"{NS}/configmaps/c"
    cluster = Cluster({f"GET {path}": obj("c", data={"a": "b"})})
    previewed(request_of("DELETE", path), cluster)
    assert sorted(cluster.asked) == [f"DELETE {path}?dryRun=All", f"GET {path}"]


@pytest.mark.parametrize("method", ["DELETE", "POST"])
def test_a_pod_goes(method: str) -> None:
    path = f"{NS}/pods/p1"
    cluster = Cluster({f"GET {path}": obj("p1", "rs"), f"GET {BUDGETS}": listing()})
    found = previewed(
        request_of("DELETE", path) if method == "DELETE" else request_of("POST", f"{path}/eviction", {}),
        cluster,
    )
    assert found["affected"] == [
        "pods prod/p1: belongs to ReplicaSet rs, which starts another one in its place"
    ]


def test_deleting_a_namespace() -> None:
    path = "/api/v1/namespaces/prod"
    claims = listing(obj("data", spec={"volumeName": "pv"}), obj("new"))
    cluster = Cluster(
        {
            f"GET {path}": {"kind": "Namespace", "metadata": {"name": "prod"}},
            f"GET {NS}/pods?limit=5": listing(obj("p1"), rest=11),
            f"GET {NS}/secrets?limit=1": listing(obj("key"), rest=3),
            f"GET {NS}/services?limit=5": 403,
            f"GET {APPS}/deployments?limit=5": listing(obj("web")),
            f"GET {NS}/persistentvolumeclaims?limit=500": claims,
            "GET /api/v1/persistentvolumes/pv": obj("pv", spec={"persistentVolumeReclaimPolicy": "Delete"}),
            "GET /apis": {
                "groups": [group("apps"), group("metrics.k8s.io"), group("a.example"), group("b.example")]
            },
            "GET /apis/a.example/v1": {
                "resources": [
                    {"name": "widgets", "namespaced": True, "verbs": ["list", "delete"]},
                    {"name": "widgets/status", "namespaced": True, "verbs": ["list", "delete"]},
                    {"name": "globals", "namespaced": False, "verbs": ["list", "delete"]},
                ]
            },
            "GET /apis/a.example/v1/namespaces/prod/widgets?limit=5": listing(obj("w")),
        }
    )
    found = previewed(request_of("DELETE", path), cluster)
    assert found["affected"] == [
        "pods: 12 would go: p1, … 11 more",
        "deployments.apps: 1 would go: web",
        "secrets: 4 would go",
        "persistentvolumeclaims prod/data: goes; its volume pv is deleted with its data (reclaim policy Delete)",
        "persistentvolumeclaims prod/new: goes; it is bound to no volume",
        "widgets.a.example: 1 would go: w",
    ]
    assert "services in namespace prod: not visible to the agent" in found["warnings"]
    assert any(line.startswith("custom resources of b.example: not looked at") for line in found["warnings"])
    assert found["truncated"] is True
    assert len(cluster.asked) <= 12
    assert cluster.most_at_once <= 4


def group(name: str) -> dict[str, Any]:
    return {"name": name, "preferredVersion": {"groupVersion": f"{name}/v1"}}


def test_deleting_storage() -> None:
    claim, volume = f"{NS}/persistentvolumeclaims/data", "/api/v1/persistentvolumes/pv"
    kept = obj(
        "pv",
        spec={"persistentVolumeReclaimPolicy": "Retain", "claimRef": {"namespace": "prod", "name": "data"}},
    )
    user = obj("p1", spec={"volumes": [{"persistentVolumeClaim": {"claimName": "data"}}]})
    cluster = Cluster(
        {
            f"GET {claim}": obj("data", spec={"volumeName": "pv"}),
            f"GET {volume}": kept,
            f"GET {NS}/pods?limit=500": listing(user, obj("p2")),
        }
    )
    assert previewed(request_of("DELETE", claim), cluster)["affected"] == [
        "persistentvolumeclaims prod/data: goes; its volume pv is kept with its data (reclaim policy Retain)",
        "pods: 1 use it: p1",
    ]
    assert previewed(request_of("DELETE", volume), cluster)["affected"] == [
        "the volume, bound to prod/data: is kept with its data (reclaim policy Retain)"
    ]


def test_deleting_what_is_for_all() -> None:
    definition = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/widgets.example.com"
    cluster = Cluster(
        {
            f"GET {definition}": obj(
                "x", spec={"versions": [{"name": "v0"}, {"name": "v1", "served": True}]}
            ),
            "GET /apis/example.com/v1/widgets?limit=5": listing(obj("w"), rest=41),
            "GET /api/v1/pods?fieldSelector=spec.nodeName%3Dn1&limit=500": TWO_PODS,
            "GET /api/v1/nodes/n1": obj("n1"),
        }
    )
    assert previewed(request_of("DELETE", definition), cluster)["affected"] == [
        "widgets.example.com: 42 would go with it: w, … 41 more"
    ]
    assert previewed(request_of("DELETE", "/api/v1/nodes/n1"), cluster)["affected"] == [
        "pods: 2 run on it: p1, p2"
    ]


def test_a_collection_is_listed_and_not_tried() -> None:
    cluster = Cluster({f"GET {NS}/pods?{SELECTED}": TWO_PODS, f"GET {BUDGETS}": BUDGET})
    found = previewed(request_of("DELETE", f"{NS}/pods?labelSelector=app%3Dweb"), cluster)
    assert found["affected"][:3] == ["pods: 2 would be deleted", "pods prod/p1", "pods prod/p2"]
    assert "poddisruptionbudgets prod/pdb" in found["affected"][3]
    assert all(asked.startswith("GET ") for asked in cluster.asked)
    assert "diff" not in found


def test_a_collection_of_claims_and_one_that_is_too_long() -> None:
    path = f"{NS}/persistentvolumeclaims"
    claims = [obj(f"c{at}", spec={"volumeName": f"pv{at}"}) for at in range(2)]
    cluster = Cluster(
        {
            f"GET {path}?limit=500": listing(*claims, rest=100),
            "GET /api/v1/persistentvolumes?limit=500": listing(obj("pv0", spec={})),
        }
    )
    found = previewed(request_of("DELETE", path), cluster)
    assert found["affected"][0] == "persistentvolumeclaims: 102 would be deleted"
    assert "persistentvolumeclaims: only the first 2 were looked at" in found["warnings"]


# Secrets


def test_no_secret_in_what_the_api_server_quotes() -> None:
    path = f"{NS}/secrets"
    body = {"kind": "Secret", "metadata": {"name": "s"}, "stringData": {"a": "open-sesame"}}
    refused = {"kind": "Status", "code": 422, "reason": "Invalid", "message": "a: open-sesame is too long"}
    cluster = Cluster({f"POST {path}?dryRun=All": refused}, warnings=('299 - "what a name, open-sesame"',))
    found = previewed(request_of("POST", path, body), cluster)
    assert found["warnings"] == [
        "what a name, (hidden)",
        "the API server would refuse it (422 Invalid): a: (hidden) is too long",
    ]
    assert "diff" not in found


def test_the_values_of_a_patch_are_known_too() -> None:
    path = f"{NS}/secrets/s"
    body = [{"op": "replace", "path": "/data/a", "value": "b3Blbi1zZXNhbWU="}]
    refused = {"kind": "Status", "code": 400, "message": "cannot do b3Blbi1zZXNhbWU="}
    cluster = Cluster({f"GET {path}": obj("s"), f"PATCH {path}?dryRun=All": refused})
    found = previewed(request_of("PATCH", path, body, "application/json-patch+json"), cluster)
    assert "b3Blbi1zZXNhbWU=" not in json.dumps(found)


def test_text_is_made_legible() -> None:
    cluster = Cluster({f"PATCH {WEB}?dryRun=All": deployment()}, warnings=('299 - "a\x1b[31m\x85b"',))
    assert "a\\x1b[31m\\x85b" in previewed(patch(), cluster)["warnings"]


# What goes wrong


def test_without_a_dry_run_what_was_sent_is_compared() -> None:
    path = f"{NS}/configmaps/c"
    no = {"kind": "Status", "code": 400, "message": 'admission webhook "x" does not support dry run'}
    cluster = Cluster({f"GET {path}": obj("c"), f"PUT {path}?dryRun=All": no})
    found = previewed(request_of("PUT", path, obj("c", data={"x": "y"})), cluster)
    assert "+data:\n+  x: y\n" in found["diff"]
    assert AS_SENT in found["warnings"]


def test_what_the_agent_may_not_see() -> None:
    cluster = Cluster({f"GET {WEB}": 403, f"DELETE {WEB}?dryRun=All": 403})
    found = previewed(request_of("DELETE", WEB), cluster)
    assert found["warnings"] == [
        "the API server would refuse it (403 Forbidden): never",
        "the object itself is not visible to the agent",
    ]


FAULTS: dict[str, Any] = {
    "no connection": UpstreamError("no answer"),
    "a refusal": 500,
    "no JSON": b"<html>",
    "no object": b"[]",
    "strange lists": {"items": "x", "metadata": []},
    "strange items": {"items": [1, None, {"metadata": 7}], "metadata": {"remainingItemCount": "x"}},
    "an unexpected exception": RuntimeError("boom"),
}
REQUESTS = (
    patch(),
    request_of("PUT", f"{WEB}/scale", {}),
    request_of("DELETE", WEB),
    request_of("DELETE", "/api/v1/namespaces/prod"),
    request_of("DELETE", f"{NS}/pods"),
    request_of("DELETE", f"{NS}/pods/p"),
    request_of("DELETE", f"{NS}/persistentvolumeclaims/p"),
    request_of("DELETE", "/api/v1/persistentvolumes/p"),
    request_of("DELETE", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/widgets.example.com"),
    request_of("DELETE", WIDGET),
    request_of("POST", f"{NS}/pods", {}),
    request_of("POST", f"{NS}/pods/p/eviction", {}),
)


class Faulty(dict[str, Any]):
    """The same answer to everything."""

    def __init__(self, answer: Any) -> None:
        super().__init__()
        self.answer = answer

    def get(self, _key: str, _default: Any = None) -> Any:
        return self.answer


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_nothing_is_ever_raised(fault: Any) -> None:
    for request in REQUESTS:
        previewed(request, Cluster(Faulty(fault)))


def test_a_closed_connection_is_replaced_once() -> None:
    closed = UpstreamError("closed", untouched=True)
    path = f"{NS}/configmaps/c"
    cluster = Cluster({f"GET {path}": [closed, obj("c")], f"DELETE {path}?dryRun=All": [closed, closed]})
    found = previewed(request_of("DELETE", path), cluster)
    assert "-  name: c\n" in found["diff"]
    assert found["warnings"] == ["the dry run got no answer"]


def test_no_more_requests_than_allowed() -> None:
    cluster = Cluster({f"GET {WEB}": deployment()})
    found = previewed(
        request_of("DELETE", WEB), cluster, limits=PreviewLimits(seconds=30, calls=3, at_once=1)
    )
    assert len(cluster.asked) == 3
    assert cluster.most_at_once == 1
    assert found["truncated"] is True
    assert any("not looked at" in line for line in found["warnings"])


def test_the_time_is_over() -> None:
    clock = Clock()

    def late() -> float:
        clock.now += 10
        return 0.0

    cluster = Cluster({f"GET {WEB}": deployment()}, slow=late)
    found = previewed(request_of("DELETE", WEB), cluster, limits=PreviewLimits(seconds=15), clock=clock)
    assert len(cluster.asked) == 2
    assert found["truncated"] is True
    assert "(the difference could not be made in time)" in found["diff"]


def test_an_answer_that_does_not_come() -> None:
    cluster = Cluster({}, slow=lambda: 3600.0)
    found = previewed(request_of("DELETE", WEB), cluster, limits=PreviewLimits(seconds=0.05))
    assert found["truncated"] is True
    assert cluster.at_once == 0


def test_a_client_that_goes_ends_it() -> None:
    cluster = Cluster({}, slow=lambda: 3600.0)
    limits = PreviewLimits(seconds=60)

    async def run() -> None:
        async with asyncio.timeout(0.05):
            await preview(request_of("DELETE", WEB), HOLD, cluster, clock=Clock(), limits=limits)

    with pytest.raises(TimeoutError):
        asyncio.run(run())
    assert (len(cluster.asked), cluster.at_once) == (2, 0)


def test_queries_are_canonical() -> None:
    path = f"{NS}/pods?labelSelector=app+in+%28a%2Cb%29&fieldSelector=status.phase%3DFailed"
    cluster = Cluster({})
    previewed(request_of("DELETE", path), cluster)
    query = parse_qs(cluster.asked[0].partition("?")[2])
    assert query == {
        "labelSelector": ["app in (a,b)"],
        "fieldSelector": ["status.phase=Failed"],
        "limit": ["500"],
    }


# What the masking engine hides


def hiding(word: str) -> Hide:
    """Hides one word wherever it stands in an object."""

    def hide(_request: Request, obj: Mapping[str, Any]) -> tuple[Mapping[str, Any], frozenset[str]]:
        shown: dict[str, Any] = json.loads(json.dumps(obj).replace(word, "masked-x"))
        return shown, frozenset({word})

    return hide


def test_people_see_neither_side_of_the_difference_nor_a_quote_unmasked() -> None:
    refusal = {"kind": "Status", "code": 422, "reason": "Invalid", "message": "a: hunter2plus is too long"}
    for answer in (deployment(image="other/hunter2plus:2"), refusal):
        cluster = Cluster(
            {f"GET {WEB}": deployment(image="web/hunter2plus:1"), f"PATCH {WEB}?dryRun=All": answer}
        )
        found = asyncio.run(
            preview(
                patch(),
                HOLD,
                cluster,
                clock=Clock(),
                limits=PreviewLimits(seconds=30),
                hide=hiding("hunter2plus"),
            )
        )
        assert "hunter2plus" not in json.dumps(found)
        assert found.get("diff", "masked-x").count("masked-x") in (1, 2)


def test_what_cannot_be_masked_is_not_shown() -> None:
    def refuse(_request: Request, _obj: Mapping[str, Any]) -> tuple[Mapping[str, Any], frozenset[str]]:
        raise UnmaskableError("nested too deep")

    cluster = Cluster({f"GET {WEB}": deployment(), f"PATCH {WEB}?dryRun=All": deployment(image="web:2")})
    found = asyncio.run(preview(patch(), HOLD, cluster, clock=Clock(), hide=refuse))
    assert found == {"warnings": ["the preview could not be made"], "affected": [], "truncated": True}
