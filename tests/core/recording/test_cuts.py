"""From frames to a recording: cuts at every byte of the frame stream give the same recording, over every protocol."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from chaperone.core.recording.asciicast import Asciicast
from chaperone.core.recording.reading import Reading, What
from chaperone.core.recording.recorder import Recorder
from chaperone.core.recording.scene import Outcome, Scene
from chaperone.core.recording.transcript import Transcript
from chaperone.core.streams.channels import SUBPROTOCOLS, ChannelWire
from chaperone.core.streams.conversation import Conversation, Terms
from chaperone.core.streams.events import Channel, Kind, Wire
from chaperone.core.streams.spdy_streams import SpdyWire
from tests.core.streams.framing import KEY, PING, SUCCESS, SpdyEnd, cuts, data, sent, shown, text_message, ws
from tests.core.streams.screens import SECRET, WordScreen

TEXT = "grün € ".encode() + SECRET + b"\x1b[0m\xff\xfe\r\n" + "日本".encode()
SHOWN = TEXT.replace(SECRET, b"*" * len(SECRET))
SCENE = Scene(kind="exec", namespace="dev", pod="p", audit_id="a", tty=True, started_at=0.0)
SIZE = b'{"Width":120,"Height":40}'


class Recording:
    """Implements conversation.Listener; the clock stands still."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.lines = recorder.header(1.0)

    def shown(self, channel: Channel, data: bytes) -> None:
        if channel.kind is not Kind.ERROR:
            self.lines += self.recorder.output(channel.kind.value, data, 2.0)

    def typed(self, data: bytes) -> None:
        self.lines += self.recorder.typed(data, 2.0)

    def resized(self, columns: int, rows: int) -> None:
        self.lines += self.recorder.resized(columns, rows, 2.0)


def recorded(wire: Wire, kind: type[Recorder], typed: Iterable[bytes], said: Iterable[bytes]) -> bytes:
    recording = Recording(kind(SCENE))
    conversation = Conversation(wire, Terms(screen=WordScreen, typed=True), recording)
    for piece in typed:
        conversation.from_client(piece)
    for piece in said:
        conversation.from_upstream(piece)
    conversation.ended()
    return recording.lines + recording.recorder.end(Outcome(exit_code=0), 3.0)


def in_pieces(write, size: int) -> bytes:  # type: ignore[no-untyped-def]
    return b"".join(write(TEXT[at : at + size]) for at in range(0, len(TEXT), size))


def over_websocket() -> tuple[Wire, bytes, bytes]:
    typed = sent(4, SIZE) + sent(0, b"ls \xe2") + ws(9, b"?", key=KEY) + sent(0, b"\x82\xac\r")
    said = shown(1, b"") + in_pieces(lambda part: shown(1, part), 5) + ws(9, b"") + shown(3, SUCCESS)
    return ChannelWire(SUBPROTOCOLS["v5.channel.k8s.io"]), typed, said


def over_base64() -> tuple[Wire, bytes, bytes]:
    typed = (
        text_message(4, SIZE, KEY) + text_message(0, b"ls \xe2", KEY) + text_message(0, b"\x82\xac\r", KEY)
    )
    said = in_pieces(lambda part: text_message(1, part), 7) + text_message(3, SUCCESS)
    return ChannelWire(SUBPROTOCOLS["v4.base64.channel.k8s.io"]), typed, said


def over_spdy() -> tuple[Wire, bytes, bytes]:
    client, server = SpdyEnd(), SpdyEnd()
    ids = {name: 2 * at + 1 for at, name in enumerate(("error", "stdin", "stdout", "resize"))}
    typed = b"".join(client.syn_stream(number, streamtype=name) for name, number in ids.items())
    typed += (
        data(ids["resize"], SIZE)
        + data(ids["stdin"], b"ls \xe2")
        + PING
        + data(ids["stdin"], b"\x82\xac\r", 1)
    )
    said = b"".join(server.syn_reply(number) for number in ids.values())
    said += in_pieces(lambda part: data(ids["stdout"], part), 3) + data(ids["error"], SUCCESS)
    return SpdyWire("v4.channel.k8s.io"), typed, said


@pytest.mark.parametrize("kind", [Asciicast, Transcript])
@pytest.mark.parametrize("make", [over_websocket, over_base64, over_spdy])
def test_cuts_at_every_byte_give_the_same_recording(make, kind: type[Recorder]) -> None:  # type: ignore[no-untyped-def]
    wire, typed, said = make()
    whole = recorded(wire, kind, [typed], [said])
    for pieces in cuts(said):
        assert recorded(make()[0], kind, [typed], pieces) == whole
    for pieces in cuts(typed):
        assert recorded(make()[0], kind, pieces, [said]) == whole


@pytest.mark.parametrize("kind", [Asciicast, Transcript])
def test_every_protocol_gives_the_same_recording(kind: type[Recorder]) -> None:
    recordings = {recorded(wire, kind, [typed], [said]) for wire, typed, said in map(_made, PROTOCOLS)}
    assert len(recordings) == 1
    moments = list(Reading(recordings.pop().splitlines(keepends=True)).moments())
    assert b"".join(moment.data for moment in moments if moment.what is What.OUTPUT) == SHOWN
    assert b"".join(moment.data for moment in moments if moment.what is What.INPUT) == "ls €\r".encode()
    assert [moment.size for moment in moments if moment.what is What.RESIZE] == [(120, 40)]


PROTOCOLS = (over_websocket, over_base64, over_spdy)


def _made(make) -> tuple[Wire, bytes, bytes]:  # type: ignore[no-untyped-def]
    made: tuple[Wire, bytes, bytes] = make()
    return made
