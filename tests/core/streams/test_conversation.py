"""Both directions of a stream, screened: no cut shows a secret, nothing is lost, and the exit status comes last."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaperone.core.streams.channels import SUBPROTOCOLS, ChannelWire
from chaperone.core.streams.conversation import Conversation, Terms, totals
from chaperone.core.streams.events import Channel, Chunk, Kind, StreamError, Wire
from chaperone.core.streams.portforward import TunnelWire
from chaperone.core.streams.spdy_streams import SpdyWire
from chaperone.core.streams.websocket import CLOSE, PING
from tests.core.streams.framing import (
    GOAWAY,
    KEY,
    SUCCESS,
    SpdyEnd,
    cuts,
    data,
    failure,
    rst,
    sent,
    shown,
    text_message,
    ws,
)
from tests.core.streams.screens import SECRET, WordScreen

HIDDEN = b"*" * len(SECRET)
TEXT = b"before " + SECRET + b" after " + SECRET + b"\n"


class Heard:
    """Implements conversation.Listener."""

    def __init__(self) -> None:
        self.output: dict[Kind, bytes] = {}
        self.input = b""
        self.sizes: list[tuple[int, int]] = []

    def shown(self, channel: Channel, data: bytes) -> None:
        self.output[channel.kind] = self.output.get(channel.kind, b"") + data

    def typed(self, data: bytes) -> None:
        self.input += data

    def resized(self, columns: int, rows: int) -> None:
        self.sizes.append((columns, rows))


def websocket(name: str = "v4.channel.k8s.io") -> Wire:
    return ChannelWire(SUBPROTOCOLS[name])


def spdy() -> Wire:
    wire, client = SpdyWire("v4.channel.k8s.io"), SpdyEnd()
    types = ("error", "stdin", "stdout", "stderr", "resize")
    opening = b"".join(client.syn_stream(2 * at + 1, streamtype=name) for at, name in enumerate(types))
    list(wire.from_client(opening))
    return wire


def screened(wire: Wire, **more: bool) -> tuple[Conversation, Heard]:
    heard = Heard()
    return Conversation(wire, Terms(screen=WordScreen, **more), heard), heard


def client_view(wire: Wire, seen: bytes) -> tuple[dict[Kind, bytes], list[Kind]]:
    """What a client makes of the bytes: content by kind, and the order of kinds."""
    content: dict[Kind, bytes] = {}
    order: list[Kind] = []
    for event in wire.from_upstream(seen):
        if isinstance(event, Chunk):
            kind = event.channel.kind
            content[kind] = content.get(kind, b"") + event.data
            if event.data and order[-1:] != [kind]:
                order.append(kind)
    return content, order


WEBSOCKET = (
    shown(1, b"") + b"".join(shown(1, TEXT[at : at + 3]) for at in range(0, len(TEXT), 3)) + shown(3, SUCCESS)
)
SPDY = (
    b"".join(data(5, TEXT[at : at + 3]) for at in range(0, len(TEXT), 3)) + data(1, SUCCESS) + rst(1) + rst(5)
)
BOTH = pytest.mark.parametrize(
    ("make", "stream"), [(websocket, WEBSOCKET), (spdy, SPDY)], ids=["websocket", "spdy"]
)


@BOTH
def test_sm07_a_secret_in_pieces_never_reaches_the_client(make, stream) -> None:  # type: ignore[no-untyped-def]
    """Neither its frames nor the cuts of the connection matter; the length is kept."""
    for pieces in cuts(stream):
        conversation, heard = screened(make())
        seen = b"".join(conversation.from_upstream(piece) for piece in pieces)
        content, order = client_view(make(), seen)
        assert content == {Kind.STDOUT: TEXT.replace(SECRET, HIDDEN), Kind.ERROR: SUCCESS}
        assert order == [Kind.STDOUT, Kind.ERROR]
        assert heard.output == content
        assert not conversation.holds
        assert conversation.counts[Channel(Kind.STDOUT, 1 if make is websocket else 5)] == len(TEXT)


@pytest.mark.parametrize("name", SUBPROTOCOLS)
def test_sm09_every_subprotocol_shows_the_same(name: str) -> None:
    protocol = SUBPROTOCOLS[name]
    write = text_message if protocol.base64 else shown
    stream = b"".join(write(1, TEXT[at : at + 5]) for at in range(0, len(TEXT), 5))
    conversation, heard = screened(websocket(name))
    seen = conversation.from_upstream(stream) + conversation.ended()
    assert client_view(websocket(name), seen)[0] == {Kind.STDOUT: TEXT.replace(SECRET, HIDDEN)}
    assert heard.output == {Kind.STDOUT: TEXT.replace(SECRET, HIDDEN)}


def test_stdout_and_stderr_are_masked_apart() -> None:
    conversation, heard = screened(websocket())
    stream = shown(1, SECRET[:6]) + shown(2, b"x" + SECRET[:5]) + shown(1, SECRET[6:]) + shown(2, b"!")
    conversation.from_upstream(stream)
    assert heard.output == {Kind.STDOUT: HIDDEN, Kind.STDERR: b"x" + SECRET[:5] + b"!"}


def test_silence_releases_what_may_be_shown() -> None:
    conversation, heard = screened(websocket())
    held = [conversation.holds]
    assert conversation.from_upstream(shown(1, b"prompt hu")) == shown(1, b"prompt ")
    held.append(conversation.holds)
    assert conversation.idle() == shown(1, b"hu")
    held.append(conversation.holds)
    assert conversation.idle() == b""
    assert held == [False, True, False]
    assert heard.output == {Kind.STDOUT: b"prompt hu"}


def test_silence_does_not_release_half_a_secret_but_the_end_does() -> None:
    conversation, _ = screened(websocket())
    conversation.from_upstream(shown(1, b"hunter"))
    assert conversation.idle() == b""
    assert not conversation.holds
    assert conversation.from_upstream(ws(CLOSE, b"")) == shown(1, b"hunter") + ws(CLOSE, b"")


@pytest.mark.parametrize(
    ("make", "before", "end"),
    [
        (lambda: websocket("v5.channel.k8s.io"), shown(1, b"hunter"), shown(255, b"\x01")),
        (websocket, shown(1, b"hunter"), ws(CLOSE, b"")),
        (spdy, data(5, b"hunter"), data(5, b"", 1)),
        (spdy, data(5, b"hunter"), rst(5)),
        (spdy, data(5, b"hunter"), GOAWAY),
    ],
)
def test_what_is_held_goes_before_the_end_of_its_channel(make, before, end) -> None:  # type: ignore[no-untyped-def]
    conversation, _ = screened(make())
    conversation.from_upstream(before)
    seen = conversation.from_upstream(end)
    written = data(5, b"hunter", 1) if end == data(5, b"", 1) else before + end
    assert seen == written


def test_the_end_of_the_connection_releases_the_rest() -> None:
    conversation, _ = screened(spdy())
    conversation.from_upstream(data(5, b"hunter") + data(7, b"hunter2"))
    assert conversation.ended() == data(5, b"hunter") + data(7, b"hunter2")
    assert conversation.ended() == b""


def test_control_frames_do_not_wait() -> None:
    conversation, _ = screened(websocket())
    conversation.from_upstream(shown(1, b"hunter"))
    assert conversation.from_upstream(ws(PING, b"?")) == ws(PING, b"?")
    assert conversation.from_client(ws(PING, b"!", key=KEY)) == ws(PING, b"!", key=KEY)


# The error channel


def test_the_status_is_told_in_one_message_however_it_came() -> None:
    said = failure(3)
    stream = ws(2, b"\x03" + said[:10], fin=False) + ws(0, said[10:])
    for pieces in cuts(stream):
        conversation, heard = screened(websocket())
        assert b"".join(conversation.from_upstream(piece) for piece in pieces) == shown(3, said)
        assert heard.output == {Kind.ERROR: said}


def test_a_secret_in_the_status_is_masked() -> None:
    said = failure(3).replace(b"command", SECRET)
    conversation, _ = screened(websocket())
    assert conversation.from_upstream(shown(3, said)) == shown(3, said.replace(SECRET, HIDDEN))


def test_text_on_the_error_channel_is_held_like_output() -> None:
    conversation, heard = screened(websocket("channel.k8s.io"))
    stream = shown(3, b"failed: " + SECRET[:5]) + shown(3, SECRET[5:] + b" hunt")
    assert SECRET[:5] not in conversation.from_upstream(stream)
    conversation.idle()
    conversation.ended()
    assert heard.output == {Kind.ERROR: b"failed: " + HIDDEN + b" hunt"}


def test_a_status_that_does_not_end_is_let_go_at_a_limit_and_at_the_end() -> None:
    conversation, heard = screened(websocket())
    long = b"x" * 70_000
    assert conversation.from_upstream(ws(2, b"\x03" + long, fin=False)) == shown(3, long)
    assert conversation.from_upstream(ws(0, b"half", fin=False)) == b""
    assert conversation.idle() == b""
    assert conversation.ended() == shown(3, b"half")
    assert heard.output == {Kind.ERROR: long + b"half"}


# Input


def test_stdin_passes_unmasked_and_is_heard_only_where_it_is_asked_for() -> None:
    stream = sent(0, SECRET[:4]) + sent(0, SECRET[4:] + b"\n") + sent(4, b'{"Width":120,"Height":40}\n')
    for typed in (False, True):
        conversation, heard = screened(websocket(), typed=typed)
        assert conversation.from_client(stream) == stream
        assert heard.input == (HIDDEN + b"\n" if typed else b"")
        assert heard.sizes == [(120, 40)]


def test_what_was_typed_last_is_heard_at_silence_and_at_the_end() -> None:
    conversation, heard = screened(websocket("v5.channel.k8s.io"), typed=True)
    conversation.from_client(sent(0, b"hu"))
    assert conversation.holds
    assert (heard.input, conversation.idle(), heard.input) == (b"", b"", b"hu")
    conversation.from_client(sent(0, b" hunter"))
    assert (heard.input, conversation.ended(), heard.input) == (b"hu ", b"", b"hu hunter")
    conversation.from_client(sent(0, b"hunter"))
    conversation.from_client(sent(255, b"\x00"))
    assert heard.input == b"hu hunterhunter"


@pytest.mark.parametrize(
    "said",
    [
        b"{}",
        b'{"Width":-1,"Height":2}',
        b'{"Width":1,"Height":70000}',
        b'{"Width":true,"Height":1}',
        b"!}",
        b"x" * 2000,
    ],
)
def test_a_resize_that_is_none_is_an_error(said: bytes) -> None:
    conversation, _ = screened(websocket())
    with pytest.raises(StreamError, match="resize"):
        conversation.from_client(sent(4, said))


@given(st.lists(st.tuples(st.integers(0, 65535), st.integers(0, 65535)), max_size=5), st.integers(1, 40))
def test_sizes_do_not_depend_on_the_messages(sizes: list[tuple[int, int]], step: int) -> None:
    said = b"".join(b'{"Width":%d,"Height":%d}\n' % size for size in sizes)
    conversation, heard = screened(websocket())
    for at in range(0, len(said), step):
        conversation.from_client(sent(4, said[at : at + step]))
    assert heard.sizes == sizes


# Without a screen


def test_without_a_screen_all_is_heard_as_it_is() -> None:
    heard = Heard()
    conversation = Conversation(websocket(), Terms(typed=True), heard)
    assert conversation.from_upstream(WEBSOCKET) == WEBSOCKET
    conversation.from_client(sent(0, SECRET))
    assert (heard.output[Kind.STDOUT], heard.input) == (TEXT, SECRET)
    assert (conversation.holds, conversation.idle(), conversation.ended()) == (False, b"", b"")


@BOTH
def test_a_conversation_that_is_only_read_passes_byte_for_byte(make, stream) -> None:  # type: ignore[no-untyped-def]
    for pieces in cuts(stream):
        heard = Heard()
        conversation = Conversation(make(), Terms(rewrites=False), heard)
        assert [conversation.from_upstream(piece) for piece in pieces] == pieces
        assert heard.output == {Kind.STDOUT: TEXT, Kind.ERROR: SUCCESS}
    typed = sent(0, b"a") if make is websocket else data(3, b"a")
    assert conversation.from_client(typed) == typed
    assert conversation.idle() == b""


def test_only_what_is_written_anew_can_be_masked() -> None:
    with pytest.raises(ValueError, match="written anew"):
        Conversation(websocket(), Terms(screen=WordScreen, rewrites=False), Heard())


def test_a_forwarded_port_is_opaque_and_counted() -> None:
    client = SpdyEnd()
    opening = client.syn_stream(1, streamtype="data", port="80") + client.syn_stream(
        3, streamtype="data", port="443"
    )
    conversation, heard = screened(TunnelWire())
    conversation.from_client(ws(2, opening, key=KEY))
    stream = ws(2, data(1, SECRET) + data(3, b"xy"))
    assert SECRET in conversation.from_upstream(stream)
    assert conversation.counts == {Channel(Kind.DATA, 1, 80): len(SECRET), Channel(Kind.DATA, 3, 443): 2}
    assert totals(conversation.counts) == {"data": len(SECRET) + 2}
    assert heard.output == {Kind.DATA: SECRET + b"xy"}


# Ends from this side


def test_a_farewell_comes_after_what_was_held() -> None:
    conversation, _ = screened(spdy())
    conversation.from_upstream(data(5, b"hunter"))
    said = conversation.farewell("the run was terminated")
    assert said.startswith(data(5, b"hunter"))
    content, order = client_view(spdy(), said)
    assert order == [Kind.STDOUT, Kind.ERROR]
    assert b"the run was terminated" in content[Kind.ERROR]


def test_a_farewell_never_falls_into_the_middle_of_a_frame() -> None:
    conversation = Conversation(websocket(), Terms(rewrites=False), Heard())
    conversation.from_upstream(shown(1, b"abc")[:4])
    assert conversation.farewell("x") == b""
    conversation.from_upstream(shown(1, b"abc")[4:])
    assert conversation.farewell("x").startswith(shown(3, b"{")[:1])
    masked, _ = screened(websocket())
    before = masked.from_upstream(shown(1, b"abcdef")[:5])
    assert client_view(websocket(), before + masked.farewell("x"))[0][Kind.STDOUT] == b"ab"
