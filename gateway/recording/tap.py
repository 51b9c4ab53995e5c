"""One stream that is masked, recorded, or both. Implements gateway.services.Tap."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from chaperone.core.recording.exit_status import exit_code
from chaperone.core.recording.recorder import Recorder
from chaperone.core.recording.scene import Outcome
from chaperone.core.request import Request
from chaperone.core.streams.conversation import Conversation, Screen, Terms, totals
from chaperone.core.streams.events import Channel, Kind, StreamError
from chaperone.core.streams.negotiation import is_stream, wire_for
from gateway.http.framing import Header
from gateway.recording.terms import RecordingTerms
from gateway.recording.track import RecordingError, Track
from gateway.services import TappedStream
from gateway.standing import Standing

log = logging.getLogger(__name__)

PROTOCOL_HEADERS = {"websocket": b"sec-websocket-protocol", "spdy/3.1": b"x-stream-protocol-version"}
EXTENSIONS = b"sec-websocket-extensions"
MOST_STATUS = 64 * 1024
NO_ANSWER = "the store of recordings does not answer"
PULSE_EVERY = 240.0
"""Seconds of silence after which a line says that the stream goes on. Stores seal what is silent for longer."""
NOT_RECORDED = "it could not be recorded any more; the gateway's log says why"
"""What the agent is told: where recordings are is nothing to it."""
LIMIT_REACHED = "its recording has reached the size limit"


class Screens(Protocol):
    """Masks the channels of one stream."""

    @property
    def counts(self) -> Mapping[str, int]:
        """What was masked so far, by rule."""
        ...

    def make(self) -> Screen:
        """For one channel."""
        ...


ChooseScreens = Callable[[Request, Standing], Screens | None]
"""None: nothing of this stream is masked."""


class StreamTap:
    """name: of the recording; recorder and track: None when nothing is recorded. gap: why that is, where it was
    wanted. clock: seconds, monotonic. patience: seconds for which a sink may be stuck."""

    def __init__(
        self,
        request: Request,
        terms: RecordingTerms,
        *,
        clock: Callable[[], float],
        screens: Screens | None = None,
        name: str = "",
        recorder: Recorder | None = None,
        track: Track | None = None,
        gap: str = "",
        patience: float = 10.0,
    ) -> None:
        self._request = request
        self._terms = terms
        self._clock = clock
        self._screens = screens
        self._name = name
        self._recorder = recorder
        self._track = track
        self._gap = gap
        self._patience = patience
        self._conversation: Conversation | None = None
        self._stream: TappedStream | None = None
        self._status = b""
        self._deaf = False
        self._braked = False
        self._braked_at = self._wrote_at = 0.0
        self._stop_pulse: Callable[[], None] = _nothing
        if track is not None:
            track.failed, track.relieved = self._sink_failed, self._relieved

    @property
    def _strict(self) -> bool:
        """What is not understood ends the stream, rather than to pass unmasked or unrecorded."""
        return self._screens is not None or self._terms.required

    # -- services.Tap

    def begin(self, headers: Sequence[Header], stream: TappedStream) -> None:
        """Raises StreamError when the two ends agreed on something that cannot be read here."""
        self._stream = stream
        self._wrote_at = self._clock()
        self._stop_pulse = stream.later(PULSE_EVERY, self._pulse)
        try:
            chosen = _chosen(self._request.upgrade, headers) if is_stream(self._request) else ""
            wire = wire_for(self._request, chosen)
        except StreamError as error:
            if self._strict:
                raise
            self._lose(str(error))
            return
        terms = Terms(
            screen=self._screens.make if self._screens is not None else None,
            typed=self._terms.stdin and self._recorder is not None,
            rewrites=self._strict,
        )
        self._conversation = Conversation(wire, terms, self)

    def from_client(self, piece: bytes) -> bytes:
        """Raises StreamError, and whatever a screen raises."""
        conversation = self._conversation
        if conversation is None or self._deaf:
            return piece
        try:
            return conversation.from_client(piece)
        except StreamError as error:
            return self._not_understood(error, piece)

    def from_upstream(self, piece: bytes) -> bytes:
        """As from_client."""
        conversation = self._conversation
        if conversation is None or self._deaf:
            return piece
        try:
            return conversation.from_upstream(piece)
        except StreamError as error:
            return self._not_understood(error, piece)

    def _not_understood(self, error: StreamError, piece: bytes) -> bytes:
        if self._strict:
            raise error
        self._lose(str(error))
        return piece

    def idle(self) -> bytes:
        if self._recorder is not None:
            self._write(self._recorder.settle(self._clock()))
        return self._conversation.idle() if self._conversation is not None and not self._deaf else b""

    def rest(self) -> bytes:
        return self._conversation.ended() if self._conversation is not None and not self._deaf else b""

    def farewell(self, reason: str) -> bytes:
        return (
            self._conversation.farewell(reason) if self._conversation is not None and not self._deaf else b""
        )

    def dropped(self) -> None:
        if self._track is not None:
            self._track.abort()

    async def ended(self, reason: str) -> Mapping[str, Any]:
        """Raises nothing: what went wrong is in the record."""
        self._stop_pulse()
        counts = self._conversation.counts if self._conversation is not None else {}
        found: dict[str, Any] = {}
        if self._conversation is not None:
            found["stream"] = {"protocol": self._conversation.wire.name, "bytes": totals(counts)}
        if ports := _by_port(counts):
            found["stream"]["ports"] = {str(port): count for port, count in ports.items()}
        if self._screens is not None and self._screens.counts:
            found["masked"] = dict(self._screens.counts)
        if self._terms.wanted:
            found["recording"] = await self._sealed(reason, totals(counts), ports)
        return found

    # -- chaperone.core.streams.conversation.Listener

    def shown(self, channel: Channel, data: bytes) -> None:
        if channel.port or channel.kind is Kind.DATA:
            return
        if channel.kind is Kind.ERROR:
            self._status = (self._status + data)[:MOST_STATUS]
        elif self._recorder is not None:
            self._write(self._recorder.output(channel.kind.value, data, self._clock()))

    def typed(self, data: bytes) -> None:
        if self._recorder is not None:
            self._write(self._recorder.typed(data, self._clock()))

    def resized(self, columns: int, rows: int) -> None:
        if self._recorder is not None:
            self._write(self._recorder.resized(columns, rows, self._clock()))

    # -- the recording

    def _write(self, lines: bytes) -> None:
        track, recorder = self._track, self._recorder
        if track is None or recorder is None:
            return
        if lines:
            self._wrote_at = self._clock()
            track.append(lines)
        if recorder.truncated and self._terms.required and self._stream is not None:
            self._stream.end_after_this(LIMIT_REACHED)
        if track.is_full and not self._braked and self._stream is not None:
            self._braked, self._braked_at = True, self._clock()
            self._stream.brake(True)
            self._stream.later(self._patience, self._still_full)

    def _pulse(self) -> None:
        if self._recorder is None or self._stream is None:
            return
        now = self._clock()
        if now - self._wrote_at >= 0.9 * PULSE_EVERY:
            self._write(self._recorder.pulse(now))
        self._stop_pulse = self._stream.later(PULSE_EVERY, self._pulse)

    def _relieved(self) -> None:
        self._braked = False
        if self._stream is not None:
            self._stream.brake(False)

    def _still_full(self) -> None:
        """Since the brake that this was called for, or since a later one, which has a call of its own?"""
        if (
            self._braked
            and self._track is not None
            and self._clock() - self._braked_at >= 0.9 * self._patience
        ):
            self._track.give_up(NO_ANSWER)

    def _sink_failed(self, reason: str) -> None:
        self._lose(reason)
        if self._braked:
            self._relieved()
        if self._terms.required and self._stream is not None:
            self._stream.end_after_this(NOT_RECORDED)

    def _lose(self, reason: str) -> None:
        """Not recorded from here on: the audit record will say so."""
        if not self._gap:
            self._gap = reason
            log.warning("a stream goes on without a recording", extra={"error": reason})
        if self._recorder is not None:
            self._write(self._recorder.marked(f"not recorded from here on: {reason}", self._clock()))
        self._deaf = self._deaf or not self._strict
        if self._track is None or self._track.failure:
            self._recorder = None

    async def _sealed(self, reason: str, sent: Mapping[str, int], ports: Mapping[int, int]) -> dict[str, Any]:
        """What the audit record says of the recording: state is sealed, truncated, partial or failed."""
        recorder, track = self._recorder, self._track
        code = exit_code(self._status)
        entry: dict[str, Any] = {"state": "failed", "reason": self._gap} if self._gap else {"state": "sealed"}
        if code is not None:
            entry["exitCode"] = code
        if track is None or recorder is None:
            return {"name": self._name, **entry} if self._name else entry
        outcome = Outcome(exit_code=code, reason="" if code is not None else reason, sent=sent, ports=ports)
        track.append(recorder.end(outcome, self._clock()))
        try:
            async with asyncio.timeout(self._patience):
                await track.close()
        except (RecordingError, TimeoutError) as error:
            return {"name": self._name, **entry, "state": "failed", "reason": str(error) or NO_ANSWER}
        if recorder.truncated or self._gap:
            entry["state"] = "truncated" if recorder.truncated else "partial"
        seconds = round(recorder.duration, 3)
        return {
            "name": self._name,
            "bytes": track.length,
            "sha256": track.sha256,
            "seconds": seconds,
            **entry,
        }


def _nothing() -> None:
    """There is no timer yet."""


def _chosen(upgrade: str, headers: Sequence[Header]) -> str:
    """The subprotocol that the API server named, "" for none. Raises StreamError for several, and for an extension."""
    wanted = PROTOCOL_HEADERS[upgrade]
    named = [value for name, value in headers if name.lower() == wanted]
    if len(named) > 1 or any(name.lower() == EXTENSIONS for name, _ in headers):
        raise StreamError(
            "the API server chose several stream protocols, or an extension that was not offered"
        )
    return named[0].strip().decode("latin-1") if named else ""


def _by_port(counts: Mapping[Channel, int]) -> dict[int, int]:
    """Bytes both ways by forwarded port."""
    found: dict[int, int] = {}
    for channel, count in counts.items():
        if channel.port:
            found[channel.port] = found.get(channel.port, 0) + count
    return found
