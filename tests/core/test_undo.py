"""How each change is taken back, given what stands there now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from chaperone.core.changes import Absent, Change, Net, Present, State, Target, Unknown, Write, net_change
from chaperone.core.changes_fields import ABSENT, FieldChange
from chaperone.core.masking.placeholder import Mint, encoded
from chaperone.core.undo import (
    Around,
    Create,
    Delete,
    Done,
    Impossible,
    Plan,
    Put,
    Skip,
    hopeless,
    ordered,
    plan,
)

CONF = Target("", "v1", "configmaps", "shop", "conf")
GONE = Absent()
LOST = Unknown("why not")
MINT = Mint(b"0" * 16)
OLD, NEW = (encoded(MINT.placeholder("u1", "/data/p", value)) for value in ("old", "new"))
NOTHING = Around()


def obj(uid: str = "u1", version: str = "1", **fields: Any) -> dict[str, Any]:
    metadata = {
        "name": "conf",
        "namespace": "shop",
        "uid": uid,
        "resourceVersion": version,
        "managedFields": [],
    }
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, **fields}


def write(before: State, after: State, target: Target = CONF, **more: Any) -> Write:
    return Write(audit_id="a", time="t", verb="patch", target=target, before=before, after=after, **more)


def changed(before: Mapping[str, Any], after: Mapping[str, Any], target: Target = CONF) -> Change:
    return net_change([write(Present(before), Present(after), target)])


def created(after: Mapping[str, Any], target: Target = CONF) -> Change:
    return net_change([write(GONE, Present(after), target)])


def deleted(before: Mapping[str, Any], target: Target = CONF) -> Change:
    return net_change([write(Present(before), GONE, target)])


# Fields


DATA = changed(obj(data={"a": "1", "b": "1"}), obj(data={"a": "2", "b": "1", "c": "3"}))


def test_only_what_the_run_changed_goes_back() -> None:
    live = obj(version="9", data={"a": "2", "b": "theirs", "c": "3", "d": "theirs"}, more=1)
    planned = plan(DATA, live, NOTHING)
    assert isinstance(planned, Put)
    assert planned.body["data"] == {"a": "1", "b": "theirs", "d": "theirs"}
    assert planned.body["metadata"] == {
        "name": "conf",
        "namespace": "shop",
        "uid": "u1",
        "resourceVersion": "9",
    }
    assert planned.fields == {("data", "a"): FieldChange("2", "1"), ("data", "c"): FieldChange("3", ABSENT)}
    assert live["data"]["a"] == "2", "what was read is not changed"


def test_what_was_put_back_once_is_as_it_was() -> None:
    planned = plan(DATA, obj(data={"a": "2", "b": "1", "c": "3"}), NOTHING)
    assert isinstance(planned, Put)
    assert plan(DATA, planned.body, NOTHING) == Done("it is as it was before the run")


def test_half_of_it_may_be_back_already() -> None:
    planned = plan(DATA, obj(data={"a": "1", "c": "3"}), NOTHING)
    assert isinstance(planned, Put)
    assert list(planned.fields) == [("data", "c")]


@pytest.mark.parametrize(
    ("live", "expected"),
    [
        (obj(data={"a": "4", "c": "3"}), Skip("changed since by somebody else: data.a")),
        (obj(data={"a": "4", "c": "4"}), Skip("changed since by somebody else: data.a, data.c")),
        (obj(data={"a": "2", "c": {"x": 1}}), Skip("changed since by somebody else: data.c")),
        (None, Skip("it was deleted since, by somebody else")),
        (obj("u2", data={"a": "2", "c": "3"}), Skip("another object of that name stands there now")),
        ({**obj(), "metadata": {"uid": "u1", "deletionTimestamp": "t"}}, Impossible("it is being deleted")),
    ],
)
def test_the_work_of_others_is_left_alone(live: Any, expected: Plan) -> None:
    assert plan(DATA, live, NOTHING) == expected


def test_a_list_is_put_back_as_a_whole_or_not_at_all() -> None:
    change = changed(obj(items=[{"n": 1}]), obj(items=[{"n": 2}]))
    planned = plan(change, obj(items=[{"n": 2}]), NOTHING)
    assert isinstance(planned, Put)
    assert planned.body["items"] == [{"n": 1}]
    assert isinstance(plan(change, obj(items=[{"n": 2}, {"n": 3}]), NOTHING), Skip)


@pytest.mark.parametrize(
    ("before", "after", "live", "expected"),
    [
        ({"a": {}}, {"a": {"b": 1}}, {"a": {"b": 1}}, {"a": {}}),
        ({"a": {}}, {"a": {"b": 1}}, {"a": {"b": 1, "theirs": 1}}, {"a": {"theirs": 1}}),
        ({"a": {"b": 1}}, {"a": {}}, {"a": {}}, {"a": {"b": 1}}),
        ({"a": {"b": 1}}, {"a": {}}, {"a": {"theirs": 1}}, {"a": {"theirs": 1, "b": 1}}),
        ({}, {"a": {}}, {"a": {"theirs": 1}}, {"a": {"theirs": 1}}),
        ({"a": 1}, {"a": {"b": 1}}, {"a": {"b": 1}}, {"a": 1}),
        ({"a": 1}, {"a": {"b": 1}}, {"a": {"b": 1, "theirs": 1}}, None),
    ],
)
def test_mappings_come_and_go(before: Any, after: Any, live: Any, expected: Any) -> None:
    planned = plan(changed(obj(data=before), obj(data=after)), obj(data=live), NOTHING)
    assert (planned.body["data"] if isinstance(planned, Put) else None) == expected


def test_a_secret_that_the_run_overwrote_cannot_come_back() -> None:
    change = changed(obj(data={"p": OLD, "x": "1"}), obj(data={"p": NEW, "x": "2"}))
    planned = plan(change, obj(data={"p": NEW, "x": "2"}), NOTHING)
    assert isinstance(planned, Put)
    assert planned.body["data"] == {"p": NEW, "x": "1"}
    assert planned.left == ("data.p held a masked value, which is not in the record",)
    alone = changed(obj(data={"p": OLD}), obj(data={"p": NEW}))
    assert isinstance(plan(alone, obj(data={"p": NEW}), NOTHING), Impossible)


def test_a_secret_that_is_still_there_may_move_back() -> None:
    """Such as in a list of variables, of which the run changed another one."""
    change = changed(obj(env=[{"v": OLD}, {"v": 1}]), obj(env=[{"v": OLD}, {"v": 2}]))
    planned = plan(change, obj(env=[{"v": OLD}, {"v": 2}]), NOTHING)
    assert isinstance(planned, Put)
    assert planned.body["env"] == [{"v": OLD}, {"v": 1}]


def test_a_key_with_a_secret_that_the_run_took_away_cannot_come_back() -> None:
    planned = plan(changed(obj(data={"p": OLD}), obj()), obj(), NOTHING)
    assert planned == Impossible("data.p held a masked value, which is not in the record")


def test_what_is_masked_for_one_alone_cannot_be_compared() -> None:
    change = changed(obj(data={"p": OLD}), obj(data={"p": NEW}))
    planned = plan(change, obj(data={"p": "in clear"}), NOTHING)
    assert isinstance(planned, Skip)
    assert "masked for only one" in planned.why


def test_a_token_that_was_taken_out_of_the_record_cannot_come_back() -> None:
    change = changed(obj(data={"t": "REDACTED"}), obj(data={"t": "none"}))
    assert isinstance(plan(change, obj(data={"t": "none"}), NOTHING), Impossible)


def test_what_was_replaced_gets_its_fields_back_and_stays_new() -> None:
    change = net_change(
        [write(Present(obj(data={"a": "1"})), GONE), write(GONE, Present(obj("u2", data={"a": "2"})))]
    )
    planned = plan(change, obj("u2", data={"a": "2"}), NOTHING)
    assert isinstance(planned, Put)
    assert planned.body["data"] == {"a": "1"}
    assert planned.remarks == ("it stays the new object, with a new uid",)


def test_an_object_without_metadata_is_put_back() -> None:
    """A scale as some servers answer it."""
    change = changed({"spec": {"replicas": 3}}, {"spec": {"replicas": 0}})
    planned = plan(change, {"spec": {"replicas": 0}}, NOTHING)
    assert isinstance(planned, Put)
    assert planned.body == {"spec": {"replicas": 3}, "metadata": {}}


# What was created


NEWCOMER = created(obj(data={"a": "1"}))


@pytest.mark.parametrize(
    ("live", "around", "expected"),
    [
        (obj(version="7", data={"a": "1"}), NOTHING, Delete("u1", "7")),
        (None, NOTHING, Done("it is gone already")),
        (obj("u2"), NOTHING, Skip("another object of that name stands there now")),
        (obj("u2"), Around(force=True), Skip("another object of that name stands there now")),
        ({"metadata": {"uid": "u1", "deletionTimestamp": "t"}}, NOTHING, Done("it is being deleted already")),
        (obj(data={"a": "2"}), NOTHING, Skip("others have changed it since: data.a", forceable=True)),
        (obj(data={"a": "2"}), Around(force=True), Delete("u1", "1")),
        (
            obj(data={"a": "1"}),
            Around(tenants=("pods a", "pods b")),
            Skip("others have put into it what would go with it: pods a, pods b", forceable=True),
        ),
        (
            obj(data={"a": "1"}),
            Around(unseen="forbidden"),
            Skip("what others have in it cannot be seen: forbidden", forceable=True),
        ),
        (obj(data={"a": "1"}), Around(tenants=("pods a",), force=True), Delete("u1", "1")),
    ],
)
def test_what_was_created_goes_while_it_is_what_was_created(
    live: Any, around: Around, expected: Plan
) -> None:
    assert plan(NEWCOMER, live, around) == expected


def test_what_the_control_plane_writes_is_nobodys_work() -> None:
    pod = CONF._replace(resource="pods")
    live = obj(spec={"nodeName": "n1"}, status={"phase": "Running"})
    live["metadata"] |= {"annotations": {"cni": "x"}, "finalizers": ["a/b"]}
    assert isinstance(plan(created(obj(spec={}), pod), live, NOTHING), Delete)
    deployment = CONF._replace(group="apps", resource="deployments")
    live = obj(spec={"replicas": 1})
    live["metadata"] |= {"annotations": {"deployment.kubernetes.io/revision": "1"}}
    assert isinstance(plan(created(obj(spec={"replicas": 1}), deployment), live, NOTHING), Delete)
    live["metadata"]["annotations"]["team"] = "x"
    assert isinstance(plan(created(obj(spec={"replicas": 1}), deployment), live, NOTHING), Skip)


def test_the_scale_of_the_run_is_no_work_of_others() -> None:
    change, around = created(obj(spec={"count": 3})), Around(scale=FieldChange(3, 5))
    assert isinstance(plan(change, obj(spec={"count": 5}), around), Delete)
    assert isinstance(plan(change, obj(spec={"count": 6}), around), Skip)


def test_an_unknown_newcomer_is_never_deleted() -> None:
    lost = net_change([write(GONE, LOST)])
    assert plan(lost, obj(), NOTHING) == Impossible("which object it became is not known: why not")
    named = net_change([write(GONE, LOST, uid="u1")])
    assert isinstance(plan(named, obj(), NOTHING), Skip)
    assert isinstance(plan(named, obj(), Around(force=True)), Delete)


# What was deleted


def test_what_was_deleted_is_made_again() -> None:
    planned = plan(deleted(obj(data={"a": "1"}, status={"x": 1})), None, NOTHING)
    assert planned == Create(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "conf", "namespace": "shop"},
            "data": {"a": "1"},
        }
    )


def test_an_item_of_a_list_gets_its_kind() -> None:
    bare = {key: value for key, value in obj().items() if key not in ("apiVersion", "kind")}
    planned = plan(deleted(bare), None, Around(api_version="v1", kind="ConfigMap"))
    assert isinstance(planned, Create)
    assert (planned.body["apiVersion"], planned.body["kind"]) == ("v1", "ConfigMap")


@pytest.mark.parametrize(
    ("live", "expected"),
    [
        (obj("u9", data={"a": "1"}), Done("it is there again, as it was")),
        (obj("u9", data={"a": "2"}), Skip("one of that name is there again, and differs: data.a")),
        (
            {"metadata": {"uid": "u1", "deletionTimestamp": "t"}},
            Skip("its deletion is not over; run this again when it is gone"),
        ),
    ],
)
def test_nothing_is_made_where_something_stands(live: Any, expected: Plan) -> None:
    assert plan(deleted(obj(data={"a": "1"})), live, NOTHING) == expected


def test_secrets_of_two_objects_cannot_be_compared() -> None:
    other = encoded(MINT.placeholder("u9", "/data/p", "old"))
    assert isinstance(plan(deleted(obj(data={"p": OLD})), obj("u9", data={"p": other}), NOTHING), Done)


def test_the_scale_put_back_makes_no_other_object() -> None:
    change, around = deleted(obj(spec={"count": 1})), Around(scale=FieldChange(3, 1))
    assert isinstance(plan(change, obj("u9", spec={"count": 3}), around), Done)
    assert isinstance(plan(change, obj("u9", spec={"count": 4}), around), Skip)


def test_a_secret_went_with_its_object() -> None:
    planned = plan(deleted(obj(data={"p": OLD})), None, NOTHING)
    assert isinstance(planned, Impossible)
    assert "data.p" in planned.why


def test_what_had_ended_is_not_run_again_by_itself() -> None:
    job = CONF._replace(group="batch", resource="jobs")
    before = {**obj(status={"conditions": [{"type": "Complete", "status": "True"}]}), "kind": "Job"}
    planned = plan(deleted(before, job), None, NOTHING)
    assert planned == Skip("it had ended; made again, it would run again", forceable=True)
    assert isinstance(plan(deleted(before, job), None, Around(force=True)), Create)


def test_what_a_controller_makes_is_left_to_it() -> None:
    before = obj()
    before["metadata"]["ownerReferences"] = [
        {"kind": "ReplicaSet", "name": "web-1", "uid": "r", "controller": True}
    ]
    planned = plan(deleted(before, CONF._replace(resource="pods")), None, NOTHING)
    assert planned == Done("its controller makes it again: ReplicaSet web-1")


# All of them


def test_what_can_surely_not_be_taken_back() -> None:
    status = changed(obj(status={"a": 1}), obj(status={"a": 2}), CONF._replace(subresource="status"))
    assert isinstance(plan(status, None, NOTHING), Impossible)
    assert hopeless(net_change([write(LOST, GONE)])) == LOST.reason
    assert hopeless(net_change([write(LOST, Present(obj()))])) == LOST.reason
    assert hopeless(NEWCOMER) == hopeless(DATA) == hopeless(deleted(obj())) == ""


def test_what_the_run_itself_took_back() -> None:
    passing = net_change([write(GONE, Present(obj())), write(Present(obj()), GONE)])
    assert plan(passing, None, NOTHING) == Done("the run itself deleted what it had created")
    assert isinstance(plan(changed(obj(), obj()), None, NOTHING), Done)


def test_the_newest_first_and_what_carries_others_before_them() -> None:
    def named(net: Net, resource: str, group: str = "") -> Change:
        return Change(target=Target(group, "v1", resource, "", f"{net.value}-{resource}"), net=net)

    crd = "apiextensions.k8s.io"
    done = [
        named(Net.CREATED, "namespaces"),
        named(Net.CREATED, "customresourcedefinitions", crd),
        named(Net.CHANGED, "namespaces"),
        named(Net.DELETED, "secrets"),
        named(Net.CREATED, "secrets"),
        named(Net.DELETED, "pods"),
        named(Net.DELETED, "namespaces"),
        named(Net.DELETED, "customresourcedefinitions", crd),
    ]
    assert [each.target.name for each in ordered(done)] == [
        "deleted-namespaces",
        "deleted-customresourcedefinitions",
        "deleted-secrets",
        "deleted-pods",
        "created-secrets",
        "changed-namespaces",
        "created-customresourcedefinitions",
        "created-namespaces",
    ]
