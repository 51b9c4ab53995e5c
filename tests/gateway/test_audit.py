"""The audit log says "durable" only of what is on the file, loses nothing in silence, and recovers."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import orjson
import pytest

from gateway.audit import AuditLog, AuditUnavailable, Record
from gateway.audit_sinks import FileSink, Sink, StreamSink


class NumberedChain:
    """Numbers each line, so that loss, doubling and reordering show."""

    def __init__(self) -> None:
        self.count = 0

    def resume(self, last_line: bytes) -> None:
        self.count = json.loads(last_line)["n"] if last_line else 0

    def seal(self, record: Record) -> bytes:
        line = orjson.dumps({"n": self.count + 1, **record})
        self.count += 1
        return line

    def mark(self) -> object:
        return self.count

    def reset(self, mark: object) -> None:
        assert isinstance(mark, int)
        self.count = mark


class FailingSink:
    """A real file that can be told to fail, or to be slow."""

    def __init__(self, path: Path) -> None:
        self.inner = FileSink(path)
        self.broken = False
        self.gate: threading.Event | None = None
        self.syncs = 0

    def open(self) -> bytes:
        if self.broken:
            raise OSError(errno.EIO, "disk is away")
        return self.inner.open()

    def append(self, lines: bytes, *, durable: bool) -> None:
        if self.gate is not None:
            assert self.gate.wait(10)
        if self.broken:
            raise OSError(errno.ENOSPC, "disk is full")
        self.syncs += durable
        self.inner.append(lines, durable=durable)

    def close(self) -> None:
        self.inner.close()


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 30))


def log_of(sink: Sink, **settings: Any) -> AuditLog:
    return AuditLog(sink, NumberedChain(), retry=0.02, **settings)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


async def until(claim: Callable[[], bool]) -> None:
    while not claim():  # noqa: ASYNC110  the claim is about a thread, nothing signals it
        await asyncio.sleep(0.005)


def test_durable_means_on_the_file(tmp_path: Path) -> None:
    async def scenario() -> None:
        log = log_of(FileSink(tmp_path / "audit.jsonl"))
        log.start()
        for number in range(3):
            await log.durable({"id": number})
            assert lines(tmp_path / "audit.jsonl")[-1] == {"n": number + 1, "id": number}
        await log.close()

    run(scenario)


def test_many_mutations_share_a_sync_and_keep_their_order(tmp_path: Path) -> None:
    async def scenario() -> None:
        sink = FailingSink(tmp_path / "audit.jsonl")
        log = log_of(sink)
        log.start()
        await asyncio.gather(*(log.durable({"id": number}) for number in range(2000)))
        await log.close()
        assert [line["n"] for line in lines(tmp_path / "audit.jsonl")] == list(range(1, 2001))
        assert [line["id"] for line in lines(tmp_path / "audit.jsonl")] == list(range(2000))
        assert sink.syncs < 200

    run(scenario)


def test_reads_are_written_without_a_sync_and_by_close_at_the_latest(tmp_path: Path) -> None:
    async def scenario() -> None:
        sink = FailingSink(tmp_path / "audit.jsonl")
        log = log_of(sink)
        log.start()
        for number in range(1000):
            log.write({"id": number})
        await log.close()
        assert [line["id"] for line in lines(tmp_path / "audit.jsonl")] == list(range(1000))
        assert sink.syncs == 0

    run(scenario)


def test_a_full_queue_refuses_aloud_and_drops_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        sink = FailingSink(tmp_path / "audit.jsonl")
        sink.gate = threading.Event()
        log = log_of(sink, queue=5)
        log.start()
        for number in range(5):
            log.write({"id": number})
        with pytest.raises(AuditUnavailable, match="full"):
            log.write({"id": 5})
        sink.gate.set()
        await log.close()
        assert [line["id"] for line in lines(tmp_path / "audit.jsonl")] == list(range(5))

    run(scenario)


def test_op_02_a_failing_sink_refuses_mutations_keeps_reads_and_recovers(tmp_path: Path) -> None:
    async def scenario() -> None:
        failures: list[int] = []
        sink = FailingSink(tmp_path / "audit.jsonl")
        log = log_of(sink, on_failure=lambda: failures.append(1))
        log.start()
        await log.durable({"id": "before"})
        sink.broken = True
        log.write({"id": "read"})
        with pytest.raises(AuditUnavailable, match="disk is full"):
            await log.durable({"id": "refused"})
        with pytest.raises(AuditUnavailable):
            log.write({"id": "refused too"})
        assert "disk is" in log.failure
        assert failures
        sink.broken = False
        await until(lambda: log.failure == "" and log.depth == 0)
        await log.durable({"id": "after"})
        await log.close()
        assert [(line["n"], line["id"]) for line in lines(tmp_path / "audit.jsonl")] == [
            (1, "before"),
            (2, "read"),
            (3, "after"),
        ]

    run(scenario)


def test_a_slow_sink_refuses_after_the_longest_wait(tmp_path: Path) -> None:
    async def scenario() -> None:
        sink = FailingSink(tmp_path / "audit.jsonl")
        sink.gate = threading.Event()
        log = log_of(sink, wait=0.05)
        log.start()
        with pytest.raises(AuditUnavailable, match="not durable within"):
            await log.durable({"id": 1})
        sink.gate.set()
        await log.close()

    run(scenario)


def test_a_record_that_cannot_be_encoded_is_refused_alone(tmp_path: Path) -> None:
    async def scenario() -> None:
        log = log_of(FileSink(tmp_path / "audit.jsonl"))
        log.start()
        answers = await asyncio.gather(
            log.durable({"id": 1}),
            log.durable({"id": object()}),
            log.durable({"id": 3}),
            return_exceptions=True,
        )
        await log.close()
        assert [type(answer) for answer in answers] == [type(None), AuditUnavailable, type(None)]
        assert [line["n"] for line in lines(tmp_path / "audit.jsonl")] == [1, 2]

    run(scenario)


def test_a_batch_that_fails_half_way_is_cut_off_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A short write and then ENOSPC: what stands in the file stays whole lines, in order."""
    real = os.write
    calls = 0

    def short(fd: int, data: bytes | memoryview) -> int:
        nonlocal calls
        calls += 1
        if calls == 2:
            return real(fd, bytes(data)[:10])
        if calls == 3:
            raise OSError(errno.ENOSPC, "disk is full")
        return real(fd, data)

    async def scenario() -> None:
        log = log_of(FileSink(tmp_path / "audit.jsonl"))
        log.start()
        monkeypatch.setattr("gateway.audit_sinks.os.write", short)
        await log.durable({"id": 1})
        with pytest.raises(AuditUnavailable):
            await log.durable({"id": 2})
        await until(lambda: log.failure == "")
        await log.durable({"id": 3})
        await log.close()
        assert [(line["n"], line["id"]) for line in lines(tmp_path / "audit.jsonl")] == [(1, 1), (2, 3)]

    run(scenario)


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        (b"", b""),
        (b'{"n":1}\n', b'{"n":1}'),
        (b'{"n":1}\n{"n":2}\n', b'{"n":2}'),
        (b'{"n":1}\n{"n":2', b'{"n":2'),
        (b'{"n":1}\n' + b'{"n":2,"x":"' + b"y" * 200_000 + b'"}\n', b'{"n":2,"x":"' + b"y" * 200_000 + b'"}'),
    ],
)
def test_the_last_line_is_found_and_a_cut_one_is_ended(
    tmp_path: Path, before: bytes, expected: bytes
) -> None:
    path = tmp_path / "audit.jsonl"
    path.write_bytes(before)
    sink = FileSink(path)
    assert sink.open() == expected
    sink.append(b'{"n":9}\n', durable=True)
    sink.close()
    assert path.read_bytes().endswith(b'\n{"n":9}\n' if before else b'{"n":9}\n')
    assert path.read_bytes().startswith(before)


def test_rotation_by_rename_and_reopen_carries_the_chain_on(tmp_path: Path) -> None:
    async def scenario() -> None:
        path = tmp_path / "audit.jsonl"
        log = log_of(FileSink(path))
        log.start()
        await log.durable({"id": 1})
        path.rename(tmp_path / "audit.jsonl.1")
        log.reopen()
        await log.durable({"id": 2})
        await log.close()
        assert lines(tmp_path / "audit.jsonl.1") == [{"n": 1, "id": 1}]
        assert lines(path) == [{"n": 2, "id": 2}]

    run(scenario)


def test_one_file_has_one_writer(tmp_path: Path) -> None:
    async def scenario() -> None:
        first, second = log_of(FileSink(tmp_path / "a")), log_of(FileSink(tmp_path / "a"))
        first.start()
        with pytest.raises(AuditUnavailable, match="another process"):
            second.start()
        await first.close()

    run(scenario)


def test_a_link_in_the_place_of_the_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"")
    (tmp_path / "audit.jsonl").symlink_to(tmp_path / "elsewhere")

    async def scenario() -> None:
        with pytest.raises(AuditUnavailable):
            log_of(FileSink(tmp_path / "audit.jsonl")).start()

    run(scenario)


def test_the_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    sink = FileSink(tmp_path / "audit.jsonl")
    sink.open()
    sink.close()
    assert (tmp_path / "audit.jsonl").stat().st_mode & 0o077 == 0


def test_standard_output_gets_whole_lines(tmp_path: Path) -> None:
    async def scenario() -> None:
        reader, writer = os.pipe()
        log = log_of(StreamSink(writer))
        log.start()
        await log.durable({"id": 1})
        log.write({"id": 2})
        await log.close()
        os.close(writer)
        with os.fdopen(reader, "rb") as pipe:
            assert [json.loads(line)["id"] for line in pipe] == [1, 2]

    run(scenario)


def test_nothing_is_taken_before_start_or_while_closed(tmp_path: Path) -> None:
    async def scenario() -> None:
        log = log_of(FileSink(tmp_path / "audit.jsonl"))
        with pytest.raises(AuditUnavailable):
            log.write({"id": 1})
        with pytest.raises(AuditUnavailable):
            await log.durable({"id": 1})
        log.start()
        await log.close()
        with pytest.raises(AuditUnavailable):
            log.write({"id": 2})

    run(scenario)
