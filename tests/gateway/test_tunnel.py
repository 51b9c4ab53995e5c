"""Upgrades: the handshake is strict, nothing is piped that was not switched, and bytes keep their order (rows ST-*)."""

from __future__ import annotations

import asyncio
import base64
import os
import time
from collections.abc import Sequence
from dataclasses import replace

import pytest

from chaperone.core.request import Request
from chaperone.core.streams.events import StreamError
from chaperone.core.verdict import Verdict
from gateway.http.framing import Header
from gateway.http.limits import HttpLimits
from gateway.services import Tap, TappedStream
from gateway.standing import Standing
from tests.gateway.filters import PassingFilter
from tests.gateway.stage import AGENT, ALLOW_ALL, AUTH, TOKEN, Client, Stage, play, policy
from tests.gateway.upstream import MOST_ON_THE_WAY, Seen, Upstream, reply

EXEC = "/api/v1/namespaces/dev/pods/p/exec?command=sh&stdin=true&stdout=true"
WEBSOCKET = (
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: v5.channel.k8s.io\r\n"
)
SPDY = "Connection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: v4.channel.k8s.io\r\n"


def upgrade(headers: str = WEBSOCKET, method: str = "GET", target: str = EXEC, auth: str = AUTH) -> str:
    return f"{method} {target} HTTP/1.1\r\nHost: g\r\n{auth}{headers}\r\n"


def switching(protocol: str = "websocket", *more: str) -> bytes:
    lines = ["HTTP/1.1 101 Switching Protocols", "Connection: Upgrade", f"Upgrade: {protocol}", *more]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


async def echo(_seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Switch, then send everything back in upper case until the other side ends."""
    writer.write(
        switching("SPDY/3.1" if _seen.method == "POST" else "websocket", "Sec-WebSocket-Accept: s3pPL")
    )
    while data := await reader.read(65536):
        writer.write(data.upper())
        await writer.drain()
    writer.write(b"bye")


async def opened(stage: Stage, raw: str = upgrade()) -> Client:
    client = await stage.connect()
    await client.send(raw)
    code, _ = await client.head()
    assert code == 101
    return client


@pytest.mark.parametrize(
    "raw",
    [upgrade(), upgrade(SPDY, "POST"), upgrade(WEBSOCKET.replace("websocket", "WebSocket")),
     upgrade(SPDY.replace("SPDY", "spdy") + "Content-Length: 0\r\n", "POST"),
     upgrade(WEBSOCKET.replace("Connection: Upgrade", "Connection: keep-alive, upgrade"))],
)  # fmt: skip
def test_bytes_flow_both_ways_after_101(raw: str) -> None:
    async def scene(stage: Stage) -> None:
        client = await opened(stage, raw)
        for text in (b"hello", b"world", bytes(range(256))):
            await client.send(text)
            assert await client.reader.readexactly(len(text)) == text.upper()
        (seen,) = stage.upstream.requests
        assert seen.target == EXEC
        assert seen.value("connection") == "Upgrade"
        assert seen.value("upgrade") in ("websocket", "SPDY/3.1")
        assert seen.value("impersonate-user") == "system:serviceaccount:agents:coder"
        assert [record["stage"] for record in stage.audit.durable_records] == ["RequestReceived"]

    play(scene, upstream=Upstream(echo))


def test_the_handshake_headers_of_both_sides_arrive() -> None:
    async def scene(stage: Stage) -> None:
        client = await stage.connect()
        await client.send(upgrade())
        code, headers = await client.head()
        assert code == 101
        assert dict(headers) == {
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Accept": "s3pPL",
        }
        (seen,) = stage.upstream.requests
        assert seen.value("sec-websocket-key") == "dGhlIHNhbXBsZSBub25jZQ=="
        assert seen.value("sec-websocket-version") == "13"
        assert seen.value("sec-websocket-protocol") == "v5.channel.k8s.io"

    play(scene, upstream=Upstream(echo))


def test_id13_a_bearer_subprotocol_is_taken_off_and_extensions_are_not_offered() -> None:
    bearer = "base64url.bearer.authorization.k8s.io." + base64.urlsafe_b64encode(
        TOKEN.encode()
    ).decode().rstrip("=")
    headers = (
        WEBSOCKET.replace("v5.channel", f"{bearer}, v5.channel")
        + "Sec-WebSocket-Extensions: permessage-deflate\r\n"
    )

    async def scene(stage: Stage) -> None:
        await opened(stage, upgrade(headers, auth=""))
        (seen,) = stage.upstream.requests
        assert seen.value("sec-websocket-protocol") == "v5.channel.k8s.io"
        assert "sec-websocket-extensions" not in seen.names
        assert bearer.encode() not in stage.upstream.received

    play(scene, upstream=Upstream(echo))


HALF_UPGRADES = {
    "foo": ("GET", "Connection: Upgrade\r\nUpgrade: foo\r\n"),
    "h2c": ("GET", "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAM\r\n"),
    "spdy on GET": ("GET", SPDY),
    "websocket on POST": ("POST", WEBSOCKET),
    "websocket on PUT": ("PUT", WEBSOCKET),
    "several values": ("GET", WEBSOCKET.replace("Upgrade: websocket", "Upgrade: websocket, SPDY/3.1")),
    "several lines": ("GET", WEBSOCKET + "Upgrade: SPDY/3.1\r\n"),
    "the same twice": ("GET", WEBSOCKET + "Upgrade: websocket\r\n"),
    "loose but not strict": ("GET", WEBSOCKET.replace("Connection: Upgrade", "Connection: x-upgrade-y")),
    "in quotes": ("GET", WEBSOCKET.replace("Connection: Upgrade", 'Connection: "upgrade"')),
    "without Connection": ("GET", WEBSOCKET.replace("Connection: Upgrade\r\n", "")),
    "without Upgrade": ("GET", "Connection: Upgrade\r\n"),
    "empty Upgrade": ("GET", "Connection: Upgrade\r\nUpgrade:\r\n"),
    "spdy/3": ("POST", SPDY.replace("SPDY/3.1", "SPDY/3")),
    "with a body": ("POST", SPDY + "Content-Length: 2\r\nContent-Type: application/json\r\n"),
    "with a chunked body": ("POST", SPDY + "Transfer-Encoding: chunked\r\n"),
    "without a key": ("GET", WEBSOCKET.replace("Sec-WebSocket-Key", "X-Key")),
    "two keys": ("GET", WEBSOCKET + "Sec-WebSocket-Key: b\r\n"),
    "keys without an upgrade": ("GET", "Sec-WebSocket-Key: b\r\nSec-WebSocket-Version: 13\r\n"),
}


@pytest.mark.parametrize(("method", "headers"), HALF_UPGRADES.values(), ids=HALF_UPGRADES.keys())
def test_st04_half_an_upgrade_is_refused(method: str, headers: str) -> None:
    async def scene(stage: Stage) -> None:
        client = await stage.connect()
        await client.send(upgrade(headers, method) + "\x00\x01 not HTTP")
        assert (await client.reply()).status["code"] == 400
        assert await client.rest() == b""
        stage.assert_untouched()

    play(scene, upstream=Upstream(echo))


def test_an_upgrade_in_http10_is_refused() -> None:
    async def scene(stage: Stage) -> None:
        assert (await stage.exchange(upgrade().replace("HTTP/1.1", "HTTP/1.0"))).status["code"] == 400
        stage.assert_untouched()

    play(scene)


DENY_EXEC = policy({"name": "no-exec", "match": {"resources": ["pods/exec"]}, "action": "Deny"})


@pytest.mark.parametrize("raw", [upgrade(), upgrade(SPDY, "POST")])
def test_st01_a_denied_upgrade_is_403_and_nothing_is_piped(raw: str) -> None:
    async def scene(stage: Stage) -> None:
        client = await stage.connect()
        await client.send(raw + "early bytes")
        got = await client.reply()
        assert got.status["code"] == 403
        assert got.values("connection") == ["close"]
        await client.send("GET /version HTTP/1.1\r\nHost: g\r\n\r\n")
        assert await client.rest() == b""
        stage.assert_untouched()

    play(scene, policies=(DENY_EXEC,))


NOT_SWITCHED = {
    "403": (reply(403, b'{"kind":"Status","code":403,"status":"Failure"}'), 403),
    "404": (reply(404, b'{"kind":"Status","code":404,"status":"Failure"}'), 404),
    "500 chunked": (b"HTTP/1.1 500 X\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\nstream", 500),
    "CVE-2020-8559 200": (b"HTTP/1.1 200 OK\r\n\r\nshell output", 502),
    "CVE-2022-3172 302": (
        b"HTTP/1.1 302 Found\r\nLocation: https://evil.example\r\nContent-Length: 0\r\n\r\n",
        502,
    ),
    "another protocol": (switching("h2c") + b"stream", 502),
    "two protocols": (switching("websocket", "Upgrade: h2c") + b"stream", 502),
    "101 without Upgrade": (b"HTTP/1.1 101 X\r\n\r\nstream", 502),
}


@pytest.mark.parametrize(("answer", "code"), NOT_SWITCHED.values(), ids=NOT_SWITCHED.keys())
def test_st02_anything_but_101_is_an_error_and_both_ends_close(answer: bytes, code: int) -> None:
    async def switch_not(_seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        if b"\r\n\r\nshell" in answer:
            writer.close()
        assert await reader.read() == b""

    async def scene(stage: Stage) -> None:
        client = await stage.connect()
        await client.send(upgrade() + "keystrokes")
        got = await client.reply()
        assert got.code == code
        assert got.values("connection") == ["close"]
        assert got.values("location") == []
        assert await client.rest() == b""
        await stage.upstream.until(lambda: stage.upstream.closed == 1)
        assert b"keystrokes" not in stage.upstream.received
        assert stage.audit.records[-1]["responseStatus"]["code"] == code

    play(scene, upstream=Upstream(switch_not))


def test_st02_a_long_refusal_is_cut_at_64_kib() -> None:
    async def scene(stage: Stage) -> None:
        got = await stage.exchange(upgrade())
        assert (got.code, len(got.body)) == (403, 65536)

    play(scene, upstream=Upstream(reply(403, b"x" * 1_000_000)))


def test_st05_early_bytes_of_the_client_come_first_and_in_order() -> None:
    release = asyncio.Event()

    async def slow(_seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await release.wait()
        writer.write(switching())
        writer.write(await reader.readexactly(13))

    async def scene(stage: Stage) -> None:
        client = await stage.connect()
        await client.send(upgrade() + "first ")
        await stage.upstream.until(lambda: len(stage.upstream.requests) == 1)
        await client.send("second ")
        await stage.settle(lambda: True)
        assert bytes(stage.upstream.received).endswith(b"\r\n\r\n")
        release.set()
        assert (await client.head())[0] == 101
        assert await client.reader.readexactly(13) == b"first second "

    play(scene, upstream=Upstream(slow))


def test_early_bytes_of_the_api_server_follow_its_101() -> None:
    async def eager(_seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(switching() + b"early")
        await reader.read()

    async def scene(stage: Stage) -> None:
        client = await opened(stage)
        assert await client.reader.readexactly(5) == b"early"

    play(scene, upstream=Upstream(eager))


def test_plain_tcp_can_be_half_closed() -> None:
    async def scene(stage: Stage) -> None:
        client = await opened(stage)
        await client.send(b"abc")
        client.writer.write_eof()
        assert await client.rest() == b"ABCbye"

    play(scene, upstream=Upstream(echo))


@pytest.mark.parametrize("end", ["client", "upstream"])
def test_when_one_end_goes_the_other_goes_and_the_record_says_so(end: str) -> None:
    async def serve(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(switching())
        await reader.readexactly(3)
        if end == "upstream":
            writer.transport.abort()
        await reader.read()

    async def scene(stage: Stage) -> None:
        client = await opened(stage)
        await client.send(b"abc")
        if end == "client":
            await stage.settle(lambda: True)
            client.abort()
        else:
            assert await client.rest() == b""
            client.writer.close()
        await stage.upstream.until(lambda: stage.upstream.closed == 1)
        await stage.settle(lambda: stage.audit.records[-1]["stage"] == "ResponseComplete")
        record = stage.audit.records[-1]
        assert record["responseStatus"]["code"] == 101
        assert record["bytesReceived"] == 3
        assert stage.metrics.open_streams == 0

    play(scene, upstream=Upstream(serve))


def test_st10_silence_is_not_an_end() -> None:
    """Every limit is far shorter than the silence."""
    short = HttpLimits(idle_seconds=0.1, head_seconds=0.1, body_seconds=0.1, stall_seconds=0.1)

    async def scene(stage: Stage) -> None:
        client = await opened(stage)
        stage.server.deadlines.expire(stage.server.deadlines.now() + 70)
        await asyncio.sleep(0.7)
        await client.send(b"still here")
        assert await client.reader.readexactly(10) == b"STILL HERE"

    play(
        scene,
        upstream=Upstream(echo),
        limits=short,
        upstream_settings={"first_byte_seconds": 0.2, "idle_seconds": 0.2},
    )


def test_a_stalled_reader_stops_the_other_side() -> None:
    written = 0

    async def flood(_seen: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        writer.write(switching())
        while True:
            writer.write(b"x" * 65536)
            await asyncio.wait_for(writer.drain(), 0.5)
            written += 65536

    async def scene(stage: Stage) -> None:
        client = await stage.connect()
        client.stop_reading()
        await client.send(upgrade())
        await stage.upstream.until(lambda: stage.upstream.closed == 1)
        assert 0 < written < MOST_ON_THE_WAY

    play(scene, upstream=Upstream(flood))


def test_a_stalled_upstream_stops_the_client() -> None:
    async def deaf(_seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(switching())
        await writer.drain()
        await asyncio.sleep(60)

    async def scene(stage: Stage) -> None:
        client = await opened(stage)
        sent = 0

        async def flood() -> None:
            nonlocal sent
            while sent < 2 * MOST_ON_THE_WAY:
                await asyncio.wait_for(client.send(b"x" * 65536), 0.5)
                sent += 65536

        with pytest.raises(TimeoutError):
            await flood()
        assert sent < MOST_ON_THE_WAY

    play(scene, upstream=Upstream(deaf))


def test_a_megabyte_each_way_arrives_whole() -> None:
    block = os.urandom(1 << 20).lower()

    async def scene(stage: Stage) -> None:
        client = await opened(stage)
        sending = asyncio.ensure_future(client.send(block))
        assert await client.reader.readexactly(len(block)) == block.upper()
        await sending

    play(scene, upstream=Upstream(echo))


@pytest.mark.parametrize(
    "raw", [upgrade(), "GET /api/v1/pods?watch=1 HTTP/1.1\r\nHost: g\r\n" + AUTH + "\r\n"]
)
def test_st11_a_stream_ends_with_its_token(raw: str) -> None:
    async def serve(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        watch = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        writer.write(switching() if "upgrade" in seen.names else watch)
        await reader.read()

    expires_at = time.time() + 3600

    async def scene(stage: Stage) -> None:
        stage.server.path.clock = lambda: expires_at - 0.1
        client = await stage.connect()
        await client.send(raw)
        await client.head()
        await client.rest()
        assert stage.audit.records[-1]["reason"] == "the token has expired"
        assert stage.metrics.open_streams == 0

    play(scene, upstream=Upstream(serve), caller=replace(AGENT, expires_at=expires_at))


def test_the_kill_switch_closes_every_stream_of_a_run_and_no_other() -> None:
    async def scene(stage: Stage) -> None:
        clients = [await opened(stage) for _ in range(3)]
        other = replace(AGENT, run="run-8")
        stage.authenticator.caller = other
        survivor = await opened(stage)
        limits = stage.server.path.services.limits
        assert stage.metrics.open_streams == 4
        assert limits.close_run((AGENT.issuer, AGENT.subject, AGENT.run), "the run was terminated") == 3
        for client in clients:
            assert await client.rest() == b""
        await survivor.send(b"a")
        assert await survivor.reader.readexactly(1) == b"A"
        assert stage.audit.records[-1]["reason"] == "the run was terminated"

    play(scene, upstream=Upstream(echo))


def test_open_streams_of_a_run_are_limited() -> None:
    limited = {**ALLOW_ALL, "spec": {**ALLOW_ALL["spec"], "limits": {"concurrentStreams": 1}}}

    async def scene(stage: Stage) -> None:
        client = await opened(stage)
        refused = await stage.exchange(upgrade())
        assert refused.status["code"] == 429
        assert refused.values("retry-after")
        assert len(stage.upstream.requests) == 1
        client.abort()
        await stage.settle(lambda: stage.metrics.open_streams == 0)
        await opened(stage)

    play(scene, upstream=Upstream(echo), policies=(limited,))


class Recorder:
    """A tap that sees, changes, holds back what is in brackets, and says farewell. Implements services.Tap."""

    def __init__(self, fails_at: bytes = b"\xff", refuses: bool = False) -> None:
        self.heard: list[tuple[str, bytes]] = []
        self.reasons: list[str] = []
        self.dropped_times = 0
        self.fails_at = fails_at
        self.refuses = refuses
        self.headers: list[tuple[bytes, bytes]] = []
        self.held = b""
        self.stream: TappedStream | None = None

    async def open(
        self, _request: Request, _standing: Standing, _verdict: Verdict, _audit_id: str
    ) -> Tap | None:
        return self

    def begin(self, headers: Sequence[tuple[bytes, bytes]], stream: TappedStream) -> None:
        if self.refuses:
            raise StreamError("nobody speaks this")
        self.headers, self.stream = list(headers), stream

    def from_client(self, piece: bytes) -> bytes:
        if self.fails_at in piece:
            raise OSError("the disk is full")
        if b"nonsense" in piece:
            raise StreamError("this is nonsense")
        self.heard.append(("in", piece))
        return piece

    def from_upstream(self, piece: bytes) -> bytes:
        self.heard.append(("out", piece))
        kept, _, held = piece.replace(b"SECRET", b"******").partition(b"[")
        self.held += held
        return kept

    def idle(self) -> bytes:
        held, self.held = self.held, b""
        return held

    def rest(self) -> bytes:
        return self.idle()

    def farewell(self, reason: str) -> bytes:
        return self.idle() + f"<{reason}>".encode()

    def dropped(self) -> None:
        self.dropped_times += 1

    async def ended(self, reason: str) -> dict[str, object]:
        self.reasons.append(reason)
        return {"recording": {"pieces": len(self.heard), "state": "sealed"}, "masked": {"word": 2}}


def test_a_tap_sees_and_changes_everything_and_is_told_the_end() -> None:
    recorder = Recorder()

    async def scene(stage: Stage) -> None:
        client = await opened(stage)
        await client.send(b"a secret")
        assert await client.reader.readexactly(8) == b"A ******"
        assert (b"Sec-WebSocket-Accept", b"s3pPL") in recorder.headers
        client.abort()
        await stage.settle(lambda: bool(stage.audit.records[1:]))
        record = stage.audit.records[-1]
        assert record["recording"]["pieces"] >= 2
        assert record["masked"] == {"word": 2}
        assert (len(recorder.reasons), recorder.dropped_times) == (1, 0)

    play(scene, upstream=Upstream(echo), open_tap=recorder.open)


def test_what_a_tap_holds_back_comes_after_a_moment_of_silence() -> None:
    recorder = Recorder()

    async def scene(stage: Stage) -> None:
        client = await opened(stage)
        await client.send(b"a[b")
        assert await client.reader.readexactly(2) == b"AB"
        assert recorder.heard[-1] == ("out", b"A[B")

    play(scene, upstream=Upstream(echo), open_tap=recorder.open)


def test_what_a_tap_holds_back_comes_also_where_silence_never_does() -> None:
    async def serve(_seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(switching() + b"[spinner")
        while not reader.at_eof():
            writer.write(b".")
            await asyncio.sleep(0.01)

    async def scene(stage: Stage) -> None:
        client = await opened(stage)
        assert b"spinner" in await client.reader.readuntil(b"spinner")

    play(scene, upstream=Upstream(serve), open_tap=Recorder().open)


def test_what_a_tap_holds_back_comes_before_the_end() -> None:
    async def serve(_seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(switching() + b"a[b")
        await writer.drain()
        writer.close()

    async def scene(stage: Stage) -> None:
        client = await opened(stage)
        assert await client.rest() == b"ab"

    play(scene, upstream=Upstream(serve), open_tap=Recorder().open)


def test_st11_under_a_tap_the_client_is_told_why_its_stream_ends() -> None:
    async def scene(stage: Stage) -> None:
        client = await opened(stage)
        stage.server.path.services.limits.close_run(
            (AGENT.issuer, AGENT.subject, AGENT.run), "the run was terminated"
        )
        assert await client.rest() == b"<the run was terminated>"
        await stage.settle(lambda: bool(stage.audit.records[1:]))
        assert stage.audit.records[-1]["reason"] == "the run was terminated"

    play(scene, upstream=Upstream(echo), open_tap=Recorder().open)


def test_a_tap_may_end_its_stream_after_what_it_passes() -> None:
    recorder = Recorder()

    async def scene(stage: Stage) -> None:
        client = await opened(stage)
        assert recorder.stream is not None
        recorder.stream.end_after_this("full")
        recorder.stream.end_after_this("again")
        assert await client.rest() == b"<full>"
        assert recorder.reasons == ["full"]

    play(scene, upstream=Upstream(echo), open_tap=recorder.open)


def test_a_tap_may_brake_both_sides() -> None:
    recorder = Recorder()

    async def scene(stage: Stage) -> None:
        client = await opened(stage)
        stream = recorder.stream
        assert stream is not None
        stream.brake(True)
        await client.send(b"abc")
        done = asyncio.Event()
        stream.later(0.2, done.set)
        await done.wait()
        assert recorder.heard == []
        stream.brake(False)
        assert await client.reader.readexactly(3) == b"ABC"

    play(scene, upstream=Upstream(echo), open_tap=recorder.open)


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"\xff", "it could not be masked or recorded"),
        (b"nonsense", "it is not understood: this is nonsense"),
    ],
)
def test_st09_a_tap_that_fails_in_the_middle_closes_both_ends(sent: bytes, reason: str) -> None:
    recorder = Recorder()

    async def scene(stage: Stage) -> None:
        client = await opened(stage)
        await client.send(sent)
        assert await client.rest() == f"<{reason}>".encode()
        await stage.upstream.until(lambda: stage.upstream.closed == 1)
        await stage.settle(lambda: bool(stage.audit.records[1:]))
        assert stage.audit.records[-1]["reason"] == reason
        assert recorder.reasons == [reason]

    play(scene, upstream=Upstream(echo), open_tap=recorder.open)


@pytest.mark.parametrize("method", ["idle", "rest", "farewell"])
def test_a_tap_that_fails_when_it_should_speak_says_nothing(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder()

    def fail(*_arguments: str) -> bytes:
        raise OSError("the disk is full")

    monkeypatch.setattr(recorder, method, fail)

    async def scene(stage: Stage) -> None:
        client = await opened(stage)
        if method == "farewell":
            assert recorder.stream is not None
            recorder.stream.end_after_this("full")
        else:
            await client.send(b"a[b")
        if method == "rest":
            await client.reader.readexactly(1)
            client.writer.write_eof()
        shown = await client.rest()
        assert shown in {"idle": (b"A",), "rest": (b"", b"Bbye", b"bye"), "farewell": (b"",)}[method]
        await stage.settle(lambda: bool(recorder.reasons))

    play(scene, upstream=Upstream(echo), open_tap=recorder.open)


def test_st09_a_tap_that_cannot_be_opened_refuses_the_stream() -> None:
    async def open_tap(
        _request: Request, _standing: Standing, _verdict: Verdict, _audit_id: str
    ) -> Tap | None:
        raise OSError("the disk is full")

    async def scene(stage: Stage) -> None:
        assert (await stage.exchange(upgrade())).status["code"] == 503
        stage.assert_untouched()

    play(scene, upstream=Upstream(echo), open_tap=open_tap)


def test_a_tap_that_cannot_read_what_was_agreed_refuses_the_stream() -> None:
    recorder = Recorder(refuses=True)

    async def scene(stage: Stage) -> None:
        refused = await stage.exchange(upgrade())
        assert refused.status["code"] == 502
        assert "nobody speaks this" in refused.status["message"]
        await stage.upstream.until(lambda: stage.upstream.closed == 1)
        assert (recorder.dropped_times, recorder.reasons) == (1, [])

    play(scene, upstream=Upstream(echo), open_tap=recorder.open)


def test_a_tap_is_told_when_its_stream_never_came_about() -> None:
    recorder = Recorder()

    async def scene(stage: Stage) -> None:
        await stage.upstream.stop()
        assert (await stage.exchange(upgrade())).status["code"] == 502
        assert (recorder.dropped_times, recorder.reasons) == (1, [])

    play(scene, open_tap=recorder.open)


def test_a_tap_is_told_when_the_api_server_refuses() -> None:
    recorder = Recorder()

    async def scene(stage: Stage) -> None:
        assert (await stage.exchange(upgrade())).code == 403
        assert (recorder.dropped_times, recorder.reasons) == (1, [])

    play(scene, upstream=Upstream(reply(403, b"{}")), open_tap=recorder.open)


class NarrowingFilter(PassingFilter):
    """Asks for less than the client does, as masking does."""

    def ask(self, headers: list[Header]) -> list[Header]:
        return [(b"Accept", b"application/json")]


def test_the_handshake_of_a_masked_stream_asks_for_what_the_client_asks_for() -> None:
    """A kubelet answers 406 to an upgrade that accepts only JSON."""

    async def scene(stage: Stage) -> None:
        await opened(stage, upgrade(WEBSOCKET + "Accept: */*\r\n"))
        (seen,) = stage.upstream.requests
        assert seen.value("accept") == "*/*"

    play(scene, upstream=Upstream(echo), choose_filter=lambda *_arguments: NarrowingFilter())
