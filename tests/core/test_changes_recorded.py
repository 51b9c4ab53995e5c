"""Audit records read as changes, and changes told to people."""

from __future__ import annotations

import json
from typing import Any

import pytest

from chaperone.core.audit import Stage, record
from chaperone.core.changes import Net
from chaperone.core.changes_fields import ABSENT, LAST_APPLIED
from chaperone.core.changes_recorded import OLDER, UNENDED, Story, read_story
from chaperone.core.changes_shown import (
    MOST_EFFECTS,
    MOST_FIELDS,
    MOST_OBJECTS,
    Tone,
    shown_value,
    story_data,
    story_lines,
)
from chaperone.core.identity import Caller
from chaperone.core.request import Request, parse
from chaperone.core.verdict import Action, Verdict

CALLER = Caller(issuer="https://i", subject="s", username="coder", run="r", agent="a")
MAPS = "/api/v1/namespaces/shop/configmaps"
WEB = "/apis/apps/v1/namespaces/shop/deployments/web"
ABSENT_STATE = {"state": "Absent"}


def obj(name: str = "conf", uid: str = "u1", **data: Any) -> dict[str, Any]:
    return {"kind": "ConfigMap", "metadata": {"name": name, "namespace": "shop", "uid": uid}, "data": data}


def present(found: Any) -> dict[str, Any]:
    return {"state": "Present", "object": found}


class Records:
    """Of one run, as a gateway writes them; one second for each."""

    def __init__(self) -> None:
        self.made: list[dict[str, Any]] = []

    def add(
        self,
        line: str,
        code: int = 200,
        *,
        before: Any = None,
        after: Any = None,
        upgrade: str = "",
        received: bool = True,
        ended: bool = True,
        **more: Any,
    ) -> Records:
        method, target = line.split()
        request = parse(method, target, upgrade=upgrade, content_type="application/merge-patch+json")
        assert isinstance(request, Request), line
        now = 1_700_000_000.0 + len(self.made)
        terms: dict[str, Any] = {
            "audit_id": f"id-{len(self.made)}",
            "received_at": now,
            "now": now,
            "request": request,
            "caller": CALLER,
            "verdict": Verdict(action=Action.ALLOW, policy="p"),
        }
        if received and not request.is_read:
            begun = record(Stage.RECEIVED, **terms)
            self.made.append({**begun, **({"objectBefore": before} if before else {}), **more})
        if ended:
            last = record(Stage.COMPLETE, code=code, **terms)
            self.made.append({**last, **({"responseObject": after} if after else {}), **more})
        return self

    @property
    def story(self) -> Story:
        return read_story(self.made)


def nets(story: Story) -> dict[str, Net]:
    return {change.target.words: change.net for change in story.changes}


def test_a_story_of_a_run() -> None:
    records = Records()
    records.add(f"GET {MAPS}").add(f"GET {MAPS}/conf")
    records.add(f"PATCH {MAPS}/conf", before=present(obj(a="1")), after=obj(a="2"))
    records.add(f"POST {MAPS}", 201, before=ABSENT_STATE, after=obj("made-x7", "u2"))
    records.add(f"PUT {MAPS}/put", 201, after=obj("put", "u3"))
    records.add(f"PUT {MAPS}/late", before=ABSENT_STATE, after=obj("late", "u5"))
    records.add(f"DELETE {MAPS}/gone", before=present(obj("gone", "u4", k="v")), after={"kind": "Status"})
    records.add(f"PATCH {MAPS}/conf", 403, received=False)
    records.add(f"PATCH {MAPS}/conf", 409, before=present(obj(a="2")))
    records.add(f"PATCH {MAPS}/conf?dryRun=All", after=obj(a="9"))
    records.add(f"DELETE {MAPS}/conf", requestObject={"kind": "DeleteOptions", "dryRun": ["All"]})
    records.add(f"DELETE {MAPS}/conf?dryRun=All", requestObject={"kind": "DeleteOptions"})
    story = records.story
    assert nets(story) == {
        "configmaps shop/conf": Net.CHANGED,
        "configmaps shop/made-x7": Net.CREATED,
        "configmaps shop/put": Net.CREATED,
        "configmaps shop/late": Net.CREATED,
        "configmaps shop/gone": Net.DELETED,
    }
    assert [each.why for each in story.failed] == ["answered 403", "answered 409"]
    assert len(story.dry) == 3
    assert (story.torn, story.writes, story.effects) == (0, 5, ())
    assert story.changes[1].uid == "u2"


@pytest.mark.parametrize(
    ("added", "why"),
    [
        ({"code": 504, "before": present(obj(a="1"))}, "answered 504, and may have been carried out"),
        ({"before": present(obj(a="1")), "ended": False}, UNENDED),
        ({"before": present(obj(a="1"))}, OLDER),
        ({"before": present(obj(a="1")), "after": {"kind": "Status"}}, OLDER),
        ({"after": obj(a="1")}, OLDER),
        (
            {
                "before": present(obj(a="1")),
                "unrecorded": {"responseObject": "it is larger than\x1b 9 bytes"},
            },
            "it is larger than\\x1b 9 bytes",
        ),
        (
            {"before": {"state": "Unknown", "reason": "the agent may not read it"}, "after": obj()},
            "may not read",
        ),
        ({"before": {"state": "Present"}, "after": obj()}, "the record does not say"),
        ({"code": 0, "before": present(obj(a="1"))}, "answered nothing"),
    ],
)
def test_states_that_are_not_known(added: Any, why: str) -> None:
    (change,) = Records().add(f"PATCH {MAPS}/conf", **added).story.changes
    assert change.net is Net.UNKNOWN
    assert why in change.why


def test_an_answer_of_the_gateway_itself_changed_nothing() -> None:
    story = Records().add(f"PATCH {MAPS}/conf", 503, received=False).story
    assert (story.changes, len(story.failed), story.torn) == ((), 1, 0)


def test_records_that_are_missing_are_counted() -> None:
    records = Records().add(f"PATCH {MAPS}/conf", before=present(obj(a="1")), ended=False)
    records.add(f"PATCH {MAPS}/other", after=obj("other"), received=False)
    assert records.story.torn == 2


def test_what_ended_in_a_panic_is_not_known() -> None:
    records = Records().add(f"PATCH {MAPS}/conf", 500, before=present(obj(a="1")))
    records.made[-1]["stage"] = "Panic"
    assert records.story.changes[0].net is Net.UNKNOWN


def test_the_scale_is_part_of_the_object_where_its_field_is_known() -> None:
    def scale(replicas: Any) -> dict[str, Any]:
        spec = {} if replicas is None else {"replicas": replicas}
        return {"kind": "Scale", "metadata": {"name": "web", "uid": "u1"}, "spec": spec}

    custom = "/apis/example.com/v1/namespaces/shop/widgets/w"
    records = Records().add(f"PATCH {WEB}/scale", before=present(scale(3)), after=scale(None))
    records.add(f"PUT {custom}/scale", before=present(scale(1)), after=scale(2))
    records.add(f"PATCH {WEB}/scale", before={"state": "Unknown", "reason": "why"}, after=scale(1))
    story = records.story
    assert nets(story) == {
        "deployments.apps shop/web": Net.CHANGED,
        "widgets.example.com/scale shop/w": Net.CHANGED,
    }
    web = next(change for change in story.changes if change.target.name == "web")
    assert dict(web.fields) == {("spec", "replicas"): (3, 1)}
    assert (web.uid, web.scaled) == ("u1", True)


def test_a_status_is_an_object_of_its_own() -> None:
    before, after = ({"metadata": {"name": "web"}, "status": {"n": n}} for n in (1, 2))
    story = Records().add(f"PATCH {WEB}/status", before=present(before), after=after).story
    assert nets(story) == {"deployments.apps/status shop/web": Net.CHANGED}
    assert any("n: 2" in line.text for line in story_lines(story))


def test_a_collection_is_told_object_by_object() -> None:
    items = [obj("a", "u1"), obj("b", "u2"), {"metadata": "broken"}, 1]
    records = Records().add(
        f"DELETE {MAPS}",
        before={"state": "Present", "items": items, "truncated": True},
        after={"kind": "List"},
    )
    story = records.story
    assert nets(story) == {"configmaps shop/a": Net.DELETED, "configmaps shop/b": Net.DELETED}
    assert [each.why for each in story.effects] == ["it deleted more objects than the 4 that are recorded"]
    # answered with a Status, or not to the end
    records = Records().add(f"DELETE {MAPS}", before={"state": "Present", "items": items[:1]})
    assert nets(records.story) == {"configmaps shop/a": Net.DELETED}
    records = Records().add(f"DELETE {MAPS}", 504, before={"state": "Present", "items": items[:1]})
    assert nets(records.story) == {"configmaps shop/a": Net.UNKNOWN}


@pytest.mark.parametrize(
    ("before", "why"),
    [
        (None, OLDER),
        ({"state": "Unknown", "reason": "too many"}, "too many"),
        ({"state": "Present", "items": 1}, "does not say"),
        ({"state": "Present", "object": {}, "items": 1}, "is not recorded"),
    ],
)
def test_a_collection_that_is_not_known(before: Any, why: str) -> None:
    story = Records().add(f"DELETE {MAPS}", before=before).story
    assert story.changes == ()
    assert why in story.effects[0].why


@pytest.mark.parametrize(
    ("line", "upgrade", "what", "why"),
    [
        (
            "POST /api/v1/namespaces/shop/pods/p/exec?command=sh",
            "spdy/3.1",
            "kubectl exec p --namespace shop -- sh",
            "command",
        ),
        ("GET /api/v1/namespaces/shop/pods/p/portforward", "websocket", "port-forward", "connection"),
        ("GET /api/v1/namespaces/shop/services/s/proxy/x", "", "proxy", "behind the proxy"),
        ("POST /api/v1/namespaces/shop/pods/p/eviction", "", "pods/eviction", "told to go"),
        ("POST /api/v1/namespaces/shop/pods/p/binding", "", "pods/binding", "node"),
        ("POST /api/v1/namespaces/shop/serviceaccounts/s/token", "", "serviceaccounts/token", "token"),
        ("PATCH /api/v1/namespaces/shop/pods/p/ephemeralcontainers", "", "ephemeralcontainers", "no states"),
        ("POST /logs", "", 'post of path "/logs"', "no write of an object"),
        (f"POST {MAPS}", "", "create of configmaps", "which name"),
    ],
)
def test_what_has_no_states_is_told(line: str, upgrade: str, what: str, why: str) -> None:
    (effect,) = Records().add(line, 101 if upgrade else 201, upgrade=upgrade).story.effects
    assert what in effect.what
    assert why in effect.why


def test_a_stream_without_an_end_is_told_too() -> None:
    (effect,) = (
        Records()
        .add("POST /api/v1/namespaces/shop/pods/p/exec", upgrade="spdy/3.1", ended=False)
        .story.effects
    )
    assert "pods/exec" in effect.what


def test_questions_about_rights_are_no_changes() -> None:
    records = Records().add("POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews", 201)
    assert records.story == Story((), (), (), (), 0)
    assert read_story([{}, {"stage": "ResponseComplete", "requestURI": "nonsense"}]).changes == ()


def test_a_namespace_has_no_namespace() -> None:
    ns = {"metadata": {"name": "shop", "uid": "u"}}
    story = Records().add("DELETE /api/v1/namespaces/shop", before=present(ns)).story
    assert story.changes[0].target.namespace == ""


def test_an_object_that_waits_for_its_finalizers() -> None:
    left = {"metadata": {"name": "conf", "finalizers": ["a/b"]}}
    story = Records().add(f"DELETE {MAPS}/conf", before=present(obj()), after=left).story
    assert story.changes[0].remarks == ("it goes only when its finalizers are done",)


def test_the_approval_is_told() -> None:
    approved = {"name": "ar-1", "uid": "x"}
    story = (
        Records()
        .add(f"PATCH {MAPS}/conf", before=present(obj(a="1")), after=obj(a="2"), approval=approved)
        .story
    )
    assert story.changes[0].writes[0].approval == "ar-1"
    assert "approved as ar-1" in "\n".join(line.text for line in story_lines(story))


# Told to people


def test_a_story_in_lines() -> None:
    note = {"metadata": {"name": "web", "uid": "u1", "annotations": {LAST_APPLIED[2]: "x"}}, "spec": {"n": 1}}
    later = {
        "metadata": {"name": "web", "uid": "u1", "annotations": {LAST_APPLIED[2]: "y"}},
        "spec": {"n": 2},
    }
    records = Records().add(f"PATCH {WEB}", before=present(note), after=later)
    records.add(
        f"PATCH {WEB}", before=present({**later, "theirs": 1}), after={**later, "theirs": 1, "m": "\x1b[2J"}
    )
    records.add(f"PATCH {MAPS}/lost", before=present(obj("lost", a="1")))
    records.add(f"POST {MAPS}", 201, after=obj("brief")).add(
        f"DELETE {MAPS}/brief", before=present(obj("brief"))
    )
    records.add("POST /api/v1/namespaces/shop/pods/p/eviction", 201)
    records.add(f"PATCH {MAPS}/conf", 404, received=False)
    lines = list(story_lines(records.story))
    text = "\n".join(line.text for line in lines)
    assert "deployments.apps shop/web: changed" in text
    assert "  spec.n: 1 -> 2" in text
    assert "changed by somebody else in between, and not shown: theirs" in text
    assert "\x1b" not in text
    assert 'm: (none) -> "\\u001b[2J"' in text
    assert LAST_APPLIED[2] not in text
    assert "configmaps shop/lost: unknown" in text
    assert "only one of its states is known" in text
    assert "configmaps shop/brief: created and deleted" in text
    assert "told to go" in text
    assert "1 writes changed nothing: refused or failed" in text
    assert {Tone.ADDED, Tone.REMOVED, Tone.TITLE, Tone.QUIET, Tone.WARNING} <= {line.tone for line in lines}


def test_an_unknown_change_of_which_nothing_is_known() -> None:
    lines = list(story_lines(Records().add(f"PATCH {MAPS}/conf").story))
    assert OLDER in lines[2].text


def test_an_unknown_change_of_which_both_ends_are_known() -> None:
    records = (
        Records()
        .add(f"PATCH {MAPS}/conf", before=present(obj(a="1")))
        .add(f"PATCH {MAPS}/conf", after=obj(a="3"))
    )
    text = "\n".join(line.text for line in story_lines(records.story))
    assert "-  a: '1'" in text
    assert "+  a: '3'" in text


def test_what_is_told_is_bounded() -> None:
    records = Records()
    for number in range(MOST_OBJECTS + 3):
        records.add(
            f"PATCH {MAPS}/c{number}",
            before=present(obj(f"c{number}", a="1")),
            after=obj(f"c{number}", a="2"),
        )
    for _ in range(MOST_EFFECTS + 2):
        records.add("POST /api/v1/namespaces/shop/pods/p/eviction", 201)
    many = {f"k{number}": "v" for number in range(MOST_FIELDS + 5)}
    records.add(f"PATCH {WEB}", before=present(obj("web")), after=obj("web", **many))
    texts = [line.text for line in story_lines(records.story)]
    assert "… and 4 more objects: name one with --object, or have all with -o json" in texts
    assert "  … and 2 more" in texts
    one = Records().add(f"PATCH {WEB}", before=present(obj("web")), after=obj("web", **many)).story
    assert "  … and 5 more fields" in [line.text for line in story_lines(one)]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (ABSENT, "(none)"),
        ("nginx:1.2", "nginx:1.2"),
        ("", '""'),
        ('a"b', '"a\\"b"'),
        ("line\nline", '"line\\nline"'),
        ("\u202eevil", '"\\u202eevil"'),
        ("caf\u00e9", '"caf\u00e9"'),
        (3, "3"),
        (None, "null"),
        ({"b": [True], "a": 1}, '{"a": 1, "b": [true]}'),
    ],
)
def test_a_value_in_one_line(value: Any, shown: str) -> None:
    assert shown_value(value) == shown


def test_a_story_as_data() -> None:
    records = Records().add(f"PATCH {MAPS}/conf", before=present(obj(a="1")), after=obj(a="1", b="2"))
    records.add("POST /api/v1/namespaces/shop/pods/p/eviction", 201)
    data = json.loads(json.dumps(story_data("run-1", records.story)))
    (change,) = data["changes"]
    assert (data["run"], change["change"], change["object"]["name"]) == ("run-1", "changed", "conf")
    assert change["fields"] == [{"path": "data.b", "after": "2"}]
    assert change["requests"][0]["auditID"] == "id-0"
    assert data["effects"][0]["what"].startswith("create of pods/eviction")
