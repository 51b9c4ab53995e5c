"""HTTP framing from hostile clients, as raw bytes through real sockets (rows HT-* of the hostile inputs)."""

from __future__ import annotations

import pytest

from gateway.http.limits import HttpLimits
from tests.gateway.stage import AUTH, PODS, Stage, play, request

START = f"GET {PODS} HTTP/1.1\r\nHost: g\r\n{AUTH}"
POST = f"POST {PODS} HTTP/1.1\r\nHost: g\r\n{AUTH}Content-Type: application/json\r\n"
SECOND = f"GET /version HTTP/1.1\r\nHost: g\r\n{AUTH}\r\n"

MALFORMED = {
    "HT-01 space before the colon": START + "X-Thing : x\r\n\r\n",
    "HT-01 folded line": START + "X-Thing: a\r\n b\r\n\r\n",
    "HT-01 NUL in a value": START + "X-Thing: a\0b\r\n\r\n",
    "HT-01 NUL in a name": START + "X-Th\0ing: a\r\n\r\n",
    "HT-01 no colon": START + "X-Thing\r\n\r\n",
    "HT-01 empty name": START + ": x\r\n\r\n",
    "HT-01 bare CR in a value": START + "X-Thing: a\rb\r\n\r\n",
    "HT-02 length and chunked": POST + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "HT-02 chunked and length": POST + "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
    "HT-02 two lengths": POST + "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "HT-02 two equal lengths": POST + "Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
    "HT-02 length list": POST + "Content-Length: 2, 2\r\n\r\n{}",
    "HT-02 length with a sign": POST + "Content-Length: +2\r\n\r\n{}",
    "HT-02 negative length": POST + "Content-Length: -2\r\n\r\n{}",
    "HT-02 hexadecimal length": POST + "Content-Length: 0x2\r\n\r\n{}",
    "HT-02 empty length": POST + "Content-Length: \r\n\r\n{}",
    "HT-02 length without end": POST + f"Content-Length: {'9' * 40}\r\n\r\n{{}}",
    "HT-02 bare LF everywhere": f"GET {PODS} HTTP/1.1\nHost: g\n\n",
    "HT-02 bare LF in one line": f"GET {PODS} HTTP/1.1\r\nHost: g\n{AUTH}\r\n",
    "HT-02 xchunked": POST + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "HT-02 chunked, gzip": POST + "Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "HT-02 gzip, chunked": POST + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "HT-02 chunked twice": POST + "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "HT-02 chunked in two lines": POST
    + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "HT-02 identity": POST + "Transfer-Encoding: identity\r\n\r\n",
    "HT-02 vertical tab": POST + "Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "HT-03 two Host": START + "Host: other\r\n\r\n",
    "HT-03 no Host": f"GET {PODS} HTTP/1.1\r\n{AUTH}\r\n",
    "HT-03 absolute form": f"GET http://other{PODS} HTTP/1.1\r\nHost: g\r\n{AUTH}\r\n",
    "HT-03 authority form": f"GET other:443 HTTP/1.1\r\nHost: g\r\n{AUTH}\r\n",
    "HT-03 asterisk": f"OPTIONS * HTTP/1.1\r\nHost: g\r\n{AUTH}\r\n",
    "HT-04 chunked in 1.0": f"POST {PODS} HTTP/1.0\r\nHost: g\r\n{AUTH}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "empty line first": "\r\n" + START + "\r\n",
    "two spaces": f"GET  {PODS} HTTP/1.1\r\nHost: g\r\n\r\n",
    "tab for a space": f"GET\t{PODS} HTTP/1.1\r\nHost: g\r\n\r\n",
    "no version": f"GET {PODS}\r\nHost: g\r\n\r\n",
    "lower-case method": f"get {PODS} HTTP/1.1\r\nHost: g\r\n\r\n",
    "unknown method": f"PWN {PODS} HTTP/1.1\r\nHost: g\r\n\r\n",
    "HTTP/2 preface": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "target outside of ASCII": f"GET {PODS}/\xe9 HTTP/1.1\r\nHost: g\r\n{AUTH}\r\n",
    "connect": f"CONNECT other:443 HTTP/1.1\r\nHost: g\r\n{AUTH}\r\n",
    "garbage": "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "ID-11 two Authorization": START + "Authorization: Bearer other\r\n\r\n",
}


@pytest.mark.parametrize("raw", MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_framing_is_answered_and_ends_the_connection(raw: str) -> None:
    """Nothing that follows on the connection is read as a request."""

    async def scene(stage: Stage) -> None:
        client = await stage.connect()
        await client.send(raw + SECOND)
        reply = await client.reply()
        assert reply.status["code"] in (400, 405, 505)
        assert reply.values("connection") == ["close"]
        assert await client.rest() == b""
        stage.assert_untouched()
        assert [record["responseStatus"]["code"] for record in stage.audit.records] == [reply.code]

    play(scene)


@pytest.mark.parametrize("version", ["HTTP/2.0", "HTTP/1.2", "HTTP/0.9", "HTTP/3.0", "http/1.1"])
def test_other_versions_are_refused(version: str) -> None:
    async def scene(stage: Stage) -> None:
        reply = await stage.exchange(f"GET {PODS} {version}\r\nHost: g\r\n{AUTH}\r\n")
        assert reply.status["code"] in (400, 505)
        stage.assert_untouched()

    play(scene)


def test_a_head_may_be_cut_anywhere() -> None:
    raw = (START + "Accept: application/json\r\nX-Empty:\r\nUser-Agent: kubectl/v1\r\n\r\n").encode()

    async def scene(stage: Stage) -> None:
        client = await stage.connect()
        for cut in range(1, len(raw)):
            await client.send(raw[:cut])
            await stage.settle(lambda: True)
            await client.send(raw[cut:])
            assert (await client.reply()).code == 200
        assert len(stage.upstream.requests) == len(raw) - 1
        assert {tuple(sorted(seen.names)) for seen in stage.upstream.requests} == {
            tuple(sorted(stage.upstream.requests[0].names))
        }

    play(scene)


def test_a_head_may_come_byte_by_byte() -> None:
    raw = (START + "Accept: application/json\r\n\r\n").encode()

    async def scene(stage: Stage) -> None:
        client = await stage.connect()
        for index in range(len(raw)):
            await client.send(raw[index : index + 1])
            await stage.settle(lambda: True)
        assert (await client.reply()).code == 200

    play(scene)


def test_an_empty_header_value_does_not_swallow_the_next_name() -> None:
    """The parser reports names in pieces; an empty value must end one."""

    async def scene(stage: Stage) -> None:
        reply = await stage.exchange(START + "X-Empty:\r\nImpersonate-User: admin\r\n\r\n")
        assert reply.status["code"] == 403
        stage.assert_untouched()

    play(scene)


SMALL = HttpLimits(
    head_bytes=4096, request_line_bytes=1024, header_count=20, head_seconds=0.2, body_seconds=0.2
)

TOO_LARGE = {
    "one long header": (START + f"X-Long: {'a' * 5000}\r\n\r\n", 431),
    "a header without end": (START + f"X-Long: {'a' * 5000}", 431),
    "many headers": (START + "".join(f"X-{n}: a\r\n" for n in range(30)) + "\r\n", 431),
    "a long request line": (f"GET /{'a' * 2000} HTTP/1.1\r\nHost: g\r\n\r\n", 414),
    "head too slow": (START, 408),
    "body too slow": (POST + "Content-Length: 10\r\n\r\n{", 408),
    "announced body": (POST + f"Content-Length: {4 * 1024 * 1024}\r\n\r\n", 413),
}


@pytest.mark.parametrize(("raw", "code"), TOO_LARGE.values(), ids=TOO_LARGE.keys())
def test_sizes_and_times_are_bounded(raw: str, code: int) -> None:
    async def scene(stage: Stage) -> None:
        reply = await stage.exchange(raw)
        assert reply.status["code"] == code
        stage.assert_untouched()

    play(scene, limits=SMALL)


def test_an_idle_connection_is_closed_without_a_word() -> None:
    async def scene(stage: Stage) -> None:
        client = await stage.connect()
        assert (await client.get()).code == 200
        assert await client.rest() == b""

    play(scene, limits=HttpLimits(idle_seconds=0.2))


def test_connections_are_limited() -> None:
    async def scene(stage: Stage) -> None:
        first, second = await stage.connect(), await stage.connect()
        assert (await first.get()).code == 200
        assert (await second.get()).code == 200
        third = await stage.connect()
        assert await third.rest() == b""
        assert (await first.get()).code == 200

    play(scene, limits=HttpLimits(connections=2))


def test_http10_is_answered_and_closed() -> None:
    async def scene(stage: Stage) -> None:
        client = await stage.connect()
        await client.send(f"GET {PODS} HTTP/1.0\r\n{AUTH}Connection: keep-alive\r\n\r\n")
        reply = await client.reply()
        assert (reply.code, reply.values("connection")) == (200, ["close"])
        assert await client.rest() == b""

    play(scene)


def test_the_upstream_is_fixed_whatever_host_says() -> None:
    async def scene(stage: Stage) -> None:
        await stage.exchange(request().replace(b"Host: gateway", b"Host: evil.example"))
        (seen,) = stage.upstream.requests
        assert seen.value("host") == f"127.0.0.1:{stage.upstream.port}"

    play(scene)
