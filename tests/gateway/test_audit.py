"""The audit log says "durable" only of what is on the file, loses nothing in silence, and recovers."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import threading
import time
import weakref
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import pytest

from chaperone.core.chain import Link, Sealed, origin, seal
from chaperone.core.chain_check import ChainCheck, Kind, Verification
from chaperone.store.interface import RecordWriter
from chaperone.store.signing import new_signer, public_keys, signature_check
from gateway.audit import BATCH_BYTES, AuditLog, AuditUnavailable
from gateway.audit_chain import CheckpointTerms, SignedChain
from gateway.audit_sinks import FileSink, StreamSink


class FailingSink:
    """A real file that can be told to fail, to be slow, or to lose its answer."""

    def __init__(self, path: Path) -> None:
        self.inner = FileSink(path)
        self.broken = False
        self.loses_answers = False
        self.gate: threading.Event | None = None
        self.syncs = 0

    def open(self) -> Link | None:
        if self.broken:
            raise OSError(errno.EIO, "disk is away")
        return self.inner.open()

    def append(self, batch: Sequence[Sealed], checkpoint: bytes | None, *, durable: bool) -> None:
        if self.gate is not None:
            assert self.gate.wait(10)
        if self.broken:
            raise OSError(errno.ENOSPC, "disk is full")
        self.syncs += durable
        self.inner.append(batch, checkpoint, durable=durable)
        if self.loses_answers:
            self.loses_answers = False
            raise OSError(errno.EPIPE, "the connection was lost")

    def close(self) -> None:
        self.inner.close()


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 30))


SIGNER = new_signer()


def log_of(sink: RecordWriter, terms: CheckpointTerms | None = None, **settings: Any) -> AuditLog:
    chain = SignedChain("gw-0", SIGNER, wall=time.time, clock=time.monotonic, terms=terms)
    return AuditLog(sink, chain, retry=0.02, **settings)


def lines(path: Path) -> list[dict[str, Any]]:
    """Only the records, each with its place in the chain as `n`."""
    found = [json.loads(line) for line in path.read_bytes().splitlines()]
    return [
        {"n": line.pop("chain")["sequence"], **line}
        for line in found
        if line.get("kind") != "AuditCheckpoint"
    ]


def checked(*paths: Path) -> Verification:
    check = ChainCheck(signature_check(public_keys([SIGNER.public])))
    for path in paths:
        for line in path.read_bytes().splitlines():
            check.line(line, path.name)
    return check.result()


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
        log = log_of(sink, CheckpointTerms(records=10_000))
        log.start()
        for number in range(1000):
            log.write({"id": number})
        await log.close()
        assert [line["id"] for line in lines(tmp_path / "audit.jsonl")] == list(range(1000))
        assert sink.syncs == 1, "only the last checkpoint"

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


def sealed_lines(count: int, start: Link | None = None) -> list[Sealed]:
    link, found = start or origin("gw-0"), []
    for number in range(count):
        found.append(seal(link, b'{"id":%d}' % number))
        link = found[-1].link
    return found


@pytest.mark.parametrize("rest", [b"", b'{"kind":"Event","half', b"\0\0\0\0", b"y" * 200_000])
def test_a_line_that_a_crash_cut_short_is_cut_off_and_the_chain_goes_on(tmp_path: Path, rest: bytes) -> None:
    path = tmp_path / "audit.jsonl"
    before = sealed_lines(2)
    path.write_bytes(before[0].line + b"\n" + before[1].line + b"\n" + rest)

    async def scenario() -> None:
        log = log_of(FileSink(path))
        log.start()
        await log.durable({"id": "after"})
        await log.close()

    run(scenario)
    assert [line["n"] for line in lines(path)] == [1, 2, 3]
    assert checked(path).is_good


def test_a_last_line_that_only_lacks_its_end_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    before = sealed_lines(2)
    path.write_bytes(before[0].line + b"\n" + before[1].line)
    sink = FileSink(path)
    assert sink.open() == before[1].link
    sink.append(sealed_lines(1, before[1].link), None, durable=True)
    sink.close()
    assert [line["n"] for line in lines(path)] == [1, 2, 3]


def test_a_long_last_record_is_found(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    first = sealed_lines(1)[0]
    long = seal(first.link, b'{"x":"' + b"y" * 200_000 + b'"}')
    path.write_bytes(first.line + b"\n" + long.line + b"\nrubbish\n")
    sink = FileSink(path)
    assert sink.open() == long.link
    sink.close()


def test_a_batch_whose_answer_was_lost_is_not_written_twice(tmp_path: Path) -> None:
    async def scenario() -> None:
        sink = FailingSink(tmp_path / "audit.jsonl")
        log = log_of(sink)
        log.start()
        await log.durable({"id": "before"})
        sink.loses_answers = True
        log.write({"id": "read"})
        with pytest.raises(AuditUnavailable, match="connection was lost"):
            await log.durable({"id": "refused, and written"})
        await until(lambda: log.failure == "" and log.depth == 0)
        await log.durable({"id": "after"})
        await log.close()

    run(scenario)
    path = tmp_path / "audit.jsonl"
    assert [(line["n"], line["id"]) for line in lines(path)] == [
        (1, "before"),
        (2, "read"),
        (3, "refused, and written"),
        (4, "after"),
    ]
    assert checked(path).is_good


def test_checkpoints_come_by_count_and_at_the_end(tmp_path: Path) -> None:
    async def scenario() -> None:
        log = log_of(FileSink(tmp_path / "audit.jsonl"), CheckpointTerms(records=10))
        log.start()
        for number in range(25):
            await log.durable({"id": number})
        await log.close()

    run(scenario)
    found = checked(tmp_path / "audit.jsonl")
    assert found.is_good
    assert found.chains[0].closed
    assert found.chains[0].unsigned == 0
    kinds = [
        json.loads(line)["kind"]
        for line in (tmp_path / "audit.jsonl").read_bytes().splitlines()
        if b'"kind"' in line
    ]
    assert kinds.count("AuditCheckpoint") == 3


def test_a_checkpoint_comes_by_time_when_nothing_else_happens(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"

    async def scenario() -> None:
        log = log_of(FileSink(path), CheckpointTerms(seconds=0.05))
        log.start()
        await log.durable({"id": 1})
        await until(lambda: b"AuditCheckpoint" in path.read_bytes())
        await log.close()

    run(scenario)


def test_a_chain_survives_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"

    async def scenario() -> None:
        for number in range(3):
            log = log_of(FileSink(path))
            log.start()
            await log.durable({"id": number})
            await log.close()

    run(scenario)
    assert [line["n"] for line in lines(path)] == [1, 2, 3]
    assert checked(path).is_good


def test_what_somebody_did_to_the_file_meanwhile_shows(tmp_path: Path) -> None:
    """The chain goes on from memory: a cut-off file does not make it begin anew."""
    path = tmp_path / "audit.jsonl"

    async def scenario() -> None:
        sink = FailingSink(path)
        log = log_of(sink)
        log.start()
        for number in range(3):
            await log.durable({"id": number})
        path.write_bytes(path.read_bytes().split(b"\n")[0] + b"\n")
        sink.broken = True
        with pytest.raises(AuditUnavailable):
            await log.durable({"id": "refused"})
        sink.broken = False
        await until(lambda: log.failure == "")
        await log.durable({"id": "after"})
        await log.close()

    run(scenario)
    found = checked(path)
    assert [(fault.kind, fault.sequence) for fault in found.faults] == [(Kind.MISSING, 2)]


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
        assert checked(tmp_path / "audit.jsonl.1", path).is_good

        again = log_of(FileSink(path))
        again.start()
        await again.durable({"id": 3})
        await again.close()
        assert checked(tmp_path / "audit.jsonl.1", path).is_good

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
            assert [json.loads(line).get("id") for line in pipe] == [1, 2, None]

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


def big(audit_id: str, size: int = 256 << 10, parts: int = 3) -> dict[str, Any]:
    """The record of a mutation with its objects."""
    names = ("requestObject", "objectBefore", "responseObject")[:parts]
    return {"id": audit_id, "verb": "update", **{name: {"data": {"blob": "x" * size}} for name in names}}


class MeasuringSink(FailingSink):
    """Keeps how large the batches were."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.batches: list[tuple[int, int]] = []

    def append(self, batch: Sequence[Sealed], checkpoint: bytes | None, *, durable: bool) -> None:
        super().append(batch, checkpoint, durable=durable)
        if batch:
            self.batches.append((len(batch), sum(len(one.line) for one in batch)))


def test_batches_of_large_records_are_bounded_in_bytes(tmp_path: Path) -> None:
    async def scenario() -> None:
        sink = MeasuringSink(tmp_path / "audit.jsonl")
        log = log_of(sink)
        log.start()
        await asyncio.gather(*(log.durable(big(f"b{number}")) for number in range(40)))
        await asyncio.gather(*(log.durable({"id": f"s{number}"}) for number in range(40)))
        await log.close()
        one = 3 * (256 << 10)
        assert max(size for _, size in sink.batches) < BATCH_BYTES + 2 * one
        assert max(count for count, size in sink.batches if size > one) <= 1 + BATCH_BYTES // one
        assert sum(count for count, _ in sink.batches) == 80

    run(scenario)
    assert [line["id"] for line in lines(tmp_path / "audit.jsonl")][39:41] == ["b39", "s0"]
    assert checked(tmp_path / "audit.jsonl").is_good


def test_a_queue_is_full_by_its_bytes_too_and_mutations_have_as_much_room_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        sink = FailingSink(tmp_path / "audit.jsonl")
        sink.gate = threading.Event()
        log = log_of(sink, most_bytes=3 << 20)
        log.start()
        for number in range(3):
            log.write(big(f"r{number}"))
        with pytest.raises(AuditUnavailable, match=r"full \(3145728 bytes\)"):
            log.write(big("refused"))
        async with asyncio.TaskGroup() as group:
            for number in range(4):
                group.create_task(log.durable(big(f"m{number}")))
                await asyncio.sleep(0)
            with pytest.raises(AuditUnavailable, match=r"full \(6291456 bytes\)"):
                await log.durable(big("refused"))
            assert log.bytes_waiting < 6 << 20
            sink.gate.set()
        assert (log.depth, log.bytes_waiting) == (0, 0)
        await log.close()

    run(scenario)
    assert len(lines(tmp_path / "audit.jsonl")) == 7


def test_what_waits_holds_its_objects_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        sink = FailingSink(tmp_path / "audit.jsonl")
        sink.gate = threading.Event()
        log = log_of(sink)
        log.start()
        record = big("r", size=1 << 20)
        held = type("Blob", (dict,), {})(record["requestObject"])
        gone = weakref.ref(held)
        record["requestObject"] = held
        log.write(record)
        del record, held
        assert gone() is None
        sink.gate.set()
        await log.close()

    run(scenario)
    assert "requestObject" in lines(tmp_path / "audit.jsonl")[0]


def test_counts_are_even_after_an_outage(tmp_path: Path) -> None:
    """What was refused, kept, written twice and found there already is counted once each."""

    async def scenario() -> None:
        sink = FailingSink(tmp_path / "audit.jsonl")
        log = log_of(sink)
        log.start()
        sink.loses_answers = True
        log.write({"id": "read"})
        with pytest.raises(AuditUnavailable):
            await log.durable({"id": "refused, and written"})
        await until(lambda: log.failure == "" and log.depth == 0)
        sink.broken = True
        log.write({"id": "kept"})
        with pytest.raises(AuditUnavailable):
            await log.durable({"id": "refused"})
        assert log.depth == 1
        sink.broken = False
        await until(lambda: log.failure == "" and log.depth == 0)
        assert log.bytes_waiting == 0
        await log.close()

    run(scenario)
    assert [line["id"] for line in lines(tmp_path / "audit.jsonl")] == [
        "read",
        "refused, and written",
        "kept",
    ]


def test_a_queue_that_fills_does_not_wait_to_be_gathered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.audit.LINGER", 60.0)

    async def scenario() -> None:
        log = log_of(FailingSink(tmp_path / "audit.jsonl"), queue=10)
        log.start()
        for number in range(40):
            await until(lambda: log.depth < 10)
            log.write({"id": number})
        await log.close()

    run(scenario)
    assert [line["id"] for line in lines(tmp_path / "audit.jsonl")] == list(range(40))


def test_a_writer_that_ends_before_its_time_refuses_everything(tmp_path: Path) -> None:
    """Whatever it was: no record is taken that nobody will write."""

    async def scenario() -> None:
        sink = FailingSink(tmp_path / "audit.jsonl")
        failures: list[int] = []
        log = log_of(sink, on_failure=lambda: failures.append(1))
        log.start()
        await log.durable({"id": "before"})
        sink.broken = True
        with pytest.raises(AuditUnavailable):
            await log.durable({"id": "refused"})
        sink.open = lambda: 1 // 0  # type: ignore[method-assign,assignment,return-value]
        await until(lambda: "its writer ended" in log.failure)
        with pytest.raises(AuditUnavailable, match="its writer ended"):
            log.write({"id": "refused"})
        with pytest.raises(AuditUnavailable, match="its writer ended"):
            await log.durable({"id": "refused"})
        assert len(failures) > 1
        await log.close()

    run(scenario)


def test_a_record_with_nothing_in_it_does_not_stop_the_others(tmp_path: Path) -> None:
    async def scenario() -> None:
        log = log_of(FileSink(tmp_path / "audit.jsonl"))
        log.start()
        with pytest.raises(AuditUnavailable, match="nothing in it"):
            log.write({})
        await log.durable({"id": 1})
        await log.close()

    run(scenario)
