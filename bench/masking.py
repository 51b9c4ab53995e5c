"""Masking: how fast a long list and a log pass through it on one core, in how much memory; what it costs a small object.

`python -m bench.masking` measures the first two alone, without a cluster.
"""

from __future__ import annotations

import gc
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson

from bench import load, small_get, usage
from bench.pods import pods
from chaperone.core.masking import STANDARD, Masker, Place
from gateway.masking.answer import AnswerFilter, Shape
from gateway.masking.engine import MaskingEngine
from gateway.masking.sight import Sight
from gateway.masking.text_body import TextBody
from gateway.server import settle_memory

LIST_BYTES = 50_000_000
LOG_BYTES = 50_000_000
PIECE = 64 * 1024
RUN = ("issuer", "subject", "run")
LIST_SPEED, LIST_MEMORY, LOG_SPEED, SMALL_RATIO = 25.0, 32.0, 50.0, 1.5
"""Targets: megabytes a second of CPU time, megabytes, megabytes a second, times."""


@dataclass(frozen=True)
class Passed:
    """One body through the filter. memory: megabytes beyond what was there before, at the highest."""

    name: str
    megabytes: float
    seconds: float
    memory: float
    masked: int

    @property
    def speed(self) -> float:
        return self.megabytes / self.seconds


def lists(engine: MaskingEngine) -> Passed:
    body = _in_pieces(_list_body(LIST_BYTES))
    return _passed("pod list, item by item", body, _filter(engine, Shape.LIST))


def logs(engine: MaskingEngine) -> Passed:
    body = _in_pieces(_log(LOG_BYTES))
    return _passed("log", body, _filter(engine, Shape.LOG))


def _filter(engine: MaskingEngine, shape: Shape) -> AnswerFilter:
    place = Place(resource="pods", namespace="dev", subresource="log" if shape is Shape.LOG else "")
    masker: Masker = engine.masker(STANDARD, RUN)
    sight = Sight(masker, place, clears=engine.clears(STANDARD, RUN, place), collect=engine.collect(RUN))
    made = AnswerFilter(sight, shape, lambda sight: TextBody(engine.stream(STANDARD, RUN, sight), live=True))
    made.ask([])
    made.head(200, [(b"Content-Type", b"text/plain" if shape is Shape.LOG else b"application/json")])
    return made


def _passed(name: str, body: list[bytes], through: AnswerFilter) -> Passed:
    gc.collect()
    before = _reset_peak()
    began = time.process_time()
    for piece in body:
        through.data(piece)
    through.end()
    seconds = time.process_time() - began
    masked = sum(through.counts.values())
    return Passed(name, sum(map(len, body)) / 1e6, seconds, _peak() - before, masked)


def _list_body(size: int) -> Iterator[bytes]:
    yield b'{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"1"},"items":['
    sent = 0
    for number, pod in enumerate(pods(size)):
        yield b"," + pod if number else pod
        sent += len(pod)
        if sent > size:
            break
    yield b"]}\n"


def _log(size: int) -> Iterator[bytes]:
    """Every thousandth line holds a password."""
    chance, sent, number = random.Random(3), 0, 0
    while sent < size:
        number += 1
        line = (
            f"2026-03-01T10:00:{number % 60:02d}.{number % 1000:03d}Z INFO handler served GET /api/v1/orders/"
            f"{chance.randrange(10**9)} status=200 duration={chance.randrange(900)}ms client=10.42.{number % 256}.7"
        )
        if number % 1000 == 0:
            line += f" dsn=postgres://app:{chance.getrandbits(80):x}@db:5432/orders"
        sent += len(line) + 1
        yield line.encode() + b"\n"


def _in_pieces(parts: Iterator[bytes]) -> list[bytes]:
    whole = b"".join(parts)
    return [whole[at : at + PIECE] for at in range(0, len(whole), PIECE)]


def _reset_peak() -> float:
    """The memory of this process now, in megabytes; the highest is counted from here on."""
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def _peak() -> float:
    return _status("VmHWM")


def _status(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1000 for line in lines if line.startswith(field))


@dataclass(frozen=True)
class Small:
    """CPU microseconds of the gateway for one small object, unmasked and masked."""

    unmasked: float
    masked: float

    @property
    def ratio(self) -> float:
        return self.masked / self.unmasked


def small(url: str, ca: str, process: int, *, unmasked: str, masked: str) -> Small:
    """unmasked, masked: tokens of two agents, one of each kind of policy."""
    rounds = [
        (_cost(url, ca, process, unmasked), _cost(url, ca, process, masked)) for _ in range(small_get.ROUNDS)
    ]
    return Small(min(one for one, _ in rounds), min(other for _, other in rounds))


def _cost(url: str, ca: str, process: int, token: str) -> float:
    target = load.Target(url, (f"Authorization: Bearer {token}",), ca)
    load.run(target, connections=small_get.CONNECTIONS, seconds=0.3)
    before = usage.cpu_seconds(process)
    result = load.run(target, connections=small_get.CONNECTIONS, seconds=small_get.SECONDS)
    return 1e6 * (usage.cpu_seconds(process) - before) / result.requests


def table(passed: list[Passed], small: Small | None = None) -> list[str]:
    lines = [f"{'masking, one core':<28}{'MB':>8}{'MB/s':>8}{'peak MB':>9}{'masked':>9}"]
    lines += [
        f"{one.name:<28}{one.megabytes:>8.0f}{one.speed:>8.1f}{one.memory:>9.1f}{one.masked:>9}"
        for one in passed
    ]
    lines.append(f"{'orjson.loads of such a list':<28}{'':>8}{parsing():>8.1f}")
    lines.append(
        f"(targets: lists {LIST_SPEED:.0f} MB/s in at most {LIST_MEMORY:.0f} MB more, logs {LOG_SPEED:.0f} MB/s)"
    )
    if small is not None:
        lines.append(
            f"small object, masked : unmasked {small.ratio:.2f}   (target: at most {SMALL_RATIO:.2f}; "
            f"{small.masked:.0f} and {small.unmasked:.0f} µs)"
        )
    return lines


def missed(passed: list[Passed], small: Small | None = None) -> bool:
    listed, logged = passed
    if small is not None and small.ratio > SMALL_RATIO:
        return True
    return listed.speed < LIST_SPEED or listed.memory > LIST_MEMORY or logged.speed < LOG_SPEED


def parsing() -> float:
    """Megabytes a second of decoding the same pods with orjson, and nothing else: what the machine is worth just now."""
    listed = list(pods(300))
    best = float("inf")
    for _ in range(5):
        began = time.process_time()
        for one in listed:
            orjson.loads(one)
        best = min(best, time.process_time() - began)
    return sum(map(len, listed)) / 1e6 / best


def measure() -> list[Passed]:
    """The list and the log, in this order; the collector of garbage as a gateway has set it."""
    with tempfile.TemporaryDirectory(prefix="chaperone-bench-") as folder:
        engine = MaskingEngine(b"k" * 32, Path(folder))
        settle_memory()
        return [lists(engine), logs(engine)]


if __name__ == "__main__":
    found = measure()
    print("\n".join(table(found)))
    sys.exit(1 if missed(found) else 0)
