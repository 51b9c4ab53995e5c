"""A recording on its way to its sink: in order, bounded, and a failure is known at once."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from gateway.recording.track import ENOUGH, RecordingError, Track
from tests.gateway.recording.sinks import MemoryWriter


def play(scene: Callable[[Track], Awaitable[None]], writer: MemoryWriter) -> None:
    async def run() -> None:
        with ThreadPoolExecutor(2) as pool:
            async with asyncio.timeout(20):
                await scene(Track(writer, pool))

    asyncio.run(run())


def test_everything_arrives_in_order_and_is_digested() -> None:
    writer = MemoryWriter()
    lines = [b"%d\n" % number for number in range(1000)]

    async def scene(track: Track) -> None:
        for number, line in enumerate(lines):
            track.append(line)
            if number % 100 == 0:
                await asyncio.sleep(0)
        await track.close()
        assert (track.length, track.backlog) == (len(b"".join(lines)), 0)
        assert track.sha256 == hashlib.sha256(b"".join(lines)).hexdigest()
        track.append(b"late")
        assert track.length == len(b"".join(lines))

    play(scene, writer)
    assert writer.content == b"".join(lines)
    assert writer.sealed


def test_durable_waits_for_what_was_appended() -> None:
    writer = MemoryWriter()

    async def scene(track: Track) -> None:
        track.append(b"head\n")
        await track.durable()
        assert writer.synced == b"head\n"

    play(scene, writer)


def test_a_long_stream_is_made_durable_while_it_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.recording.track.SYNC_EVERY", 0.0)
    writer = MemoryWriter()

    async def scene(track: Track) -> None:
        track.append(b"one\n")
        while writer.synced is None:  # noqa: ASYNC110 - a thread tells
            await asyncio.sleep(0.001)
        assert writer.synced == b"one\n"

    play(scene, writer)


def test_too_much_waiting_is_known_and_so_is_its_end() -> None:
    gate = threading.Event()
    writer = MemoryWriter(gate=gate, content=b"head")
    relieved: list[bool] = []

    async def scene(track: Track) -> None:
        track.relieved = lambda: relieved.append(track.is_full)
        track.append(bytes(ENOUGH - 1))
        full = [track.is_full]
        track.append(b"xx")
        full.append(track.is_full)
        gate.set()
        await track.close()
        assert full == [False, True]

    play(scene, writer)
    assert relieved == [False]
    assert len(writer.content) == ENOUGH + 5


def test_a_failure_is_told_once_and_nothing_more_is_kept() -> None:
    told: list[str] = []

    async def scene(track: Track) -> None:
        track.failed = told.append
        track.append(b"poison")
        with pytest.raises(RecordingError, match="No space left"):
            await track.durable()
        track.append(b"more")
        assert track.backlog == 0
        with pytest.raises(RecordingError):
            await track.close()

    writer = MemoryWriter(poison=b"poison")
    play(scene, writer)
    assert len(told) == 1
    assert "No space left" in told[0]
    assert (writer.content, writer.sealed) == (b"", False)


@pytest.mark.parametrize("method", ["sync", "close"])
def test_what_cannot_be_sealed_is_an_error(method: str) -> None:
    async def scene(track: Track) -> None:
        with pytest.raises(RecordingError, match="Input/output"):
            await (track.durable() if method == "sync" else track.close())
        assert "Input/output" in track.failure

    play(scene, MemoryWriter(fails_at=method))


def test_a_sink_that_does_not_answer_is_given_up() -> None:
    gate = threading.Event()
    told: list[str] = []

    async def scene(track: Track) -> None:
        track.failed = told.append
        track.append(bytes(ENOUGH))
        track.append(bytes(ENOUGH))
        track.give_up("it does not answer")
        assert not track.is_full
        gate.set()
        with pytest.raises(RecordingError, match="does not answer"):
            await track.close()

    play(scene, MemoryWriter(gate=gate, content=b"head"))
    assert len(told) == 1


def test_what_is_aborted_is_left() -> None:
    writer = MemoryWriter()

    async def scene(track: Track) -> None:
        track.append(b"head")
        track.abort()
        track.append(b"more")

    play(scene, writer)
    assert writer.aborted
    assert not writer.sealed
