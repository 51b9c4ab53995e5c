"""Streams through a whole gateway, masked and recorded: what is kept, what is shown, and how each failure ends."""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from chaperone.core.recording.reading import Reading, What
from chaperone.core.request import Request
from chaperone.core.streams.conversation import Screen
from gateway.recording.tap import LIMIT_REACHED, ChooseScreens, Screens
from gateway.recording.taps import Taps, TapSettings, no_screens
from gateway.standing import Standing
from tests.core.streams.framing import KEY, SUCCESS, SpdyEnd, data, failure, rst, sent, shown, ws
from tests.core.streams.screens import SECRET, WordScreen
from tests.gateway.recording.sinks import MemorySink, MemoryWriter
from tests.gateway.stage import AGENT, Client, Stage, play, policy
from tests.gateway.test_tunnel import SPDY, WEBSOCKET, switching, upgrade
from tests.gateway.upstream import Seen, Upstream

POD = "/api/v1/namespaces/dev/pods/p"
EXEC = f"{POD}/exec?command=sh&command=-c&command=echo+{SECRET.decode()}&container=app&stdin=true&stdout=true"
TTY = EXEC + "&tty=true"
HIDDEN = b"*" * len(SECRET)
V5 = "Sec-WebSocket-Protocol: v5.channel.k8s.io"

ALLOW = {"name": "all", "match": {}, "action": "Allow"}
REQUIRED = {"streams": "Required"}
BEST_EFFORT = {"streams": "BestEffort"}
OFF = {"streams": "Off"}


class WordScreens:
    """Implements gateway.recording.tap.Screens."""

    def __init__(self, make: Callable[[], Screen] = WordScreen) -> None:
        self.make = make
        self.counts: Mapping[str, int] = {"word": 1}


def masked(_request: Request, _standing: Standing) -> Screens | None:
    return WordScreens()


def serve(*pieces: bytes, protocol: str = V5, upgraded: str = "websocket", waits: int = 0) -> Upstream:
    """Switch, wait for so many bytes, say everything in these pieces, and close."""

    async def answer(_seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(switching(upgraded, protocol))
        if waits:
            await reader.readexactly(waits)
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        if not pieces or pieces[-1]:
            writer.close()
        else:
            await reader.read()

    return Upstream(answer)


class Play:
    """One stream from its opening to its record."""

    def __init__(
        self,
        upstream: Upstream,
        recording: Mapping[str, Any],
        *,
        sink: MemorySink | None = None,
        screens: ChooseScreens = masked,
        raw: str = "",
        typed: bytes = b"",
        settings: TapSettings | None = None,
        mode: str = "Enforce",
        meanwhile: Callable[[Stage, Client], Any] | None = None,
    ) -> None:
        self.sink = sink if sink is not None else MemorySink()
        self.code = 0
        self.shown = b""
        self.record: dict[str, Any] = {}
        self.states: list[str] = []
        self._typed, self._raw, self._meanwhile = typed, raw or upgrade(target=TTY), meanwhile
        taps = Taps(self.sink, wall=time.time, clock=time.monotonic, screens=screens, settings=settings)
        governed = policy(ALLOW, recording=dict(recording), mode=mode)
        play(self._scene, upstream=upstream, open_tap=taps, policies=(governed,), records=True)
        taps.close()

    async def _scene(self, stage: Stage) -> None:
        client = await stage.connect()
        await client.send(self._raw)
        self.code, _ = await client.head()
        if self._typed and self.code == 101:
            await client.send(self._typed)
        if self._meanwhile is not None:
            await self._meanwhile(stage, client)
        self.shown = await client.rest()
        client.writer.close()
        wanted = 2 if self.code == 101 else 1
        await stage.settle(lambda: len(stage.audit.records) >= wanted)
        self.record = stage.audit.records[-1]
        self.states = stage.metrics.recordings

    @property
    def kept(self) -> bytes:
        return self.sink.writer.content

    def moments(self, what: What) -> bytes:
        reading = Reading(self.kept.splitlines(keepends=True))
        return b"".join(moment.data for moment in reading.moments() if moment.what is what)


SHOWN = shown(1, b"") + shown(1, b"key " + SECRET[:6]) + shown(1, SECRET[6:] + b"\r\n") + shown(3, failure(3))
CLOSE = ws(8, b"\x03\xe8")


def test_a_terminal_is_masked_and_recorded_and_its_record_says_how() -> None:
    done = Play(serve(SHOWN, CLOSE), REQUIRED)
    assert SECRET not in done.shown
    assert HIDDEN in done.shown
    assert done.moments(What.OUTPUT) == b"key " + HIDDEN + b"\r\n"
    record = done.record
    assert record["recording"] == {
        "name": done.sink.names[0],
        "bytes": len(done.kept),
        "sha256": hashlib.sha256(done.kept).hexdigest(),
        "seconds": record["recording"]["seconds"],
        "state": "sealed",
        "exitCode": 3,
    }
    assert record["masked"] == {"word": 1}
    assert record["stream"]["protocol"] == "WebSocket v5.channel.k8s.io"
    assert record["stream"]["bytes"]["stdout"] == len(b"key " + SECRET + b"\r\n")
    assert done.sink.writer.sealed
    assert done.states == ["sealed"]
    assert SECRET not in done.kept


def test_the_header_says_whose_stream_it_is_and_no_secret() -> None:
    done = Play(serve(CLOSE), REQUIRED)
    head = json.loads(done.kept.splitlines()[0])
    assert head["chaperone"]["pod"] == "p"
    assert head["chaperone"]["run"] == AGENT.run
    assert head["chaperone"]["auditID"] == done.record["auditID"]
    assert head["command"] == "sh -c 'echo " + HIDDEN.decode() + "'"
    assert done.sink.names[0].endswith(f"/{done.record['auditID']}.cast")
    assert done.sink.meta["user"] == AGENT.username


def test_the_header_is_durable_before_the_api_server_is_asked() -> None:
    order: list[str] = []
    sink = MemorySink()

    async def answer(_seen: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        order.append("asked" if sink.writer.synced else "asked too early")
        writer.write(switching("websocket", V5))
        writer.close()

    Play(Upstream(answer), REQUIRED, sink=sink)
    assert order == ["asked"]


def spdy_stream() -> tuple[bytes, bytes]:
    client, server = SpdyEnd(), SpdyEnd()
    types = ("error", "stdin", "stdout", "stderr")
    opening = b"".join(client.syn_stream(2 * at + 1, streamtype=name) for at, name in enumerate(types))
    said = b"".join(server.syn_reply(2 * at + 1) for at in range(4))
    said += (
        data(5, b"key " + SECRET[:6])
        + data(5, SECRET[6:])
        + data(7, b"oops")
        + data(1, SUCCESS)
        + rst(5)
        + rst(1)
    )
    return opening, said


def test_sm09_spdy_is_masked_and_recorded_alike() -> None:
    opening, said = spdy_stream()
    upstream = serve(
        *(said[at : at + 1] for at in range(len(said))),
        protocol="X-Stream-Protocol-Version: v4.channel.k8s.io",
        upgraded="SPDY/3.1",
        waits=len(opening),
    )
    done = Play(upstream, REQUIRED, raw=upgrade(SPDY, "POST", EXEC), typed=opening)
    assert SECRET not in done.shown
    assert HIDDEN in done.shown
    events = [json.loads(line) for line in done.kept.splitlines()]
    assert events[0]["command"][2] == "echo " + HIDDEN.decode()
    texts = {event["stream"]: event["text"] for event in events if "stream" in event}
    assert texts == {"stdout": "key " + HIDDEN.decode(), "stderr": "oops"}
    assert events[-1]["exitCode"] == 0
    assert done.sink.names[0].endswith(".jsonl")
    assert done.record["recording"]["exitCode"] == 0


def test_stdin_is_recorded_only_where_policy_says_so_and_masked() -> None:
    typed = sent(0, SECRET + b"\r") + sent(4, b'{"Width":100,"Height":30}')
    for stdin in (False, True):
        done = Play(serve(CLOSE, waits=len(typed)), {**REQUIRED, "stdin": stdin}, typed=typed)
        assert done.moments(What.INPUT) == (HIDDEN + b"\r" if stdin else b"")
        assert b'"100x30"' in done.kept


def test_without_recording_a_stream_is_still_masked() -> None:
    done = Play(serve(SHOWN, CLOSE), OFF)
    assert HIDDEN in done.shown
    assert SECRET not in done.shown
    assert "recording" not in done.record
    assert done.record["masked"] == {"word": 1}
    assert done.sink.names == []


def test_without_either_nothing_is_read() -> None:
    done = Play(serve(b"not a frame at all \xff"), OFF, screens=no_screens)
    assert done.shown == b"not a frame at all \xff"
    assert "stream" not in done.record


def test_a_secret_that_was_held_is_let_go_in_a_moment() -> None:
    async def wait(_stage: Stage, client: Client) -> None:
        first = shown(1, b"pass ")
        assert await client.reader.readexactly(len(first)) == first
        assert await client.reader.readexactly(len(shown(1, b"hu"))) == shown(1, b"hu")
        client.abort()

    Play(serve(shown(1, b"pass hu"), b""), OFF, meanwhile=wait)


# What fails


def test_st09_a_required_recording_that_cannot_be_opened_refuses_the_stream() -> None:
    upstream = serve(SHOWN)
    done = Play(upstream, REQUIRED, sink=MemorySink(fails=True))
    assert done.code == 503
    assert done.states == ["refused"]
    assert upstream.requests == []
    assert done.record["responseStatus"]["code"] == 503


def test_st09_a_required_recording_whose_store_does_not_answer_refuses_the_stream() -> None:
    gate = threading.Event()
    sink = MemorySink(opening=gate)

    async def release(stage: Stage, _client: Client) -> None:
        gate.set()
        await stage.settle(lambda: sink.writer.aborted)

    done = Play(serve(SHOWN), REQUIRED, sink=sink, settings=TapSettings(patience=0.1), meanwhile=release)
    assert done.code == 503


def given_up(sink: MemorySink) -> Callable[[Stage, Client], Any]:
    """A thread does it, in its own time."""

    async def wait(stage: Stage, _client: Client) -> None:
        await stage.settle(lambda: sink.writer.aborted)

    return wait


def test_st09_a_recording_that_cannot_be_made_durable_is_none() -> None:
    sink = MemorySink(MemoryWriter(fails_at="sync"))
    assert Play(serve(SHOWN), REQUIRED, sink=sink, meanwhile=given_up(sink)).code == 503


def test_st09_best_effort_goes_on_and_the_record_tells_the_gap() -> None:
    done = Play(serve(SHOWN, CLOSE), BEST_EFFORT, sink=MemorySink(fails=True))
    assert HIDDEN in done.shown
    assert done.record["recording"]["state"] == "failed"
    assert "Read-only" in done.record["recording"]["reason"]
    assert done.record["recording"]["exitCode"] == 3


def test_a_policy_in_monitor_mode_never_stands_in_the_way() -> None:
    done = Play(serve(SHOWN, CLOSE), REQUIRED, sink=MemorySink(fails=True), mode="Monitor")
    assert done.code == 101
    assert done.record["recording"]["state"] == "failed"


POISON = shown(1, b"poison\r\n") + shown(1, b"")


def slowly(*pieces: bytes) -> Upstream:
    """Each piece after a moment, so that each is an event of its own."""

    async def answer(_seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(switching("websocket", V5))
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.15)
        await reader.read()

    return Upstream(answer)


def test_st09_a_required_recording_that_fails_in_the_middle_ends_the_stream_and_says_why() -> None:
    sink = MemorySink(MemoryWriter(poison=b"poison"))
    done = Play(slowly(POISON, shown(1, b"never shown"), *[shown(1, b"x")] * 20), REQUIRED, sink=sink)
    assert b"it could not be recorded" in done.shown
    assert b"Error" not in done.shown, "what the store said is for the log"
    assert b'"kind":"Status"' in done.shown
    assert done.shown.endswith(CLOSE)
    assert done.record["recording"]["state"] == "failed"
    assert "No space left" in done.record["recording"]["reason"]
    assert "it could not be recorded" in done.record["reason"]
    assert not sink.writer.sealed
    assert done.states == ["failed"]


def test_st09_best_effort_outlives_a_failure_in_the_middle() -> None:
    sink = MemorySink(MemoryWriter(poison=b"poison"))
    done = Play(slowly(POISON, shown(1, b"goes on"), CLOSE), BEST_EFFORT, sink=sink, meanwhile=_until(CLOSE))
    assert done.record["recording"]["state"] == "failed"
    assert "No space left" in done.record["recording"]["reason"]


def _until(end: bytes) -> Callable[[Stage, Client], Any]:
    async def wait(_stage: Stage, client: Client) -> None:
        assert b"goes on" in await client.reader.readuntil(end)
        client.writer.close()

    return wait


def test_a_recording_that_cannot_be_sealed_is_told() -> None:
    done = Play(serve(SHOWN, CLOSE), REQUIRED, sink=MemorySink(MemoryWriter(fails_at="close")))
    assert done.record["recording"]["state"] == "failed"
    assert "Input/output" in done.record["recording"]["reason"]


FLOOD = [shown(1, b"%06d" % number * 100) for number in range(40)]


def test_a_required_recording_ends_its_stream_at_the_limit() -> None:
    done = Play(slowly(*FLOOD), REQUIRED, settings=TapSettings(limit=2000))
    assert LIMIT_REACHED.encode() in done.shown
    assert done.record["recording"]["state"] == "truncated"
    assert done.record["reason"] == LIMIT_REACHED
    assert b"at its limit of 2000 bytes" in done.moments(What.MARK)


def test_best_effort_goes_on_beyond_the_limit_and_the_record_says_so() -> None:
    done = Play(serve(*FLOOD, shown(3, SUCCESS), CLOSE), BEST_EFFORT, settings=TapSettings(limit=2000))
    assert done.shown.endswith(CLOSE)
    assert done.record["recording"]["state"] == "truncated"
    assert done.record["recording"]["exitCode"] == 0
    assert len(done.kept) < 3000


def test_a_store_that_is_slow_slows_the_stream_and_loses_nothing() -> None:
    gate = threading.Event()
    sink = MemorySink(MemoryWriter(gate=gate))
    block = b"0123456789abcdef" * 4096
    pieces = [shown(1, block)] * 200

    async def release(stage: Stage, client: Client) -> None:
        read = asyncio.ensure_future(client.rest())
        await asyncio.sleep(0.5)
        assert not read.done()
        gate.set()
        assert len(await read) > 200 * len(block)

    done = Play(serve(*pieces, CLOSE), REQUIRED, sink=sink, screens=no_screens, meanwhile=release)
    assert done.moments(What.OUTPUT) == block * 200
    assert done.record["recording"]["state"] == "sealed"


def test_a_store_that_is_stuck_is_given_up() -> None:
    gate = threading.Event()
    sink = MemorySink(MemoryWriter(gate=gate))
    pieces = [shown(1, b"0123456789abcdef" * 4096)] * 200

    async def release(stage: Stage, _client: Client) -> None:
        await stage.settle(lambda: bool(stage.audit.records[1:]) or stage.upstream.closed > 0)
        gate.set()

    done = Play(
        serve(*pieces, b""),
        REQUIRED,
        sink=sink,
        screens=no_screens,
        settings=TapSettings(patience=2.0),
        meanwhile=release,
    )
    assert b"it could not be recorded" in done.shown
    assert "does not answer" in done.record["recording"]["reason"]
    assert done.record["recording"]["state"] == "failed"


def test_a_stream_that_is_silent_for_long_says_that_it_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.recording.tap.PULSE_EVERY", 0.2)
    sink = MemorySink()

    async def wait(stage: Stage, client: Client) -> None:
        await stage.settle(lambda: len(sink.writer.content.splitlines()) >= 4)
        client.abort()

    Play(serve(shown(1, b"hello"), b""), REQUIRED, sink=sink, meanwhile=wait)
    assert Reading(sink.writer.content.splitlines(keepends=True)).opening.is_terminal
    assert sink.writer.content.count(b'"o",""') >= 2


NONSENSE = shown(1, b"before") + b"\xff\xff not a frame"


@pytest.mark.parametrize(
    ("recording", "screens"), [(REQUIRED, no_screens), (BEST_EFFORT, masked), (OFF, masked)]
)
def test_what_is_not_understood_ends_a_stream_that_must_be_read(
    recording: dict[str, str], screens: ChooseScreens
) -> None:
    done = Play(serve(shown(1, b"before"), b"\xff\xff not a frame", b""), recording, screens=screens)
    assert b"not a frame" not in done.shown
    assert b"it is not understood" in done.shown
    assert "it is not understood" in done.record["reason"]


def test_what_is_not_understood_passes_where_it_need_not_be_read() -> None:
    done = Play(serve(NONSENSE), BEST_EFFORT, screens=no_screens)
    assert done.shown == NONSENSE
    assert done.record["recording"]["state"] == "partial"
    assert "extension or an opcode" in done.record["recording"]["reason"]
    assert b"not recorded from here on" in done.kept


UNREADABLE: Sequence[str] = (
    "Sec-WebSocket-Protocol: v6.channel.k8s.io",
    V5 + "\r\nSec-WebSocket-Extensions: permessage-deflate",
    V5 + "\r\n" + V5,
)


@pytest.mark.parametrize("headers", UNREADABLE)
def test_an_agreement_that_cannot_be_read_is_refused(headers: str) -> None:
    sink = MemorySink()
    done = Play(serve(SHOWN, protocol=headers), REQUIRED, sink=sink, meanwhile=given_up(sink))
    assert done.code == 502


def test_an_agreement_that_cannot_be_read_passes_unrecorded_where_it_may() -> None:
    done = Play(serve(NONSENSE, protocol=UNREADABLE[0]), BEST_EFFORT, screens=no_screens)
    assert done.shown == NONSENSE
    assert done.record["recording"]["state"] == "partial"
    assert "subprotocol that is not known" in done.record["recording"]["reason"]


class BrokenScreen(WordScreen):
    def feed(self, data: bytes) -> bytes:
        if b"key" in data:
            raise RuntimeError("no pattern engine")
        return super().feed(data)


def test_a_screen_that_fails_shows_nothing() -> None:
    done = Play(serve(SHOWN, b""), REQUIRED, screens=lambda _request, _standing: WordScreens(BrokenScreen))
    assert b"key" not in done.shown
    assert b"could not be masked" in done.shown
    assert "could not be masked" in done.record["reason"]


# Other kinds of streams


def test_st11_a_run_that_is_terminated_is_told_and_recorded() -> None:
    async def kill(stage: Stage, _client: Client) -> None:
        stage.server.path.services.limits.close_run(
            (AGENT.issuer, AGENT.subject, AGENT.run), "the run was terminated"
        )

    done = Play(serve(shown(1, b"hello"), b""), REQUIRED, meanwhile=kill)
    assert b"the gateway ended this stream: the run was terminated" in done.shown
    assert b"the run was terminated" in done.moments(What.MARK)
    assert done.record["reason"] == "the run was terminated"
    assert done.record["recording"]["state"] == "sealed"


def test_a_port_forward_is_counted_and_not_looked_into() -> None:
    client = SpdyEnd()
    opening = client.syn_stream(1, streamtype="error", port="80") + client.syn_stream(
        3, streamtype="data", port="80"
    )
    answer = ws(2, data(3, SECRET))
    target = f"{POD}/portforward?ports=80"
    typed = ws(2, opening + data(3, b"GET /"), key=KEY)
    upstream = serve(
        answer, CLOSE, protocol="Sec-WebSocket-Protocol: SPDY/3.1+portforward.k8s.io", waits=len(typed)
    )
    headers = WEBSOCKET.replace("v5.channel.k8s.io", "SPDY/3.1+portforward.k8s.io")
    done = Play(upstream, REQUIRED, raw=upgrade(headers, target=target), typed=typed)
    assert SECRET in done.shown
    assert SECRET not in done.kept
    assert done.record["stream"]["ports"] == {"80": len(SECRET) + 5}
    head, end = (json.loads(line) for line in done.kept.splitlines())
    assert head["chaperone"]["kind"] == "portforward"
    assert end["ports"] == {"80": len(SECRET) + 5}


def test_st04_a_proxied_upgrade_is_on_the_record_and_not_looked_into() -> None:
    for raw in (upgrade(target=f"{POD}/proxy/ws"), upgrade(target=f"{POD}/proxy/ws?tty=true&command=x")):
        done = Play(serve(b"anything " + SECRET), REQUIRED, raw=raw)
        assert done.shown == b"anything " + SECRET
        assert SECRET not in done.kept
        head, end = (json.loads(line) for line in done.kept.splitlines())
        assert head["chaperone"]["kind"] == "proxy"
        assert "command" not in head
        assert end["bytes"] == {"data": len(done.shown)}
        assert done.record["stream"]["protocol"] == "websocket, not looked into"
        assert done.record["recording"]["state"] == "sealed"


def test_st04_without_a_store_a_proxied_upgrade_is_refused_like_any_other_stream() -> None:
    target = "/api/v1/namespaces/dev/services/web/proxy/ws"
    assert Play(serve(b"x"), REQUIRED, raw=upgrade(target=target), sink=MemorySink(fails=True)).code == 503
    done = Play(serve(b"x"), REQUIRED, raw=upgrade(target=target))
    assert json.loads(done.kept.splitlines()[0])["chaperone"]["kind"] == "services/proxy"
    assert Play(serve(b"x"), OFF, raw=upgrade(target=target)).sink.names == []


def test_a_gateway_without_a_store_refuses_what_must_be_recorded() -> None:
    async def open_tap(*arguments: Any) -> Any:
        return await Taps(None, wall=time.time, clock=time.monotonic)(*arguments)

    async def scene(stage: Stage) -> None:
        reply = await stage.exchange(upgrade(target=TTY))
        assert reply.status["code"] == 503
        assert "recorded or masked" in reply.status["message"]

    play(scene, open_tap=open_tap, policies=(policy(ALLOW, recording=REQUIRED),), records=True)
