"""Detection of secrets: start-up of the rules, texts a second by each engine, streams with more and fewer secrets.

`python -m bench.masking_detection`: no cluster, under a minute. Seconds are CPU time of one core; compare the ratios.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

from chaperone import pattern_cache
from chaperone.core.masking import Mint
from chaperone.core.masking.detection import Detector
from chaperone.core.masking.fallback_engine import KeywordDetector
from chaperone.core.masking.known import KnownValues
from chaperone.core.masking.rules import built_in
from chaperone.core.masking.stream import TextStream
from chaperone.core.masking.text_finder import TextFinder

START_LIMIT = 0.2
"""Seconds of CPU time for a detector whose rules are compiled already."""
STREAM_LIMIT = 50.0
"""Megabytes a second of a log with a secret in every thousandth line."""
LOG_BYTES = 8_000_000
PIECE = 64 * 1024
KNOWN = 300
RUNS = 3


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        compiling = seconds(lambda: pattern_cache.detector(Path(folder)))
        starting = min(seconds(lambda: pattern_cache.detector(Path(folder))) for _ in range(RUNS))
        detector = pattern_cache.detector(Path(folder))
    print(
        f"{len(built_in())} rules: {compiling:.2f} s to compile, {starting * 1000:.1f} ms to load from the cache"
    )
    clean, sparse, dense, noise = log(0), log(1000), log(100), random.randbytes(LOG_BYTES)
    rows = {
        "clean log": speed(lambda: stream(detector, clean), len(clean)),
        "a secret in 1000 lines": speed(lambda: stream(detector, sparse), len(sparse)),
        "a secret in 100 lines": speed(lambda: stream(detector, dense), len(dense)),
        "the same, length kept": speed(lambda: stream(detector, dense, keep_length=True), len(dense)),
        "bytes of no text": speed(lambda: stream(detector, noise, keep_length=True), len(noise)),
        "leaves, Hyperscan": leaves(detector),
        "leaves, fallback": leaves(KeywordDetector(built_in())),
    }
    for name, value in rows.items():
        print(f"{name:<26}{value:>8.1f} MB/s")
    missed = [name for name, is_met in limits(starting, rows).items() if not is_met]
    print("\n".join(f"missed: {name}" for name in missed) or "all targets met")
    return 1 if missed else 0


def limits(starting: float, rows: dict[str, float]) -> dict[str, bool]:
    return {
        f"start-up under {START_LIMIT * 1000:.0f} ms": starting < START_LIMIT,
        f"logs at {STREAM_LIMIT:.0f} MB/s": rows["a secret in 1000 lines"] >= STREAM_LIMIT,
    }


def stream(detector: Detector, text: bytes, *, keep_length: bool = False) -> None:
    known = known_values()
    through = TextStream(TextFinder(detector, Mint(b"only for measuring"), known), keep_length=keep_length)
    for start in range(0, len(text), PIECE):
        through.feed(text[start : start + PIECE])
    through.flush()


@cache
def known_values() -> KnownValues:
    known, chance = KnownValues(), random.Random(5)
    for index in range(KNOWN):
        known.add(f"{chance.getrandbits(80):x}-{index}", "masked-known")
    return known


def leaves(detector: Detector) -> float:
    """Strings of objects, a thousand at a time."""
    texts = [line.decode() for line in log(1000)[: LOG_BYTES // 8].splitlines()]
    batches = [texts[start : start + 1000] for start in range(0, len(texts), 1000)]
    return speed(lambda: [detector.scan(batch) for batch in batches], sum(map(len, texts)))


def log(every: int) -> bytes:
    return b"".join(_lines(every))


def _lines(every: int) -> Iterator[bytes]:
    """every: after so many lines one holds a password; 0: none does."""
    chance, sent, number = random.Random(3), 0, 0
    while sent < LOG_BYTES:
        number += 1
        line = (
            f"2026-11-23T07:{number % 60:02}:00.000Z INFO [http-{number % 16}] GET /api/v1/orders/{number} status=200 "
            f"duration={number % 300}ms trace={chance.getrandbits(128):032x}"
        )
        if every and number % every == 0:
            line += f" password={chance.getrandbits(64):x}"
        sent += len(line) + 1
        yield line.encode() + b"\n"


def speed(work: Callable[[], object], size: int) -> float:
    """Megabytes a second, the best of some runs."""
    return size / min(seconds(work) for _ in range(RUNS)) / 1e6


def seconds(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


if __name__ == "__main__":
    sys.exit(main())
