"""Streams: how fast the output of a command passes a tap on one core, read, masked and recorded.

`python -m bench.streams`; needs no cluster. Figures are megabytes a second of CPU time; what counts is their ratio.
"""

from __future__ import annotations

import base64
import random
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from chaperone.core.masking import STANDARD
from chaperone.core.recording.scene import Scene
from chaperone.core.recording.transcript import Transcript
from chaperone.core.request import Request, parse
from chaperone.core.streams.conversation import Conversation, Screen, Terms
from chaperone.core.streams.events import Channel, Wire
from chaperone.core.streams.negotiation import wire_for
from chaperone.core.streams.websocket import BINARY, frame
from gateway.masking.engine import MaskingEngine
from gateway.recording.screens import EngineScreens

TOTAL = 32_000_000
FRAME = 32 * 1024
READ = 64 * 1024
RUN = ("issuer", "subject", "run")
STDOUT = 1


@dataclass(frozen=True)
class Passed:
    """speed: megabytes a second."""

    name: str
    read: float
    masked: float
    recorded: float


class Recording:
    """Implements conversation.Listener: a transcript, without its sink."""

    def __init__(self) -> None:
        scene = Scene(kind="exec", namespace="dev", pod="p", audit_id="a", started_at=0.0)
        self._recorder = Transcript(scene)
        self._recorder.header(0.0)

    def shown(self, channel: Channel, data: bytes) -> None:
        self._recorder.output(channel.kind.value, data, time.monotonic())

    def typed(self, data: bytes) -> None:
        """Nobody types here."""

    def resized(self, columns: int, rows: int) -> None:
        """The terminal stays as it is."""


class Nobody(Recording):
    def shown(self, channel: Channel, data: bytes) -> None:
        """Not recorded."""


def measure() -> list[Passed]:
    engine = MaskingEngine(b"k" * 32, None)
    request = parse("GET", "/api/v1/namespaces/dev/pods/p/exec", upgrade="websocket")
    if not isinstance(request, Request):
        raise TypeError("the request of this bench cannot be read")
    screens = EngineScreens(engine, STANDARD, RUN, request)
    found = []
    for name, content in (("log", _log()), ("tar of noise", random.Random(1).randbytes(TOTAL))):
        for protocol, framed, wire in _protocols(request):
            stream = b"".join(framed(content[at : at + FRAME]) for at in range(0, len(content), FRAME))
            found.append(
                Passed(
                    f"{name}, {protocol}",
                    _speed(stream, wire(), None, Nobody()),
                    _speed(stream, wire(), screens.make, Nobody()),
                    _speed(stream, wire(), screens.make, Recording()),
                )
            )
    return found


def _protocols(request: Request) -> Iterator[tuple[str, Callable[[bytes], bytes], Callable[[], Wire]]]:
    yield (
        "WebSocket",
        lambda part: frame(BINARY, bytes((STDOUT,)) + part),
        lambda: wire_for(request, "v5.channel.k8s.io"),
    )
    yield (
        "base64",
        lambda part: frame(1, b"%d" % STDOUT + base64.b64encode(part)),
        lambda: wire_for(request, "v4.base64.channel.k8s.io"),
    )


def _speed(stream: bytes, wire: Wire, screen: Callable[[], Screen] | None, listener: Recording) -> float:
    conversation = Conversation(wire, Terms(screen=screen), listener)
    begun = time.process_time()
    for at in range(0, len(stream), READ):
        conversation.from_upstream(stream[at : at + READ])
    conversation.ended()
    return TOTAL / 1e6 / (time.process_time() - begun)


def _log() -> bytes:
    chosen = random.Random(2)
    lines = []
    size = 0
    while size < TOTAL:
        line = (
            f"2026-11-23T07:{chosen.randrange(10, 60)}:00Z level=info request={chosen.randrange(10**9)} "
            f"path=/api/v1/items/{chosen.randrange(10**6)} status=200 bytes={chosen.randrange(10**5)}\n"
        ).encode()
        lines.append(line)
        size += len(line)
    return b"".join(lines)[:TOTAL]


def main() -> int:
    print(f"{'stream':<24}{'read MB/s':>12}{'masked':>10}{'recorded':>10}{'masked : read':>15}")
    for passed in measure():
        ratio = passed.read / passed.masked
        print(
            f"{passed.name:<24}{passed.read:>12.0f}{passed.masked:>10.0f}{passed.recorded:>10.0f}{ratio:>14.1f}x"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
