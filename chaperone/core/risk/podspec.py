"""Where a kind keeps its pod spec, and what in a pod spec owns the node or borrows somebody's rights.

Known workloads have one fixed place. Custom resources are searched for anything that looks like a pod spec, within
bounds; a search that hits a bound is UNKNOWN. A known workload without a readable pod spec is UNKNOWN as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import NoneType
from typing import Any

from chaperone.core import rights
from chaperone.core.policy import RiskSettings
from chaperone.core.request import Request
from chaperone.core.risk.content import on_object
from chaperone.core.risk.fields import any_object, any_of, field, flag, is_mapping, objects
from chaperone.core.risk.row import NO, UNKNOWN, YES, Condition, Outcome, Reads, Target

_TEMPLATE = ("spec", "template", "spec")

WORKLOADS: Mapping[Target, tuple[str, ...]] = {
    ("apps", "deployments"): _TEMPLATE,
    ("apps", "daemonsets"): _TEMPLATE,
    ("apps", "statefulsets"): _TEMPLATE,
    ("apps", "replicasets"): _TEMPLATE,
    ("", "replicationcontrollers"): _TEMPLATE,
    ("", "podtemplates"): ("template", "spec"),
    ("batch", "jobs"): _TEMPLATE,
    ("batch", "cronjobs"): ("spec", "jobTemplate", *_TEMPLATE),
}
"""Every built-in kind that makes pods, and the path of its pod spec."""

POD_SPEC_PATHS: Mapping[Target, tuple[str, ...]] = {("", "pods"): ("spec",), **WORKLOADS}

CONTAINER_LISTS = ("containers", "initContainers", "ephemeralContainers")

DEEPEST = 64
"""Levels of nesting that are searched in a custom resource."""
LARGEST = 50_000
"""Values that are searched in a custom resource, scalars included: some 20 ms of work."""

PodSpec = Mapping[str, Any]


def pod_specs(request: Request, obj: Mapping[str, Any]) -> tuple[list[PodSpec], bool]:
    """The pod specs of an object of this request's kind, and whether these are all that it could have."""
    path = POD_SPEC_PATHS.get((request.group, request.resource))
    if path is None:
        return _embedded(obj)
    spec = field(obj, *path)
    found = [spec] if is_mapping(spec) else []
    if request.subresource and "ephemeralContainers" in obj:
        found.append(obj)  # servers before 1.22 exchange a bare list of ephemeral containers here
    return found, bool(found)


def containers(spec: PodSpec) -> tuple[list[Mapping[str, Any]], bool]:
    """All containers of a pod spec of whatever sort, and whether that was all there is to read."""
    lists = [objects(field(spec, name)) for name in CONTAINER_LISTS]
    return [item for found, _ in lists for item in found], all(complete for _, complete in lists)


def _embedded(obj: Mapping[str, Any]) -> tuple[list[PodSpec], bool]:
    """Everything inside an object that looks like a pod spec, level by level."""
    found: list[PodSpec] = []
    level: list[Any] = [obj]
    searched = 0
    for _ in range(DEEPEST):
        searched += sum(map(len, level))
        if searched > LARGEST:
            return found, False
        found.extend(value for value in level if type(value) is not list and _looks_like_pod_spec(value))
        level = [inner for value in level for inner in _inside(value) if _is_nested(inner)]
        if not level:
            return found, True
    return found, False


def _inside(value: Any) -> Iterable[Any]:
    return value if type(value) is list else value.values()


def _is_nested(value: object) -> bool:
    # This is asked of every value of a custom resource: exact types first.
    kind = type(value)
    return kind is dict or kind is list or (kind not in _SCALARS and is_mapping(value))


_SCALARS = (str, int, bool, float, NoneType)


def _looks_like_pod_spec(value: Mapping[str, Any]) -> bool:
    for name in CONTAINER_LISTS:  # noqa: SIM110 - a generator doubles the cost of the search
        if name in value and _is_container_list(value[name]):
            return True
    return False


def _is_container_list(value: object) -> bool:
    return isinstance(value, list) and any(is_mapping(item) and "image" in item for item in value)


# Conditions

SpecTest = Callable[[PodSpec, Request, RiskSettings], Outcome]


def _condition(name: str, text: str, test: SpecTest) -> Condition:
    def on_specs(obj: Mapping[str, Any], request: Request, settings: RiskSettings) -> Outcome:
        specs, complete = pod_specs(request, obj)
        return any_of((test(spec, request, settings) for spec in specs), complete=complete)

    return Condition(name, text, on_object(on_specs), Reads.OBJECT)


def _privileged(spec: PodSpec, _: Request, __: RiskSettings) -> Outcome:
    found, complete = containers(spec)
    return any_of((flag(field(item, "securityContext", "privileged")) for item in found), complete=complete)


def _host_path(spec: PodSpec, _: Request, __: RiskSettings) -> Outcome:
    return any_object(field(spec, "volumes"), lambda volume: YES if "hostPath" in volume else NO)


def _host_namespaces(spec: PodSpec, _: Request, __: RiskSettings) -> Outcome:
    return any_of(flag(field(spec, name)) for name in ("hostPID", "hostNetwork", "hostIPC"))


def _owns_node(spec: PodSpec, request: Request, settings: RiskSettings) -> Outcome:
    return any_of(test(spec, request, settings) for test in (_privileged, _host_path, _host_namespaces))


def _privileged_account(spec: PodSpec, request: Request, settings: RiskSettings) -> Outcome:
    """Does the pod run as an account that a powerful role reaches? Unknown where bindings were not looked up."""
    accounts = settings.privileged_accounts
    if accounts is None:
        return UNKNOWN
    # serviceAccount is the deprecated alias; the server ignores it where both are set, a reader had better not.
    names = [name for name in (field(spec, "serviceAccountName"), field(spec, "serviceAccount")) if name]
    return any_of(
        UNKNOWN
        if not isinstance(name, str)
        else YES
        if rights.reaches(accounts, request.namespace, name)
        else NO
        for name in names or ["default"]
    )


PRIVILEGED = _condition("privileged", "with a privileged container", _privileged)
HOST_PATH = _condition("hostpath", "with a hostPath volume", _host_path)
HOST_NS = _condition("hostns", "with hostPID, hostNetwork or hostIPC", _host_namespaces)
OWNS_NODE = _condition(
    "privileged, hostpath or hostns",
    "whose pods have a privileged container, a hostPath volume, or hostPID, hostNetwork or hostIPC",
    _owns_node,
)
PRIVILEGED_SA = _condition(
    "privileged-sa", "running as a service account that a powerful role reaches", _privileged_account
)
