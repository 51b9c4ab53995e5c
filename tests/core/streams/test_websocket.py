"""WebSocket frames: the same messages however they are cut, and an error for what the standard forbids (row ST-08)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaperone.core.streams.events import StreamError
from chaperone.core.streams.websocket import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    FrameReader,
    Piece,
    frame,
    masked,
)
from tests.core.streams.framing import KEY, cuts, fed, ws

Message = tuple[int, bytes]


def messages(pieces: list[Piece]) -> list[Message]:
    """Whole messages, in the order of their ends; control frames between fragments come first."""
    out: list[Message] = []
    open_message: list[bytes] = []
    for piece in pieces:
        if piece.opcode >= CLOSE:
            out.append((piece.opcode, piece.data))
            continue
        if piece.start:
            assert not open_message
        open_message.append(piece.data)
        if piece.end:
            out.append((piece.opcode, b"".join(open_message)))
            open_message = []
    return out


LONG = bytes(range(256)) * 300
CASES: dict[str, tuple[list[tuple[int, bytes, bool]], list[Message]]] = {
    "one": ([(BINARY, b"abc", True)], [(BINARY, b"abc")]),
    "empty": ([(BINARY, b"", True)], [(BINARY, b"")]),
    "text": ([(TEXT, b"1YWJj", True)], [(TEXT, b"1YWJj")]),
    "16-bit length": ([(BINARY, LONG[:400], True)], [(BINARY, LONG[:400])]),
    "64-bit length": ([(BINARY, LONG, True)], [(BINARY, LONG)]),
    "fragments": ([(BINARY, b"ab", False), (0, b"cd", False), (0, b"e", True)], [(BINARY, b"abcde")]),
    "empty fragments": (
        [(BINARY, b"", False), (0, b"", False), (0, b"e", False), (0, b"", True)],
        [(BINARY, b"e")],
    ),
    "ping between fragments": (
        [(BINARY, b"ab", False), (PING, b"?", True), (0, b"cd", True)],
        [(PING, b"?"), (BINARY, b"abcd")],
    ),
    "many": (
        [(BINARY, b"a", True), (PONG, b"", True), (TEXT, b"b", True), (CLOSE, b"\x03\xe8bye", True)],
        [(BINARY, b"a"), (PONG, b""), (TEXT, b"b"), (CLOSE, b"\x03\xe8bye")],
    ),
}


@pytest.mark.parametrize("key", [b"", KEY], ids=["server", "client"])
@pytest.mark.parametrize(("frames", "expected"), CASES.values(), ids=CASES.keys())
def test_st08_the_messages_do_not_depend_on_the_cuts(
    frames: list[tuple[int, bytes, bool]], expected: list[Message], key: bytes
) -> None:
    stream = b"".join(ws(opcode, data, key=key, fin=fin) for opcode, data, fin in frames)
    for pieces in cuts(stream):
        reader = FrameReader(masked=bool(key))
        assert messages([piece for cut in pieces for piece in reader.feed(cut)]) == expected
        assert reader.at_border


def test_a_reader_is_at_a_border_only_between_messages() -> None:
    reader = FrameReader(masked=False)
    assert reader.at_border
    for piece in (
        ws(BINARY, b"abc", fin=False)[:1],
        ws(BINARY, b"abc", fin=False)[1:4],
        b"c",
        ws(0, b"d")[:1],
    ):
        list(reader.feed(piece))
        assert not reader.at_border
    list(reader.feed(ws(0, b"d")[1:]))
    assert reader.at_border


MASKED = ws(BINARY, b"abc", key=KEY)
BROKEN = {
    "reserved bit": bytes([0xC2, 0x01, 0x61]),
    "unknown opcode": bytes([0x83, 0x01, 0x61]),
    "unknown control": bytes([0x8B, 0x00]),
    "a masked server": MASKED,
    "a long ping": bytes([0x89, 126, 0, 126]),
    "a ping in fragments": ws(PING, b"", fin=False),
    "a continuation of nothing": ws(0, b"a"),
    "a message inside a message": ws(BINARY, b"a", fin=False) + ws(BINARY, b"b"),
    "a message inside an empty fragment": ws(BINARY, b"", fin=False) + ws(TEXT, b"b"),
    "a 16-bit length that is short": bytes([0x82, 126, 0, 5]) + b"abcde",
    "a 64-bit length that is short": bytes([0x82, 127]) + (65535).to_bytes(8, "big"),
    "a length beyond all": bytes([0x82, 127]) + (1 << 63).to_bytes(8, "big"),
}


@pytest.mark.parametrize("stream", BROKEN.values(), ids=BROKEN.keys())
def test_what_the_standard_forbids_is_an_error_however_it_is_cut(stream: bytes) -> None:
    for pieces in cuts(stream + b"trailing"):
        reader = FrameReader(masked=False)
        with pytest.raises(StreamError):
            fed(reader.feed, pieces)


def test_a_client_that_does_not_mask_is_an_error() -> None:
    with pytest.raises(StreamError, match="not masked by a client"):
        list(FrameReader(masked=True).feed(ws(BINARY, b"abc")))


def test_a_payload_is_handed_on_as_it_comes() -> None:
    """A frame of exabytes needs no memory."""
    reader = FrameReader(masked=False)
    head = bytes([0x82, 127]) + (1 << 60).to_bytes(8, "big")
    assert list(reader.feed(head + b"abc")) == [Piece(BINARY, b"abc", True, False)]
    assert list(reader.feed(b"def")) == [Piece(BINARY, b"def", False, False)]


@given(st.binary(max_size=300), st.binary(min_size=4, max_size=4), st.sampled_from([BINARY, TEXT]))
def test_what_is_written_reads_back(data: bytes, key: bytes, opcode: int) -> None:
    for used in (b"", key):
        assert frame(opcode, data, used) == ws(opcode, data, key=used)
        (piece,) = FrameReader(masked=bool(used)).feed(frame(opcode, data, used))
        assert piece == Piece(opcode, data, True, True, used)


@pytest.mark.parametrize("size", [125, 126, 65535, 65536])
def test_lengths_take_their_shortest_form(size: int) -> None:
    assert frame(BINARY, bytes(size)) == ws(BINARY, bytes(size))


def test_masking_goes_on_where_it_stopped() -> None:
    whole = masked(LONG[:50], KEY)
    for at in range(50):
        assert masked(LONG[:at], KEY) + masked(LONG[at:50], KEY, at) == whole
