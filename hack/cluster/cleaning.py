"""Ending a stack and removing what it left, after a proper stop as after a crash."""

import shutil
from collections.abc import Callable, Iterable

from hack.cluster import cgroups, interfaces, mounts
from hack.cluster.errors import ClusterError
from hack.cluster.layout import Layout
from hack.cluster.node import cgroup_name, pod_subnet
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
    interfaces.remove(pod_subnet(layout))
    if layout.state.exists():
        shutil.rmtree(layout.state)
        layout.admin_kubeconfig.unlink(missing_ok=True)
        layout.ca_file.unlink(missing_ok=True)


def is_clean(layout: Layout) -> bool:
    """Whether there is nothing to stop: no state, and no process of a stack whose folder was deleted."""
    groups = cgroups.pids(cgroup_name(layout), cgroups.current_hierarchies())
    return not (layout.state.exists() or groups or marked_pids(str(layout.directory)))


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
    left = mounts.unmount_below(layout.state)
    if left:
        raise ClusterError(f"{left[0]} is still mounted: run umount on it as root, then try again")
