"""Audit records in files of JSON lines: one file, or a folder of rotated files, in the order of their chains."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path

from chaperone.core.chain import read_checkpoint, read_sealed

LONGEST = 16 << 20
"""Bytes of a line; no record is as long, and of a longer line only so much is looked at."""
LOOKED_AT = 100
"""Lines at the head of a file in which its chain is looked for."""


def files_of(path: Path) -> list[Path]:
    """The file itself, or the folder's files with records, each chain's in its order. Raises OSError."""
    if not path.is_dir():
        return [path]
    placed = [(place, file) for file in sorted(path.iterdir()) if (place := _first(file)) is not None]
    return [file for _, file in sorted(placed)]


def lines_of(path: Path) -> Iterator[tuple[bytes, str, bool]]:
    """(line, where, whether the file ends within it). Raises OSError."""
    with path.open("rb") as file:
        for number in count(1):
            line = more = file.readline(LONGEST)
            if not line:
                return
            while more and not more.endswith(b"\n"):
                more = file.readline(LONGEST)
            yield line.rstrip(b"\n"), f"{path.name}:{number}", not more


def keys_beside(path: Path) -> list[str]:
    """PEM of the public keys that lie in the same folder."""
    folder = path if path.is_dir() else path.parent
    return [file.read_text() for file in sorted(folder.glob("*.pub"))]


def _first(file: Path) -> tuple[str, int] | None:
    """Writer and sequence at the head of the file; None for a file that holds no chain."""
    if not file.is_file():
        return None
    for line, _, _ in islice(lines_of(file), LOOKED_AT):
        read = read_sealed(line) or read_checkpoint(line)
        if read is not None:
            return read.link.writer, read.link.sequence
    return None
