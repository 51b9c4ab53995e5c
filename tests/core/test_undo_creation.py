"""Objects that are made again: without what only the one that is gone could have."""

from __future__ import annotations

from typing import Any

import pytest

from chaperone.core.changes import Target
from chaperone.core.changes_fields import LAST_APPLIED
from chaperone.core.masking.placeholder import Mint
from chaperone.core.undo_creation import Made, Unmakeable, made_again, may_run_again, remade_by

PLACEHOLDER = Mint(b"0" * 16).placeholder("u1", "/x", "v")
NAME = {"name": "x", "namespace": "shop"}


def made(
    resource: str, before: dict[str, Any], group: str = "", owners: frozenset[str] = frozenset()
) -> Made:
    found = made_again(
        Target(group, "v1", resource, "shop", "x"), {"kind": "K", "metadata": NAME, **before}, owners
    )
    assert isinstance(found, Made)
    return found


@pytest.mark.parametrize(
    ("resource", "group", "before", "after", "remark"),
    [
        (
            "services",
            "",
            {"spec": {"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"], "ports": [{"port": 80}]}},
            {"spec": {"ports": [{"port": 80}]}},
            "it gets a new cluster IP",
        ),
        (
            "services",
            "",
            {
                "spec": {
                    "clusterIP": "10.0.0.1",
                    "healthCheckNodePort": 3,
                    "ports": [{"port": 80, "nodePort": 30080}, 1],
                }
            },
            {"spec": {"ports": [{"port": 80}, 1]}},
            "it gets new node ports",
        ),
        ("services", "", {"spec": {"clusterIP": "None"}}, {"spec": {"clusterIP": "None"}}, ""),
        ("services", "", {"spec": {"clusterIP": ""}}, {"spec": {"clusterIP": ""}}, ""),
        ("services", "", {}, {}, ""),
        (
            "persistentvolumeclaims",
            "",
            {
                "metadata": {**NAME, "annotations": {"pv.kubernetes.io/bind-completed": "yes", "mine": "x"}},
                "spec": {"volumeName": "pv-1", "resources": {}},
            },
            {"metadata": {**NAME, "annotations": {"mine": "x"}}, "spec": {"resources": {}}},
            "it gets another volume; what was in the old one does not come back",
        ),
        (
            "persistentvolumes",
            "",
            {"spec": {"claimRef": {"uid": "u", "name": "c"}, "capacity": {"storage": "1Gi"}}},
            {"spec": {"capacity": {"storage": "1Gi"}}},
            "it is bound to no claim; its data is as good as what is left of it",
        ),
        (
            "namespaces",
            "",
            {"spec": {"finalizers": ["kubernetes"]}},
            {},
            "what was in it does not come back with it",
        ),
        (
            "customresourcedefinitions",
            "apiextensions.k8s.io",
            {"spec": {"group": "g"}, "status": {}},
            {"spec": {"group": "g"}},
            "the objects of this kind went with it, and do not come back with it",
        ),
        (
            "jobs",
            "batch",
            {
                "metadata": {**NAME, "labels": {"controller-uid": "u", "team": "x"}},
                "spec": {
                    "selector": {"matchLabels": {"controller-uid": "u"}},
                    "template": {
                        "metadata": {"labels": {"controller-uid": "u", "job-name": "x"}},
                        "spec": {},
                    },
                },
            },
            {"metadata": {**NAME, "labels": {"team": "x"}}, "spec": {"template": {"spec": {}}}},
            "it begins anew",
        ),
        (
            "jobs",
            "batch",
            {"spec": {"manualSelector": True, "selector": {"matchLabels": {"a": "b"}}}},
            {"spec": {"manualSelector": True, "selector": {"matchLabels": {"a": "b"}}}},
            "",
        ),
        (
            "serviceaccounts",
            "",
            {
                "secrets": [{"name": "x-token-abcde"}, {"name": "mine"}],
                "imagePullSecrets": [{"name": "x-dockercfg-abcde"}],
            },
            {"secrets": [{"name": "mine"}]},
            "the tokens that were made for it are good no more",
        ),
        ("serviceaccounts", "", {}, {}, "the tokens that were made for it are good no more"),
        (
            "secrets",
            "",
            {
                "type": "kubernetes.io/service-account-token",
                "metadata": {**NAME, "annotations": {"kubernetes.io/service-account.uid": "u", "a": "b"}},
                "data": {"token": PLACEHOLDER},
            },
            {
                "type": "kubernetes.io/service-account-token",
                "metadata": {**NAME, "annotations": {"a": "b"}},
            },
            "it gets a new token",
        ),
        ("secrets", "", {"type": "Opaque", "data": {"a": "b"}}, {"type": "Opaque", "data": {"a": "b"}}, ""),
        (
            "pods",
            "",
            {"spec": {"nodeName": "n", "a": 1}},
            {"spec": {"a": 1}},
            "it starts anew, and what it had written is gone",
        ),
    ],
)
def test_what_cannot_be_the_same_is_left_out_and_said(
    resource: str, group: str, before: Any, after: Any, remark: str
) -> None:
    found = made(resource, before, group)
    assert found.body == {"kind": "K", "metadata": NAME, **after}
    assert found.remarks == ((remark,) if remark else ()) or remark in found.remarks


def test_the_token_that_a_pod_got_by_itself_is_not_asked_for() -> None:
    mount = {"name": "kube-api-access-abcde", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}
    data = {"name": "data", "mountPath": "/data"}
    before = {
        "containers": [{"name": "c", "volumeMounts": [mount, data]}, {"name": "d", "volumeMounts": [mount]}],
        "initContainers": [{"name": "i"}],
        "volumes": [{"name": "kube-api-access-abcde"}, {"name": "data"}],
        "ephemeralContainers": [{"name": "debug"}],
    }
    assert made("pods", {"spec": before}).body["spec"] == {
        "containers": [{"name": "c", "volumeMounts": [data]}, {"name": "d"}],
        "initContainers": [{"name": "i"}],
        "volumes": [{"name": "data"}],
    }
    own = {
        "containers": [{"name": "c", "volumeMounts": [{**mount, "name": "mine"}]}],
        "volumes": [{"name": "mine"}],
    }
    assert made("pods", {"spec": own}).body["spec"] == own
    only = {"containers": [{"volumeMounts": [mount]}], "volumes": [{"name": "kube-api-access-abcde"}]}
    assert made("pods", {"spec": only}).body["spec"] == {"containers": [{}]}


def test_owners_that_are_gone_own_nothing() -> None:
    owners = [
        {"kind": "Deployment", "name": "d", "uid": "there"},
        {"kind": "Job", "name": "j\x1b", "uid": "gone"},
        1,
    ]
    metadata = {**NAME, "ownerReferences": owners, "finalizers": ["foregroundDeletion", "mine/x"]}
    found = made("configmaps", {"metadata": metadata}, owners=frozenset({"there"}))
    assert found.body["metadata"] == {**NAME, "ownerReferences": owners[:1], "finalizers": ["mine/x"]}
    assert found.remarks == ("its owner Job j\\x1b is gone, so it belongs to nobody now",)
    bare = made(
        "configmaps", {"metadata": {**NAME, "ownerReferences": owners[1:2], "finalizers": ["orphan"]}}
    )
    assert bare.body["metadata"] == NAME


def test_what_controllers_and_kubectl_had_noted_is_left_out() -> None:
    notes = {"deployment.kubernetes.io/revision": "3", LAST_APPLIED[2]: f'{{"p":"{PLACEHOLDER}"}}', "a": "b"}
    found = made("deployments", {"metadata": {**NAME, "annotations": notes}}, "apps")
    assert found.body["metadata"]["annotations"] == {"a": "b"}
    assert found.remarks == ("kubectl's copy of what was applied is left out, for it holds masked values",)
    clean = made("deployments", {"metadata": {**NAME, "annotations": {LAST_APPLIED[2]: "{}"}}}, "apps")
    assert clean.body["metadata"]["annotations"] == {LAST_APPLIED[2]: "{}"}


def test_what_held_secrets_cannot_be_made_again() -> None:
    data = {f"k{number}": PLACEHOLDER for number in range(7)}
    found = made_again(
        Target("", "v1", "secrets", "shop", "x"), {"kind": "Secret", "data": data}, frozenset()
    )
    assert isinstance(found, Unmakeable)
    assert found.why.endswith("went with it: data.k0, data.k1, data.k2, data.k3, data.k4 and 2 more")
    assert "metadata" in found.body


@pytest.mark.parametrize(
    ("before", "ended"),
    [
        ({"kind": "Pod", "status": {"phase": "Succeeded"}}, True),
        ({"kind": "Pod", "status": {"phase": "Running"}}, False),
        ({"kind": "Job", "status": {"conditions": [1, {"type": "Failed", "status": "True"}]}}, True),
        ({"kind": "Job", "status": {"conditions": [{"type": "Suspended", "status": "True"}]}}, False),
        ({"kind": "Widget", "status": {"phase": "Failed"}}, False),
        ({"kind": "Pod", "status": 1}, False),
    ],
)
def test_what_had_ended_would_run_again(before: Any, ended: bool) -> None:
    assert bool(may_run_again(before)) is ended


def test_controllers_make_their_own() -> None:
    pods = Target("", "v1", "pods", "shop", "x")
    owned = {
        "metadata": {
            "ownerReferences": [
                {"kind": "Node", "name": "n"},
                {"kind": "Job", "name": "j", "controller": True},
            ]
        }
    }
    assert remade_by(pods, owned) == "Job j"
    assert remade_by(pods, {"metadata": {"ownerReferences": [{"kind": "Node", "name": "n"}]}}) == ""
    assert remade_by(pods, {}) == ""
    assert remade_by(Target("", "v1", "configmaps", "shop", "x"), owned) == ""
