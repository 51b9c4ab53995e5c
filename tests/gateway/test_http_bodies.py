"""Bodies up and answers down: chunked, trailers, Expect, pipelining, HEAD, interim answers, back-pressure, ends."""

from __future__ import annotations

import asyncio
import hashlib
import os
import resource

import pytest

from gateway.http.limits import HttpLimits
from tests.gateway.stage import (
    ALLOW_ALL,
    AUTH,
    DENY_SECRETS,
    PODS,
    Client,
    Stage,
    play,
    policy,
    request,
)
from tests.gateway.upstream import CHUNKED, MOST_ON_THE_WAY, Seen, Upstream, chunks, reply

CONFIG_MAPS = "/api/v1/namespaces/dev/configmaps"
BODY = b'{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"a"}}'
POST = f"POST {CONFIG_MAPS} HTTP/1.1\r\nHost: g\r\n{AUTH}Content-Type: application/json\r\n"
CHUNKED_POST = POST + "Transfer-Encoding: chunked\r\n\r\n"


# Bodies up


@pytest.mark.parametrize(
    "framed",
    [
        chunks(BODY),
        chunks(BODY[:1], BODY[1:9], BODY[9:]),
        b"%x;name=value;x\r\n%s\r\n0;last\r\n\r\n" % (len(BODY), BODY),
        b"%X\r\n%s\r\n0\r\nX-Trailer: a\r\nImpersonate-User: admin\r\n\r\n" % (len(BODY), BODY),
        b"000%x\r\n%s\r\n000\r\n\r\n" % (len(BODY), BODY),
    ],
    ids=["one", "many", "extensions (HT-05)", "trailers", "leading zeros"],
)
def test_a_chunked_body_arrives_whole_with_a_length_and_nothing_else(framed: bytes) -> None:
    async def scene(stage: Stage) -> None:
        client = await stage.connect()
        for _ in range(2):
            await client.send(CHUNKED_POST.encode() + framed)
            assert (await client.reply()).code == 200
        for seen in stage.upstream.requests:
            assert seen.body == BODY
            assert seen.value("content-length") == str(len(BODY))
            assert "transfer-encoding" not in seen.names
            assert "x-trailer" not in seen.names
            assert seen.value("impersonate-user") != "admin"

    play(scene)


def test_a_chunked_body_may_be_cut_anywhere() -> None:
    raw = CHUNKED_POST.encode() + chunks(BODY[:7], BODY[7:])

    async def scene(stage: Stage) -> None:
        client = await stage.connect()
        for cut in range(len(CHUNKED_POST), len(raw)):
            await client.send(raw[:cut])
            await stage.settle(lambda: True)
            await client.send(raw[cut:])
            assert (await client.reply()).code == 200
        assert {seen.body for seen in stage.upstream.requests} == {BODY}

    play(scene)


@pytest.mark.parametrize(
    "framed",
    [b"x\r\n", b"-1\r\n", b"+1\r\n{\r\n", b"2\r\n{}0\r\n\r\n", b"0x2\r\n{}\r\n", b"2\n{}\n0\n\n", b"fffffffffffffffff\r\n",
     b"2 \r\n{}\r\n0\r\n\r\n", b"\r\n", b"2\r\n{}\r\n0\r\nbad trailer\r\n\r\n"],
)  # fmt: skip
def test_a_malformed_chunk_ends_the_connection(framed: bytes) -> None:
    async def scene(stage: Stage) -> None:
        client = await stage.connect()
        await client.send(CHUNKED_POST.encode() + framed + b"GET /version HTTP/1.1\r\nHost: g\r\n\r\n")
        got = await client.reply()
        assert got.status["code"] == 400
        assert await client.rest() == b""
        stage.assert_untouched()

    play(scene)


LITTLE = HttpLimits(body_bytes=1000, pipelined_bytes=2000)


def test_a_body_over_the_limit_is_refused_however_it_is_framed() -> None:
    async def scene(stage: Stage) -> None:
        for raw in (
            POST.encode() + b"Content-Length: 1001\r\n\r\n",
            CHUNKED_POST.encode() + chunks(b"a" * 1001),
        ):
            got = await stage.exchange(raw)
            assert got.status["code"] == 413
            assert got.values("connection") == ["close"]
        stage.assert_untouched()

    play(scene, limits=LITTLE)


def test_an_upload_that_goes_on_after_its_refusal_still_gets_the_answer() -> None:
    async def scene(stage: Stage) -> None:
        client = await stage.connect()
        await client.send(POST + "Content-Length: 4000000\r\n\r\n")
        for _ in range(40):
            await client.send(b"a" * 100_000)
        assert (await client.reply()).status["code"] == 413

    play(scene)


@pytest.mark.parametrize(
    "filler", [b"1;" + b"x" * 200_000, b"0\r\nX-T: " + b"y" * 200_000], ids=["extension", "trailer"]
)
def test_endless_extensions_and_trailers_are_cut_off(filler: bytes) -> None:
    async def scene(stage: Stage) -> None:
        client = await stage.connect()
        await client.send(CHUNKED_POST)
        try:
            for start in range(0, len(filler), 1000):
                await client.send(filler[start : start + 1000])
                await asyncio.sleep(0)
        except ConnectionError:
            pass
        assert (await client.reply()).status["code"] == 400
        stage.assert_untouched()

    play(scene, limits=HttpLimits(pipelined_bytes=8_000))


def test_bodies_of_all_connections_together_are_bounded() -> None:
    async def scene(stage: Stage) -> None:
        waiting = await stage.connect()
        await waiting.send(POST.encode() + b"Content-Length: 1000\r\n\r\n" + b"a" * 900)
        await stage.settle(lambda: stage.server.front.body_bytes == 900)
        got = await stage.exchange(POST.encode() + b"Content-Length: 900\r\n\r\n" + b"a" * 900)
        assert got.status["code"] == 503
        stage.assert_untouched()

    play(scene, limits=HttpLimits(buffered_bodies=1500))


def test_a_get_with_a_body_is_refused() -> None:
    async def scene(stage: Stage) -> None:
        assert (await stage.exchange(request(body=b"{}"))).status["code"] == 400
        stage.assert_untouched()

    play(scene)


# Expect


DENY_PROXY = policy({"name": "no-proxy", "match": {"resources": ["pods/proxy"]}, "action": "Deny"})
EXPECTING = POST + f"Content-Length: {len(BODY)}\r\nExpect: 100-continue\r\n\r\n"


def test_100_continue_comes_when_the_body_is_wanted() -> None:
    async def scene(stage: Stage) -> None:
        client = await stage.connect()
        await client.send(EXPECTING)
        assert (await client.reply()).code == 100
        assert stage.upstream.requests == []
        await client.send(BODY)
        assert (await client.reply()).code == 200
        assert "expect" not in stage.upstream.requests[0].names

    play(scene)


def test_a_denied_upload_is_answered_without_100_continue() -> None:
    async def scene(stage: Stage) -> None:
        client = await stage.connect()
        await client.send(EXPECTING.replace(CONFIG_MAPS, PODS + "/web/proxy/upload"))
        got = await client.reply()
        assert got.status["code"] == 403
        assert got.values("connection") == ["close"]
        stage.assert_untouched()

    play(scene, policies=(DENY_PROXY,))


def test_an_unauthenticated_upload_is_answered_without_100_continue() -> None:
    async def scene(stage: Stage) -> None:
        client = await stage.connect()
        await client.send(EXPECTING.replace("agent-token", "another"))
        assert (await client.reply()).status["code"] == 401
        stage.assert_untouched()

    play(scene)


def test_other_expectations_fail() -> None:
    async def scene(stage: Stage) -> None:
        assert (await stage.exchange(request(PODS, "Expect: miracles"))).status["code"] == 417
        stage.assert_untouched()

    play(scene)


# Pipelining


def test_ht06_a_pipelined_request_waits_for_the_answer_to_the_first() -> None:
    release = asyncio.Event()

    async def answer(seen: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if seen.target == "/first":
            await release.wait()
        writer.write(reply(200, seen.target.encode()))

    async def scene(stage: Stage) -> None:
        client = await stage.connect()
        await client.send(request("/first") + request("/second") + request("/third"))
        await stage.upstream.until(lambda: len(stage.upstream.requests) == 1)
        await client.send(request("/fourth"))
        await stage.settle(lambda: True)
        assert [seen.target for seen in stage.upstream.requests] == ["/first"]
        release.set()
        assert [(await client.reply()).body for _ in range(4)] == [
            b"/first",
            b"/second",
            b"/third",
            b"/fourth",
        ]

    play(scene, upstream=Upstream(answer))


def test_ht06_too_much_behind_an_unanswered_request_drops_the_client() -> None:
    async def answer(_seen: Seen, reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async def scene(stage: Stage) -> None:
        client = await stage.connect()
        await client.send(request("/first") + b"x" * 100_000)
        assert await client.rest() == b""
        await stage.upstream.until(lambda: stage.upstream.closed == stage.upstream.connections)

    play(scene, upstream=Upstream(answer))


def test_what_follows_a_chunked_request_is_not_lost_nor_misread() -> None:
    """The parser cannot stop between two requests, so the connection is closed and the client repeats."""

    async def scene(stage: Stage) -> None:
        client = await stage.connect()
        await client.send(CHUNKED_POST.encode() + chunks(BODY) + request("/second"))
        got = await client.reply()
        assert (got.code, got.values("connection")) == (200, ["close"])
        assert await client.rest() == b""
        assert [seen.method for seen in stage.upstream.requests] == ["POST"]

    play(scene)


def test_a_body_and_the_next_request_in_one_piece() -> None:
    async def scene(stage: Stage) -> None:
        client = await stage.connect()
        await client.send(request(CONFIG_MAPS, method="POST", body=BODY) + request("/second"))
        assert (await client.reply()).code == 200
        assert (await client.reply()).code == 200
        assert [(seen.method, seen.body) for seen in stage.upstream.requests] == [
            ("POST", BODY),
            ("GET", b""),
        ]

    play(scene)


# Answers


def test_ht07_head_gets_headers_and_no_body_and_the_upstream_connection_lives_on() -> None:
    async def answer(seen: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        whole = reply(200, b"0123456789")
        writer.write(whole[:-10] if seen.method == "HEAD" else whole)

    async def scene(stage: Stage) -> None:
        client = await stage.connect()
        for method in ("HEAD", "GET", "HEAD", "HEAD", "GET"):
            got = await client.get(method=method)
            assert got.values("content-length") == ["10"]
            assert got.body == (b"" if method == "HEAD" else b"0123456789")
        assert stage.upstream.connections == 1

    play(scene, upstream=Upstream(answer))


def test_head_whose_answer_wrongly_has_a_body() -> None:
    async def scene(stage: Stage) -> None:
        client = await stage.connect()
        assert (await client.get(method="HEAD")).code == 200
        assert (await client.get()).body == b'{"kind":"PodList"}'
        assert (await client.get()).body == b'{"kind":"PodList"}'

    play(scene)


def test_refused_head_has_no_body_either() -> None:
    async def scene(stage: Stage) -> None:
        client = await stage.connect()
        got = await client.get("/api/v1/namespaces/dev/secrets", method="HEAD")
        assert got.code == 403
        assert (await client.get()).code == 200

    play(scene, policies=(DENY_SECRETS,))


@pytest.mark.parametrize("code", [204, 304])
def test_bodiless_answers_end_with_their_head(code: int) -> None:
    async def scene(stage: Stage) -> None:
        client = await stage.connect()
        for _ in range(2):
            got = await client.get()
            assert (got.code, got.values("transfer-encoding")) == (code, [])
        assert stage.upstream.connections == 1

    play(scene, upstream=Upstream(f"HTTP/1.1 {code} X\r\nEtag: a\r\n\r\n".encode()))


def test_interim_answers_are_swallowed() -> None:
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"

    async def scene(stage: Stage) -> None:
        client = await stage.connect()
        for _ in range(2):
            got = await client.get()
            assert (got.code, got.body, got.values("link")) == (200, b"{}", [])
        assert stage.upstream.connections == 1

    play(scene, upstream=Upstream(interim + reply(200, b"{}")))


def test_interim_answers_without_end_are_an_error() -> None:
    async def scene(stage: Stage) -> None:
        assert (await stage.exchange(request())).status["code"] == 502

    play(scene, upstream=Upstream(b"HTTP/1.1 100 Continue\r\n\r\n" * 100 + reply()))


BROKEN_ANSWERS = {
    "ST-03 redirect": b"HTTP/1.1 307 Temporary\r\nLocation: https://evil.example/\r\nContent-Length: 0\r\n\r\n",
    "ST-03 redirect with a body": b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 3\r\n\r\nabc",
    "not HTTP": b"SSH-2.0-OpenSSH\r\n\r\n",
    "unasked 101": b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "length and chunked": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a head without end": b"HTTP/1.1 200 OK\r\nX: " + b"a" * 600_000,
}


@pytest.mark.parametrize("answer", BROKEN_ANSWERS.values(), ids=BROKEN_ANSWERS.keys())
def test_an_answer_that_cannot_be_passed_on_is_a_502_and_its_connection_is_dropped(answer: bytes) -> None:
    async def scene(stage: Stage) -> None:
        client = await stage.connect()
        for count in (1, 2):
            got = await client.get()
            assert got.status["code"] == 502
            assert got.values("location") == []
            assert stage.upstream.connections == count
        assert len(stage.upstream.requests) == 2

    play(scene, upstream=Upstream(answer))


CUT_ANSWERS = {
    "sized": reply(200, b"0123456789"),
    "chunked": CHUNKED + chunks(b"01234", b"56789"),
    "chunked with extensions and trailers": CHUNKED + b"a;x=y\r\n0123456789\r\n0\r\nX-Late: 1\r\n\r\n",
    "behind interim answers": b"HTTP/1.1 103 Hints\r\nA: b\r\n\r\n" + reply(200, b"0123456789"),
}


@pytest.mark.parametrize("answer", CUT_ANSWERS.values(), ids=CUT_ANSWERS.keys())
def test_an_answer_may_come_byte_by_byte(answer: bytes) -> None:
    async def dribble(_seen: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for index in range(len(answer)):
            writer.write(answer[index : index + 1])
            await writer.drain()
            await asyncio.sleep(0)

    async def scene(stage: Stage) -> None:
        client = await stage.connect()
        for _ in range(2):
            got = await client.get()
            assert (got.code, got.body, got.values("x-late")) == (200, b"0123456789", [])
        assert stage.upstream.connections == 1

    play(scene, upstream=Upstream(dribble))


def test_surplus_bytes_behind_an_answer_drop_the_connection_and_reach_nobody() -> None:
    async def scene(stage: Stage) -> None:
        client = await stage.connect()
        for _ in range(3):
            assert (await client.get()).body == b"{}"
        assert stage.upstream.connections == 3

    play(scene, upstream=Upstream(reply(200, b"{}") + reply(200, b'{"stolen":true}')))


def test_an_answer_until_close_is_chunked_for_the_client() -> None:
    async def answer(_seen: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nabc")
        await asyncio.sleep(0.01)
        writer.write(b"def")
        writer.close()

    async def scene(stage: Stage) -> None:
        client = await stage.connect()
        for _ in range(2):
            got = await client.get()
            assert (got.body, got.values("transfer-encoding")) == (b"abcdef", ["chunked"])

    play(scene, upstream=Upstream(answer))


@pytest.mark.parametrize("start", [CHUNKED + chunks(b"abc", end=False), reply(200, b"abcdef")[:-3]])
def test_an_upstream_that_dies_in_the_middle_never_ends_a_response_cleanly(start: bytes) -> None:
    async def answer(_seen: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(start)
        await writer.drain()
        writer.close()

    async def scene(stage: Stage) -> None:
        client = await stage.connect()
        await client.send(request())
        code, _ = await client.head()
        assert code == 200
        assert not (await client.rest()).endswith((b"0\r\n\r\n", b"abcdef"))

    play(scene, upstream=Upstream(answer))


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_an_upstream_that_dies_before_its_answer_is_a_502(method: str) -> None:
    async def answer(_seen: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    async def scene(stage: Stage) -> None:
        assert (await stage.exchange(request(PODS + "/a", method=method))).status["code"] == 502
        assert len(stage.upstream.requests) == 1

    play(scene, upstream=Upstream(answer))


@pytest.mark.parametrize(("method", "code", "count"), [("GET", 200, 3), ("HEAD", 200, 3), ("DELETE", 502, 2)])
def test_a_pooled_connection_that_has_died_is_retried_once_for_reads_alone(
    method: str, code: int, count: int
) -> None:
    async def answer(_seen: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(stages[0].upstream.requests) == 2:
            writer.transport.abort()
        else:
            writer.write(b"HTTP/1.1 204 No Content\r\n\r\n" if method == "HEAD" else reply())

    stages: list[Stage] = []

    async def scene(stage: Stage) -> None:
        stages.append(stage)
        client = await stage.connect()
        await client.get()
        got = await client.get(PODS + "/a", method=method)
        assert got.code in (code, 204)
        assert len(stage.upstream.requests) == count

    play(scene, upstream=Upstream(answer))


def test_a_late_answer_is_a_504() -> None:
    async def answer(_seen: Seen, reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async def scene(stage: Stage) -> None:
        assert (await stage.exchange(request())).status["code"] == 504

    play(scene, upstream=Upstream(answer), upstream_settings={"first_byte_seconds": 0.1})


def test_an_answer_that_stops_in_the_middle_is_broken_off() -> None:
    async def answer(_seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(CHUNKED + chunks(b"abc", end=False))
        await reader.read()

    async def scene(stage: Stage) -> None:
        client = await stage.connect()
        await client.send(request())
        await client.head()
        assert await client.piece() == b"abc"
        assert await client.rest() == b""

    play(scene, upstream=Upstream(answer), upstream_settings={"first_byte_seconds": 0.1})


def test_an_api_server_that_is_not_there_is_a_502() -> None:
    async def scene(stage: Stage) -> None:
        await stage.upstream.stop()
        assert (await stage.exchange(request())).status["code"] == 502

    play(scene)


# Streams, sizes, ends


def test_each_event_of_a_watch_arrives_at_once() -> None:
    more: asyncio.Queue[bytes] = asyncio.Queue()

    async def answer(_seen: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(CHUNKED)
        while event := await more.get():
            writer.write(chunks(event, end=False))
            await writer.drain()
        writer.write(chunks())

    async def scene(stage: Stage) -> None:
        client = await stage.connect()
        await client.send(request(PODS + "?watch=1"))
        assert (await client.head())[0] == 200
        for number in range(5):
            event = b'{"type":"ADDED","object":%d}\n' % number
            more.put_nowait(event)
            assert await client.piece() == event
        more.put_nowait(b"")
        assert await client.piece() == b""
        assert (await client.get(PODS + "?watch=0", method="HEAD")).code == 200

    play(scene, upstream=Upstream(answer))


@pytest.mark.parametrize("chunked", [True, False])
def test_fifty_megabytes_arrive_whole(chunked: bool) -> None:
    block = os.urandom(1 << 20)
    count = 50

    async def answer(_seen: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not chunked:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (count << 20))
        else:
            writer.write(CHUNKED)
        for _ in range(count):
            writer.write(chunks(block, end=False) if chunked else block)
            await writer.drain()
        if chunked:
            writer.write(chunks())

    async def scene(stage: Stage) -> None:
        got = await (await stage.connect()).get()
        assert len(got.body) == count << 20
        assert hashlib.sha256(got.body).digest() == hashlib.sha256(block * count).digest()

    play(scene, upstream=Upstream(answer))


def test_ht09_a_client_that_does_not_read_stops_the_upstream() -> None:
    """Bounded by what was written to the upstream's socket, and by this process's memory."""
    written = 0

    async def answer(_seen: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        writer.write(CHUNKED)
        block = chunks(b"x" * 65536, end=False)
        while True:
            writer.write(block)
            await asyncio.wait_for(writer.drain(), 1.0)
            written += len(block)

    async def scene(stage: Stage) -> None:
        client = await stage.connect()
        client.stop_reading()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        await client.send(request(PODS + "?watch=1"))
        await stage.upstream.until(lambda: stage.upstream.closed == 1)
        assert written < MOST_ON_THE_WAY
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10

    play(scene, upstream=Upstream(answer))


def test_a_client_that_takes_nothing_is_given_up() -> None:
    async def answer(_seen: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(CHUNKED)
        while True:
            writer.write(chunks(b"x" * 65536, end=False))
            await writer.drain()

    async def scene(stage: Stage) -> None:
        client = await stage.connect()
        client.stop_reading()
        await client.send(request(PODS + "?watch=1"))
        await stage.upstream.until(lambda: stage.upstream.closed == 1)

    play(scene, upstream=Upstream(answer), limits=HttpLimits(stall_seconds=0.2))


async def _silent(_seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(CHUNKED + chunks(b'{"type":"ADDED"}\n', end=False))
    await reader.read()


async def _mute(_seen: Seen, reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await reader.read()


@pytest.mark.parametrize("how", ["abort", "close"])
@pytest.mark.parametrize("answer", [_silent, _mute])
def test_ht08_a_client_that_goes_ends_the_upstream_request(answer: object, how: str) -> None:
    async def scene(stage: Stage) -> None:
        client = await stage.connect()
        await client.send(request(PODS + "?watch=1"))
        await stage.upstream.until(lambda: len(stage.upstream.requests) == 1)
        if answer is _silent:
            await client.head()
        client.abort() if how == "abort" else client.writer.close()
        await stage.upstream.until(lambda: stage.upstream.closed == 1)
        await stage.settle(
            lambda: bool(stage.audit.records) and stage.audit.records[-1]["stage"] == "ResponseComplete"
        )

    play(scene, upstream=Upstream(answer))  # type: ignore[arg-type]


def test_ht08_a_client_that_goes_during_its_upload_leaves_nothing_behind() -> None:
    async def scene(stage: Stage) -> None:
        client = await stage.connect()
        await client.send(POST.encode() + b"Content-Length: 100\r\n\r\n{")
        await stage.settle(lambda: stage.server.front.body_bytes == 1)
        client.abort()
        await stage.settle(lambda: not stage.server.front.connections)
        stage.assert_untouched()
        assert stage.server.front.body_bytes == 0
        assert stage.audit.durable_records == []

    play(scene)


def test_ht08_a_client_that_goes_while_its_token_is_checked_is_not_served() -> None:
    async def scene(stage: Stage) -> None:
        stage.authenticator.cached_already = False
        stage.authenticator.gate = asyncio.Event()
        client: Client = await stage.connect()
        await client.send(request())
        await stage.settle(lambda: stage.authenticator.asked == 1)
        client.abort()
        await stage.settle(lambda: not stage.server.front.connections)
        stage.authenticator.gate.set()
        await stage.settle(lambda: len(stage.server.path.tasks) == 0)
        stage.assert_untouched()

    play(scene, policies=(ALLOW_ALL,))
