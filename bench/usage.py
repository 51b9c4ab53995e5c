"""What a process and its children have used, from /proc."""

from __future__ import annotations

import os
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")


def family(pid: int) -> list[int]:
    """The process and all its descendants."""
    parents = {int(entry.name): _parent(entry) for entry in Path("/proc").iterdir() if entry.name.isdigit()}
    found = [pid]
    for member in found:
        found.extend(child for child, parent in parents.items() if parent == member)
    return found


def cpu_seconds(pid: int) -> float:
    """User and system time of the whole family."""
    return sum(_ticks(member) for member in family(pid)) / TICK


def resident_bytes(pid: int) -> int:
    """Proportional set size of the whole family: shared pages are counted once."""
    return sum(_pss(member) for member in family(pid))


def _parent(entry: Path) -> int:
    try:
        return int(_fields(entry)[1])
    except OSError:
        return 0


def _ticks(pid: int) -> int:
    try:
        fields = _fields(Path("/proc") / str(pid))
    except OSError:
        return 0
    return int(fields[11]) + int(fields[12])


def _fields(entry: Path) -> list[str]:
    return (entry / "stat").read_text().rpartition(")")[2].split()


def _pss(pid: int) -> int:
    lines = (Path("/proc") / str(pid) / "smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
