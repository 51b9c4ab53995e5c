"""Placeholders on the data path: what reaches the API server, what does not, and what is recorded of it."""

from __future__ import annotations

import asyncio
import base64
import copy
import json
import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from chaperone.core.body import Media
from chaperone.core.masking import (
    STANDARD,
    Collect,
    Echo,
    Masker,
    Mint,
    Place,
    SecretPlace,
    Span,
    Terms,
)
from chaperone.core.masking.placeholder import MARKER
from chaperone.core.request import Request
from chaperone.core.verdict import Verdict
from gateway.guesses import MOST_GUESSES
from gateway.http.body_filter import BodyFilter
from gateway.limits import RunKey
from gateway.services import Gather, Spend
from gateway.standing import Standing
from tests.gateway.stage import ALLOW_ALL, Reply, Scene, Stage, play, policy
from tests.gateway.test_exchange import approval
from tests.gateway.upstream import Seen, Upstream, reply

MASKED = policy({"name": "all", "match": {}, "action": "Allow"}, masking={"profile": "Standard"})
MONITORED = policy(
    {"name": "none", "match": {}, "action": "Deny"}, masking={"profile": "Standard"}, mode="Monitor"
)
HELD = policy(
    {"name": "ask", "match": {"verbs": ["update", "patch"]}, "action": "RequireApproval"},
    {"name": "all", "match": {}, "action": "Allow"},
    masking={"profile": "Standard"},
)
PATH = "/api/v1/namespaces/dev/secrets/db"
SECRET = Place("", "secrets", "dev", "db")
VALUE = "hunter2-correct-horse"
MERGE, STEPS = Media.MERGE_PATCH.value, Media.JSON_PATCH.value


class Finds:
    """A detector that finds nothing."""

    def spans(self, text: str) -> list[Span]:
        return []

    def scan(self, texts: Any) -> list[tuple[int, Span]]:
        return []

    def hits(self, raw: bytes) -> bool:
        return False


class Engine:
    """Masks for real. collected: what it was told to remember."""

    def __init__(self) -> None:
        self.one = Masker(STANDARD, Finds(), Mint(b"k" * 32))
        self.collected: list[SecretPlace] = []

    def masker(self, terms: Terms, run: RunKey) -> Masker:
        return self.one

    def collect(self, run: RunKey) -> Collect:
        return self.collected.append


ENGINE = Engine()


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def live(value: str = VALUE, version: str = "7") -> dict[str, Any]:
    metadata = {"name": "db", "namespace": "dev", "uid": "uid-db", "resourceVersion": version}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": {"password": b64(value)}}


def seen_by_agent(document: Mapping[str, Any]) -> dict[str, Any]:
    shown = copy.deepcopy(dict(document))
    ENGINE.one.document(shown, SECRET)
    return shown


PLACEHOLDER = seen_by_agent(live())["data"]["password"]
PLAIN = base64.b64decode(PLACEHOLDER).decode()


class Api:
    """An API server that has one Secret. read: the codes of reading it, one after another; the last one stays."""

    def __init__(self, *documents: Mapping[str, Any], read: int = 200) -> None:
        self.documents = list(documents) or [live()]
        self.read = read

    async def __call__(self, seen: Seen, _reader: object, writer: asyncio.StreamWriter) -> None:
        if seen.method == "GET":
            document = self.documents.pop(0) if len(self.documents) > 1 else self.documents[0]
            body = json.dumps(document if self.read == 200 else {"kind": "Status"}).encode()
            writer.write(reply(self.read, body))
        else:
            writer.write(reply(200, seen.body or b"{}"))


def send(method: str, target: str, body: bytes | Any, content_type: str = "application/json") -> bytes:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [
        f"{method} {target} HTTP/1.1",
        "Host: gateway",
        "Authorization: Bearer agent-token",
        f"Content-Length: {len(data)}",
        f"Content-Type: {content_type}",
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + data


def writes(stage: Stage, *, dry: bool = False) -> list[Seen]:
    """What went on as a write; dry runs of the gateway's own are none."""
    return [
        seen
        for seen in stage.upstream.requests
        if seen.method != "GET" and (dry or "dryRun" not in seen.target)
    ]


def act(scene: Scene, *, api: Api | None = None, policies: tuple[Any, ...] = (MASKED,), **more: Any) -> None:
    play(scene, policies=policies, upstream=Upstream(api or Api()), masking=ENGINE, **more)


def test_a_placeholder_is_resolved_before_it_goes_on() -> None:
    async def scene(stage: Stage) -> None:
        document = seen_by_agent(live()) | {"type": "Opaque"}
        assert (await stage.exchange(send("PUT", PATH, document))).code == 200
        (sent,) = writes(stage)
        assert json.loads(sent.body) == live() | {"type": "Opaque"}
        told = json.dumps([*stage.audit.records, *stage.audit.durable_records])
        assert VALUE not in told
        assert b64(VALUE) not in told

    act(scene)


@pytest.mark.parametrize(
    ("body", "content_type", "expected"),
    [
        (
            {"data": {"password": PLACEHOLDER}},
            MERGE,
            {"data": {"password": b64(VALUE)}, "metadata": {"resourceVersion": "7"}},
        ),
        (
            [{"op": "test", "path": "/data/password", "value": PLACEHOLDER}],
            STEPS,
            [
                {"op": "replace", "path": "/metadata/resourceVersion", "value": "7"},
                {"op": "test", "path": "/data/password", "value": b64(VALUE)},
            ],
        ),
    ],
)
def test_it_is_bound_to_the_state_it_was_read_from(body: Any, content_type: str, expected: Any) -> None:
    async def scene(stage: Stage) -> None:
        assert (await stage.exchange(send("PATCH", PATH, body, content_type))).code == 200
        (sent,) = writes(stage)
        assert json.loads(sent.body) == expected

    act(scene)


def test_what_holds_no_placeholder_goes_on_byte_for_byte() -> None:
    body = b'{ "data": {"new": "eA=="},  "x": 1e3}'

    async def scene(stage: Stage) -> None:
        assert (await stage.exchange(send("PATCH", PATH, body, MERGE))).code == 200
        (sent,) = writes(stage)
        assert sent.body == body

    act(scene)


REFUSED: dict[str, tuple[bytes, int]] = {
    "a new object": (send("POST", PATH.removesuffix("/db"), {"data": {"a": PLACEHOLDER}}), 422),
    "a label": (send("PATCH", PATH, {"metadata": {"labels": {"a": PLAIN}}}, MERGE), 422),
    "of another object": (send("PATCH", PATH, {"data": {"password": b64(MARKER + "a" * 24)}}, MERGE), 422),
    "an older value": (send("PATCH", PATH, {"data": {"password": b64(PLAIN[:15] + "a" * 16)}}, MERGE), 409),
    "a body that cannot be bound": (
        send("PATCH", PATH, {"metadata": [1], "data": {"password": PLACEHOLDER}}, MERGE),
        422,
    ),
    "a body that cannot be read": (send("PATCH", PATH, PLAIN.encode(), MERGE), 400),
    "the options of a delete": (send("DELETE", PATH, {"preconditions": {"uid": PLAIN}}), 422),
    "protobuf": (send("PUT", PATH, b"k8s\0" + PLAIN.encode(), "application/vnd.kubernetes.protobuf"), 415),
    "protobuf that cannot be searched": (
        send(
            "PUT",
            PATH,
            b"k8s\0\n" + base64.b64encode(b"\x1f\x8b\x08" + b"\0" * 9),
            "application/vnd.kubernetes.protobuf",
        ),
        200,
    ),
    "CBOR": (send("PUT", PATH, b"\xd9\xd9\xf7\xa0", "application/cbor"), 415),
    "what is behind a proxy": (
        send("POST", "/api/v1/namespaces/dev/services/a/proxy/x", PLAIN.encode(), "text/plain"),
        422,
    ),
    "what is no resource": (send("POST", "/somewhere", PLAIN.encode(), "text/plain"), 422),
    "a path": (send("PATCH", f"{PATH}{PLAIN}", {}, MERGE), 422),
    "a query": (send("PATCH", f"{PATH}?fieldManager={PLAIN}", {}, MERGE), 422),
    "a name": (send("POST", "/api/v1/namespaces/dev/pods/p/eviction", {"metadata": {"name": PLAIN}}), 422),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize(
    "policies", [(MASKED,), (MONITORED,), (ALLOW_ALL,)], ids=["Standard", "Monitor", "Off"]
)
def test_no_placeholder_is_sent_on(name: str, policies: tuple[Any, ...]) -> None:
    raw, code = REFUSED[name]

    async def scene(stage: Stage) -> None:
        answer = await stage.exchange(raw)
        if code == 200:
            assert answer.code == 200
            return
        assert answer.code == (422 if policies == (ALLOW_ALL,) and code == 409 else code)
        assert answer.status["message"]
        assert not writes(stage)
        assert MARKER.encode() not in bytes(stage.upstream.received)

    act(scene, policies=policies)


def test_without_masking_a_placeholder_is_refused_before_anything_is_asked() -> None:
    async def scene(stage: Stage) -> None:
        answer = await stage.exchange(send("PUT", PATH, seen_by_agent(live())))
        assert (answer.code, "data.password" in answer.status["message"]) == (422, True)
        stage.assert_untouched()

    play(scene, upstream=Upstream(Api()))


def test_a_refusal_names_the_fields() -> None:
    labels = {f"a{number}": PLAIN for number in range(8)}

    async def scene(stage: Stage) -> None:
        answer = await stage.exchange(send("PATCH", PATH, {"metadata": {"labels": labels}}, MERGE))
        assert [cause["field"] for cause in answer.status["details"]["causes"]] == [
            f"metadata.labels.a{number}" for number in range(8)
        ]
        assert "(and 3 more)" in answer.status["message"]
        (record,) = stage.audit.records
        assert "metadata.labels.a7" in record["reason"]

    act(scene)


@pytest.mark.parametrize("code", [401, 403, 404, 405])
def test_who_cannot_read_the_object_has_no_placeholder_of_it(code: int) -> None:
    async def scene(stage: Stage) -> None:
        answer = await stage.exchange(send("PATCH", PATH, {"data": {"password": PLACEHOLDER}}, MERGE))
        assert answer.code == 422
        steps = [{"op": "copy", "from": "/data/password", "path": "/metadata/labels"}]
        answer = await stage.exchange(send("PATCH", PATH, steps, STEPS))
        assert answer.code == (200 if code == 404 else 403)
        new = {"data": {"new": "eA=="}}
        assert (await stage.exchange(send("PATCH", PATH, new, MERGE))).code == 200
        answer = await stage.exchange(send("PATCH", f"{PATH}?dryRun=All", new, MERGE))
        assert answer.code == (200 if code == 404 else 403)

    act(scene, api=Api(read=code))


def test_an_object_that_cannot_be_looked_at_is_not_written() -> None:
    async def scene(stage: Stage) -> None:
        answer = await stage.exchange(send("PATCH", PATH, {"data": {"new": "eA=="}}, MERGE))
        assert answer.code == 503
        assert not writes(stage)

    act(scene, api=Api(read=500))


def test_an_object_that_is_nested_too_deep_is_not_written() -> None:
    deep: Any = "x"
    for _ in range(900):
        deep = [deep]

    async def scene(stage: Stage) -> None:
        answer = await stage.exchange(send("PATCH", PATH, {"data": {"a": "eA=="}}, MERGE))
        assert (answer.code, "nested too deep" in answer.status["message"]) == (422, True)
        assert not writes(stage)

    act(scene, api=Api({**live(), "deep": deep}))


def test_a_subresource_that_cannot_be_read_stands_for_its_object() -> None:
    class Evasive(Api):
        async def __call__(self, seen: Seen, reader: object, writer: asyncio.StreamWriter) -> None:
            if seen.method == "GET" and seen.target.endswith("/status"):
                writer.write(reply(405, b"{}"))
            else:
                await super().__call__(seen, reader, writer)

    async def scene(stage: Stage) -> None:
        body = {"data": {"password": PLACEHOLDER}}
        assert (await stage.exchange(send("PATCH", f"{PATH}/status", body, MERGE))).code == 200
        (sent,) = writes(stage)
        assert json.loads(sent.body)["data"] == {"password": b64(VALUE)}

    act(scene, api=Evasive())


def test_the_secrets_of_the_object_are_known_from_then_on() -> None:
    ENGINE.collected.clear()

    async def scene(stage: Stage) -> None:
        await stage.exchange(send("PATCH", PATH, {"data": {"new": "eA=="}}, MERGE))
        assert VALUE in [place.value for place in ENGINE.collected]

    act(scene)


def test_the_filter_of_the_answer_knows_what_the_agent_wrote() -> None:
    echoes: list[Echo | None] = []

    def choose(
        request: Request, standing: Standing, verdict: Verdict, echo: Echo | None
    ) -> BodyFilter | None:
        echoes.append(echo)
        return None

    async def scene(stage: Stage) -> None:
        await stage.exchange(send("PATCH", PATH, {"data": {"password": b64("a-new-value")}}, MERGE))
        (echo,) = echoes
        assert echo is not None
        assert ("data.password", "a-new-value") in echo
        assert ("data.password", VALUE) not in echo

    act(scene, choose_filter=choose)


def test_guesses_are_counted_and_then_refused() -> None:
    async def scene(stage: Stage) -> None:
        client = await stage.connect()
        codes = []
        for number in range(MOST_GUESSES + 2):
            await client.send(
                send("PATCH", f"{PATH}?dryRun=All", {"data": {"password": b64(f"guess-{number}")}}, MERGE)
            )
            codes.append((await client.reply()).code)
        assert codes == [200] * MOST_GUESSES + [403, 403]
        assert "too many different values" in stage.audit.records[-1]["reason"]
        await client.send(send("PATCH", PATH, {"data": {"password": b64("guess-0")}}, MERGE))
        assert (await client.reply()).code == 200

    act(scene)


def test_protobuf_counts_as_a_guess_where_the_object_has_secrets_and_cannot_be_tried() -> None:
    kind = Media.PROTOBUF.value

    async def scene(stage: Stage) -> None:
        client = await stage.connect()
        await client.send(send("PUT", f"{PATH}?dryRun=All", b"k8s\0one", kind))
        assert (await client.reply()).code == 415
        codes = []
        for number in range(MOST_GUESSES + 1):
            await client.send(send("PUT", PATH, b"k8s\0body-%d" % number, kind))
            codes.append((await client.reply()).code)
        assert codes == [200] * MOST_GUESSES + [403]

    act(scene)


def test_protobuf_to_an_object_without_secrets_goes_on() -> None:
    async def scene(stage: Stage) -> None:
        client = await stage.connect()
        for number in range(MOST_GUESSES + 1):
            await client.send(
                send("PUT", f"{PATH}?dryRun=All", b"k8s\0body-%d" % number, Media.PROTOBUF.value)
            )
            assert (await client.reply()).code == 200

    act(scene, api=Api({**live(), "data": {}}))


# Held for people


async def allow(request: Request, _gather: Gather) -> Spend:
    return Spend(replace(approval(replace(request, verb="delete")), name="write-secret"))


def test_people_are_shown_the_write_as_it_will_be_and_its_hash_as_it_was_sent() -> None:
    async def scene(stage: Stage) -> None:
        stage.holds.decision = allow
        body = {"data": {"password": PLACEHOLDER}}
        assert (await stage.exchange(send("PATCH", PATH, body, MERGE))).code == 200
        (request,) = stage.holds.asked
        assert json.loads(request.body) == {"data": {"password": b64(VALUE)}}
        assert json.loads(request.as_sent) == body
        (sent,) = writes(stage)
        assert json.loads(sent.body)["metadata"] == {"resourceVersion": "9"}

    act(scene, policies=(HELD,), api=Api(live(), live(version="9")))


def test_a_value_that_changed_while_people_decided_is_not_written_over() -> None:
    async def scene(stage: Stage) -> None:
        stage.holds.decision = allow
        answer = await stage.exchange(send("PATCH", PATH, {"data": {"password": PLACEHOLDER}}, MERGE))
        assert answer.code == 409
        assert not writes(stage)
        await stage.settle(lambda: bool(stage.holds.finished))
        assert [code for _, code in stage.holds.finished] == [409]

    act(scene, policies=(HELD,), api=Api(live(), live("another-value-1", "9")))


# Selectors


@pytest.mark.parametrize(
    ("target", "code"),
    [
        ("/apis/example.com/v1/widgets?fieldSelector=spec.password%3Dguess", 403),
        ("/apis/example.com/v1/widgets?watch=1&fieldSelector=metadata.name%3Da,spec.db.token!%3Dguess", 403),
        ("/apis/example.com/v1/widgets?fieldSelector=metadata.name%3Da", 200),
        (
            "/api/v1/namespaces/dev/secrets?fieldSelector=type%3DOpaque,metadata.name%3Da,metadata.namespace%3Ddev",
            200,
        ),
        ("/api/v1/pods?fieldSelector=spec.nodeName%3Da,status.phase%3DRunning", 200),
    ],
)
def test_a_selector_on_a_masked_field_is_refused(target: str, code: int) -> None:
    async def scene(stage: Stage) -> None:
        answer: Reply = await (await stage.connect()).get(target)
        assert answer.code == code
        if code == 403:
            assert "field selector" in answer.status["message"]
            stage.assert_untouched()

    act(scene)


def test_a_selector_on_any_field_goes_on_where_nothing_is_masked() -> None:
    async def scene(stage: Stage) -> None:
        answer = await (await stage.connect()).get(
            "/apis/example.com/v1/widgets?fieldSelector=spec.password%3Dx"
        )
        assert answer.code == 200

    act(scene, policies=(ALLOW_ALL,))


def test_records_hold_no_values_and_logs_no_placeholders_either(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    async def scene(stage: Stage) -> None:
        for body in ({"data": {"password": PLACEHOLDER}}, {"metadata": {"labels": {"a": PLAIN}}}):
            await stage.exchange(send("PATCH", PATH, body, MERGE))
        records = json.dumps([*stage.audit.records, *stage.audit.durable_records])
        assert not any(word in caplog.text + records for word in (VALUE, b64(VALUE)))
        assert not any(word in caplog.text for word in (PLAIN, PLACEHOLDER))
        assert PLACEHOLDER in records

    act(scene)
