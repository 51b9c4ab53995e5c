"""What has to be gathered before a request can be judged: enough, and no more."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chaperone.core.request import Origin, Payload, Request
from chaperone.core.risk import CATALOGUE, assess, catalogue, needs_live, needs_object
from chaperone.core.risk.podspec import POD_SPEC_PATHS
from chaperone.core.risk.row import Row
from tests.core.risk_requests import APPLY, JSON_PATCH, MERGE, SETTINGS, STRATEGIC, ask, path, pod, workload

POWERFUL = replace(
    SETTINGS, privileged_accounts=frozenset({("dev", "*")}), powerful_roles=frozenset({("", "edit")})
)
KINDS = sorted(
    {(group, resource) for row in CATALOGUE for clause in row.clauses for group, resource in clause.targets if "*" not in group + resource}
    | {("example.com", "widgets"), ("example.com", "widgets/status"), ("apps", "deployments/scale"), ("", "endpoints"), ("extensions", "deployments")}
)  # fmt: skip
VERBS = [
    "get",
    "list",
    "watch",
    "create",
    "update",
    "patch",
    "delete",
    "deletecollection",
    "proxy",
    "impersonate",
    "",
]

CASES = list(product(VERBS, KINDS))


@pytest.mark.parametrize(
    ("verb", "resource", "group", "obj", "live"),
    [
        ("get", "secrets", "", False, False),
        ("list", "pods", "", False, False),
        ("watch", "namespaces", "", False, False),
        ("get", "pods/exec", "", False, False),
        ("create", "pods/exec", "", False, False),
        ("create", "pods/portforward", "", False, False),
        ("create", "serviceaccounts/token", "", False, False),
        ("create", "pods/eviction", "", True, False),
        ("create", "pods", "", True, False),
        ("create", "namespaces", "", True, False),
        ("create", "configmaps", "", True, False),
        ("create", "endpoints", "", False, False),
        ("create", "widgets", "example.com", True, False),
        ("update", "endpoints", "", True, True),
        ("update", "pods/resize", "", False, False),
        ("update", "deployments/scale", "apps", True, True),
        ("patch", "deployments/scale", "apps", True, True),
        ("patch", "pods/resize", "", False, False),
        ("patch", "pods/ephemeralcontainers", "", True, True),
        ("patch", "endpoints", "", True, True),
        ("patch", "widgets", "example.com", True, True),
        ("delete", "pods", "", True, False),
        ("deletecollection", "widgets", "example.com", True, False),
        ("", "pods", "", False, False),
    ],
)
def test_needs(verb: str, resource: str, group: str, obj: bool, live: bool) -> None:
    assert needs_object(ask(verb, resource, group)) is obj
    assert needs_live(ask(verb, resource, group)) is live


def test_a_path_needs_nothing() -> None:
    assert not needs_object(path("/metrics", "post"))
    assert not needs_live(path("/metrics", "patch"))


@pytest.mark.parametrize(
    ("patch", "live"),
    [
        ({"spec": {"replicas": 3}}, True),
        ({"metadata": {"labels": {"a": "b"}}}, False),
        ({"spec": None}, True),
    ],
)
def test_a_patch_of_a_scale_tells_whether_it_scales(patch: Any, live: bool) -> None:
    assert needs_live(ask("patch", "widgets/scale", "example.com", patch=patch)) is live


@pytest.mark.parametrize("content_type", [APPLY, ""])
def test_an_apply_always_needs_its_outcome(content_type: str) -> None:
    assert needs_live(ask("patch", "endpoints", content_type=content_type, body=b"{}"), {})


EVERYTHING: dict[str, Any] = {
    "metadata": {"name": "x"},
    "roleRef": {"kind": "Role", "name": "view"},
    "template": workload()["spec"]["template"],
    "spec": {**pod()["spec"], **workload()["spec"], "jobTemplate": workload()},
}
"""An object that every condition can read, whatever the kind."""


def gathered(request: Request) -> Request:
    """The request with what it says it needs, and nothing else."""
    live = needs_live(request)
    obj = EVERYTHING if live or (needs_object(request) and request.verb in ("create", "update")) else None
    return replace(request, payload=Payload(obj, EVERYTHING if live else None))


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(
    ("content_type", "patch"), [(MERGE, {"other": 1}), (MERGE, {"metadata": None}), (APPLY, {})]
)
def test_with_what_it_needs_everything_can_be_told(verb: str, content_type: str, patch: Any) -> None:
    for group, resource in KINDS:
        sent = patch if verb == "patch" else None
        request = gathered(ask(verb, resource, group, content_type=content_type, patch=sent))
        unknown = {found.row for found in assess(request, SETTINGS).findings if found.undetermined}
        # Nobody can fetch the names of what a deletecollection would delete.
        assert unknown <= ({"R26"} if verb == "deletecollection" else set()), (group, resource)


# The index finds what a plain search of the table finds.


def covers(target: tuple[str, str], group: str, resource: str) -> bool:
    wanted_group, wanted = target
    if wanted_group == "custom resources":
        known = (group, resource) in POD_SPEC_PATHS
        return "/" not in resource and group not in catalogue.PLAIN_GROUPS and not known
    if wanted_group not in ("*", group):
        return False
    _, _, subresource = resource.partition("/")
    return wanted in ("*/*", resource) or wanted == ("*/" + subresource if subresource else "*")


def named_plainly(row: Row, verb: str, group: str, resource: str) -> bool:
    return any(
        ("*" in clause.verbs or verb in clause.verbs)
        and any(covers(target, group, resource) for target in clause.targets)
        for clause in row.clauses
    )


@pytest.mark.parametrize("verb", VERBS)
def test_the_index_agrees_with_the_table(verb: str) -> None:
    for group, resource in KINDS:
        found = [candidate.matched.row for candidate in catalogue.candidates(ask(verb, resource, group))]
        assert found == [row.id for row in CATALOGUE if named_plainly(row, verb, group, resource)]


def test_an_apply_meets_the_rows_about_creating_and_the_cache_keeps_them_apart() -> None:
    def found(content_type: str, origin: Origin = Origin.GATEWAY) -> set[str]:
        request = ask("patch", "jobs", "batch", content_type=content_type, origin=origin)
        return {candidate.matched.row for candidate in catalogue.candidates(request)}

    assert found(APPLY) - found(MERGE) == {"R50", "R61"}
    assert found(MERGE) == found(JSON_PATCH) == found(STRATEGIC)
    assert found(MERGE) - found(MERGE, Origin.ADMISSION) == {"R62"}


# Whatever an object looks like, it is judged.

FIELDS = [
    "metadata", "spec", "template", "jobTemplate", "containers", "initContainers", "image", "name", "volumes", "hostPath",
    "securityContext", "privileged", "labels", "annotations", "finalizers", "rules", "verbs", "resources", "roleRef", "subjects",
    "kind", "replicas", "type", "externalIPs", "taints", "serviceAccountName", "deleteOptions", "gracePeriodSeconds",
]  # fmt: skip
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3)
junk = st.recursive(
    scalars | st.just("*"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=4),
    max_leaves=12,
)


@st.composite
def broken(draw: st.DrawFn, value: Any) -> Any:
    """A well-formed object with junk somewhere in it."""
    if not isinstance(value, (dict, list)) or not value or draw(st.booleans()):
        return draw(junk)
    key = draw(st.sampled_from(sorted(value) if isinstance(value, dict) else range(len(value))))
    copy: Any = value.copy()
    copy[key] = draw(broken(value[key]))
    return copy


WHOLE: list[Any] = [
    pod(volumes=[{"hostPath": {}}], serviceAccountName="ci"),
    workload(replicas=3),
    {
        "rules": [{"verbs": ["get"], "resources": ["pods"], "apiGroups": [""]}],
        "metadata": {"labels": {"a": "b"}},
    },
    {"roleRef": {"kind": "Role", "name": "view"}, "subjects": [{"kind": "User", "name": "jane"}]},
    {"spec": {"taints": [{"key": "a"}], "unschedulable": True}, "metadata": {"finalizers": ["a"]}},
]
things = junk | st.sampled_from(WHOLE).flatmap(broken)
requests = st.builds(
    ask,
    st.sampled_from(VERBS),
    st.sampled_from(sorted({resource for _, resource in KINDS})),
    st.sampled_from(sorted({group for group, _ in KINDS})),
    ns=st.sampled_from(["dev", "kube-system", ""]),
    obj=things,
    old=things,
    options=things,
    unread=st.sets(st.sampled_from(["object", "oldObject", "options"])).map(tuple),
    content_type=st.sampled_from([MERGE, STRATEGIC, JSON_PATCH, APPLY, ""]),
    body=st.binary(max_size=20),
)


@settings(max_examples=500)
@given(requests, things)
def test_nothing_raises(request: Request, patch: Any) -> None:
    risk = assess(request, SETTINGS)
    assert list(risk.rows) == sorted(set(risk.rows))
    assert needs_object(request) in (True, False)
    assert needs_live(request, patch) in (True, False)


@settings(max_examples=500)
@given(st.sampled_from(CASES), things, things)
def test_nothing_raises_for_the_kinds_that_are_looked_into(case: Any, obj: Any, old: Any) -> None:
    verb, (group, resource) = case
    assert assess(ask(verb, resource, group, obj=obj, old=old), POWERFUL).level >= 0


@given(st.sampled_from([workload, pod]), st.data())
def test_a_broken_pod_spec_never_hides_a_privileged_container(build: Any, data: st.DataObject) -> None:
    """Whatever happens to one more volume or container, the finding stays."""
    extra = data.draw(junk)
    spec = {
        "containers": [{"name": "a", "image": "b", "securityContext": {"privileged": True}}],
        "volumes": extra,
    }
    spec["initContainers"] = data.draw(junk)
    obj = workload(spec) if build is workload else {"spec": spec}
    request = ask(
        "create", "deployments" if build is workload else "pods", "apps" if build is workload else "", obj=obj
    )
    found = {entry.row: entry.undetermined for entry in assess(request, SETTINGS).findings}
    assert found["R17" if build is workload else "R14"] is False


def test_an_object_that_could_not_be_read_is_not_looked_at() -> None:
    assert not assess(ask("create", "pods", obj=pod()), SETTINGS).findings
    unread = assess(ask("create", "pods", obj=pod(), unread=("object",)), SETTINGS)
    assert [(entry.row, entry.undetermined) for entry in unread.findings] == [
        ("R14", True),
        ("R15", True),
        ("R16", True),
        ("R18", True),
    ]
