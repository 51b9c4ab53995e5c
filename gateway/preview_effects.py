"""What a held request would take along, looked up with the agent's own eyes; the sentences are made in the core.

Each kind of request has its own few looks. What cannot be looked at is said, never passed over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from chaperone.core import preview_effects as effects
from chaperone.core.body import Decoded, decode
from chaperone.core.preview_selectors import in_query
from chaperone.core.request import Request
from gateway.preview_looks import Gap, Looks, Seen

Obj = Mapping[str, Any]

PODS = "pods"
MOST_LISTED = "500"
"""Objects of one list; what is beyond is counted only."""

_PATHS = {
    PODS: "/api/v1",
    "services": "/api/v1",
    "secrets": "/api/v1",
    "persistentvolumeclaims": "/api/v1",
    "deployments.apps": "/apis/apps/v1",
    "replicasets.apps": "/apis/apps/v1",
    "statefulsets.apps": "/apis/apps/v1",
    "daemonsets.apps": "/apis/apps/v1",
    "jobs.batch": "/apis/batch/v1",
}
_BELOW: Mapping[tuple[str, str], Sequence[str]] = {
    ("apps", "deployments"): ("replicasets.apps", PODS),
    ("apps", "replicasets"): (PODS,),
    ("apps", "statefulsets"): (PODS,),
    ("apps", "daemonsets"): (PODS,),
    ("batch", "jobs"): (PODS,),
    ("batch", "cronjobs"): ("jobs.batch", PODS),
    ("", "replicationcontrollers"): (PODS,),
}
"""What the built-in owners own."""
_BELOW_CUSTOM = (
    "deployments.apps",
    "statefulsets.apps",
    "jobs.batch",
    PODS,
    "services",
    "persistentvolumeclaims",
)
"""What is looked through for objects that belong to a custom resource."""
_REPLICATED = frozenset({("apps", "deployments"), ("apps", "replicasets"), ("apps", "statefulsets")}) | {
    ("", "replicationcontrollers")
}
_IN_A_NAMESPACE = (PODS, "deployments.apps", "statefulsets.apps", "services")


@dataclass
class Effects:
    """affected: lines. notes: what could not be looked at. incomplete: some objects were only counted."""

    affected: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    incomplete: bool = False

    def usable(self, what: str, seen: Seen) -> bool:
        """Whether there is an answer; otherwise it is noted why not. What is not served at all needs no note."""
        if seen.gap is not None and seen.gap is not Gap.ABSENT:
            self.notes.append(f"{what}: {seen.gap.value}")
        elif seen.is_partial:
            self.incomplete = True
            self.notes.append(f"{what}: only the first {len(seen.items)} were looked at")
        return seen.gap is None


@dataclass(frozen=True, slots=True)
class Case:
    """One request and what it is about. before, after: the object, as far as it is known."""

    request: Request
    before: Obj | None
    after: Obj | None
    looks: Looks
    effects: Effects = field(default_factory=Effects)


async def find(request: Request, before: Obj | None, after: Obj | None, looks: Looks) -> Effects:
    """What the request takes along."""
    case = Case(request, before, after, looks)
    await _chosen(request)(case)
    return case.effects


def _chosen(request: Request) -> Callable[[Case], Awaitable[None]]:
    if request.verb == "deletecollection":
        return _collection
    if request.full_resource == "pods/eviction":
        return _pod
    if request.verb == "delete" and not request.subresource:
        return _DELETED.get((request.group, request.resource), _owner)
    if request.verb in ("update", "patch") and request.subresource in ("", "scale"):
        return _smaller if (request.group, request.resource) in _REPLICATED else _nothing
    return _nothing


async def _nothing(_case: Case) -> None:
    return None


# Deleting


async def _namespace(case: Case) -> None:
    namespace = case.request.name
    async with asyncio.TaskGroup() as group:
        lists = {kind: group.create_task(_list(case, kind, namespace, limit="5")) for kind in _IN_A_NAMESPACE}
        secrets = group.create_task(_list(case, "secrets", namespace, limit="1"))
        held = group.create_task(_list(case, "persistentvolumeclaims", namespace))
        groups = group.create_task(case.looks.get("/apis"))
    for kind, task in lists.items():
        _count(case, kind, namespace, task.result())
    _count(case, "secrets", namespace, secrets.result(), named=False)
    if case.effects.usable(f"persistentvolumeclaims in namespace {namespace}", held.result()):
        await _claims(case, held.result().items)
    await _custom(case, namespace, groups.result())


def _count(case: Case, kind: str, namespace: str, seen: Seen, *, named: bool = True) -> None:
    if seen.gap is not None:
        case.effects.usable(f"{kind} in namespace {namespace}", seen)
        return
    case.effects.affected += effects.counted(kind, seen.items, seen.total, "would go", named=named)


async def _custom(case: Case, namespace: str, groups: Seen) -> None:
    """Custom resources: as many groups as there are requests left, the others are named."""
    if not case.effects.usable("the API groups", groups):
        return
    versions = _custom_versions(groups)
    for at, version in enumerate(versions):
        if case.looks.calls_left < 2:
            rest = ", ".join(text.partition("/")[0] for text in versions[at:])
            case.effects.notes.append(f"custom resources of {rest}: {Gap.UNLOOKED.value}")
            case.looks.incomplete = True
            return
        await _custom_group(case, namespace, version)


async def _custom_group(case: Case, namespace: str, version: str) -> None:
    found = await case.looks.get(f"/apis/{version}")
    if not case.effects.usable(f"the resources of {version}", found):
        return
    resources = effects.part(found.obj, "resources")
    kinds = [entry for entry in (resources if isinstance(resources, list) else []) if _is_listable(entry)]
    suffix = version.partition("/")[0]
    async with asyncio.TaskGroup() as group:
        tasks = {
            f"{entry['name']}.{suffix}": group.create_task(
                case.looks.get(f"/apis/{version}/namespaces/{namespace}/{entry['name']}", limit="5")
            )
            for entry in kinds
        }
    for kind, task in tasks.items():
        _count(case, kind, namespace, task.result())


def _custom_versions(groups: Seen) -> list[str]:
    """group/version of each group whose kinds may be custom resources in a namespace."""
    entries = effects.part(groups.obj, "groups")
    found = [
        effects.text(entry, "preferredVersion", "groupVersion")
        for entry in (entries if isinstance(entries, list) else [])
        if _is_custom(effects.text(entry, "name"))
    ]
    return [version for version in found if version]


def _is_custom(group: str) -> bool:
    """Whether a group may keep custom resources in namespaces; our own has none there."""
    return "." in group and not group.endswith(".k8s.io") and group != "chaperone.dev"


def _is_listable(entry: Any) -> bool:
    verbs = effects.part(entry, "verbs")
    return (
        effects.part(entry, "namespaced") is True
        and isinstance(verbs, list)
        and {"list", "delete"} <= set(map(str, verbs))
        and "/" not in effects.text(entry, "name")
    )


async def _owner(case: Case) -> None:
    """What belongs to the object: the garbage collector takes it, unless it is told to leave it."""
    request, before = case.request, case.before
    built_in = "." not in request.group or request.group.endswith(".k8s.io")
    kinds = _BELOW.get((request.group, request.resource), () if built_in else _BELOW_CUSTOM)
    if before is None or not kinds or not request.namespace:
        return
    found = await _lists(case, kinds, request.namespace, _selector(case))
    mine = effects.owned(effects.text(before, "metadata", "uid"), found)
    fate = "would stay, without an owner" if _orphans(request) else "would go with it"
    for kind, objects in mine.items():
        case.effects.affected += effects.counted(kind, objects, len(objects), fate)
    if not _orphans(request):
        await _pods_go(case, mine.get(PODS, []), len(mine.get(PODS, [])))


async def _pod(case: Case) -> None:
    if case.before is not None:
        case.effects.affected += effects.controller(case.before)
        await _pods_go(case, [case.before], 1)


async def _claim(case: Case) -> None:
    claim, namespace = case.before, case.request.namespace
    if claim is None:
        return
    await _claims(case, [claim])
    pods = await _list(case, PODS, namespace)
    if case.effects.usable(f"pods in namespace {namespace}", pods):
        users = [pod for pod in pods.items if effects.name(claim) in effects.claim_names([pod])]
        case.effects.affected += effects.counted(PODS, users, len(users), "use it")


async def _volume(case: Case) -> None:
    if case.before is None:
        return
    holder = effects.part(case.before, "spec", "claimRef")
    bound = f"{effects.text(holder, 'namespace')}/{effects.text(holder, 'name')}" if holder else ""
    to = f", bound to {bound}" if bound else ", bound to no claim"
    case.effects.affected.append(f"the volume{to}: {effects.volume(case.before)}")


async def _node(case: Case) -> None:
    pods = await case.looks.get(
        "/api/v1/pods", fieldSelector=f"spec.nodeName={case.request.name}", limit=MOST_LISTED
    )
    if case.effects.usable("pods on the node", pods):
        case.effects.affected += effects.counted(PODS, pods.items, pods.total, "run on it")


async def _definition(case: Case) -> None:
    """A CustomResourceDefinition takes every object of its kind along, in all namespaces."""
    plural, _, group = case.request.name.partition(".")
    versions = effects.part(case.before, "spec", "versions")
    served = [
        v for v in (versions if isinstance(versions, list) else []) if effects.part(v, "served") is True
    ]
    if not served:
        return
    found = await case.looks.get(f"/apis/{group}/{effects.text(served[0], 'name')}/{plural}", limit="5")
    if case.effects.usable(f"{plural}.{group}", found):
        case.effects.affected += effects.counted(
            f"{plural}.{group}", found.items, found.total, "would go with it"
        )


_DELETED: Mapping[tuple[str, str], Callable[[Case], Awaitable[None]]] = {
    ("", "namespaces"): _namespace,
    ("", "pods"): _pod,
    ("", "persistentvolumeclaims"): _claim,
    ("", "persistentvolumes"): _volume,
    ("", "nodes"): _node,
    ("apiextensions.k8s.io", "customresourcedefinitions"): _definition,
}


async def _collection(case: Case) -> None:
    request = case.request
    kind = f"{request.resource}.{request.group}" if request.group else request.resource
    selected = {key: request.parameter(key) or "" for key in ("labelSelector", "fieldSelector")}
    found = await case.looks.get(request.path, **selected, limit=MOST_LISTED)
    if not case.effects.usable(kind, found):
        return
    case.effects.affected += effects.listed(kind, found.items, found.total)
    if kind == "persistentvolumeclaims":
        await _claims(case, found.items)
    if kind == PODS and request.namespace:
        await _pods_go(case, found.items, len(found.items))


# Fewer pods


async def _smaller(case: Case) -> None:
    """Pods that go because fewer are wanted, or because their template changes."""
    request = case.request
    if not case.before or not case.after:
        return
    before, after = effects.replicas(case.before), effects.replicas(case.after)
    if request.subresource != "scale" and effects.part(case.before, "spec", "template") != effects.part(
        case.after, "spec", "template"
    ):
        running = effects.number(case.before, "status", "replicas") or 0
        case.effects.affected.append(f"{PODS}: {running} would be replaced, for their template changes")
    if before is None or after is None or after >= before:
        return
    found = await _list(case, PODS, request.namespace, labelSelector=_selector(case))
    if case.effects.usable(f"pods in namespace {request.namespace}", found):
        going = min(len(found.items), before - after)
        few = f"are there, {going} of them would go" if going < len(found.items) else "would go"
        case.effects.affected += effects.counted(PODS, found.items, len(found.items), few)
        await _pods_go(case, found.items, going)


async def _pods_go(case: Case, pods: Sequence[Obj], going: int) -> None:
    """Budgets that would be broken, and volumes that stay behind."""
    if not pods:
        return
    namespace = effects.text(pods[0], "metadata", "namespace")
    path = f"namespaces/{namespace}/poddisruptionbudgets"
    found = await case.looks.get(f"/apis/policy/v1/{path}", limit=MOST_LISTED)
    old = found.gap is Gap.ABSENT
    if old:
        found = await case.looks.get(f"/apis/policy/v1beta1/{path}", limit=MOST_LISTED)
    if case.effects.usable(f"poddisruptionbudgets in namespace {namespace}", found):
        case.effects.affected += effects.budgets(found.items, pods, going, empty_selects=not old)
    if used := effects.claim_names(pods):
        case.effects.affected.append(
            f"persistentvolumeclaims: {len(used)} stay behind: {', '.join(used[:5])}"
        )


# Looks


async def _claims(case: Case, claims: Sequence[Obj]) -> None:
    bound = {effects.text(claim, "spec", "volumeName") for claim in claims} - {""}
    volumes: list[Obj] = []
    if len(bound) == 1:
        one = await case.looks.get(f"/api/v1/persistentvolumes/{next(iter(bound))}")
        volumes = [one.obj] if case.effects.usable("persistentvolumes", one) and one.obj else []
    elif bound:
        many = await case.looks.get("/api/v1/persistentvolumes", limit=MOST_LISTED)
        volumes = many.items if case.effects.usable("persistentvolumes", many) else []
    by_name = {effects.text(volume, "metadata", "name"): volume for volume in volumes}
    case.effects.affected += effects.claims(claims, by_name)


async def _lists(case: Case, kinds: Sequence[str], namespace: str, selector: str) -> dict[str, list[Obj]]:
    async with asyncio.TaskGroup() as group:
        tasks = {
            kind: group.create_task(_list(case, kind, namespace, labelSelector=selector)) for kind in kinds
        }
    seen = {kind: task.result() for kind, task in tasks.items()}
    return {
        kind: answer.items if case.effects.usable(f"{kind} in namespace {namespace}", answer) else []
        for kind, answer in seen.items()
    }


async def _list(case: Case, kind: str, namespace: str, *, limit: str = MOST_LISTED, **query: str) -> Seen:
    plural = kind.partition(".")[0]
    return await case.looks.get(f"{_PATHS[kind]}/namespaces/{namespace}/{plural}", limit=limit, **query)


def _selector(case: Case) -> str:
    """The label selector of a workload, which all that it owns carries too; "" where it has none."""
    if case.request.subresource == "scale":
        return effects.text(case.before, "status", "selector")
    selector = effects.part(case.before, "spec", "selector")
    if case.request.resource == "replicationcontrollers":
        selector = {"matchLabels": selector}
    return in_query(selector)


def _orphans(request: Request) -> bool:
    decoded = decode(request.body, request.content_type, request.verb)
    options: Any = decoded.value if isinstance(decoded, Decoded) and decoded.value else {}
    chosen = options.get("propagationPolicy") if request.body else request.parameter("propagationPolicy")
    return chosen == "Orphan" or options.get("orphanDependents") is True
