"""Writes of a run, folded to what came of each object."""

from __future__ import annotations

from typing import Any

import pytest

from chaperone.core.changes import (
    UNSEEN,
    Absent,
    Net,
    Present,
    State,
    Target,
    Unknown,
    Write,
    fold,
    net_change,
)
from chaperone.core.changes_fields import ABSENT, spelled

WEB = Target("apps", "v1", "deployments", "shop", "web")
LOST = Unknown("the agent may not read it")
GONE = Absent()


def web(uid: str = "u1", **spec: Any) -> Present:
    metadata = {
        "name": "web",
        "namespace": "shop",
        "uid": uid,
        "resourceVersion": repr(spec),
        "generation": 1,
    }
    return Present({"kind": "Deployment", "metadata": metadata, "spec": spec, "status": {"seen": len(spec)}})


def scale(replicas: int) -> Present:
    return Present({"spec": {"replicas": replicas}})


def write(before: State, after: State, **more: Any) -> Write:
    known: dict[str, Any] = {"audit_id": "a", "time": "t", "verb": "patch", "target": WEB, "code": 200}
    return Write(before=before, after=after, **{**known, **more})


def change(*states: tuple[State, State], **more: Any) -> Any:
    return net_change([write(*each, **more) for each in states])


def fields(made: Any) -> dict[str, tuple[Any, Any]]:
    return {spelled(path): tuple(each) for path, each in made.fields.items()}


@pytest.mark.parametrize(
    ("states", "net", "expected"),
    [
        ([(web(n=3), web(n=0))], Net.CHANGED, {"spec.n": (3, 0)}),
        ([(web(n=3), web(n=0)), (web(n=0), web(n=1))], Net.CHANGED, {"spec.n": (3, 1)}),
        ([(web(n=3), web(n=0)), (web(n=0), web(n=3))], Net.SAME, {}),
        ([(web(n=3), web(n=3, m={}))], Net.CHANGED, {"spec.m": (ABSENT, {})}),
        ([(GONE, web(n=3))], Net.CREATED, {}),
        ([(GONE, web(n=3)), (web(n=3), web(n=4))], Net.CREATED, {}),
        ([(GONE, web(n=3)), (web(n=3), GONE)], Net.PASSING, {}),
        ([(web(n=3), GONE)], Net.DELETED, {}),
        ([(web(n=3), GONE), (GONE, web("u2", n=4))], Net.REPLACED, {"spec.n": (3, 4)}),
        ([(web(n=1), web(n=3)), (web(n=3), GONE), (GONE, web("u2", n=4))], Net.REPLACED, {"spec.n": (1, 4)}),
        # somebody else deleted it, and the run made it anew
        ([(web(n=3), web(n=4)), (GONE, web("u2", n=5))], Net.REPLACED, {"spec.n": (3, 5)}),
        # states that are not recorded
        ([(LOST, GONE)], Net.DELETED, {}),
        ([(GONE, LOST)], Net.CREATED, {}),
        ([(LOST, web(n=0))], Net.UNKNOWN, {}),
        ([(web(n=0), LOST)], Net.UNKNOWN, {}),
        ([(web(n=0), LOST), (LOST, web(n=1))], Net.UNKNOWN, {}),
        ([(web(n=0), LOST), (web(n=1), web(n=2))], Net.CHANGED, {"spec.n": (0, 2)}),
        ([(web(n=0), web(n=1)), (LOST, web(n=2))], Net.CHANGED, {"spec.n": (0, 2)}),
        ([(web(n=0), web(n=1)), (LOST, GONE)], Net.DELETED, {}),
        ([(GONE, web("u1")), (web("u9"), web("u9", n=1))], Net.UNKNOWN, {}),
        ([(web("u1"), GONE), (web("u9"), web("u9", n=1))], Net.UNKNOWN, {}),
    ],
)
def test_what_comes_of_writes(states: Any, net: Net, expected: Any) -> None:
    made = change(*states)
    assert (made.net, fields(made)) == (net, expected)


def test_why_a_change_is_not_known() -> None:
    assert change((LOST, web(n=0))).why == LOST.reason
    assert change((GONE, LOST)).why == LOST.reason
    assert change((LOST, GONE)).why == LOST.reason
    assert "made it anew" in change((GONE, web("u1")), (web("u9"), web("u9", n=1))).why
    assert change((web(n=0), LOST), (LOST, GONE)).why == UNSEEN
    lost_between = change((web(n=0), LOST), (LOST, GONE), (GONE, web("u2")))
    assert (lost_between.net, lost_between.why) == (Net.UNKNOWN, UNSEEN)


def test_what_is_taken_from_a_neighbour_is_said() -> None:
    (left,) = change((web(n=0), LOST), (web(n=1), web(n=2))).remarks
    assert "left is not recorded" in left
    (found,) = change((web(n=0), web(n=1)), (LOST, web(n=2))).remarks
    assert "found is not recorded" in found


def test_what_others_changed_in_between_is_no_change_of_the_run() -> None:
    made = change((web(n=3), web(n=0)), (web(n=0, theirs=1), web(n=0, theirs=1, m=2)))
    assert fields(made) == {"spec.n": (3, 0), "spec.m": (ABSENT, 2)}
    assert [spelled(path) for path in made.others] == ["spec.theirs"]
    assert made.after["spec"] == {"n": 0, "m": 2}


def test_annotations_of_controllers_are_nobodys_change() -> None:
    def annotated(revision: str, **spec: Any) -> Present:
        obj: Any = web(**spec).object
        note = {"deployment.kubernetes.io/revision": revision}
        return Present({**obj, "metadata": {**obj["metadata"], "annotations": note}})

    made = change((annotated("1", n=3), annotated("1", n=0)), (annotated("2", n=0), annotated("2", n=1)))
    assert made.others == ()


def test_a_deletion_keeps_what_others_had_changed_but_not_what_the_run_had() -> None:
    made = change((web(n=3), web(n=0)), (web(n=0, theirs=1), GONE))
    assert made.net is Net.DELETED
    assert made.before["spec"] == {"n": 3, "theirs": 1}


def test_a_deletion_after_a_write_that_is_not_known_goes_back_to_the_beginning() -> None:
    made = change((web(n=3), LOST), (LOST, web(n=7)), (web(n=7), GONE))
    assert (made.net, made.before and made.before["spec"]) == (Net.DELETED, {"n": 3})


def test_a_deletion_of_what_the_run_had_made_anew_after_somebody_else_had_deleted_it() -> None:
    made = change((web(n=3), web(n=4)), (GONE, web("u2", n=5)), (web("u2", n=5), GONE))
    assert (made.net, made.before and made.before["spec"]) == (Net.DELETED, {"n": 3})


def test_the_latest_state_is_that_of_what_was_created() -> None:
    made = change((GONE, web(n=3)), (web(n=3), web(n=4)))
    assert (made.after["spec"], made.uid) == ({"n": 4}, "u1")


def scaled(before: int, after: int) -> Write:
    return write(scale(before), scale(after), partial=True, uid="u1")


def test_the_scale_alone() -> None:
    made = net_change([scaled(3, 5), scaled(5, 0)])
    assert (made.net, made.scaled, made.uid, fields(made)) == (
        Net.CHANGED,
        True,
        "u1",
        {"spec.replicas": (3, 0)},
    )


@pytest.mark.parametrize(
    ("writes", "expected"),
    [
        (
            [scaled(3, 0), write(web(replicas=0, image=1), web(replicas=0, image=2))],
            {"replicas": 3, "image": 1},
        ),
        (
            [write(web(replicas=3, image=1), web(replicas=3, image=2)), scaled(3, 0)],
            {"replicas": 3, "image": 1},
        ),
        (
            [scaled(4, 3), write(web(replicas=3, image=1), web(replicas=3, image=2)), scaled(3, 0)],
            {"replicas": 4, "image": 1},
        ),
    ],
)
def test_the_scale_is_a_field_of_the_object(writes: Any, expected: Any) -> None:
    made = net_change(writes)
    assert not made.scaled
    assert made.before is not None
    assert made.after is not None
    assert made.before["spec"] == expected
    assert made.after["spec"] == {"replicas": 0, "image": 2}
    assert made.others == ()


def test_a_scale_whose_state_is_not_known() -> None:
    made = net_change([write(web(replicas=3), web(replicas=2)), write(LOST, LOST, partial=True)])
    assert (made.net, made.why) == (Net.UNKNOWN, LOST.reason)


def test_a_scale_and_a_deletion() -> None:
    made = net_change([scaled(3, 0), write(web(replicas=0), GONE)])
    assert (made.net, made.before and made.before["spec"]) == (Net.DELETED, {"replicas": 3})


def test_the_status_counts_where_it_was_written() -> None:
    status = WEB._replace(subresource="status")
    made = net_change([write(web(n=1), web(n=1, m=2), target=status)])
    assert fields(made) == {"status.seen": (1, 2)}


def test_several_versions_of_a_kind_cannot_be_compared() -> None:
    old = WEB._replace(version="v1beta1")
    first = write(web(n=1), web(n=2), target=old)
    for second in (write(web(n=2), web(n=3)), write(web(n=2), GONE)):
        made = net_change([first, second])
        assert "v1, v1beta1" in made.why
    assert net_change([write(web(n=1), GONE, target=old), write(GONE, web("u2"))]).net is Net.UNKNOWN
    assert net_change([write(GONE, web(n=1), target=old), write(web(n=1), web(n=2))]).net is Net.CREATED


def test_objects_come_in_the_order_of_their_last_write() -> None:
    api, other = WEB._replace(name="api"), WEB._replace(version="v1beta1")
    found = fold(
        [write(GONE, web()), write(GONE, web("u2"), target=api), write(web(), web(n=1), target=other)]
    )
    assert [each.target.name for each in found] == ["api", "web"]
    assert [len(each.writes) for each in found] == [1, 2]


def test_one_object_under_two_names_says_so() -> None:
    old = Target("extensions", "v1beta1", "deployments", "shop", "web")
    status = WEB._replace(subresource="status")
    found = fold(
        [write(web(), web(n=1)), write(web(n=1), web(n=2), target=old), write(web(), web(n=1), target=status)]
    )
    assert [each.remarks for each in found] == [
        ("the same object was written as deployments.extensions shop/web too",),
        ("the same object was written as deployments.apps shop/web too",),
        (),
    ]


def test_names_are_legible() -> None:
    assert WEB.words == "deployments.apps shop/web"
    assert Target("", "v1", "nodes", "", "n\x1b1", "status").words == "nodes/status n\\x1b1"


def test_an_object_without_metadata_has_no_uid() -> None:
    assert change((Present({"spec": {}}), Present({"spec": {"a": 1}}))).uid == ""
    assert change((Present({"metadata": 1}), Present({"metadata": 2}))).net is Net.CHANGED
