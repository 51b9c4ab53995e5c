"""Answers as the client sees them: every representation masked, whatever cannot be read refused, nothing else changed."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
from typing import Any

import pytest

from gateway.masking import bodies, splitting
from gateway.masking.choice import Choice
from tests.gateway.masking.fakes import EXPLODE, SECRET, SHOWN, FakeEngine
from tests.gateway.stage import AGENT, PODS, Reply, Scene, Stage, play, policy, request
from tests.gateway.upstream import CHUNKED, Seen, Upstream, chunks, reply

MASKED = policy({"name": "all", "match": {}, "action": "Allow"}, masking={"profile": "Standard"})
POD = PODS + "/a"
CONFIG_MAPS = "/api/v1/namespaces/dev/configmaps"
LOG = POD + "/log"
PARTIAL = "as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
PLAIN_TEXT = b"HTTP/1.1 %d OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"


def show(scene: Scene, answer: Any, **more: Any) -> FakeEngine:
    """Play a scene whose answers are masked."""
    engine = FakeEngine()
    play(scene, policies=(MASKED,), upstream=Upstream(answer), choose_filter=Choice(engine), **more)
    return engine


def answered(answer: Any, target: str = POD, *headers: str, method: str = "GET") -> Reply:
    """The one answer to one request. The secret is in none of its bytes, and nowhere in the records."""
    replies: list[Reply] = []

    async def scene(stage: Stage) -> None:
        got = await stage.exchange(request(target, *headers, method=method))
        replies.append(got)
        assert SECRET not in json.dumps(stage.audit.records)
        assert SECRET.encode() not in got.body
        assert SECRET not in str(got.headers)

    show(scene, answer)
    return replies[0]


def typed(answer: bytes, content_type: str, code: int = 200, *headers: str) -> bytes:
    lines = [
        f"HTTP/1.1 {code} OK",
        f"Content-Type: {content_type}",
        f"Content-Length: {len(answer)}",
        *headers,
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + answer


def pods(count: int, secret: str = SECRET, **more: Any) -> dict[str, Any]:
    items = [
        {"metadata": {"name": f"pod-{n}"}, "spec": {"x": secret if n % 10 == 0 else f"value {n} <&>" * 20}}
        for n in range(count)
    ]
    return {"kind": "PodList", "apiVersion": "v1", "metadata": {"continue": "abc==", **more}, "items": items}


def as_go(document: Any, indent: int | None = None) -> bytes:
    raw = json.dumps(document, separators=None if indent else (",", ":"), ensure_ascii=False, indent=indent)
    for char in "<>&":
        raw = raw.replace(char, f"\\u{ord(char):04x}")
    return raw.encode() + b"\n"


# Asking


@pytest.mark.parametrize(
    ("accept", "asked"),
    [
        (None, "application/json"),
        ("*/*", "application/json"),
        ("application/yaml", "application/json"),
        ("application/cbor", "application/json"),
        ("application/vnd.kubernetes.protobuf,application/json", "application/json"),
        ("application/vnd.kubernetes.protobuf;as=Table, */*;q=0.1", "application/json;q=0.1"),
        (
            "application/json;as=Table;v=v1;g=meta.k8s.io;pretty=1, application/json;q=0.5",
            "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;q=0.5",
        ),
        (
            f"application/vnd.kubernetes.protobuf;{PARTIAL},application/json;{PARTIAL}",
            f"application/json;{PARTIAL}",
        ),
    ],
)
def test_re07_the_api_server_is_asked_for_json(accept: str | None, asked: str) -> None:
    async def scene(stage: Stage) -> None:
        headers = [f"Accept: {accept}"] if accept else []
        ours = ["Accept-Encoding: gzip", "If-None-Match: x", "User-Agent: curl/8"]
        await stage.exchange(request(POD, *headers, *ours))
        seen = stage.upstream.requests[0]
        assert seen.values("accept") == [asked]
        assert seen.values("accept-encoding") == ["identity"]
        assert seen.values("if-none-match") == []
        assert seen.value("user-agent") == "chaperone (curl/8)"

    show(scene, reply(200, b'{"kind":"Pod"}'))


@pytest.mark.parametrize(
    "target",
    [
        "/openapi/v2",
        "/openapi/v3/apis/apps/v1",
        "/api",
        "/apis",
        "/apis/apps/v1",
        "/api/v1",
        "/version",
        "/readyz/etcd",
    ],
)
def test_what_the_api_consists_of_is_left_alone(target: str) -> None:
    async def scene(stage: Stage) -> None:
        accept = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
        got = await stage.exchange(request(target, f"Accept: {accept}", "Accept-Encoding: gzip"))
        assert got.body == b"\x00\xff"
        assert got.values("etag") == ['"1"']
        assert got.values("chaperone-masked") == []
        assert stage.upstream.requests[0].value("accept") == accept

    show(scene, typed(b"\x00\xff", "application/x", 200, 'ETag: "1"'))


# Objects


def test_an_object_without_secrets_is_byte_for_byte_what_the_api_server_sent() -> None:
    body = b'{ "kind":"Pod", "n": 1e3, "big": 123456789012345678901234567890, "t": "\\u003c\\u0041" }\n'
    got = answered(reply(200, body))
    assert got.body == body
    assert got.values("content-length") == [str(len(body))]
    assert got.values("chaperone-masked") == ["0"]


def test_an_object_with_secrets_is_masked_and_counted() -> None:
    body = as_go({"kind": "ConfigMap", "data": {"a": SECRET, "b": f"x{SECRET}<", "n": 10**30}})
    got = answered(reply(200, body, 'ETag: "1"', "Digest: x"), CONFIG_MAPS + "/a")
    assert got.body == body.replace(SECRET.encode(), SHOWN.encode())
    assert got.values("chaperone-masked") == ["2; rules=known"]
    assert got.values("content-length") == [str(len(got.body))]
    assert got.values("etag") == got.values("digest") == []


def test_the_answer_to_a_write_is_masked() -> None:
    got = answered(reply(201, as_go({"kind": "Pod", "x": SECRET})), PODS, method="POST")
    assert (got.code, SHOWN.encode() in got.body) == (201, True)


@pytest.mark.parametrize(
    "body",
    [
        b'{"kind":"Pod","a":1,"a":2}',
        b'{"kind":"Pod"} {"kind":"Pod"}',
        b'{"kind":"Pod"',
        b'{"kind":"Pod","n":NaN}',
        b"\xff\xfe",
        b"[" * 5000,
        b'{"kind":"' + EXPLODE.encode() + b'"}',
    ],
)
@pytest.mark.parametrize("target", [CONFIG_MAPS + "/a", CONFIG_MAPS, "/metrics"])
def test_re09_or04_what_cannot_be_masked_is_withheld(
    body: bytes, target: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        got = answered(reply(200, body.replace(b'"kind"', b'"x":"' + SECRET.encode() + b'","kind"')), target)
    assert got.status["code"] == 502
    assert EXPLODE.encode() not in got.body
    assert not {word for word in (SECRET, EXPLODE) if word in caplog.text}


@pytest.mark.parametrize(
    ("content_type", "code"),
    [
        ("application/vnd.kubernetes.protobuf", 406),
        ("application/yaml", 406),
        ("application/cbor", 406),
        ("application/octet-stream", 406),
        ("text/plain", 406),
        ("application/json;charset=utf-16", 406),
        ("application/json\r\nContent-Type: text/plain", 406),
        ("", 502),
    ],
)
@pytest.mark.parametrize("target", [POD, PODS, PODS + "?watch=1"])
def test_or05_an_answer_in_an_unknown_form_is_refused(content_type: str, code: int, target: str) -> None:
    got = answered(typed(f"k: {SECRET}".encode(), content_type), target)
    assert got.status["code"] == code


def test_an_answer_that_does_not_say_what_it_is() -> None:
    raw = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"
    assert answered(raw).status["code"] == 502
    assert answered(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").code == 200
    assert answered(b"HTTP/1.1 204 No Content\r\n\r\n").code == 204


def test_a_head_of_an_object_tells_no_length() -> None:
    got = answered(reply(200, as_go({"x": SECRET}), 'ETag: "1"'), "/metrics", method="HEAD")
    assert (got.code, got.values("content-length"), got.values("etag")) == (200, [], [])


# Errors and headers


def test_wr12_errors_are_masked_in_json_and_in_words() -> None:
    status = {"kind": "Status", "message": f"invalid: {SECRET}", "details": {"causes": [{"message": SECRET}]}}
    got = answered(reply(422, as_go(status)), PODS, method="POST")
    assert (got.code, got.body.count(SHOWN.encode())) == (422, 2)
    got = answered(typed(f"denied: {SECRET}".encode(), "text/plain; charset=utf-8", 403))
    assert (got.code, got.body) == (403, f"denied: {SHOWN}".encode())


def test_re10_headers_are_masked_or_dropped() -> None:
    got = answered(
        reply(
            200,
            b"{}",
            f'Warning: 299 - "spec.env: {SECRET}"',
            f"Location: /x?{SECRET}",
            f"Set-Cookie: {SECRET}",
        )
    )
    assert got.values("warning") == [f'299 - "spec.env: {SHOWN}"']
    assert got.values("location") == [f"/x?{SHOWN}"]
    assert got.values("set-cookie") == []


def test_a_header_that_cannot_be_masked_withholds_the_answer() -> None:
    assert answered(reply(200, b"{}", f"Warning: 299 - {EXPLODE}")).status["code"] == 502


# Lists


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("target", [PODS, CONFIG_MAPS, PODS + "?pretty=true"])
@pytest.mark.parametrize("count", [0, 3, 800])
def test_lists_are_masked_item_by_item(indent: int | None, target: str, count: int) -> None:
    body = as_go(pods(count), indent)
    got = answered(CHUNKED + chunks(*(body[at : at + 30_000] for at in range(0, len(body), 30_000))), target)
    assert json.loads(got.body) == pods(count, SHOWN)
    if indent is None:
        assert got.body == body.replace(SECRET.encode(), SHOWN.encode())
    masked = "streaming" if count == 800 else "1; rules=known" if count else "0"
    assert got.values("chaperone-masked") == [masked]


@pytest.mark.parametrize("count", [3, 800])
def test_a_list_of_custom_resources_has_its_kind_behind_its_items(count: int) -> None:
    items = [
        {"apiVersion": "g/v1", "kind": "X", "spec": {"a": SECRET, "b": [{"apiVersion": "g/v1"}]}}
    ] * count
    body = as_go(
        {"apiVersion": "g/v1", "items": items, "kind": "XList", "metadata": {"note": SECRET, "c": "=="}}
    )
    got = answered(reply(200, body), "/apis/g/v1/namespaces/dev/xs")
    assert got.body == body.replace(SECRET.encode(), SHOWN.encode())


@pytest.mark.parametrize("count", [3, 800])
def test_re01_tables(count: int) -> None:
    rows = [
        {"cells": ["a", SECRET if n % 7 == 0 else "b" * 40], "object": {"kind": "P"}} for n in range(count)
    ]
    columns = [{"name": "A", "description": SECRET}, {"name": "B"}]
    table = {"kind": "Table", "apiVersion": "meta.k8s.io/v1", "columnDefinitions": columns, "rows": rows}
    body = as_go(table)
    got = answered(reply(200, body), PODS, "Accept: application/json;as=Table;v=v1;g=meta.k8s.io")
    assert got.body == body.replace(SECRET.encode(), SHOWN.encode())


@pytest.mark.parametrize(
    "spoil",
    [
        lambda body: body[:-2],
        lambda body: body[: len(body) // 2],
        lambda body: body + b"x",
        lambda body: body.replace(b'"pod-790"', b'"' + EXPLODE.encode() + b'"'),
        lambda body: body.replace(b'"pod-790"', b'"a","name":"b"'),
        lambda body: body.rstrip()[:-1] + b',"items":[]}',
        lambda body: body.rstrip()[:-1] + b',"kind":"x"}',
    ],
)
def test_a_long_list_that_goes_wrong_is_broken_off(spoil: Any) -> None:
    body = spoil(as_go(pods(800)))

    async def scene(stage: Stage) -> None:
        client = await stage.connect()
        await client.send(request(CONFIG_MAPS))
        got = await client.rest()
        assert got.startswith(b"HTTP/1.1 200")
        assert SECRET.encode() not in got
        assert EXPLODE.encode() not in got
        assert not got.endswith(b"\r\n0\r\n\r\n")
        await stage.settle(lambda: len(stage.audit.records) == 2)
        assert "reason" in stage.audit.records[1]
        assert stage.audit.records[1]["masked"]["known"] > 10

    show(scene, reply(200, body))


def test_an_item_too_large_is_withheld(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splitting, "MOST_ITEM", 200_000)
    monkeypatch.setattr(bodies, "MOST_OBJECT", 200_000)
    body = as_go({"kind": "PodList", "items": [{"metadata": {"x": SECRET * 20_000}}]})
    assert answered(reply(200, body), CONFIG_MAPS).status["code"] == 502
    assert answered(reply(200, body), CONFIG_MAPS + "/a").status["code"] == 502


# gzip


@pytest.mark.parametrize("count", [3, 800])
@pytest.mark.parametrize("asked", ["gzip", "gzip;q=0", "identity"])
def test_re06_gzip_from_upstream_and_to_the_client(count: int, asked: str) -> None:
    body = as_go(pods(count))
    packed = gzip.compress(body)
    for answer in (reply(200, packed, "Content-Encoding: gzip"), reply(200, body)):
        got = answered(answer, PODS, f"Accept-Encoding: {asked}")
        zipped = count == 800 and asked == "gzip"
        assert got.values("content-encoding") == (["gzip"] if zipped else [])
        seen = gzip.decompress(got.body) if zipped else got.body
        assert seen == body.replace(SECRET.encode(), SHOWN.encode())


@pytest.mark.parametrize(
    ("packed", "encoding"),
    [
        (b"not gzip at all", "gzip"),
        (gzip.compress(as_go({"x": SECRET}))[:-4], "gzip"),
        (gzip.compress(as_go({"x": SECRET}))[:20], "gzip"),
        (gzip.compress(as_go({"x": SECRET})) + b"more", "gzip"),
        (as_go({"x": SECRET}), "br"),
        (as_go({"x": SECRET}), "gzip, gzip"),
    ],
)
def test_what_cannot_be_unpacked_is_withheld(packed: bytes, encoding: str) -> None:
    got = answered(reply(200, packed, f"Content-Encoding: {encoding}"))
    assert got.status["code"] == 502


# Watches


def events(*objects: Any) -> list[bytes]:
    return [as_go({"type": "ADDED", "object": one}) for one in objects]


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_re03_re04_watches_are_masked_event_by_event_wherever_they_are_cut(size: int) -> None:
    lines = events({"kind": "Pod", "x": SECRET}, {"kind": "Pod", "y": 1})
    lines.append(as_go({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "12"}}}))
    lines.append(as_go({"type": "ERROR", "object": {"kind": "Status", "message": SECRET}}))
    whole = b"".join(lines)
    cut = [whole[at : at + size] for at in range(0, len(whole), size)]
    got = answered(CHUNKED + chunks(*cut), PODS + "?watch=1", "Accept-Encoding: gzip")
    assert got.body == whole.replace(SECRET.encode(), SHOWN.encode())
    assert got.values("content-encoding") == []


def test_each_event_goes_at_once_and_the_end_is_recorded() -> None:
    first, second = events({"x": SECRET}, {"x": 2})

    async def answer(_seen: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(CHUNKED)
        await begun.wait()
        writer.write(chunks(first + second[:9], end=False))
        await seen.wait()
        writer.write(chunks(second[9:], end=False))
        await asyncio.Event().wait()

    async def scene(stage: Stage) -> None:
        client = await stage.connect()
        await client.send(request(CONFIG_MAPS + "?watch=1"))
        assert ("Chaperone-Masked", "streaming") in (await client.head())[1]
        begun.set()
        assert await client.piece() == first.replace(SECRET.encode(), SHOWN.encode())
        seen.set()
        assert await client.piece() == second
        client.abort()
        await stage.settle(lambda: len(stage.audit.records) == 2)
        assert stage.audit.records[1]["masked"] == {"known": 1}
        assert stage.metrics.masked_values == {"known": 1}

    begun, seen = asyncio.Event(), asyncio.Event()
    show(scene, answer)


@pytest.mark.parametrize(
    "bad", [b'{"type":"ADDED","object":{"x":1}', b'{"a":1,"a":2}\n', b"x\n", EXPLODE.encode()]
)
def test_a_watch_that_goes_wrong_is_broken_off(bad: bytes) -> None:
    first = events({"x": SECRET})[0]

    async def scene(stage: Stage) -> None:
        client = await stage.connect()
        await client.send(request(CONFIG_MAPS + "?watch=1", "Connection: close"))
        got = await client.rest()
        assert SECRET.encode() not in got
        assert bad not in got
        assert not got.endswith(b"\r\n0\r\n\r\n")

    show(scene, CHUNKED + chunks(first, bad))


def test_an_event_too_large_breaks_the_watch_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "MOST_EVENT", 1000)

    async def scene(stage: Stage) -> None:
        client = await stage.connect()
        await client.send(request(CONFIG_MAPS + "?watch=1", "Connection: close"))
        assert SECRET.encode() not in await client.rest()

    show(scene, CHUNKED + chunks(*[SECRET.encode() * 10] * 20, end=False))


def test_a_stopping_gateway_ends_a_watch_between_two_events() -> None:
    first, second = events({"x": SECRET}, {"x": 2})

    async def answer(_seen: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(CHUNKED + chunks(first + second[:9], end=False))
        await asyncio.Event().wait()

    async def scene(stage: Stage) -> None:
        client = await stage.connect()
        await client.send(request(CONFIG_MAPS + "?watch=1"))
        await client.head()
        assert await client.piece()
        async with asyncio.TaskGroup() as group:
            group.create_task(stage.server.stop(5.0))
            assert await client.rest() == b"0\r\n\r\n"

    show(scene, answer)


# Logs and other text


def test_sm01_a_log_is_masked() -> None:
    body = f"line\npassword {SECRET}\nend".encode()
    got = answered(typed(body, "text/plain"), LOG, "Accept: application/json, */*")
    assert got.body == body.replace(SECRET.encode(), SHOWN.encode())
    assert got.values("chaperone-masked") == ["1; rules=known"]
    assert got.values("content-type") == ["text/plain"]


def test_sm05_a_followed_log_goes_at_once_but_for_what_is_held_back_for_a_moment() -> None:
    async def answer(_seen: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(PLAIN_TEXT % 200)
        await begun.wait()
        writer.write(chunks(b"whole\nhalf", end=False))
        await seen.wait()
        writer.write(chunks(b" rest\n"))

    async def scene(stage: Stage) -> None:
        client = await stage.connect()
        await client.send(request(LOG + "?follow=true"))
        await client.head()
        begun.set()
        assert await client.piece() == b"whole\n"
        assert await client.piece() == b"half"
        seen.set()
        assert await client.piece() == b" rest\n"

    begun, seen = asyncio.Event(), asyncio.Event()
    show(scene, answer)


def test_sm05_what_is_held_back_of_a_followed_log_is_not_lost_when_the_gateway_stops() -> None:
    async def answer(_seen: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(PLAIN_TEXT % 200 + chunks(b"whole\n" + SECRET.encode(), end=False))
        await asyncio.Event().wait()

    async def scene(stage: Stage) -> None:
        client = await stage.connect()
        await client.send(request(LOG + "?follow=true"))
        await client.head()
        assert await client.piece() == b"whole\n"
        async with asyncio.TaskGroup() as group:
            group.create_task(stage.server.stop(5.0))
            assert SHOWN.encode() in await client.rest()

    show(scene, answer)


@pytest.mark.parametrize(
    ("limit", "shown"),
    [
        (24, b"line\npassword (cut off)"),
        (1000, b"line\npassword hunter2-cor"),
        (5, b"line\n"),
        ("x", b"line\npassword (cut off)"),
    ],
)
def test_sm04_the_last_word_of_a_log_that_was_cut_off_is_not_shown(limit: int | str, shown: bytes) -> None:
    body = f"line\npassword {SECRET}"[: 5 if limit == 5 else 25].encode()
    assert answered(typed(body, "text/plain"), LOG + f"?limitBytes={limit}").body == shown


def test_or07_what_is_no_resource_is_masked_as_text() -> None:
    body = f'metric{{a="{SECRET}"}} 1\n'.encode()
    got = answered(typed(body, "text/plain; version=0.0.4"), "/metrics", "Accept: text/plain;version=0.0.4")
    assert got.body == body.replace(SECRET.encode(), SHOWN.encode())
    assert answered(typed(body, "application/octet-stream"), "/debug/pprof/heap").status["code"] == 406


# Terms


def test_the_terms_of_the_caller_and_its_run_decide() -> None:
    async def scene(stage: Stage) -> None:
        await stage.exchange(request(POD))

    engine = show(scene, reply(200, as_go({"x": EXPLODE[:3] + SECRET})))
    assert [(terms.profile.value, run) for terms, run in engine.asked] == [
        ("Standard", (AGENT.issuer, AGENT.subject, AGENT.run))
    ]
    (place,) = engine.one.places
    assert (place.resource, place.namespace, place.name) == ("pods", "dev", "a")


def test_off_means_untouched() -> None:
    body = as_go({"x": SECRET})

    async def scene(stage: Stage) -> None:
        got = await stage.exchange(request(POD, "Accept: application/yaml"))
        assert got.body == body
        assert stage.upstream.requests[0].value("accept") == "application/yaml"
        assert got.values("chaperone-masked") == []

    play(scene, upstream=Upstream(reply(200, body)), choose_filter=Choice(FakeEngine()))
