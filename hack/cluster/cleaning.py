"""Ending a stack and removing what it left, after a proper stop as after a crash."""

import shutil
from collections.abc import Callable, Iterable

from hack.cluster import cgroups, mounts
from hack.cluster.errors import ClusterError
from hack.cluster.layout import Layout
from hack.cluster.node import cgroup_name
from hack.cluster.processes import command_line, end_all, is_ours, marked_pids
from hack.cluster.record import load


def clean(layout: Layout) -> None:
    """Afterwards no process, mount, cgroup or state of the stack is left. Logs and the audit log stay.

    Raises ClusterError naming what resists.
    """
    for find in _in_order(layout):
        _end(find)
    _unmount(layout)
    left = cgroups.remove(cgroup_name(layout), cgroups.current_hierarchies())
    if left:
        raise ClusterError(f"control group {left[0]} is still in use: end the processes in its cgroup.procs")
    for path in layout.thrown_away:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _in_order(layout: Layout) -> list[Callable[[], Iterable[int]]]:
    """First the kubelet, which would start pods again; then pods, shims, containerd, and the rest."""
    mark = str(layout.directory)
    record = load(layout.record)
    recorded = record.processes if record else {}

    def named(*words: str) -> Callable[[], list[int]]:
        return lambda: [pid for pid in marked_pids(mark) if command_line(pid).split(" ")[0].endswith(words)]

    def pods() -> list[int]:
        return cgroups.pids(cgroup_name(layout), cgroups.current_hierarchies())

    def remembered() -> list[int]:
        return [process.pid for process in recorded.values() if is_ours(process, mark)]

    return [
        named("/kubelet"),
        pods,
        named("/containerd-shim-runc-v2"),
        named("/containerd"),
        pods,
        remembered,
        lambda: marked_pids(mark),
    ]


def _end(find: Callable[[], Iterable[int]]) -> None:
    left = end_all(find)
    if left:
        raise ClusterError(
            f"process {left[0]} ({command_line(left[0])[:80]}) does not end: look at it with ps, or restart"
        )


def _unmount(layout: Layout) -> None:
    left = mounts.unmount_below(layout.directory)
    if left:
        raise ClusterError(f"{left[0]} is still mounted: run umount on it as root, then try again")
