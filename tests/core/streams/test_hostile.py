"""Whatever comes in from either side: it is understood, or it is a StreamError; nothing else, and memory stays bounded."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaperone.core.streams.channels import SUBPROTOCOLS, ChannelWire
from chaperone.core.streams.conversation import Conversation, Terms
from chaperone.core.streams.events import Channel, StreamError, Wire
from chaperone.core.streams.portforward import TunnelWire
from chaperone.core.streams.spdy_streams import SpdyWire
from tests.core.streams.framing import (
    GOAWAY,
    KEY,
    PING,
    SUCCESS,
    SpdyEnd,
    data,
    rst,
    sent,
    shown,
    text_message,
    ws,
)
from tests.core.streams.screens import SECRET, WordScreen


class Silent:
    """Implements conversation.Listener."""

    def __init__(self) -> None:
        self.heard = b""

    def shown(self, channel: Channel, data: bytes) -> None:
        self.heard += data

    def typed(self, data: bytes) -> None:
        self.heard += data

    def resized(self, columns: int, rows: int) -> None:
        assert 0 <= columns <= 65535
        assert 0 <= rows <= 65535


def _spdy_opening() -> bytes:
    client = SpdyEnd()
    types = ("error", "stdin", "stdout", "stderr", "resize")
    return b"".join(client.syn_stream(2 * at + 1, streamtype=name) for at, name in enumerate(types))


def _spdy_answer() -> bytes:
    server = SpdyEnd()
    accepted = b"".join(server.syn_reply(2 * at + 1) for at in range(5))
    said = data(5, b"key " + SECRET) + PING + data(7, b"err", 1) + data(1, SUCCESS) + rst(5) + GOAWAY
    return accepted + said


def _ports() -> bytes:
    client = SpdyEnd()
    return client.syn_stream(1, streamtype="data", port="80") + data(1, b"GET /") + data(1, b"", 1)


SIZE = b'{"Width":1,"Height":2}'
Make = Callable[[], Wire]
VALID: dict[str, tuple[Make, bytes, bytes]] = {
    "v5": (
        lambda: ChannelWire(SUBPROTOCOLS["v5.channel.k8s.io"]),
        sent(0, b"ls\n") + sent(4, SIZE) + ws(9, b"?", key=KEY) + sent(255, b"\x00") + ws(8, b"", key=KEY),
        shown(1, b"key " + SECRET)
        + ws(2, b"\x02ab", fin=False)
        + ws(9, b"")
        + ws(0, b"c")
        + shown(3, SUCCESS),
    ),
    "base64": (
        lambda: ChannelWire(SUBPROTOCOLS["v4.base64.channel.k8s.io"]),
        text_message(0, b"ls\n", KEY) + text_message(4, SIZE, KEY),
        text_message(1, b"key " + SECRET) + text_message(3, SUCCESS),
    ),
    "spdy": (
        lambda: SpdyWire("v4.channel.k8s.io"),
        _spdy_opening() + data(3, b"ls\n") + data(9, SIZE) + PING + data(3, b"", 1),
        _spdy_answer(),
    ),
    "tunnel": (TunnelWire, ws(2, _ports(), key=KEY), ws(2, data(1, b"200 OK", 1))),
}
EVERY = pytest.mark.parametrize("name", VALID)


def talk(make: Make, client: bytes, upstream: bytes) -> None:
    """StreamError is an answer; anything else that is raised fails the test."""
    silent = Silent()
    conversation = Conversation(make(), Terms(screen=WordScreen, typed=True), silent)
    try:
        conversation.from_client(client)
        conversation.from_upstream(upstream)
        conversation.idle()
    except StreamError:
        pass
    conversation.farewell("the end")


@EVERY
@given(st.binary(max_size=200), st.binary(max_size=200))
def test_random_bytes(name: str, client: bytes, upstream: bytes) -> None:
    talk(VALID[name][0], client, upstream)


@EVERY
def test_valid_streams_are_understood(name: str) -> None:
    make, client, upstream = VALID[name]
    conversation = Conversation(make(), Terms(screen=WordScreen), Silent())
    assert conversation.from_client(client)
    assert conversation.from_upstream(upstream)
    assert sum(conversation.counts.values()) > 0


@EVERY
@given(st.data())
def test_one_byte_that_is_another(name: str, data: st.DataObject) -> None:
    """In every place of either direction."""
    make, client, upstream = VALID[name]
    at = data.draw(st.integers(0, len(client) + len(upstream) - 1))
    other = data.draw(st.integers(0, 255))
    both = bytearray(client + upstream)
    both[at] = other
    talk(make, bytes(both[: len(client)]), bytes(both[len(client) :]))


@EVERY
@given(st.data())
def test_bytes_that_are_missing_or_twice(name: str, data: st.DataObject) -> None:
    make, client, upstream = VALID[name]
    start = data.draw(st.integers(0, len(upstream)))
    end = data.draw(st.integers(start, len(upstream)))
    talk(make, client, upstream[:start] + upstream[end:])
    talk(make, client, upstream[:end] + upstream[start:])


@pytest.mark.parametrize("make", [VALID[name][0] for name in VALID], ids=VALID)
def test_a_header_that_never_comes_to_its_end_keeps_little(make: Make) -> None:
    """The longest that is ever collected is one control frame."""
    conversation = Conversation(make(), Terms(screen=WordScreen), Silent())
    for _ in range(1000):
        try:
            conversation.from_upstream(b"\x82\x7e\x40" + bytes(4096))
        except StreamError:
            return
    held = conversation.wire.__dict__["_upstream"]._rest
    assert len(held) <= 64 * 1024 + 8
