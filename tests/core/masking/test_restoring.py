"""Which writes with placeholders are resolved, to what, and which are refused: one table of each."""

from __future__ import annotations

import base64
import copy
import gzip
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chaperone.core.body import Decoded, Media
from chaperone.core.masking import STANDARD, KnownSpan, Masker, Mint, Place, Span
from chaperone.core.masking import restoring_patches as patches
from chaperone.core.masking.restoring import (
    MALFORMED,
    MOST_FAULTS,
    Restored,
    Unrestorable,
    Write,
    in_target,
    restore,
    selects_secret,
)
from chaperone.core.masking.restoring_body import UnpinnableError, pinned, restored
from chaperone.core.masking.restoring_live import LAST_APPLIED, Live, NotTextError, look
from chaperone.core.masking.restoring_patches import reads_object
from chaperone.core.masking.restoring_places import mapped
from chaperone.core.masking.restoring_search import placeholders

JSON, MERGE, STRATEGIC, STEPS, APPLY = (
    Media.JSON,
    Media.MERGE_PATCH,
    Media.STRATEGIC_MERGE_PATCH,
    Media.JSON_PATCH,
    Media.APPLY,
)
SECRET = Place("", "secrets", "prod", "db")
WEB = Place("apps", "deployments", "prod", "web")
CONFIG = Place("", "configmaps", "prod", "conf")
WIDGET = Place("example.com", "widgets", "prod", "w")
ANNOTATION = str(LAST_APPLIED[-1])


class Tokens:
    """A detector that knows one form: tok_ and eight letters."""

    def spans(self, text: str) -> list[Span]:
        return [Span(*match.span(), "token") for match in re.finditer(r"tok_[a-z]{8}", text)]

    def scan(self, texts: Sequence[str]) -> list[tuple[int, Span]]:
        return [(index, span) for index, text in enumerate(texts) for span in self.spans(text)]

    def hits(self, raw: bytes) -> bool:
        return b"tok_" in raw


class Remembered:
    """One known value, of another object."""

    def __init__(self, value: str, placeholder: str) -> None:
        self.value, self.placeholder = value, placeholder

    def spans(self, text: str) -> list[KnownSpan]:
        return [
            KnownSpan(*found.span(), self.placeholder) for found in re.finditer(re.escape(self.value), text)
        ]

    def scan(self, texts: Sequence[str]) -> list[tuple[int, KnownSpan]]:
        return [(index, span) for index, text in enumerate(texts) for span in self.spans(text)]


MINT = Mint(b"k" * 32)
MASKER = Masker(STANDARD, Tokens(), MINT)


def b64(value: str | bytes) -> str:
    return base64.b64encode(value.encode() if isinstance(value, str) else value).decode()


def metadata(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "namespace": "prod", "uid": f"uid-{name}", "resourceVersion": "7", **more}


def secret(**values: str | bytes) -> dict[str, Any]:
    data = {key: b64(value) for key, value in values.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata("db"), "data": data}


def web(*env: dict[str, Any], args: Sequence[str] = ()) -> dict[str, Any]:
    container = {"name": "app", "image": "app:1", "args": list(args), "env": list(env)}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata("web"),
        "spec": {"template": {"spec": {"containers": [container]}}},
    }


def variable(name: str, value: str) -> dict[str, Any]:
    return {"name": name, "value": value}


def config(**files: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata("conf"), "data": files}


def widget(**spec: Any) -> dict[str, Any]:
    return {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": metadata("w"), "spec": spec}


def release(inside: Any) -> str:
    """As Helm stores one."""
    return b64(b64(gzip.compress(json.dumps(inside).encode(), mtime=0)))


@dataclass
class Case:
    """A live object, and what an agent that has read it writes."""

    document: dict[str, Any]
    place: Place
    masker: Masker = MASKER
    live: Live = field(init=False)

    def __post_init__(self) -> None:
        self.live = look(self.document, self.place, self.masker)

    @property
    def seen(self) -> dict[str, Any]:
        return copy.deepcopy(self.live.masked)

    def write(self, media: Media, body: Any) -> Restored | Unrestorable:
        return restore(Write(media, body, self.place), self.live, self.masker)

    def sent(self, media: Media, body: Any) -> Any:
        """What goes on in place of the body."""
        result = self.write(media, body)
        assert isinstance(result, Restored), result
        raw = orjson.dumps(body)
        return orjson.loads(restored(raw, Decoded(orjson.loads(raw), media), result.resolve))

    def refused(self, media: Media, body: Any) -> Unrestorable:
        result = self.write(media, body)
        assert isinstance(result, Unrestorable), result
        return result


DB = Case(
    secret(password="hunter2 hunter2", token="another one", blob=b"\xff\x00\xfe\x01", user="app-user-1"),
    SECRET,
)
ENV = Case(
    web(
        variable("MODE", "fast"), variable("DB_PASSWORD", "pa$$ word"), args=["serve", "--password=flag-word"]
    ),
    WEB,
)
FILES = Case(
    config(
        **{
            "app.properties": "port=8080\ndb.password=file-word\n",
            "app.json": '{"db": {"password": "js\\"on"}}',
            "app.yaml": "replicas: 1\nauth:\n  rootPassword: 'it''s #1: \\\\ word'\n",
            "lines": "# tok_abcdefgh\n- a: 1\n- b",
            "note": "use tok_abcdefgh for it",
        }
    ),
    CONFIG,
)
CUSTOM = Case(
    widget(db={"host": "h", "password": "custom-word"}, pair={"name": "TOKEN", "value": "cred-word"}), WIDGET
)
HELM = Case(
    {
        **secret(),
        "type": "helm.sh/release.v1",
        "data": {
            "release": release({"chart": {}, "info": {"status": "deployed"}, "config": {"password": 'he"lm'}})
        },
    },
    SECRET,
)


def changed(case: Case, change: Callable[[Any], object]) -> Any:
    document = case.seen
    change(document)
    return document


def env_of(document: Any) -> Any:
    return document["spec"]["template"]["spec"]["containers"][0]["env"]


PASSWORD = DB.seen["data"]["password"]
PLAIN = base64.b64decode(PASSWORD).decode()
TOKEN = DB.seen["data"]["token"]
VARIABLE = env_of(ENV.seen)[1]


def test_the_masked_objects_hold_placeholders_where_secrets_are() -> None:
    for case in (DB, ENV, FILES, CUSTOM, HELM):
        assert case.live.places
    assert len(placeholders(orjson.dumps(FILES.seen))) == 5


@pytest.mark.parametrize("case", [DB, ENV, FILES, CUSTOM, HELM])
@pytest.mark.parametrize("media", [JSON, MERGE, STRATEGIC, APPLY])
def test_what_is_put_back_as_it_was_read_is_what_it_was(case: Case, media: Media) -> None:
    assert case.sent(media, case.seen) == case.document


RESOLVED: dict[str, tuple[Case, Media, Any, Any]] = {
    "a value in a merge patch": (
        DB,
        MERGE,
        {"data": {"password": PASSWORD}},
        {"data": {"password": b64("hunter2 hunter2")}},
    ),
    "bytes that are no text": (
        DB,
        MERGE,
        {"data": {"blob": DB.seen["data"]["blob"]}},
        {"data": {"blob": b64(b"\xff\x00\xfe\x01")}},
    ),
    "a part of a value": (
        DB,
        MERGE,
        {"data": {"url": b64(f"db://u:{PLAIN}@h")}},
        {"data": {"url": b64("db://u:hunter2 hunter2@h")}},
    ),
    "another masked place": (DB, MERGE, {"data": {"copy": TOKEN}}, {"data": {"copy": b64("another one")}}),
    "stringData": (DB, MERGE, {"stringData": {"again": PLAIN}}, {"stringData": {"again": "hunter2 hunter2"}}),
    "bytes in other bytes": (
        DB,
        MERGE,
        {"data": {"x": b64(base64.b64decode(DB.seen["data"]["blob"]) + b"!")}},
        {"data": {"x": b64(b"\xff\x00\xfe\x01!")}},
    ),
    "text in bytes that are none": (
        DB,
        MERGE,
        {"data": {"x": b64(b"\xff" + base64.b64decode(PASSWORD))}},
        {"data": {"x": b64(b"\xffhunter2 hunter2")}},
    ),
    "a variable by name": (ENV, STRATEGIC, web(VARIABLE), web(variable("DB_PASSWORD", "pa$$ word"))),
    "a list in another order": (
        ENV,
        MERGE,
        web(VARIABLE, variable("MODE", "slow")),
        web(variable("DB_PASSWORD", "pa$$ word"), variable("MODE", "slow")),
    ),
    "another secret variable": (
        ENV,
        STRATEGIC,
        web(variable("API_TOKEN", VARIABLE["value"])),
        web(variable("API_TOKEN", "pa$$ word")),
    ),
    "a file edited beside the secret": (
        FILES,
        MERGE,
        {"data": {"app.properties": FILES.seen["data"]["app.properties"].replace("8080", "9090")}},
        {"data": {"app.properties": "port=9090\ndb.password=file-word\n"}},
    ),
    "a document edited beside the secret": (
        FILES,
        MERGE,
        {"data": {"app.json": FILES.seen["data"]["app.json"].replace('"db"', '"database": 1, "db"')}},
        {"data": {"app.json": '{"database": 1, "db": {"password": "js\\"on"}}'}},
    ),
    "another document edited beside the secret": (
        FILES,
        MERGE,
        {"data": {"app.yaml": FILES.seen["data"]["app.yaml"].replace("replicas: 1", "replicas: 3")}},
        {"data": {"app.yaml": "replicas: 3\nauth:\n  rootPassword: 'it''s #1: \\\\ word'\n"}},
    ),
    "a comment in a document": (
        FILES,
        MERGE,
        {"data": {"lines": FILES.seen["data"]["lines"].replace("a: 1", "a: 2")}},
        {"data": {"lines": "# tok_abcdefgh\n- a: 2\n- b"}},
    ),
    "a token in a text that is edited": (
        FILES,
        MERGE,
        {"data": {"note": FILES.seen["data"]["note"] + ", please"}},
        {"data": {"note": "use tok_abcdefgh for it, please"}},
    ),
    "a field of a custom resource": (
        CUSTOM,
        MERGE,
        {"spec": {"db": {"host": "i", "password": CUSTOM.seen["spec"]["db"]["password"]}}},
        {"spec": {"db": {"host": "i", "password": "custom-word"}}},
    ),
    "a value whose name is not in the patch": (
        CUSTOM,
        MERGE,
        {"spec": {"pair": {"value": CUSTOM.seen["spec"]["pair"]["value"]}}},
        {"spec": {"pair": {"value": "cred-word"}}},
    ),
    "a key taken away": (
        DB,
        MERGE,
        {"data": {"token": None, "password": PASSWORD}},
        {"data": {"token": None, "password": b64("hunter2 hunter2")}},
    ),
    "an operation": (
        DB,
        STEPS,
        [{"op": "replace", "path": "/data/token", "value": TOKEN}],
        [{"op": "replace", "path": "/data/token", "value": b64("another one")}],
    ),
    "an operation on all data": (
        DB,
        STEPS,
        [{"op": "replace", "path": "/data", "value": {"password": PASSWORD}}],
        [{"op": "replace", "path": "/data", "value": {"password": b64("hunter2 hunter2")}}],
    ),
    "a test against the placeholder": (
        DB,
        STEPS,
        [{"op": "test", "path": "/data/token", "value": TOKEN}, {"op": "remove", "path": "/data/token"}],
        [
            {"op": "test", "path": "/data/token", "value": b64("another one")},
            {"op": "remove", "path": "/data/token"},
        ],
    ),
    "a test and a copy of what is no secret": (
        ENV,
        STEPS,
        [
            {"op": "test", "path": "/spec/template/spec/containers/0/env/0/value", "value": "fast"},
            {"op": "copy", "from": "/metadata/name", "path": "/metadata/generateName"},
        ],
        [
            {"op": "test", "path": "/spec/template/spec/containers/0/env/0/value", "value": "fast"},
            {"op": "copy", "from": "/metadata/name", "path": "/metadata/generateName"},
        ],
    ),
}


@pytest.mark.parametrize("name", RESOLVED)
def test_it_is_resolved(name: str) -> None:
    case, media, body, expected = RESOLVED[name]
    assert case.sent(media, body) == expected


def test_a_release_of_helm_that_was_changed_keeps_its_secrets() -> None:
    inside = json.loads(gzip.decompress(base64.b64decode(base64.b64decode(HELM.seen["data"]["release"]))))
    assert placeholders(inside["config"]["password"])
    inside["info"]["status"] = "superseded"
    sent = HELM.sent(MERGE, {"data": {"release": release(inside)}})
    stored = json.loads(gzip.decompress(base64.b64decode(base64.b64decode(sent["data"]["release"]))))
    assert stored == {"chart": {}, "info": {"status": "superseded"}, "config": {"password": 'he"lm'}}


def operation(**words: Any) -> list[dict[str, Any]]:
    return [{key.rstrip("_"): value for key, value in words.items()}]


REFUSED: dict[str, tuple[Case, Media, Any, int, str]] = {
    "a label": (DB, MERGE, {"metadata": {"labels": {"a": PLAIN}}}, 422, "metadata.labels.a"),
    "an annotation": (
        DB,
        JSON,
        changed(DB, lambda it: it["metadata"].update(annotations={"x/y": PASSWORD})),
        422,
        "metadata.annotations.x/y",
    ),
    "a name": (DB, STRATEGIC, {"metadata": {"name": PLAIN}}, 422, "metadata.name"),
    "a key": (DB, MERGE, {"data": {PLAIN: "eA=="}}, 422, "data."),
    "a variable that is shown": (
        ENV,
        STRATEGIC,
        web(variable("MODE", VARIABLE["value"])),
        422,
        "env[0].value",
    ),
    "a variable under another name": (
        ENV,
        MERGE,
        web(variable("MOTTO", VARIABLE["value"])),
        422,
        "env[0].value",
    ),
    "text where base64 is due": (DB, MERGE, {"data": {"token": PLAIN}}, 422, "data.token"),
    "bytes where text is due": (
        DB,
        MERGE,
        {"stringData": {"x": base64.b64decode(DB.seen["data"]["blob"]).decode()}},
        422,
        "stringData.x",
    ),
    "a token in another text": (
        FILES,
        MERGE,
        {"data": {"other": FILES.seen["data"]["note"]}},
        422,
        "data.other",
    ),
    "of another object": (
        DB,
        MERGE,
        {"data": {"new": b64(MINT.placeholder("uid-other", "data.new", "x"))}},
        422,
        "data.new",
    ),
    "of another object, at the same place": (
        DB,
        MERGE,
        {"data": {"password": b64(MINT.placeholder("uid-other", "data.password", "x"))}},
        422,
        "data.password",
    ),
    "an older value": (
        DB,
        MERGE,
        {"data": {"password": b64(MINT.placeholder("uid-db", "data.password", "old"))}},
        409,
        "data.password",
    ),
    "an older value, of this state": (
        DB,
        JSON,
        changed(
            DB, lambda it: it["data"].update(password=b64(MINT.placeholder("uid-db", "data.password", "old")))
        ),
        409,
        "data.password",
    ),
    "an older value, of an older state": (
        DB,
        JSON,
        changed(
            DB,
            lambda it: (
                it["metadata"].update(resourceVersion="6"),
                it["data"].update(password=b64(MINT.placeholder("uid-db", "data.password", "old"))),
            ),
        ),
        409,
        "data.password",
    ),
    "of a place that is gone, and of an older state": (
        DB,
        JSON,
        changed(
            DB,
            lambda it: (
                it["metadata"].update(resourceVersion="6"),
                it["data"].update(gone=b64(MINT.placeholder("uid-db", "data.gone", "old"))),
            ),
        ),
        409,
        "data.gone",
    ),
    "another uid": (
        DB,
        JSON,
        changed(DB, lambda it: it["metadata"].update(uid="uid-else")),
        422,
        "metadata.uid",
    ),
    "an older value in an operation": (
        DB,
        STEPS,
        operation(
            op="replace", path="/data/password", value=b64(MINT.placeholder("uid-db", "data.password", "old"))
        ),
        409,
        "data.password",
    ),
    "a test against an older value": (
        DB,
        STEPS,
        operation(
            op="test", path="/data/password", value=b64(MINT.placeholder("uid-db", "data.password", "old"))
        ),
        409,
        "/data/password",
    ),
    "a test against a guess": (
        DB,
        STEPS,
        operation(op="test", path="/data/password", value=b64("hunter2 hunter2")),
        422,
        "/data/password",
    ),
    "a test of what is around": (
        DB,
        STEPS,
        operation(op="test", path="/data", value=DB.document["data"]),
        422,
        "/data",
    ),
    "a copy": (
        DB,
        STEPS,
        operation(op="copy", from_="/data/password", path="/metadata/annotations"),
        422,
        "/data/password",
    ),
    "a move": (
        DB,
        STEPS,
        operation(op="move", from_="/data/password", path="/data/motto"),
        422,
        "/data/password",
    ),
    "a copy of what is around": (
        ENV,
        STEPS,
        operation(
            op="copy", from_="/spec/template/spec/containers/0", path="/spec/template/spec/containers/1"
        ),
        422,
        "containers/0",
    ),
    "another name by an operation": (
        ENV,
        STEPS,
        operation(op="replace", path="/spec/template/spec/containers/0/env/1/name", value="MOTTO"),
        422,
        "env[1].value",
    ),
    "another name by a merge patch": (
        CUSTOM,
        MERGE,
        {"spec": {"pair": {"name": "MOTTO"}}},
        422,
        "spec.pair.value",
    ),
    "another name, where the value stands elsewhere too": (
        Case(
            widget(
                db={"password": "Pl4nted-same-3a5b7c"}, pair={"name": "TOKEN", "value": "Pl4nted-same-3a5b7c"}
            ),
            WIDGET,
        ),
        MERGE,
        {"spec": {"pair": {"name": "MOTTO"}}},
        422,
        "spec.pair.value",
    ),
    "another flag by an operation": (
        Case(web(args=["--password", "flag-word-2"]), WEB),
        STEPS,
        operation(op="replace", path="/spec/template/spec/containers/0/args/0", value="--motto"),
        422,
        "args[1]",
    ),
    "an operation out of nowhere": (
        DB,
        STEPS,
        operation(op="copy", from_="/data/-1", path="/data/x"),
        422,
        "/data/x",
    ),
    "an operation of no kind": (DB, STEPS, operation(op="guess", path="/data/x", value="y"), 422, "/data/x"),
    "a pointer that is none": (DB, STEPS, operation(op="add", path="data/x", value=PASSWORD), 422, "data/x"),
    "an operation that leaves no object": (
        DB,
        STEPS,
        operation(op="replace", path="", value=[PASSWORD]),
        422,
        "",
    ),
    "the words of an operation": (
        DB,
        STEPS,
        operation(op="add", path=f"/data/{PLAIN}", value="eA=="),
        422,
        "data.",
    ),
    "a release in an annotation": (
        HELM,
        MERGE,
        {"metadata": {"annotations": {"a": HELM.seen["data"]["release"]}}},
        422,
        "metadata.annotations.a",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused(name: str) -> None:
    case, media, body, code, path = REFUSED[name]
    refused = case.refused(media, body)
    assert refused.code == code
    assert any(path in fault.path for fault in refused.faults), refused
    for value in case.live.values.values():
        assert value.decode("latin-1") not in repr(refused)


def test_what_a_release_holds_stays_at_its_place_in_it() -> None:
    word = placeholders(HELM.seen["data"]["release"])[0]
    refused = HELM.refused(MERGE, {"data": {"release": release({"chart": {}, "motto": word})}})
    assert refused.faults[0].path == "data.release"


def test_what_holds_no_placeholder_goes_on_as_it_came() -> None:
    body = changed(DB, lambda it: it.update(data={"password": b64("mine")}))
    result = DB.write(JSON, body)
    assert isinstance(result, Restored)
    assert (result.resolve, result.version) == (None, "")


# Without an object


def test_nothing_can_be_resolved_in_a_new_object() -> None:
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "new"}, "data": {"password": PASSWORD}}
    for masker in (MASKER, None):
        refused = restore(Write(JSON, body, SECRET), None, masker)
        assert isinstance(refused, Unrestorable)
        assert (refused.code, refused.faults[0].path) == (422, "data.password")
    assert restore(Write(JSON, {"data": {"a": "b"}}, SECRET), None, None) == Restored()


def test_with_masking_off_no_placeholder_is_resolved() -> None:
    refused = restore(Write(MERGE, {"data": {"password": PASSWORD}}, SECRET), DB.live, None)
    assert isinstance(refused, Unrestorable)


def test_what_a_new_object_brings_is_shown_to_its_writer() -> None:
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "new"}, "data": {"a": b64("mine-1")}}
    result = restore(Write(JSON, body, SECRET), None, MASKER)
    assert isinstance(result, Restored)
    answer = {**copy.deepcopy(body), "metadata": metadata("new")}
    MASKER.document(answer, SECRET, echo=result.echo)
    assert answer["data"] == {"a": b64("mine-1")}


# The bounds


def test_a_body_that_is_not_what_it_says_is_refused() -> None:
    for media, body in (
        (MERGE, []),
        (STEPS, ["x"]),
        (STEPS, [{"op": 1, "path": "/a"}]),
        (STEPS, [{"op": "add"}]),
        (STEPS, [{"op": "copy", "path": "/a", "from": 1}]),
    ):
        refused = DB.refused(media, body)
        assert (refused.code, refused.faults[0].reason) == (422, MALFORMED)


def test_what_cannot_be_opened_is_refused() -> None:
    deep = b"x" + PLAIN.encode()
    for _ in range(4):
        deep = base64.b64encode(gzip.compress(deep))
    assert DB.refused(MERGE, {"data": {"x": deep.decode()}}).code == 422


def test_a_few_operations_cannot_make_gigabytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patches, "MOST_COPIED", 1000)
    grow = [{"op": "copy", "from": "/metadata", "path": f"/metadata/m{number}"} for number in range(12)]
    assert "copy more" in DB.refused(STEPS, grow).faults[0].reason


def test_not_every_fault_is_told() -> None:
    labels = {f"a{number}": PLAIN for number in range(50)}
    assert len(DB.refused(MERGE, {"metadata": {"labels": labels}}).faults) == MOST_FAULTS


# last-applied


def test_masked_text_may_stay_in_last_applied_and_is_not_resolved_there() -> None:
    case = Case(
        {
            **secret(password="hunter2 hunter2"),
            "metadata": metadata(
                "db", annotations={ANNOTATION: json.dumps(secret(password="hunter2 hunter2"))}
            ),
        },
        SECRET,
    )
    assert b64("hunter2 hunter2") not in case.seen["metadata"]["annotations"][ANNOTATION]
    assert case.sent(JSON, case.seen) == case.document
    file = json.dumps({"data": {"password": PASSWORD}, "old": b64(MINT.placeholder("uid-x", "y", "z"))})
    body = {
        "metadata": {"annotations": {ANNOTATION: file}},
        "data": {"password": case.seen["data"]["password"]},
    }
    sent = case.sent(MERGE, body)
    assert sent["metadata"]["annotations"][ANNOTATION] == file
    assert sent["data"]["password"] == b64("hunter2 hunter2")
    steps = [{"op": "add", "path": f"/metadata/annotations/{ANNOTATION.replace('/', '~1')}", "value": file}]
    assert case.sent(STEPS, steps) == steps


# Known values of other objects


def test_a_value_of_another_object_is_resolved_where_it_turned_up_and_nowhere_else() -> None:
    theirs = MINT.placeholder("uid-other", "data.password", "known-word")
    masker = Masker(STANDARD, Tokens(), MINT, Remembered("known-word", theirs))
    case = Case(config(note="they use known-word there", other="x"), CONFIG, masker)
    assert theirs in case.seen["data"]["note"]
    assert case.sent(JSON, case.seen) == case.document
    edited = {"data": {"note": f"now they use {theirs}"}}
    assert case.sent(MERGE, edited) == {"data": {"note": "now they use known-word"}}
    assert case.refused(MERGE, {"data": {"other": theirs}}).faults[0].path == "data.other"
    assert case.refused(MERGE, {"metadata": {"labels": {"a": theirs}}}).code == 422


def test_a_value_that_is_repeated_in_its_object_stays_where_it_is_and_nowhere_else() -> None:
    case = Case(
        widget(db={"password": "Tw1ce-t0ld-9f3c7e"}, note="it is Tw1ce-t0ld-9f3c7e", other="x"), WIDGET
    )
    (repeated,) = placeholders(case.seen["spec"]["note"])
    assert repeated not in case.seen["spec"]["db"].values()
    assert case.sent(JSON, case.seen) == case.document
    assert case.sent(MERGE, {"spec": {"note": f"and {repeated}"}}) == {
        "spec": {"note": "and Tw1ce-t0ld-9f3c7e"}
    }
    assert case.refused(MERGE, {"spec": {"other": repeated}}).faults[0].path == "spec.other"


# What is bound to the state of the object


def version(result: Restored | Unrestorable) -> str:
    assert isinstance(result, Restored)
    return result.version


def test_only_what_rests_on_the_state_of_the_object_is_bound_to_it() -> None:
    assert version(DB.write(MERGE, {"data": {"password": PASSWORD}})) == "7"
    assert version(DB.write(STEPS, operation(op="test", path="/metadata/name", value="db"))) == "7"
    assert version(DB.write(STEPS, operation(op="remove", path="/data/user"))) == ""
    assert version(DB.write(MERGE, {"data": {"new": "eA=="}})) == ""
    assert (
        version(Case(config(a="b"), CONFIG).write(STEPS, operation(op="test", path="/data/a", value="c")))
        == ""
    )
    assert reads_object(STEPS, operation(op="copy", from_="/a", path="/b"))
    assert not reads_object(MERGE, {"op": "copy"})


def test_a_body_is_bound_in_the_way_of_its_format() -> None:
    assert orjson.loads(pinned(b'{"data":{}}', MERGE, "7")) == {
        "data": {},
        "metadata": {"resourceVersion": "7"},
    }
    assert orjson.loads(pinned(b'{"metadata":{"name":"a","resourceVersion":null}}', MERGE, "7"))[
        "metadata"
    ] == {
        "name": "a",
        "resourceVersion": "7",
    }
    assert (
        orjson.loads(pinned(b'{"metadata":{"resourceVersion":"6"}}', JSON, "7"))["metadata"][
            "resourceVersion"
        ]
        == "6"
    )
    assert orjson.loads(pinned(b'[{"op":"remove","path":"/a"}]', STEPS, "7"))[0] == {
        "op": "replace",
        "path": "/metadata/resourceVersion",
        "value": "7",
    }
    with pytest.raises(UnpinnableError):
        pinned(b'{"metadata":["x"]}', MERGE, "7")


def test_numbers_stay_as_they_are_spelled() -> None:
    raw = b'{"a":1e3,"b":1.0,"c":123456789012345678901234567890,"d":-0.10,"e":[12],"f":"x"}'
    assert restored(raw, Decoded({}, MERGE), lambda text, path: text.upper()) == raw.replace(b'"x"', b'"X"')
    assert pinned(b'{"a":1e3}', MERGE, "7") == b'{"a":1e3,"metadata":{"resourceVersion":"7"}}'


def test_yaml_goes_on_as_json() -> None:
    raw = b"a: x\nb: [1, true, null]\n"
    assert (
        restored(raw, Decoded({"a": "x", "b": [1, True, None]}, APPLY), lambda text, path: text * 2)
        == b'{"a":"xx","b":[1,true,null]}'
    )
    assert restored(raw, Decoded({}, APPLY), None) is raw


# What the agent wrote itself


def test_own_values_are_echoed_and_counted_where_the_object_has_a_masked_one() -> None:
    result = DB.write(
        MERGE,
        {"data": {"password": b64("my guess 1"), "fresh": b64("mine")}, "metadata": {"labels": {"a": "b"}}},
    )
    assert isinstance(result, Restored)
    assert result.guesses == {("data.password", "my guess 1")}
    assert {("data.password", "my guess 1"), ("data.fresh", "mine")} <= set(result.echo)
    assert not any("hunter2" in str(value) or "masked-" in str(value) for _, value in result.echo)


def test_what_is_written_to_string_data_is_echoed_in_data() -> None:
    texts = {"password": "my guess 2", "a.b": "x", "token": base64.b64decode(TOKEN).decode(), "n": 1}
    result = DB.write(MERGE, {"stringData": texts})
    assert isinstance(result, Restored)
    assert result.guesses == {("data.password", "my guess 2")}
    assert {("data.password", b64("my guess 2")), ('data["a.b"]', b64("x"))} <= set(result.echo)
    assert not any("masked-" in str(value) for _, value in result.echo)
    assert isinstance(DB.write(MERGE, {"stringData": "x"}), Restored)


def test_a_placeholder_is_no_guess() -> None:
    result = DB.write(JSON, DB.seen)
    assert isinstance(result, Restored)
    assert result.guesses == frozenset()


# Path, query and selectors


def test_a_placeholder_beside_the_body_is_seen() -> None:
    assert in_target(f"/api/v1/namespaces/a/secrets/{PLAIN}", ())
    assert in_target("/api/v1/pods", (("labelSelector", f"a={PLAIN}"),))
    assert in_target("/api/v1/pods", ((PLAIN, ""),))
    assert in_target("/api/v1/pods", (("command", "echo"), ("command", PASSWORD)))
    assert not in_target("/api/v1/pods", (("labelSelector", "a=masked-singer"),))
    assert not in_target("/api/v1/pods", ())
    deep = b"x"
    for _ in range(4):
        deep = base64.b64encode(gzip.compress(deep))
    assert in_target("/api/v1/pods", (("a", deep.decode()),))


SELECTORS = {
    "spec.password=guess": True,
    "metadata.name=a,spec.db.password!=guess": True,
    "spec.apiToken==guess": True,
    "metadata.name=a": False,
    "metadata.namespace!=b": False,
    "spec.nodeName=n,status.phase=Running": False,
    "spec.size": False,
    "": False,
    "=": False,
}


@pytest.mark.parametrize("selector", SELECTORS)
def test_a_selector_on_a_masked_field(selector: str) -> None:
    assert selects_secret(selector, WIDGET, MASKER) is SELECTORS[selector]


def test_selectors_of_secrets_pass() -> None:
    assert not selects_secret("type=Opaque,metadata.name=a,metadata.namespace=b", SECRET, MASKER)


def test_a_selector_may_name_an_item_of_a_list() -> None:
    assert selects_secret("spec.users[0].password=x", WIDGET, MASKER)


# Laws

few = settings(max_examples=30, deadline=None)

KEYS = st.from_regex(r"[a-z][a-z0-9._-]{0,8}", fullmatch=True)
LEAVES = st.one_of(st.text(max_size=30), st.integers(-(2**63), 2**63 - 1), st.booleans(), st.none())
TREES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.one_of(KEYS, st.sampled_from(["password", "token", "name", "value", "url"])), inner, max_size=4
        ),
    ),
    max_leaves=12,
)


@few
@given(st.dictionaries(KEYS, st.binary(max_size=40), max_size=5))
def test_any_secret_can_be_put_back(data: dict[str, bytes]) -> None:
    case = Case({**secret(), "data": {key: b64(value) for key, value in data.items()}}, SECRET)
    for media in (JSON, MERGE, STRATEGIC, APPLY):
        assert case.sent(media, case.seen) == case.document


@few
@given(st.dictionaries(KEYS, TREES, max_size=4))
def test_any_custom_resource_can_be_put_back(spec: dict[str, Any]) -> None:
    case = Case(widget(**spec), WIDGET)
    for media in (JSON, MERGE, APPLY):
        assert case.sent(media, case.seen) == case.document
    steps = [{"op": "replace", "path": "/spec", "value": case.seen["spec"]}]
    assert case.sent(STEPS, steps) == [{"op": "replace", "path": "/spec", "value": case.document["spec"]}]


@few
@given(st.dictionaries(KEYS, TREES, max_size=4), st.text(max_size=20))
def test_no_placeholder_of_any_object_gets_into_a_label(spec: dict[str, Any], around: str) -> None:
    case = Case(widget(**spec), WIDGET)
    for placeholder in case.live.own:
        case.refused(MERGE, {"metadata": {"labels": {"a": around + placeholder}}})


# Small things


def test_what_is_masked_is_in_no_repr() -> None:
    result = DB.write(JSON, DB.seen)
    assert "hunter2" not in repr(result) + repr(DB.live) + repr(Write(JSON, DB.document, SECRET))


def test_a_value_that_is_no_text_is_told_by_its_path() -> None:
    with pytest.raises(NotTextError) as caught:
        mapped({"a": [base64.b64decode(DB.seen["data"]["blob"]).decode()]}, DB.live.resolved)
    assert caught.value.path == ("a", 0)
