"""SPDY/3.1: frames and header blocks, whatever the cuts; what is not understood is an error (row ST-07)."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable

import pytest

from chaperone.core.streams import spdy
from chaperone.core.streams.events import Channel, Chunk, Kind, Passed, StreamError
from chaperone.core.streams.spdy import FrameReader, HeaderReader, read_headers
from chaperone.core.streams.spdy_dictionary import DICTIONARY
from chaperone.core.streams.spdy_streams import MOST_STREAMS, SpdyWire
from tests.core.streams.framing import (
    GOAWAY,
    PING,
    SETTINGS,
    SUCCESS,
    WINDOW_UPDATE,
    SpdyEnd,
    control,
    cuts,
    data,
    fed,
    joined,
    rst,
)

V4 = "v4.channel.k8s.io"
PORTS = "portforward.k8s.io"
TYPES = ("error", "stdin", "stdout", "stderr", "resize")


def test_the_dictionary_is_the_drafts() -> None:
    """Every stream compressed with it names it by this checksum."""
    assert len(DICTIONARY) == 1423
    assert zlib.adler32(DICTIONARY) == 0xE3C6A7C2


class Opened:
    """A command's streams, opened and accepted. ids: by type."""

    def __init__(self, protocol: str = V4, types: tuple[str, ...] = TYPES) -> None:
        self.wire = SpdyWire(protocol)
        self.client, self.server = SpdyEnd(), SpdyEnd()
        self.ids = {name: 2 * number + 1 for number, name in enumerate(types)}
        self.opening = b"".join(
            self.client.syn_stream(number, streamType=name) for name, number in self.ids.items()
        )
        self.accepting = b"".join(self.server.syn_reply(number) for number in self.ids.values())

    def open(self) -> Opened:
        assert all(isinstance(event, Passed) for event in self.wire.from_client(self.opening))
        assert all(isinstance(event, Passed) for event in self.wire.from_upstream(self.accepting))
        return self

    def channel(self, name: str) -> Channel:
        return Channel(Kind(name), self.ids[name])


def read(make: Callable[[Opened], bytes], *, client: bool = False, protocol: str = V4) -> list[object]:
    """What is read behind the opening, the same for all cuts."""
    results = []
    for index in range(1_000_000):
        scene = Opened(protocol).open()
        pieces = next((cut for at, cut in enumerate(cuts(make(scene))) if at == index), None)
        if pieces is None:
            break
        feed = scene.wire.from_client if client else scene.wire.from_upstream
        results.append(joined(event for cut in pieces for event in feed(cut)))
    assert all(result == results[0] for result in results)
    return results[0]


def test_st07_the_opening_does_not_depend_on_the_cuts() -> None:
    for pieces in cuts(Opened().opening):
        scene = Opened()
        passed = [event for cut in pieces for event in scene.wire.from_client(cut)]
        assert b"".join(event.raw for event in passed if isinstance(event, Passed)) == scene.opening
        (shown,) = scene.wire.from_upstream(data(scene.ids["stdout"], b"x"))
        assert shown == Chunk(scene.channel("stdout"), b"x", True)


def test_st07_many_frames_in_one_read() -> None:
    scene = Opened()

    def stream(scene: Opened) -> bytes:
        return b"".join(
            (
                data(scene.ids["stdout"], b"out"),
                PING,
                data(scene.ids["stderr"], b"err" * 100),
                WINDOW_UPDATE,
                data(scene.ids["error"], SUCCESS),
                SETTINGS,
                data(scene.ids["stdout"], b"", 1),
                GOAWAY,
            )
        )

    assert read(stream) == [
        Chunk(scene.channel("stdout"), b"out", True),
        Passed(PING),
        Chunk(scene.channel("stderr"), b"err" * 100, True),
        Passed(WINDOW_UPDATE),
        Chunk(scene.channel("error"), SUCCESS, True),
        Passed(SETTINGS),
        Chunk(scene.channel("stdout"), b"", True, True),
        Passed(GOAWAY, everything=True),
    ]


def test_the_client_types_resizes_and_ends() -> None:
    scene = Opened()

    def stream(scene: Opened) -> bytes:
        return (
            data(scene.ids["stdin"], b"ls\n")
            + data(scene.ids["resize"], b"{}")
            + data(scene.ids["stdin"], b"x", 1)
        )

    assert read(stream, client=True) == [
        Chunk(scene.channel("stdin"), b"ls\n", True),
        Chunk(scene.channel("resize"), b"{}", True),
        Chunk(scene.channel("stdin"), b"x", True, True),
    ]


@pytest.mark.parametrize("number", [129, 0x7F01, 0x7FFFFFFD])
def test_st07_stream_ids_have_31_bits(number: int) -> None:
    wire = SpdyWire(V4)
    list(wire.from_client(SpdyEnd().syn_stream(number, streamtype="stdout")))
    (event,) = wire.from_upstream(data(number, b"x"))
    assert event == Chunk(Channel(Kind.STDOUT, number), b"x", True)


def test_st07_a_frame_of_16_mib_is_handed_on_as_it_comes() -> None:
    reader = FrameReader()
    head = (5).to_bytes(4, "big") + b"\x01" + b"\xff\xff\xff"
    assert list(reader.feed(head + b"abc")) == [spdy.Data(5, b"abc", False, False)]
    rest = bytes((1 << 24) - 1 - 3)
    assert list(reader.feed(rest + PING)) == [
        spdy.Data(5, rest, True, True),
        spdy.Control(spdy.Type.PING, 0, 0, bytes(4), PING),
    ]
    assert reader.at_border


def test_control_frames_pass_as_they_came() -> None:
    scene = Opened().open()
    client = scene.client.headers(1, extra="1") + PING + GOAWAY + WINDOW_UPDATE + SETTINGS + rst(3)
    server = scene.server.headers(1, extra="1") + PING + WINDOW_UPDATE + SETTINGS
    sent = [event for event in scene.wire.from_client(client) if isinstance(event, Passed)]
    assert b"".join(event.raw for event in sent) == client
    received = [event for event in scene.wire.from_upstream(server) if isinstance(event, Passed)]
    assert b"".join(event.raw for event in received) == server


def test_an_end_of_a_stream_lets_go_what_is_held_for_it() -> None:
    scene = Opened().open()
    (event,) = scene.wire.from_upstream(rst(scene.ids["stdout"]))
    assert event == Passed(rst(scene.ids["stdout"]), closes=scene.channel("stdout"))
    fin = scene.server.headers(scene.ids["stderr"], flags=1, more="1")
    assert list(scene.wire.from_upstream(fin)) == [Passed(fin, closes=scene.channel("stderr"))]


def test_an_end_of_a_stream_that_is_gone_changes_nothing() -> None:
    scene = Opened().open()
    list(scene.wire.from_client(rst(scene.ids["stderr"])))
    fin = scene.server.headers(scene.ids["stderr"], flags=1, more="1")
    assert list(scene.wire.from_upstream(fin)) == [Passed(fin)]
    assert not scene.wire._half


def test_data_that_was_under_way_when_its_stream_was_closed_is_dropped() -> None:
    scene = Opened().open()
    list(scene.wire.from_client(rst(scene.ids["stdout"])))
    assert list(scene.wire.from_upstream(data(scene.ids["stdout"], b"late"))) == []
    stdin = scene.ids["stdin"]
    list(scene.wire.from_client(data(stdin, b"", 1)))
    list(scene.wire.from_upstream(data(stdin, b"", 1)))
    assert list(scene.wire.from_client(data(stdin, b"late"))) == []


def test_a_stream_that_is_opened_closed_is_half_gone() -> None:
    scene = Opened(V4, ())
    wire = scene.wire
    list(wire.from_client(scene.client.syn_stream(1, flags=1, streamtype="stdout")))
    (event,) = wire.from_upstream(data(1, b"x", 1))
    assert event == Chunk(Channel(Kind.STDOUT, 1), b"x", True, True)
    assert list(wire.from_upstream(data(1, b"late"))) == []


def test_streams_come_and_go_without_end() -> None:
    scene = Opened(PORTS, ())
    for number in range(1, 2 * MOST_STREAMS + 100, 2):
        list(
            scene.wire.from_client(
                scene.client.syn_stream(number, streamtype="data", port="80", requestid="0")
            )
        )
        list(scene.wire.from_client(rst(number)))
    assert not scene.wire._open
    assert not scene.wire._half


def test_streams_open_at_a_time_are_bounded() -> None:
    scene = Opened(PORTS, ())
    numbers = range(1, 2 * MOST_STREAMS + 100, 2)
    opening = [scene.client.syn_stream(number, streamtype="data", port="80") for number in numbers]
    with pytest.raises(StreamError, match="too many"):
        fed(scene.wire.from_client, opening)


def test_forwarded_ports_are_told_apart() -> None:
    scene = Opened(PORTS, ())
    opening = scene.client.syn_stream(1, streamtype="error", port="80", requestid="0")
    opening += scene.client.syn_stream(3, streamtype="data", port="8443", requestid="1")
    list(scene.wire.from_client(opening))
    assert list(scene.wire.from_client(data(3, b"GET /"))) == [
        Chunk(Channel(Kind.DATA, 3, 8443), b"GET /", True)
    ]
    assert list(scene.wire.from_upstream(data(1, b"no"))) == [Chunk(Channel(Kind.ERROR, 1, 80), b"no", True)]
    assert scene.wire.to_client(Chunk(Channel(Kind.DATA, 3, 8443), b"x")) == data(3, b"x")


def test_what_is_written() -> None:
    scene = Opened().open()
    stdout = scene.channel("stdout")
    assert scene.wire.to_client(Chunk(stdout, b"abc")) == data(stdout.number, b"abc")
    assert scene.wire.to_upstream(Chunk(scene.channel("stdin"), b"a", ends=True)) == data(3, b"a", 1)
    assert scene.wire.to_client(Chunk(stdout, b"", ends=True)) == data(stdout.number, b"", 1)
    assert scene.wire.to_client(Chunk(stdout, b"", whole=True)) == b""


# What is refused

CLIENT_FAULTS: dict[str, Callable[[Opened], bytes]] = {
    "version 2": lambda _: control(6, bytes(4), version=2),
    "an unknown type": lambda _: control(5, bytes(4)),
    "a long control frame": lambda _: control(4, bytes(70_000)),
    "a long ping": lambda _: control(6, bytes(5)),
    "a short reset": lambda _: control(3, bytes(4)),
    "a short opening": lambda _: control(1, bytes(9)),
    "flags on data": lambda scene: data(scene.ids["stdin"], b"x", 2),
    "flags on no data": lambda scene: data(scene.ids["stdin"], b"", 2),
    "data on no stream": lambda _: data(0, b"x"),
    "data on a stream to come": lambda _: data(99, b"x"),
    "typing on stdout": lambda scene: data(scene.ids["stdout"], b"x"),
    "an accepted stream": lambda scene: scene.client.syn_reply(1),
    "a stream twice": lambda scene: scene.client.syn_stream(1, streamtype="stdin"),
    "an even stream": lambda scene: scene.client.syn_stream(20, streamtype="stdin"),
    "an unknown stream type": lambda scene: scene.client.syn_stream(21, streamtype="data"),
    "a stream without a type": lambda scene: scene.client.syn_stream(21),
    "two types": lambda scene: scene.client.syn_stream(21, streamtype="stdin\x00stdout"),
    "a name twice": lambda scene: scene.client.syn_stream(21, streamtype="stdin", StreamType="stdout"),
    "no compression": lambda _: control(1, (21).to_bytes(4, "big") + bytes(6) + b"\x00" * 20),
}


@pytest.mark.parametrize("make", CLIENT_FAULTS.values(), ids=CLIENT_FAULTS.keys())
def test_st07_what_is_not_understood_is_an_error_however_it_is_cut(make: Callable[[Opened], bytes]) -> None:
    sizes = [len(list(cuts(make(Opened().open()))))]
    for index in range(0, sizes[0], max(1, sizes[0] // 20)):
        scene = Opened().open()
        pieces = list(cuts(make(scene)))[index]
        with pytest.raises(StreamError):
            fed(scene.wire.from_client, pieces)


@pytest.mark.parametrize(
    "make",
    [
        lambda scene: scene.server.syn_stream(2, streamtype="stdout"),
        lambda scene: data(scene.ids["stdin"], b"x"),
        lambda scene: data(99, b"x"),
        lambda _: control(2, (1).to_bytes(4, "big") + b"no zlib"),
    ],
)
def test_the_api_server_is_not_trusted_either(make: Callable[[Opened], bytes]) -> None:
    scene = Opened().open()
    with pytest.raises(StreamError):
        list(scene.wire.from_upstream(make(scene)))


@pytest.mark.parametrize("port", ["", "0", "65536", "x", "-1", "٣", "9" * 30])
def test_a_forwarded_stream_names_a_port(port: str) -> None:
    wire = SpdyWire(PORTS)
    block = SpdyEnd()
    plain = [(b"streamtype", b"data"), (b"port", port.encode())]
    text = len(plain).to_bytes(4, "big") + b"".join(
        len(part).to_bytes(4, "big") + part for pair in plain for part in pair
    )
    with pytest.raises(StreamError, match="no port"):
        list(wire.from_client(control(1, (1).to_bytes(4, "big") + bytes(6) + block.packed(text))))


def test_st07_a_header_block_that_inflates_without_end_is_cut_off() -> None:
    bomb = SpdyEnd().packed(bytes(8 << 20))
    assert len(bomb) < 64 * 1024
    frame = control(1, (1).to_bytes(4, "big") + bytes(6) + bomb)
    with pytest.raises(StreamError, match="too long"):
        list(SpdyWire(V4).from_client(frame))


def test_a_header_block_may_not_end_the_compression() -> None:
    deflater = zlib.compressobj(zdict=DICTIONARY)
    ended = deflater.compress(bytes(4)) + deflater.flush(zlib.Z_FINISH)
    (frame,) = FrameReader().feed(control(2, bytes(3) + b"\x01" + ended))
    assert isinstance(frame, spdy.Control)
    with pytest.raises(StreamError, match="ends the compression"):
        HeaderReader().read(frame)


def _block(*texts: bytes, count: int | None = None, tail: bytes = b"") -> bytes:
    number = len(texts) // 2 if count is None else count
    return number.to_bytes(4, "big") + b"".join(len(text).to_bytes(4, "big") + text for text in texts) + tail


def test_header_blocks_are_read_exactly() -> None:
    assert read_headers(_block(b"Name", b"a\x00b", b"x", b"")) == {"name": "a\x00b", "x": ""}
    for broken in (
        b"",
        _block(b"a", b"b", tail=b"!"),
        _block(b"a", b"b", count=2),
        _block(b"", b"b"),
        _block(count=65),
        _block(b"a", b"b")[:-1],
    ):
        with pytest.raises(StreamError):
            read_headers(broken)


@pytest.mark.parametrize(
    "protocol", ["v1.channel.k8s.io", "v6.channel.k8s.io", "v4.base64.channel.k8s.io", "x"]
)
def test_an_unknown_protocol_is_refused(protocol: str) -> None:
    with pytest.raises(StreamError):
        SpdyWire(protocol)


# The end


@pytest.mark.parametrize("protocol", ["", "v2.channel.k8s.io", V4, "v5.channel.k8s.io"])
def test_a_farewell_tells_the_reason_and_ends_what_is_open(protocol: str) -> None:
    scene = Opened(protocol).open()
    list(scene.wire.from_upstream(data(scene.ids["stderr"], b"", 1)))
    (error, ended) = FrameReader().feed(scene.wire.farewell("the token has expired"))
    assert isinstance(error, spdy.Data)
    assert (error.stream, error.fin) == (scene.ids["error"], True)
    told = json.loads(error.data)["message"] if protocol > "v4" else error.data.decode()
    assert told == "the gateway ended this stream: the token has expired"
    assert ended == spdy.Data(scene.ids["stdout"], b"", True, True)


def test_a_farewell_without_a_reason_says_nothing() -> None:
    scene = Opened().open()
    assert scene.wire.farewell("") == data(scene.ids["stdout"], b"", 1) + data(scene.ids["stderr"], b"", 1)


def test_names_and_borders() -> None:
    scene = Opened().open()
    assert scene.wire.name == "SPDY/3.1 v4.channel.k8s.io"
    assert SpdyWire("").name == "SPDY/3.1 channel.k8s.io"
    assert scene.wire.at_border
    list(scene.wire.from_upstream(data(1, b"abc")[:9]))
    assert not scene.wire.at_border
