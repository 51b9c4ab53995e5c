"""What the records of a mutation hold of its objects, over a whole gateway: masked, bounded, and never in the way."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from chaperone.core.body import Media
from chaperone.core.masking import Masker, Terms
from chaperone.core.masking.recorded import WITHOUT_OBJECT
from gateway.changes import MOST_BYTES, OPAQUE
from gateway.limits import RunKey
from tests.gateway.stage import Reply, Scene, Stage, play, policy
from tests.gateway.test_restoring import (
    ENGINE,
    HELD,
    MASKED,
    PATH,
    PLACEHOLDER,
    VALUE,
    Engine,
    allow,
    b64,
    live,
    send,
)
from tests.gateway.upstream import Seen, Upstream, reply

ALLOW = {"name": "all", "match": {}, "action": "Allow"}
UNMASKED = policy(ALLOW, masking={"profile": "Off", "reason": "a test"})
POD = "/api/v1/namespaces/dev/pods/p"
PODS = "/api/v1/namespaces/dev/pods"
CONFIG = "/api/v1/namespaces/dev/configmaps/c"
MERGE = Media.MERGE_PATCH.value
TOO_LARGE = f"it is larger than {MOST_BYTES} bytes"


def config(text: str = "one", **metadata: Any) -> dict[str, Any]:
    named = {"name": "c", "namespace": "dev", "uid": "uid-c", "resourceVersion": "3", **metadata}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": named, "data": {"a": text}}


@dataclass
class Api:
    """found: the answer to each read; left: to each write."""

    found: bytes = field(default_factory=lambda: reply(200, json.dumps(config()).encode()))
    left: bytes = field(default_factory=lambda: reply(200, json.dumps(config("two")).encode()))
    reads: list[Seen] = field(default_factory=list)

    async def __call__(self, seen: Seen, _reader: object, writer: asyncio.StreamWriter) -> None:
        if seen.method == "GET":
            self.reads.append(seen)
        writer.write(self.found if seen.method == "GET" else self.left)


def objects(code: int, document: Any, *headers: str) -> bytes:
    return reply(code, json.dumps(document).encode(), *headers)


@dataclass
class Records:
    """Of one mutation."""

    received: Mapping[str, Any]
    complete: Mapping[str, Any]
    reply: Reply

    @property
    def text(self) -> str:
        return json.dumps([self.received, self.complete])


def records_of(
    raw: bytes, api: Api | None = None, *, governed: Any = MASKED, spend: Any = None, **more: Any
) -> Records:
    """One mutation through the gateway."""
    seen: list[Records] = []

    async def scene(stage: Stage) -> None:
        if spend is not None:
            stage.holds.decision = spend
        answer = await stage.exchange(raw)
        await stage.settle(lambda: bool(stage.audit.records))
        received = stage.audit.durable_records[0] if stage.audit.durable_records else {}
        seen.append(Records(received, stage.audit.records[-1], answer))

    act(scene, api or Api(), governed, **more)
    return seen[0]


def act(scene: Scene, api: Api, governed: Any, **more: Any) -> None:
    play(scene, policies=(governed,), upstream=Upstream(api), **({"masking": ENGINE} | more))


def test_an_update_is_recorded_with_what_it_found_and_what_it_left() -> None:
    made = records_of(send("PUT", CONFIG, config("two")))
    assert made.received["requestObject"] == config("two")
    assert made.received["requestContentType"] == "application/json"
    assert made.received["objectBefore"] == {"state": "Present", "object": config()}
    assert made.received["level"] == made.complete["level"] == "RequestResponse"
    assert made.complete["responseObject"] == config("two")
    assert "unrecorded" not in made.received
    assert "unrecorded" not in made.complete
    assert "requestObject" not in made.complete


def test_the_object_is_read_once_where_masking_reads_it_anyway() -> None:
    api = Api()
    records_of(send("PUT", CONFIG, config("two")), api)
    assert [seen.target for seen in api.reads] == [CONFIG]


def test_a_read_has_no_objects_in_its_record() -> None:
    made = records_of(
        f"GET {CONFIG} HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer agent-token\r\n\r\n".encode()
    )
    assert made.complete["level"] == "Metadata"
    assert not made.complete.keys() & {"requestObject", "objectBefore", "responseObject", "unrecorded"}


def test_a_secret_is_masked_in_all_three_and_unlike_in_the_answer_also_what_the_agent_wrote() -> None:
    new = "a-value-that-is-new"
    api = Api(objects(200, live()), objects(200, live(new)))
    made = records_of(send("PUT", PATH, live(new)), api)
    for word in (VALUE, b64(VALUE), new, b64(new)):
        assert word not in made.text
    assert made.received["objectBefore"]["object"]["data"]["password"] == PLACEHOLDER
    asked, left = (made.received["requestObject"], made.complete["responseObject"])
    assert asked["data"]["password"] == left["data"]["password"] != PLACEHOLDER


def test_a_placeholder_that_came_is_recorded_as_it_came() -> None:
    api = Api(objects(200, live()), objects(200, live()))
    made = records_of(send("PATCH", PATH, {"data": {"password": PLACEHOLDER}}, MERGE), api)
    assert made.received["requestObject"] == {"data": {"password": PLACEHOLDER}}
    assert made.complete["responseObject"]["data"]["password"] == PLACEHOLDER
    assert VALUE not in made.text


def test_records_are_masked_also_where_answers_are_not() -> None:
    api = Api(objects(200, live()), objects(200, live()))
    made = records_of(send("PATCH", PATH, {"data": {"password": b64(VALUE)}}, MERGE), api, governed=UNMASKED)
    assert b64(VALUE).encode() in made.reply.body
    assert VALUE not in made.text
    assert b64(VALUE) not in made.text
    assert made.received["objectBefore"]["object"]["data"]["password"] == PLACEHOLDER


def test_what_was_created_was_not_there_before_and_nobody_looks() -> None:
    api = Api()
    made = records_of(send("POST", "/api/v1/namespaces/dev/configmaps", config()), api)
    assert made.received["objectBefore"] == {"state": "Absent"}
    assert made.complete["responseObject"] == config("two")
    assert api.reads == []


def test_what_is_deleted_is_recorded_first() -> None:
    api = Api(left=objects(200, {"kind": "Status", "status": "Success"}))
    made = records_of(send("DELETE", CONFIG, {"kind": "DeleteOptions", "apiVersion": "v1"}), api)
    assert made.received["objectBefore"]["object"] == config()
    assert made.received["requestObject"] == {"kind": "DeleteOptions", "apiVersion": "v1"}
    assert made.complete["responseObject"]["kind"] == "Status"


def test_managed_fields_are_left_out() -> None:
    managed = config(managedFields=[{"manager": "kubectl"}])
    made = records_of(send("PUT", CONFIG, config("two")), Api(objects(200, managed), objects(200, managed)))
    assert made.received["objectBefore"]["object"] == config()
    assert made.complete["responseObject"] == config()


def listed(*items: Mapping[str, Any], more: str = "") -> bytes:
    plain = [
        {key: value for key, value in item.items() if key not in ("kind", "apiVersion")} for item in items
    ]
    metadata = {"resourceVersion": "9", **({"continue": more} if more else {})}
    return objects(200, {"kind": "ConfigMapList", "apiVersion": "v1", "metadata": metadata, "items": plain})


COLLECTION = "/api/v1/namespaces/dev/configmaps?labelSelector=a%3Db&limit=1"


def test_a_collection_is_recorded_object_by_object() -> None:
    api = Api(listed(config("one"), config("two")))
    made = records_of(send("DELETE", COLLECTION, b""), api)
    assert made.received["objectBefore"] == {
        "state": "Present",
        "items": [config("one"), config("two")],
        "truncated": False,
    }
    (read,) = api.reads
    assert read.target == "/api/v1/namespaces/dev/configmaps?labelSelector=a%3Db&limit=500"


@pytest.mark.parametrize("found", [listed(config(), more="next"), listed(config(), config("x" * MOST_BYTES))])
def test_a_collection_says_when_it_is_not_all(found: bytes) -> None:
    made = records_of(send("DELETE", COLLECTION, b""), Api(found))
    assert made.received["objectBefore"] == {"state": "Present", "items": [config()], "truncated": True}


def test_a_dry_run_changes_nothing_and_only_its_body_is_recorded() -> None:
    made = records_of(send("PUT", f"{CONFIG}?dryRun=All", config("two")))
    assert made.received["requestObject"] == config("two")
    assert "objectBefore" not in made.received
    assert "responseObject" not in made.complete


def test_a_scale_is_its_own_object() -> None:
    path = "/apis/apps/v1/namespaces/dev/deployments/web/scale"
    scale = {"kind": "Scale", "apiVersion": "autoscaling/v1", "spec": {"replicas": 3}}
    api = Api(objects(200, scale), objects(200, scale | {"spec": {}}))
    made = records_of(send("PATCH", path, {"spec": {"replicas": 0}}, MERGE), api)
    assert made.received["objectBefore"]["object"] == scale
    assert {seen.target for seen in api.reads} == {path}


def test_a_subresource_without_a_state_says_so() -> None:
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}}
    made = records_of(send("POST", f"{POD}/eviction", body))
    assert made.received["objectBefore"] == {
        "state": "Unknown",
        "reason": "pods/eviction have no state of their own",
    }
    assert made.received["requestObject"] == body


UNREAD = (
    (403, "the agent may not read it"),
    (500, "reading it was answered 500"),
)


@pytest.mark.parametrize(("code", "reason"), UNREAD)
def test_what_cannot_be_read_is_unknown_and_the_request_goes_on(code: int, reason: str) -> None:
    made = records_of(send("DELETE", CONFIG, b""), Api(objects(code, {"kind": "Status"})))
    assert made.reply.code == 200
    assert made.received["objectBefore"] == {"state": "Unknown", "reason": reason}
    assert made.received["level"] == "Metadata"


def test_a_collection_that_cannot_be_read_is_unknown() -> None:
    made = records_of(send("DELETE", COLLECTION, b""), Api(objects(403, {"kind": "Status"})))
    assert made.received["objectBefore"] == {"state": "Unknown", "reason": "the agent may not read it"}


def test_a_patch_of_what_cannot_be_read_is_not_recorded() -> None:
    api = Api(objects(403, {"kind": "Status"}))
    made = records_of(send("PATCH", CONFIG, {"data": {"a": "two"}}, MERGE), api)
    assert made.reply.code == 200
    assert "requestObject" not in made.received
    assert made.received["unrecorded"] == {"requestObject": WITHOUT_OBJECT}


def test_an_object_that_is_not_there_yet_was_absent() -> None:
    made = records_of(send("PUT", CONFIG, config()), Api(objects(404, {"kind": "Status"})))
    assert made.received["objectBefore"] == {"state": "Absent"}


def test_what_is_too_large_is_left_out_and_that_is_said() -> None:
    large = config("x" * MOST_BYTES)
    made = records_of(send("PUT", CONFIG, large), Api(objects(200, large), objects(200, large)))
    assert made.reply.code == 200
    assert made.received["unrecorded"] == {"requestObject": TOO_LARGE, "objectBefore": TOO_LARGE}
    assert made.received["objectBefore"] == {"state": "Unknown", "reason": TOO_LARGE}
    assert made.complete["unrecorded"] == {"responseObject": TOO_LARGE}
    assert made.complete["level"] == "Metadata"


def test_a_body_in_protobuf_is_not_recorded() -> None:
    raw = send(
        "POST", "/api/v1/namespaces/dev/configmaps", b"k8s\x00abc", "application/vnd.kubernetes.protobuf"
    )
    made = records_of(raw, governed=UNMASKED)
    assert made.received["unrecorded"] == {"requestObject": OPAQUE}


def test_a_question_changes_nothing() -> None:
    review = {"kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1", "spec": {}}
    made = records_of(send("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review))
    assert made.received["requestObject"] == review
    assert "objectBefore" not in made.received
    assert "responseObject" not in made.complete


def packed(document: Any, *, cut: int = 0, encoding: str = "gzip") -> bytes:
    body = gzip.compress(json.dumps(document).encode())
    return reply(200, body[: len(body) - cut], f"Content-Encoding: {encoding}")


def test_an_answer_in_gzip_is_unpacked() -> None:
    made = records_of(send("PUT", CONFIG, config("two")), Api(left=packed(config("two"))), governed=UNMASKED)
    assert made.complete["responseObject"] == config("two")


UNCOPIED = (
    (packed(config("x" * MOST_BYTES)), TOO_LARGE),
    (packed(config(), encoding="br"), "it is encoded in a way that is not known"),
    (reply(200, b"\x1f\x8b\x08zzzz", "Content-Encoding: gzip"), "it is damaged"),
    (reply(200, b"[]"), "it is not one JSON object"),
    (reply(200, b"{"), "it is not one JSON object"),
    (
        reply(200, b"k8s\x00").replace(b"application/json", b"application/vnd.kubernetes.protobuf"),
        "it is not JSON",
    ),
)


@pytest.mark.parametrize(("left", "reason"), UNCOPIED)
def test_an_answer_that_cannot_be_read_is_not_recorded(left: bytes, reason: str) -> None:
    made = records_of(send("PUT", CONFIG, config("two")), Api(left=left), governed=UNMASKED)
    assert made.reply.code == 200
    assert made.complete["unrecorded"] == {"responseObject": reason}


def test_a_refusal_leaves_nothing() -> None:
    made = records_of(send("PUT", CONFIG, config("two")), Api(left=objects(409, {"kind": "Status"})))
    assert made.complete["responseStatus"] == {"code": 409}
    assert "responseObject" not in made.complete


OFF: tuple[tuple[dict[str, str], set[str], set[str]], ...] = (
    ({"requestBodies": "Off"}, {"objectBefore"}, {"responseObject"}),
    ({"objectStates": "Off"}, {"requestObject", "requestContentType"}, set()),
    ({"requestBodies": "Off", "objectStates": "Off"}, set(), set()),
)


@pytest.mark.parametrize(("recording", "received", "complete"), OFF)
def test_a_policy_may_do_without(recording: dict[str, str], received: set[str], complete: set[str]) -> None:
    governed = policy(ALLOW, masking={"profile": "Standard"}, recording=recording)
    fields = {"requestObject", "requestContentType", "objectBefore", "responseObject"}
    made = records_of(send("PUT", CONFIG, config("two")), governed=governed)
    assert made.received.keys() & fields == received
    assert made.complete.keys() & fields == complete


def test_a_patch_is_read_for_its_body_alone() -> None:
    governed = policy(
        ALLOW, masking={"profile": "Off", "reason": "a test"}, recording={"objectStates": "Off"}
    )
    api = Api(objects(200, live()))
    made = records_of(send("PATCH", PATH, {"data": {"password": b64(VALUE)}}, MERGE), api, governed=governed)
    assert made.received["requestObject"] == {"data": {"password": PLACEHOLDER}}
    assert len(api.reads) == 1


def test_without_an_engine_that_masks_nothing_is_recorded() -> None:
    made = records_of(send("PUT", CONFIG, config("two")), governed=UNMASKED, masking=None)
    assert made.received["level"] == "Metadata"
    assert "requestObject" not in made.received


class BrokenMasker(Masker):
    def document(self, *_args: Any, **_more: Any) -> Any:
        raise RuntimeError(f"something about {VALUE}")


class BrokenEngine(Engine):
    def masker(self, terms: Terms, run: RunKey) -> Masker:
        return BrokenMasker(self.one.terms, self.one.detector, self.one.mint)


def test_when_masking_fails_nothing_is_recorded_and_the_request_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    api = Api(objects(200, live()), objects(200, live()))
    raw = send("PUT", PATH, live())
    made = records_of(raw, api, governed=UNMASKED, masking=BrokenEngine())
    assert made.reply.code == 200
    assert made.received["unrecorded"].keys() == {"requestObject", "objectBefore"}
    assert made.complete["unrecorded"] == {"responseObject": "it could not be masked and written down"}
    assert VALUE not in made.text + caplog.text
    assert b64(VALUE) not in made.text


def test_numbers_that_a_record_cannot_hold_leave_the_body_out() -> None:
    body = config() | {"number": 2**70}
    made = records_of(send("PUT", CONFIG, body))
    assert made.reply.code == 200
    assert "written down" in made.received["unrecorded"]["requestObject"]


def test_what_was_held_is_about_the_object_of_the_moment_it_is_executed() -> None:
    api = Api()
    made = records_of(send("PUT", CONFIG, config("two")), api, governed=HELD, spend=allow)
    assert made.received["approval"]["name"]
    assert made.received["objectBefore"]["object"] == config()
    assert len(api.reads) == 2


def test_data_that_is_binary_is_masked_as_what_it_is() -> None:
    raw = base64.b64encode(b"\xff\xfe\x00secret").decode()
    found = live() | {"data": {"password": raw}}
    made = records_of(send("DELETE", PATH, b""), Api(objects(200, found)))
    assert raw not in made.text


def denied(expression: str) -> Any:
    rules = ({"name": "no", "match": {"expression": expression}, "action": "Deny"}, ALLOW)
    return policy(*rules, masking={"profile": "Standard"})


def test_what_policy_denies_is_recorded_as_it_was_tried() -> None:
    body = config() | {"data": {"db.password": VALUE}}
    governed = denied("object.metadata.name == 'c'")
    made = records_of(send("POST", "/api/v1/namespaces/dev/configmaps", body), governed=governed)
    assert made.reply.code == 403
    assert made.received == {}
    assert made.complete["requestObject"]["metadata"]["name"] == "c"
    assert made.complete["level"] == "RequestResponse"
    assert VALUE not in made.text


def test_what_is_denied_by_its_path_alone_has_no_body_to_record() -> None:
    governed = policy({"name": "no", "match": {"verbs": ["create"]}, "action": "Deny"})
    made = records_of(send("POST", "/api/v1/namespaces/dev/configmaps", config()), governed=governed)
    assert made.reply.code == 403
    assert "requestObject" not in made.complete


def test_a_denied_body_is_not_recorded_where_policy_does_without() -> None:
    governed = denied("true")
    governed["spec"]["recording"] = {"requestBodies": "Off"}
    made = records_of(send("POST", "/api/v1/namespaces/dev/configmaps", config()), governed=governed)
    assert made.reply.code == 403
    assert "requestObject" not in made.complete
