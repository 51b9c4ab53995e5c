"""What a request takes along, in lines: names, owners, budgets, volumes; strange objects raise nothing."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaperone.core import preview_effects as effects

Obj = dict[str, Any]


def obj(name: str, *owners: str, namespace: str = "prod", labels: Obj | None = None, **fields: Any) -> Obj:
    """An object whose uid is its name."""
    references = [{"uid": owner, "kind": "ReplicaSet", "name": owner, "controller": True} for owner in owners]
    metadata = {"name": name, "namespace": namespace, "uid": name, "labels": labels or {"app": "web"}}
    return {"metadata": {**metadata, "ownerReferences": references}, **fields}


def test_counted() -> None:
    pods = [obj(name) for name in "abcdefg"]
    assert effects.counted("pods", [], 0, "would go") == []
    assert effects.counted("pods", pods[:2], 2, "would go") == ["pods: 2 would go: a, b"]
    assert effects.counted("pods", pods, 12, "would go") == ["pods: 12 would go: a, b, c, d, e, … 7 more"]
    assert effects.counted("secrets", pods[:1], 3, "would go", named=False) == ["secrets: 3 would go"]


def test_owned_over_two_levels() -> None:
    found = {
        "replicasets": [obj("rs", "web"), obj("other", "db")],
        "pods": [obj("p1", "rs"), obj("p2", "other"), obj("p3"), obj("p4", "web")],
    }
    mine = effects.owned("web", found)
    assert {kind: [effects.name(item) for item in items] for kind, items in mine.items()} == {
        "replicasets": ["prod/rs"],
        "pods": ["prod/p1", "prod/p4"],
    }


def test_what_has_no_uid_owns_nothing() -> None:
    nameless = {"metadata": {"ownerReferences": [{"uid": "web"}]}}
    orphan = {"metadata": {"ownerReferences": [{"kind": "x"}]}}
    assert effects.owned("web", {"x": [nameless], "y": [orphan]}) == {"x": [nameless], "y": []}


def test_who_starts_a_pod_again() -> None:
    assert effects.controller(obj("p", "rs")) == [
        "pods prod/p: belongs to ReplicaSet rs, which starts another one in its place"
    ]
    loose = obj("p")
    loose["metadata"]["ownerReferences"] = [{"kind": "x", "name": "y"}]
    for pod in (loose, obj("p"), {"metadata": {"name": "p", "namespace": "prod"}}):
        assert effects.controller(pod) == ["pods prod/p: belongs to nothing that would start it again"]


def budget(allowed: int | None, selector: Any) -> Obj:
    status = {} if allowed is None else {"disruptionsAllowed": allowed}
    return obj("pdb", spec={"selector": selector}, status=status)


WEB = {"matchLabels": {"app": "web"}}
BUDGETS: dict[str, tuple[Obj, int, bool, bool]] = {
    # sentence: (budget, how many of three pods go, does an empty selector select, is it broken)
    "enough": (budget(3, WEB), 3, True, False),
    "not enough": (budget(2, WEB), 3, True, True),
    "enough for the few that go": (budget(2, WEB), 2, True, False),
    "other pods": (budget(0, {"matchLabels": {"app": "db"}}), 3, True, False),
    "all pods": (budget(0, {}), 1, True, True),
    "no pods, in the older version": (budget(0, {}), 1, False, False),
    "a budget that nobody has counted": (budget(None, WEB), 1, True, True),
}


@pytest.mark.parametrize(("found", "going", "empty", "broken"), BUDGETS.values(), ids=BUDGETS)
def test_budgets(found: Obj, going: int, empty: bool, broken: bool) -> None:
    pods = [obj("a"), obj("b"), obj("c")]
    lines = effects.budgets([found], pods, going, empty_selects=empty)
    assert bool(lines) is broken
    assert not broken or lines[0].startswith("poddisruptionbudgets prod/pdb: would be broken: ")


def test_a_broken_budget_says_by_how_much() -> None:
    assert effects.budgets([budget(1, WEB)], [obj("a"), obj("b")], 2, empty_selects=True) == [
        "poddisruptionbudgets prod/pdb: would be broken: 2 of its pods would go, and it allows 1 now"
    ]


def volume(policy: str) -> Obj:
    return {"metadata": {"name": "pv"}, "spec": {"persistentVolumeReclaimPolicy": policy} if policy else {}}


def test_what_becomes_of_the_data() -> None:
    bound = obj("c", spec={"volumeName": "pv"})
    lines = [
        effects.claims([bound], {"pv": volume(policy)})[0] for policy in ("Delete", "Retain", "Recycle", "")
    ]
    assert lines == [
        "persistentvolumeclaims prod/c: goes; its volume pv is deleted with its data (reclaim policy Delete)",
        "persistentvolumeclaims prod/c: goes; its volume pv is kept with its data (reclaim policy Retain)",
        "persistentvolumeclaims prod/c: goes; its volume pv is wiped (reclaim policy Recycle)",
        "persistentvolumeclaims prod/c: goes; its volume pv has an unknown fate (reclaim policy unknown)",
    ]
    assert effects.claims([bound, obj("d")], {}) == [
        "persistentvolumeclaims prod/c: goes; its volume pv has a fate that is not visible to the agent",
        "persistentvolumeclaims prod/d: goes; it is bound to no volume",
    ]


def test_many_claims() -> None:
    lines = effects.claims([obj(str(at)) for at in range(effects.MOST_CLAIMS + 3)], {})
    assert len(lines) == effects.MOST_CLAIMS + 1
    assert lines[-1] == "persistentvolumeclaims: … 3 more"


def test_claims_that_pods_use() -> None:
    uses = [{"name": "x", "persistentVolumeClaim": {"claimName": "data"}}, {"name": "y", "emptyDir": {}}]
    pods = [obj("a", spec={"volumes": uses}), obj("b", spec={"volumes": uses}), obj("c", spec={})]
    assert effects.claim_names(pods) == ["prod/data"]


def test_a_collection() -> None:
    assert effects.listed("pods", [obj("a"), obj("b", namespace="")], 2) == [
        "pods: 2 would be deleted",
        "pods prod/a",
        "pods b",
    ]
    assert effects.listed("pods", [], 0) == ["pods: nothing is selected now"]


def test_parts() -> None:
    assert effects.part({"a": {"b": 1}}, "a", "b") == 1
    assert effects.part({"a": []}, "a", "b") is None
    assert effects.text({"a": 1}, "a") == ""
    assert effects.number({"a": True}, "a") is None
    assert effects.replicas({"spec": {"replicas": 0}}) == 0


strange = st.recursive(
    st.none() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "metadata",
                    "spec",
                    "status",
                    "ownerReferences",
                    "selector",
                    "matchLabels",
                    "labels",
                    "volumes",
                ]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["metadata", "spec", "status"]), strange))
def test_strange_objects_raise_nothing(thing: Obj) -> None:
    effects.owned("u", {"x": [thing]})
    effects.controller(thing)
    effects.budgets([thing], [thing], 1, empty_selects=True)
    effects.claims([thing], {})
    effects.claim_names([thing])
    assert effects.listed("x", [thing], 1)
