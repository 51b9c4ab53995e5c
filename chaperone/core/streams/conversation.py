"""Both directions of one upgraded connection: what is shown is screened and written anew, and a listener hears of it.

What a screen holds back (it may be the beginning of a secret) keeps its place: it goes before the end of its channel,
before the exit status, before the end of the connection, or when nothing has come for a moment.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

import orjson

from chaperone.core.streams.events import Channel, Chunk, Event, Kind, Passed, Wire
from chaperone.core.streams.resizing import ResizeReader

MOST_ERROR_BYTES = 64 * 1024


class Screen(Protocol):
    """Masks the text of one channel; the length stays the same. See chaperone.core.masking.stream."""

    def feed(self, data: bytes, /) -> bytes: ...
    def idle(self) -> bytes:
        """What may be released after silence."""
        ...

    def flush(self) -> bytes:
        """All of the rest; another text may begin after it."""
        ...


class Listener(Protocol):
    """Hears what was shown, as it was shown; and, where it is asked for, what was typed."""

    def shown(self, channel: Channel, data: bytes) -> None: ...
    def typed(self, data: bytes) -> None: ...
    def resized(self, columns: int, rows: int) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """screen: makes one for a channel; None: nothing is masked. typed: whether the listener hears stdin. rewrites:
    False: both directions pass byte for byte, and are only read."""

    screen: Callable[[], Screen] | None = None
    typed: bool = False
    rewrites: bool = True


class Conversation:
    """Raises StreamError for what its wire does not understand; then nothing more may be passed either way."""

    def __init__(self, wire: Wire, terms: Terms, listener: Listener) -> None:
        if terms.screen is not None and not terms.rewrites:
            raise ValueError("what is masked is written anew")
        self.wire = wire
        self.counts: dict[Channel, int] = {}
        self._terms = terms
        self._listener = listener
        self._screens: dict[Channel, Screen] = {}
        self._holding: set[Channel] = set()  # fed since they were last flushed
        self._restless: set[Channel] = set()  # fed since they were last idle
        self._typing = terms.screen() if terms.screen is not None and terms.typed else None
        self._sizes = ResizeReader()
        self._error = bytearray()
        self._begun: set[Channel] = set()

    # -- from the client

    def from_client(self, piece: bytes) -> bytes:
        """What goes upstream."""
        out = [self._sent(event) for event in self.wire.from_client(piece)]
        return b"".join(out) if self._terms.rewrites else piece

    def _sent(self, event: Event) -> bytes:
        if isinstance(event, Passed):
            return event.raw
        kind = event.channel.kind
        self._count(event)
        if kind is Kind.RESIZE:
            for columns, rows in self._sizes.feed(event.data):
                self._listener.resized(columns, rows)
        elif kind is Kind.STDIN and self._terms.typed:
            self._hear_typing(event)
        return self.wire.to_upstream(event) if self._terms.rewrites else b""

    def _hear_typing(self, chunk: Chunk) -> None:
        data = chunk.data
        if self._typing is not None:
            data = self._typing.feed(data) + (self._typing.flush() if chunk.ends else b"")
        if data:
            self._listener.typed(data)

    # -- from the API server

    def from_upstream(self, piece: bytes) -> bytes:
        """What goes to the client."""
        out = [part for event in self.wire.from_upstream(piece) for part in self._received(event)]
        return b"".join(out) if self._terms.rewrites else piece

    def _received(self, event: Event) -> list[bytes]:
        if isinstance(event, Passed):
            first = self._let_go(None if event.everything else event.closes) if _releases(event) else []
            return [*first, event.raw]
        self._count(event)
        if event.channel.kind is Kind.ERROR:
            return [*self._release_output(), *self._report(event)]
        return self._content(event)

    def _content(self, chunk: Chunk) -> list[bytes]:
        screen = self._screen(chunk.channel)
        if screen is None:
            return [self._show(chunk)]
        data = screen.feed(chunk.data)
        if chunk.ends:
            data += screen.flush()
        self._hold(chunk.channel, holds=not chunk.ends)
        return [self._show(chunk._replace(data=data))]

    def _report(self, chunk: Chunk) -> list[bytes]:
        """The error channel: its Status is told in one piece, so that clients that read messages can read it."""
        self._error += chunk.data
        if not (chunk.whole or chunk.ends or len(self._error) > MOST_ERROR_BYTES):
            self._hold(chunk.channel, holds=True)
            return []
        said = bytes(self._error)
        self._error.clear()
        screen = self._screen(chunk.channel)
        if screen is not None:
            whole = chunk.ends or is_whole(said)
            said = screen.feed(said) + (screen.flush() if whole else b"")
            self._hold(chunk.channel, holds=not whole)
        return [self._show(chunk._replace(data=said, whole=True))]

    def _show(self, chunk: Chunk) -> bytes:
        """Written for the client. Empty messages open a channel; of a message that was cut, no empty rest is sent."""
        if chunk.data:
            self._listener.shown(chunk.channel, chunk.data)
        if not self._terms.rewrites or (not (chunk.data or chunk.ends) and chunk.channel in self._begun):
            return b""
        self._begun.add(chunk.channel)
        return self.wire.to_client(chunk)

    # -- what is held back

    @property
    def holds(self) -> bool:
        """Is there anything that silence would release?"""
        return bool(self._restless) or self._typing is not None

    def idle(self) -> bytes:
        """Nothing has come for a moment: what goes to the client now."""
        out = []
        restless, self._restless = self._restless, set()
        for channel in _in_order(restless):
            screen = self._screens.get(channel)
            released = screen.idle() if screen is not None else b""
            out += [self._show(Chunk(channel, released))] if released else []
        if self._typing is not None and (data := self._typing.idle()):
            self._listener.typed(data)
        return b"".join(out)

    def ended(self) -> bytes:
        """Upstream sends nothing more: the rest of what was held."""
        if self._typing is not None and (data := self._typing.flush()):
            self._listener.typed(data)
        return b"".join(self._let_go(None))

    def farewell(self, reason: str) -> bytes:
        """What the client is told when this side ends the stream. b"" where it would fall into the middle of a frame."""
        if not self._terms.rewrites and not self.wire.at_border:
            return b""
        return self.ended() + self.wire.farewell(reason)

    def _let_go(self, channel: Channel | None) -> list[bytes]:
        """All that is held for this channel; None: for every one, the error channel last."""
        chosen = self._holding if channel is None else self._holding & {channel}
        return [part for each in _in_order(chosen) for part in self._flush(each)]

    def _release_output(self) -> list[bytes]:
        """The exit status must not overtake the output."""
        outputs = [channel for channel in _in_order(self._holding) if channel.kind is not Kind.ERROR]
        return [part for channel in outputs for part in self._flush(channel)]

    def _flush(self, channel: Channel) -> list[bytes]:
        self._hold(channel, holds=False)
        screen, rest = self._screens.get(channel), b""
        if channel.kind is Kind.ERROR:
            rest = bytes(self._error)
            self._error.clear()
        data = screen.feed(rest) + screen.flush() if screen is not None else rest
        return [self._show(Chunk(channel, data))] if data else []

    def _hold(self, channel: Channel, *, holds: bool) -> None:
        for channels in (self._holding, self._restless):
            channels.add(channel) if holds else channels.discard(channel)

    def _screen(self, channel: Channel) -> Screen | None:
        """None: nothing is masked here. What a forwarded port carries is opaque."""
        if self._terms.screen is None or channel.port or channel.kind is Kind.DATA:
            return None
        screen = self._screens.get(channel)
        if screen is None:
            screen = self._screens[channel] = self._terms.screen()
        return screen

    def _count(self, chunk: Chunk) -> None:
        self.counts[chunk.channel] = self.counts.get(chunk.channel, 0) + len(chunk.data)


def totals(counts: Mapping[Channel, int]) -> dict[str, int]:
    """Bytes by what the channel carries."""
    found: dict[str, int] = {}
    for channel, count in counts.items():
        found[channel.kind.value] = found.get(channel.kind.value, 0) + count
    return found


def _in_order(channels: Collection[Channel]) -> list[Channel]:
    """By number, errors last: the exit status must not overtake the output."""
    return sorted(channels, key=lambda channel: (channel.kind is Kind.ERROR, channel.number))


def _releases(event: Passed) -> bool:
    return event.everything or event.closes is not None


def is_whole(said: bytes) -> bool:
    """Is this one whole JSON document, as the API server reports an exit with?"""
    try:
        orjson.loads(said)
    except orjson.JSONDecodeError:
        return False
    return True
