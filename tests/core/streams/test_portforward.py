"""Port-forward over WebSocket: a SPDY connection inside WebSocket messages, cut anywhere on either layer."""

from __future__ import annotations

import pytest

from chaperone.core.request import Request, parse
from chaperone.core.streams.channels import ChannelWire
from chaperone.core.streams.events import Channel, Chunk, Kind, Passed, StreamError
from chaperone.core.streams.negotiation import is_stream, wire_for
from chaperone.core.streams.portforward import SUBPROTOCOL, TunnelWire
from chaperone.core.streams.spdy_streams import SpdyWire
from chaperone.core.streams.websocket import BINARY, CLOSE, PING, TEXT
from tests.core.streams.framing import KEY, SpdyEnd, cuts, data, joined, ws
from tests.core.streams.framing import PING as SPDY_PING

DATA = Channel(Kind.DATA, 3, 8080)


def opening() -> bytes:
    client = SpdyEnd()
    return client.syn_stream(1, streamtype="error", port="8080", requestid="0") + client.syn_stream(
        3, streamtype="data", port="8080", requestid="0"
    )


def opened() -> TunnelWire:
    wire = TunnelWire()
    list(wire.from_client(ws(BINARY, opening(), key=KEY)))
    return wire


def test_the_inner_frames_do_not_depend_on_the_outer_cuts() -> None:
    inner = opening() + data(3, b"GET / HTTP/1.1\r\n\r\n") + SPDY_PING
    for messages in cuts(inner):
        wire = TunnelWire()
        stream = b"".join(ws(BINARY, message, key=KEY) for message in messages)
        events = joined(event for event in wire.from_client(stream))
        passed = [event.raw for event in events if isinstance(event, Passed)]
        assert [event for event in events if isinstance(event, Chunk)] == [
            Chunk(DATA, b"GET / HTTP/1.1\r\n\r\n", True)
        ]
        assert passed[-1] == ws(BINARY, SPDY_PING, key=KEY)


def test_the_outer_frames_do_not_depend_on_the_cuts() -> None:
    stream = ws(BINARY, data(3, b"200 "), fin=False) + ws(PING, b"?") + ws(0, data(3, b"OK")) + ws(CLOSE, b"")
    for pieces in cuts(stream):
        wire = opened()
        events = joined(event for cut in pieces for event in wire.from_upstream(cut))
        assert events == [
            Chunk(DATA, b"200 ", True),
            Passed(ws(PING, b"?")),
            Chunk(DATA, b"OK", True),
            Passed(ws(CLOSE, b""), everything=True),
        ]
        assert wire.at_border


def test_both_layers_are_written() -> None:
    wire = opened()
    assert wire.to_client(Chunk(DATA, b"x")) == ws(BINARY, data(3, b"x"))
    assert wire.to_upstream(Chunk(DATA, b"x", ends=True)) == ws(BINARY, data(3, b"x", 1), key=KEY)
    assert wire.to_client(Chunk(DATA, b"")) == b""
    assert list(wire.from_upstream(ws(BINARY, SPDY_PING))) == [Passed(ws(BINARY, SPDY_PING))]
    assert wire.name == "WebSocket SPDY/3.1+portforward.k8s.io"


def test_a_farewell_goes_through_both_layers() -> None:
    said = opened().farewell("the run was terminated")
    assert b"the gateway ended this stream: the run was terminated" in said
    assert said.endswith(ws(CLOSE, b"\x03\xe8"))


def test_text_and_broken_inner_frames_are_errors() -> None:
    for stream in (ws(TEXT, data(3, b"x")), ws(BINARY, data(9, b"x"))):
        with pytest.raises(StreamError):
            list(opened().from_upstream(stream))


def request(resource: str, upgrade: str, query: str = "") -> Request:
    method = "POST" if upgrade == "spdy/3.1" else "GET"
    found = parse(method, f"/api/v1/namespaces/dev/pods/p/{resource}{query}", upgrade=upgrade)
    assert isinstance(found, Request)
    return found


CHOICES = [
    ("exec", "websocket", "v5.channel.k8s.io", ChannelWire),
    ("attach", "websocket", "", ChannelWire),
    ("exec", "spdy/3.1", "v4.channel.k8s.io", SpdyWire),
    ("attach", "spdy/3.1", "", SpdyWire),
    ("portforward", "spdy/3.1", "portforward.k8s.io", SpdyWire),
    ("portforward", "websocket", SUBPROTOCOL, TunnelWire),
]


@pytest.mark.parametrize(("resource", "upgrade", "chosen", "kind"), CHOICES)
def test_what_was_negotiated_decides(resource: str, upgrade: str, chosen: str, kind: type) -> None:
    found = request(resource, upgrade)
    assert is_stream(found)
    assert isinstance(wire_for(found, chosen), kind)


def test_the_older_port_forward_needs_its_ports() -> None:
    wire = wire_for(request("portforward", "websocket", "?ports=80&ports=443,8080"), "v4.channel.k8s.io")
    channels = [
        event.channel for event in wire.from_upstream(ws(BINARY, b"\x04x")) if isinstance(event, Chunk)
    ]
    assert channels == [Channel(Kind.DATA, 4, 8080)]
    for query in ("", "?ports=", "?ports=a", "?ports=" + ",".join(["1"] * 65)):
        with pytest.raises(StreamError):
            wire_for(request("portforward", "websocket", query), "v4.channel.k8s.io")


@pytest.mark.parametrize(
    ("resource", "upgrade", "chosen"),
    [
        ("exec", "websocket", SUBPROTOCOL),
        ("exec", "websocket", "v6.channel.k8s.io"),
        ("exec", "spdy/3.1", "portforward.k8s.io"),
        ("portforward", "spdy/3.1", "v4.channel.k8s.io"),
        ("exec", "spdy/3.1", "v9.channel.k8s.io"),
    ],
)
def test_another_choice_is_refused(resource: str, upgrade: str, chosen: str) -> None:
    with pytest.raises(StreamError):
        wire_for(request(resource, upgrade), chosen)


@pytest.mark.parametrize("upgrade", ["websocket", "spdy/3.1"])
def test_a_proxied_upgrade_is_counted_and_not_looked_into(upgrade: str) -> None:
    found = request("proxy", upgrade)
    assert not is_stream(found)
    wire = wire_for(found, "anything")
    assert wire.name == f"{upgrade}, not looked into"
    (typed,), (said,) = wire.from_client(b"\xff\xff"), wire.from_upstream(b"no frame")
    assert isinstance(typed, Chunk)
    assert isinstance(said, Chunk)
    assert (wire.to_upstream(typed), wire.to_client(said)) == (b"\xff\xff", b"no frame")
    assert (wire.farewell("the end"), wire.at_border) == (b"", False)
