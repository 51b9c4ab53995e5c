"""A worker as a whole: TLS on both sides, renewed certificates, an orderly end, memory for a thousand watches."""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gateway.tls import ServingCertificate, upstream_settings
from gateway.workers import Supervisor
from tests.gateway.pki import Authority, make_authority
from tests.gateway.stage import PODS, Client, Stage, play, request
from tests.gateway.test_tunnel import echo, opened, upgrade
from tests.gateway.upstream import CHUNKED, MOST_ON_THE_WAY, Seen, Upstream, chunks, reply


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_authority(tmp_path_factory.mktemp("pki"))


def both_sides(authority: Authority, upstream: Upstream, **more: Any) -> dict[str, Any]:
    """Arguments of `play` for TLS towards the client and towards upstream."""
    upstream.tls = authority.server_context()
    settings = upstream_settings("https://localhost", authority.pem)
    certificate, key = authority.leaf("gateway")
    return {
        "upstream": upstream,
        "upstream_settings": {"tls": settings.tls, "server_name": "localhost"},
        "server_tls": {"certificate": certificate, "key": key},
        "client_tls": authority.client_context(),
        **more,
    }


# TLS


def test_tls_on_both_sides_with_keep_alive(authority: Authority) -> None:
    async def scene(stage: Stage) -> None:
        client = await stage.connect()
        for _ in range(3):
            assert (await client.get()).code == 200
        assert stage.upstream.connections == 1
        assert stage.upstream.requests[0].value("host") == f"localhost:{stage.upstream.port}"

    play(scene, **both_sides(authority, Upstream()))


def test_only_http11_is_offered(authority: Authority) -> None:
    async def scene(stage: Stage) -> None:
        assert stage.client_tls is not None
        stage.client_tls.set_alpn_protocols(["h2", "http/1.1"])
        client = await stage.connect()
        assert client.writer.get_extra_info("ssl_object").selected_alpn_protocol() == "http/1.1"

    play(scene, **both_sides(authority, Upstream()))


def test_a_tunnel_through_tls(authority: Authority) -> None:
    async def scene(stage: Stage) -> None:
        client = await opened(stage, upgrade() + "early ")
        await client.send("late")
        assert await client.reader.readexactly(10) == b"EARLY LATE"

    play(scene, **both_sides(authority, Upstream(echo)))


def test_a_large_answer_through_tls(authority: Authority) -> None:
    body = os.urandom(5 << 20)

    async def scene(stage: Stage) -> None:
        assert (await (await stage.connect()).get()).body == body

    play(scene, **both_sides(authority, Upstream(reply(200, body))))


def test_an_answer_broken_off_under_tls_is_not_a_clean_end(authority: Authority) -> None:
    async def answer(_seen: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(CHUNKED + chunks(b"abc", end=False))
        await writer.drain()
        await asyncio.sleep(0.02)
        writer.transport.abort()

    async def scene(stage: Stage) -> None:
        client = await stage.connect()
        await client.send(request())
        await client.head()
        assert await client.piece() == b"abc"
        assert await client.rest() == b""

    play(scene, **both_sides(authority, Upstream(answer)))


def test_a_stalled_client_under_tls_stops_the_upstream(authority: Authority) -> None:
    written = 0

    async def answer(_seen: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        writer.write(CHUNKED)
        while True:
            writer.write(chunks(b"x" * 65536, end=False))
            await asyncio.wait_for(writer.drain(), 1.0)
            written += 65536

    async def scene(stage: Stage) -> None:
        client = await stage.connect()
        client.stop_reading()
        await client.send(request(PODS + "?watch=1"))
        await stage.upstream.until(lambda: stage.upstream.closed == 1)
        assert written < MOST_ON_THE_WAY

    play(scene, **both_sides(authority, Upstream(answer)))


def test_an_upstream_with_another_authority_gets_no_byte(authority: Authority, tmp_path: Path) -> None:
    other = make_authority(tmp_path)
    arguments = both_sides(authority, Upstream())
    arguments["upstream"].tls = other.server_context()

    async def scene(stage: Stage) -> None:
        assert (await stage.exchange(request())).status["code"] == 502
        stage.assert_untouched()

    play(scene, **arguments)


def test_an_upstream_with_another_name_gets_no_byte(authority: Authority) -> None:
    arguments = both_sides(authority, Upstream())
    arguments["upstream_settings"]["server_name"] = "elsewhere.example"

    async def scene(stage: Stage) -> None:
        assert (await stage.exchange(request())).status["code"] == 502
        stage.assert_untouched()

    play(scene, **arguments)


def test_relaxing_clears_one_flag_and_verification_stays_on(authority: Authority) -> None:
    strict = upstream_settings("https://kubernetes:6443", authority.pem).tls
    relaxed = upstream_settings("https://kubernetes:6443", authority.pem, relax_x509_strict=True).tls
    assert strict is not None
    assert relaxed is not None
    assert relaxed.verify_mode is ssl.CERT_REQUIRED
    assert relaxed.check_hostname
    assert not relaxed.verify_flags & ssl.VERIFY_X509_STRICT
    assert relaxed.verify_flags | ssl.VERIFY_X509_STRICT == strict.verify_flags | ssl.VERIFY_X509_STRICT


@pytest.mark.parametrize(
    "server", ["http://a", "https://", "https://u:p@a", "https://a/path", "a:443", "https://a?x"]
)
def test_an_upstream_that_is_no_https_host_is_refused(server: str) -> None:
    with pytest.raises(ValueError, match="https://HOST"):
        upstream_settings(server, None)


def test_a_renewed_certificate_is_served_and_open_connections_live(authority: Authority) -> None:
    def serial(client: Client) -> int:
        return int(client.writer.get_extra_info("peercert")["serialNumber"], 16)

    async def scene(stage: Stage) -> None:
        before = await stage.connect()
        assert (await before.get()).code == 200
        authority.leaf("gateway", serial=77)
        stage.server.refresh()
        after = await stage.connect()
        assert (serial(before), serial(after)) == (2, 77)
        assert (await before.get()).code == 200
        assert (await after.get()).code == 200

    play(scene, **both_sides(authority, Upstream()))


def test_half_of_a_renewed_pair_changes_nothing(authority: Authority) -> None:
    certificate, key = authority.leaf("half")
    serving = ServingCertificate(certificate, key)
    assert not serving.refresh()
    old = key.read_bytes()
    authority.leaf("half", serial=3)
    new = key.read_bytes()
    key.write_bytes(old)
    assert not serving.refresh()
    key.write_bytes(new)
    assert serving.refresh()


# The end


def test_stopping_finishes_short_requests_and_closes_idle_connections() -> None:
    release = asyncio.Event()

    async def answer(_seen: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await release.wait()
        writer.write(reply())

    async def scene(stage: Stage) -> None:
        idle, busy = await stage.connect(), await stage.connect()
        await busy.send(request())
        await stage.upstream.until(lambda: len(stage.upstream.requests) == 1)
        stopping = asyncio.ensure_future(stage.server.stop(10))
        assert await idle.rest() == b""
        release.set()
        got = await busy.reply()
        assert (got.code, got.values("connection")) == (200, ["close"])
        await stopping
        with pytest.raises(OSError):
            await stage.connect()

    play(scene, upstream=Upstream(answer))


def test_stopping_ends_a_watch_cleanly_between_two_events() -> None:
    go_on = asyncio.Event()

    async def answer(_seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(CHUNKED + chunks(b'{"type":"ADDED"}\n', b'{"type":"MODI', end=False))
        await writer.drain()
        await go_on.wait()
        writer.write(chunks(b'FIED"}\n', end=False))
        await reader.read()

    async def scene(stage: Stage) -> None:
        client = await stage.connect()
        await client.send(request(PODS + "?watch=1"))
        await client.head()
        first = await client.piece()
        stopping = asyncio.ensure_future(stage.server.stop(10))
        await asyncio.sleep(0.1)
        assert not stopping.done()
        go_on.set()
        events = first + b"".join([piece async for piece in client.pieces()])
        assert events == b'{"type":"ADDED"}\n{"type":"MODIFIED"}\n'
        assert await client.rest() == b""
        await stopping
        assert stage.audit.records[-1]["reason"] == "the gateway is stopping"

    play(scene, upstream=Upstream(answer))


def test_stopping_ends_a_silent_watch_at_once() -> None:
    async def answer(_seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(CHUNKED)
        await reader.read()

    async def scene(stage: Stage) -> None:
        client = await stage.connect()
        await client.send(request(PODS + "?watch=1"))
        await client.head()
        await stage.server.stop(10)
        assert await client.piece() == b""

    play(scene, upstream=Upstream(answer))


def test_stopping_gives_a_tunnel_its_grace_and_then_closes_it() -> None:
    async def scene(stage: Stage) -> None:
        client = await opened(stage)
        stopping = asyncio.ensure_future(stage.server.stop(0.3))
        await client.send("still")
        assert await client.reader.readexactly(5) == b"STILL"
        await stopping
        assert await client.rest() == b""
        assert stage.audit.records[-1]["reason"] == "the gateway is stopping"

    play(scene, upstream=Upstream(echo))


# Memory


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_a_thousand_idle_watches_are_cheap(authority: Authority) -> None:
    """Client, gateway and upstream share this process, so three TLS ends more than the gateway's are counted."""
    count = 250

    async def answer(_seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(CHUNKED + chunks(b'{"type":"BOOKMARK"}\n', end=False))
        await reader.read()

    async def scene(stage: Stage) -> None:
        for _ in range(10):
            await _watch(stage)
        before = _resident()
        for _ in range(count):
            await _watch(stage)
        assert (_resident() - before) / count < 2 * 100 * 1024

    play(scene, **both_sides(authority, Upstream(answer)))


async def _watch(stage: Stage) -> None:
    client = await stage.connect()
    await client.send(request(PODS + "?watch=1"))
    await client.head()


# Workers


WORKERS = """
import os, signal, sys, time
from gateway.workers import Supervisor
marks = sys.argv[1]

def work(number):
    stop = []
    signal.signal(signal.SIGTERM, lambda *_: stop.append(1))
    signal.signal(signal.SIGHUP, lambda *_: open(marks + "/hup-%d" % os.getpid(), "w").close())
    open(marks + "/worker-%d-%d" % (number, os.getpid()), "w").close()
    while not stop:
        time.sleep(0.01)
    open(marks + "/stopped-%d" % os.getpid(), "w").close()
    return 0

sys.exit(Supervisor(work, 2).run())
"""


def test_workers_are_started_again_told_to_reload_and_stopped(tmp_path: Path) -> None:
    async def marked(pattern: str, count: int) -> list[Path]:
        async with asyncio.timeout(30):
            while len(found := sorted(tmp_path.glob(pattern))) < count:  # noqa: ASYNC110, ASYNC240
                await asyncio.sleep(0.02)
        return found

    async def scene() -> None:
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", WORKERS, str(tmp_path))
        try:
            first = await marked("worker-*", 2)
            os.kill(int(first[0].name.split("-")[2]), signal.SIGKILL)
            await marked("worker-*", 3)
            process.send_signal(signal.SIGHUP)
            await marked("hup-*", 2)
            process.terminate()
            assert await process.wait() == 0
            assert len(await marked("stopped-*", 2)) == 2
        finally:
            if process.returncode is None:
                process.kill()

    asyncio.run(scene())


def test_a_worker_that_dies_at_once_is_started_ever_more_rarely() -> None:
    code = """
import sys
from gateway.workers import Supervisor
pauses = []

def sleep(seconds):
    pauses.append(seconds)
    if len(pauses) == 8:
        print(pauses, flush=True)
        supervisor._stopping = True

supervisor = Supervisor(lambda number: 3, 1, sleep=sleep)
sys.exit(supervisor.run())
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]"


def test_a_supervisor_says_which_worker_is_gone() -> None:
    assert Supervisor(lambda _number: 0, 0).run() == 0
