"""Channels over WebSocket: every subprotocol, read and written anew, whatever the cuts (rows ST-06, ST-08)."""

from __future__ import annotations

import json

import pytest

from chaperone.core.streams.channels import SUBPROTOCOLS, ChannelWire
from chaperone.core.streams.events import Channel, Chunk, Event, Kind, Passed, StreamError
from chaperone.core.streams.websocket import BINARY, CLOSE, PING, TEXT
from tests.core.streams.framing import KEY, cuts, fed, joined, sent, shown, text_message, ws

STDIN, STDOUT, STDERR, ERROR, RESIZE = (
    Channel(kind, number)
    for number, kind in enumerate((Kind.STDIN, Kind.STDOUT, Kind.STDERR, Kind.ERROR, Kind.RESIZE))
)
BINARIES = [name for name, protocol in SUBPROTOCOLS.items() if not protocol.base64]
BASE64 = [name for name, protocol in SUBPROTOCOLS.items() if protocol.base64]


def wire(name: str = "v5.channel.k8s.io", ports: tuple[int, ...] = ()) -> ChannelWire:
    return ChannelWire(SUBPROTOCOLS[name], ports)


def read(stream: bytes, name: str, *, client: bool = False, ports: tuple[int, ...] = ()) -> list[object]:
    """What is read, the same for all cuts."""
    results = []
    for pieces in cuts(stream):
        under_test = wire(name, ports)
        feed = under_test.from_client if client else under_test.from_upstream
        results.append(joined(event for cut in pieces for event in feed(cut)))
    assert all(result == results[0] for result in results)
    return results[0]


@pytest.mark.parametrize("name", BINARIES)
def test_st06_binary_subprotocols(name: str) -> None:
    stream = shown(1, b"") + shown(1, b"out") + shown(2, b"\x00\xff") + shown(3, b"{}")
    assert read(stream, name) == [
        Chunk(STDOUT, b"", True),
        Chunk(STDOUT, b"out", True),
        Chunk(STDERR, b"\x00\xff", True),
        Chunk(ERROR, b"{}", True),
    ]
    assert read(sent(0, b"ls\n") + sent(4, b"{}"), name, client=True) == [
        Chunk(STDIN, b"ls\n", True),
        Chunk(RESIZE, b"{}", True),
    ]


@pytest.mark.parametrize("name", BASE64)
def test_st06_base64_subprotocols(name: str) -> None:
    stream = b"".join(text_message(1, data) for data in (b"", b"a", b"ab", b"abc", b"\x00\xff" * 100))
    assert [chunk.data for chunk in read(stream, name) if isinstance(chunk, Chunk)] == [
        b"",
        b"a",
        b"ab",
        b"abc",
        b"\x00\xff" * 100,
    ]
    assert read(text_message(0, b"ls\n", KEY), name, client=True) == [Chunk(STDIN, b"ls\n", True)]


def test_st08_the_channel_stands_only_at_the_start_of_a_message() -> None:
    stream = (
        ws(BINARY, b"", fin=False)
        + ws(0, b"\x01", fin=False)
        + ws(PING, b"p")
        + ws(0, b"\x02not a channel", fin=False)
        + ws(0, b"", fin=True)
        + shown(2, b"next")
    )
    assert read(stream, "v4.channel.k8s.io") == [
        Passed(ws(PING, b"p")),
        Chunk(STDOUT, b"\x02not a channel", True),
        Chunk(STDERR, b"next", True),
    ]


@pytest.mark.parametrize(
    ("name", "message"), [("v4.channel.k8s.io", b"\x00ls\n"), ("v4.base64.channel.k8s.io", b"0bHMK")]
)
def test_a_client_may_type_in_messages_of_either_type(name: str, message: bytes) -> None:
    """The Python client sends text where binary was agreed; what goes on has the type that was agreed."""
    for opcode in (TEXT, BINARY):
        stream = ws(opcode, message, key=KEY)
        assert read(stream, name, client=True) == [Chunk(STDIN, b"ls\n", True)]
        agreed = TEXT if "base64" in name else BINARY
        assert b"".join(rewritten(wire(name), stream, client=True)) == ws(agreed, message, key=KEY)


def test_base64_is_read_across_fragments() -> None:
    whole = b"1" + b"YWJjZGU="
    stream = b"".join(
        ws(TEXT if at == 0 else 0, whole[at : at + 1], fin=at == len(whole) - 1) for at in range(len(whole))
    )
    assert read(stream, "base64.channel.k8s.io") == [Chunk(STDOUT, b"abcde", True)]


def test_st08_v5_closes_stdin_once() -> None:
    stream = sent(0, b"in") + ws(BINARY, b"\xff", key=KEY, fin=False) + ws(0, b"\x00", key=KEY)
    events = read(stream, "v5.channel.k8s.io", client=True)
    assert events == [Chunk(STDIN, b"in", True), Chunk(STDIN, b"", True, True)]
    under_test = wire()
    written = b"".join(rewritten(under_test, stream, client=True))
    assert written == sent(0, b"in") + ws(BINARY, b"\xff\x00", key=KEY)
    assert read(shown(1, b"x") + shown(255, b"\x01"), "v5.channel.k8s.io")[-1] == Chunk(
        STDOUT, b"", True, True
    )


def rewritten(under_test: ChannelWire, stream: bytes, *, client: bool = False) -> list[bytes]:
    feed = under_test.from_client if client else under_test.from_upstream
    write = under_test.to_upstream if client else under_test.to_client
    return [event.raw if isinstance(event, Passed) else write(event) for event in feed(stream)]


@pytest.mark.parametrize("name", BINARIES)
def test_messages_are_written_as_they_came(name: str) -> None:
    stream = (
        shown(1, b"") + shown(1, b"out" * 100) + ws(PING, b"?") + shown(3, b"{}") + ws(CLOSE, b"\x03\xe8")
    )
    assert b"".join(rewritten(wire(name), stream)) == stream
    typed = sent(0, b"in" * 40000) + sent(4, b"{}", b"abcd") + ws(PING, b"!", key=KEY)
    assert b"".join(rewritten(wire(name), typed, client=True)) == typed


@pytest.mark.parametrize("name", BASE64)
def test_base64_messages_are_written_as_they_came(name: str) -> None:
    stream = text_message(1, b"") + text_message(2, b"out" * 100)
    assert b"".join(rewritten(wire(name), stream)) == stream
    assert b"".join(rewritten(wire(name), text_message(0, b"in", KEY), client=True)) == text_message(
        0, b"in", KEY
    )


def test_a_client_cannot_smuggle_a_channel_into_a_fragment() -> None:
    """A Kubernetes server takes every frame for a message; what was judged as stdin must stay stdin."""
    stream = ws(BINARY, b"\x00a", key=KEY, fin=False) + ws(0, b"\x04b", key=KEY)
    assert b"".join(rewritten(wire(), stream, client=True)) == sent(0, b"a") + sent(0, b"\x04b")


def test_an_empty_message_passes() -> None:
    assert read(ws(BINARY, b""), "v4.channel.k8s.io") == [Passed(ws(BINARY, b""))]


def test_the_end_of_the_connection_releases_everything() -> None:
    assert read(ws(CLOSE, b""), "v4.channel.k8s.io") == [Passed(ws(CLOSE, b""), everything=True)]


def test_chunks_that_end_with_content_are_written_with_both() -> None:
    assert wire().to_client(Chunk(STDOUT, b"x", True, True)) == shown(1, b"x") + shown(255, b"\x01")


REFUSED = {
    "text where bytes are agreed": ("v4.channel.k8s.io", ws(TEXT, b"1abc")),
    "bytes where text is agreed": ("base64.channel.k8s.io", shown(1, b"abc")),
    "an unknown channel": ("v4.channel.k8s.io", shown(5, b"x")),
    "a close before v5": ("v4.channel.k8s.io", shown(255, b"\x00")),
    "a close of nothing": ("v5.channel.k8s.io", shown(255, b"")),
    "a close of two": ("v5.channel.k8s.io", shown(255, b"\x00\x01")),
    "a close of an unknown channel": ("v5.channel.k8s.io", shown(255, b"\x09")),
    "output on stdin": ("v5.channel.k8s.io", shown(0, b"x")),
    "no digit": ("v4.base64.channel.k8s.io", ws(TEXT, b"xYWJj")),
    "a base64 channel that is not known": ("v4.base64.channel.k8s.io", ws(TEXT, b"9YWJj")),
    "half a base64 group": ("v4.base64.channel.k8s.io", ws(TEXT, b"1YWJ")),
    "no base64": ("v4.base64.channel.k8s.io", ws(TEXT, b"1Y!Jj")),
    "base64 with a line end": ("v4.base64.channel.k8s.io", ws(TEXT, b"1YWJj\nYWJ")),
    "base64 after its padding": ("v4.base64.channel.k8s.io", ws(TEXT, b"1YQ==YWJj")),
}


@pytest.mark.parametrize(("name", "stream"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_not_understood_is_an_error_however_it_is_cut(name: str, stream: bytes) -> None:
    for pieces in cuts(stream):
        under_test = wire(name)
        with pytest.raises(StreamError):
            fed(under_test.from_upstream, pieces)


def test_a_client_types_only_where_it_may() -> None:
    for channel in (1, 2, 3):
        with pytest.raises(StreamError, match="the client sent data"):
            list(wire().from_client(sent(channel, b"x")))
        assert list(wire().from_client(sent(channel, b"")))


def test_port_forward_has_two_channels_a_port() -> None:
    ports = (80, 443)
    events = read(shown(0, b"P\x00") + shown(2, b"data") + shown(3, b"no"), "v4.channel.k8s.io", ports=ports)
    assert [(event.channel.kind, event.channel.port) for event in events if isinstance(event, Chunk)] == [
        (Kind.DATA, 80),
        (Kind.DATA, 443),
        (Kind.ERROR, 443),
    ]
    with pytest.raises(StreamError):
        list(wire("v4.channel.k8s.io", ports).from_upstream(shown(4, b"x")))


@pytest.mark.parametrize("name", SUBPROTOCOLS)
def test_a_farewell_says_why_and_closes(name: str) -> None:
    under_test, reader = wire(name), wire(name)
    said = list(reader.from_upstream(under_test.farewell("the run was terminated")))
    assert isinstance(said[-1], Passed)
    assert said[-1].everything
    told = b"".join(event.data for event in said if isinstance(event, Chunk) and event.channel == ERROR)
    if SUBPROTOCOLS[name].version >= 4:
        status = json.loads(told)
        assert (status["kind"], status["status"]) == ("Status", "Failure")
        told = status["message"].encode()
    assert told == b"the gateway ended this stream: the run was terminated"


def test_a_farewell_without_a_reason_only_closes() -> None:
    assert wire().farewell("") == ws(CLOSE, b"\x03\xe8")


def test_names_and_borders() -> None:
    under_test = wire("")
    assert under_test.name == "WebSocket channel.k8s.io"
    assert wire("v5.channel.k8s.io").name == "WebSocket v5.channel.k8s.io"
    assert under_test.at_border
    events: list[Event] = list(under_test.from_upstream(shown(1, b"abc")[:3]))
    assert events == []
    assert not under_test.at_border
