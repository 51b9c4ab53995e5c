"""Start, stop and status of the cluster of one folder."""

import os
import platform
import time
from collections.abc import Callable
from pathlib import Path

from hack.cluster import cgroups, mounts, stack
from hack.cluster.cache import locked
from hack.cluster.cleaning import clean, is_clean
from hack.cluster.errors import ClusterError
from hack.cluster.external import adopt
from hack.cluster.kind import create_kind, delete_kind
from hack.cluster.layout import Layout, layout_of
from hack.cluster.model import Cluster, Log
from hack.cluster.ports import choose_ports
from hack.cluster.record import Record, load
from hack.cluster.sources import Binaries, find_binaries

ATTEMPTS = 3
RECOVERY_SECONDS = 10.0
PORT_TAKEN = "address already in use"
NODE_PROGRAMS = (
    "kubelet",
    "containerd",
    "containerd-shim-runc-v2",
    "ctr",
    "runc",
    "busybox",
    "ptp",
    "host-local",
)


def start(
    directory: Path,
    *,
    kube: Path | None = None,
    node: bool = True,
    log: Log = print,
    name: str = "chaperone",
    kind: bool = False,
) -> Cluster:
    """A cluster that answers; at once when the folder's one already runs, else an empty one.

    With `kube` or `kind` nothing of ours is started: the cluster is checked and its kubeconfig copied. Raises
    ClusterError, and then leaves nothing running.
    """
    layout = layout_of(directory)
    with locked(layout.lock):
        _refuse_foreign_files(layout)
        if not kind and kube is None:
            return _start_own(layout, name=name, node=node, log=log)
        _make_room(layout)
        created = create_kind(layout, name, log) if kind else ""
        return adopt(layout, kube or layout.state / "kind.kubeconfig", log, kind_cluster=created)


def stop(directory: Path, *, log: Log = print) -> None:
    """End what `start` began in this folder. A cluster of the user is only forgotten; none at all is fine."""
    layout = layout_of(directory)
    if is_clean(layout):
        return
    with locked(layout.lock):
        record = load(layout.record)
        if record and record.kind_cluster:
            delete_kind(record.kind_cluster, log)
        clean(layout)


def status(directory: Path) -> tuple[Cluster | None, list[str]]:
    """The folder's cluster, if any, and what is wrong with it (empty: it answers)."""
    layout = layout_of(directory)
    record = load(layout.record)
    if record is None:
        return None, [f"no cluster was started in {layout.directory}: use `up --dir {layout.directory}`"]
    if record.external or stack.is_healthy(layout, record):
        return record.cluster(layout), []
    dead = [f"{name} is not running: see {layout.log(name)}" for name in stack.dead_components(record)]
    return record.cluster(layout), dead or [f"{record.server} or its node is not ready: see {layout.logs}"]


def _start_own(layout: Layout, *, name: str, node: bool, log: Log) -> Cluster:
    _check_machine()
    record = load(layout.record)
    if record and not record.external and _recovers(layout, record):
        _check_same(record, layout, node=node)
        return record.cluster(layout)
    if record and record.kind_cluster:
        raise ClusterError(f"{layout.directory} is of a kind cluster: stop it first with {_down(layout)}")
    clean(layout)
    binaries = find_binaries(os.environ, log)
    why = why_no_node(binaries) if node else "it was not asked for"
    log(f"starting Kubernetes {binaries.version} {'alone: ' + why if why else 'with a node'} (about 10 s)")
    return _started(layout, binaries, name=name, asked_node=node, why=why, log=log).cluster(layout)


def _started(
    layout: Layout, binaries: Binaries, *, name: str, asked_node: bool, why: str, log: Log
) -> Record:
    """Again with other ports when somebody was faster in taking one."""
    for attempt in range(1, ATTEMPTS + 1):
        ports = choose_ports()
        server = f"https://127.0.0.1:{ports.apiserver}"
        record = Record(server, binaries.version, asked_node=asked_node, has_node=not why, why_no_node=why)
        _remove_old_logs(layout)
        try:
            return stack.Stack(layout, ports, binaries, name, record, log).start()
        except ClusterError as error:
            clean(layout)
            if PORT_TAKEN not in error.details or attempt == ATTEMPTS:
                raise
            log("a port was taken by another program; trying other ports")
        except BaseException:  # also Ctrl-C: nothing may be left running
            clean(layout)
            raise
    raise AssertionError("unreachable: the last attempt returns or raises")


def why_no_node(binaries: Binaries) -> str:
    """Empty when this machine can run pods, else the first reason why not."""
    checks: list[Callable[[], str]] = [
        lambda: "" if os.geteuid() == 0 else "a node needs root",
        lambda: _missing(binaries),
        lambda: "" if mounts.may_make_namespace() else "this machine allows no mount namespaces",
        lambda: cgroups.why_not(cgroups.current_hierarchies()),
        _why_no_cgroup,
    ]
    return next((why for check in checks if (why := check())), "")


def _missing(binaries: Binaries) -> str:
    missing = binaries.missing(*NODE_PROGRAMS)
    return f"the programs {', '.join(missing)} are not there" if missing else ""


def _why_no_cgroup() -> str:
    found, name = cgroups.current_hierarchies(), f"kube-chaperone-test-{os.getpid()}"
    try:
        cgroups.create(name, found)
    except OSError as error:
        return f"no control group can be made: {error.strerror}"
    finally:
        cgroups.remove(name, found)
    return ""


def _check_machine() -> None:
    if platform.system() != "Linux":
        system = platform.system()
        raise ClusterError(
            f"a local cluster needs Linux, this is {system}: use --kind with Docker, or --kube"
        )


def _recovers(layout: Layout, record: Record) -> bool:
    """Whether it is healthy; a stack whose processes all run, as after a suspend, gets some time."""
    deadline = time.monotonic() + RECOVERY_SECONDS
    while not (healthy := stack.is_healthy(layout, record)) and time.monotonic() < deadline:
        if not record.complete or stack.dead_components(record):
            return False
        time.sleep(0.2)
    return healthy


def _refuse_foreign_files(layout: Layout) -> None:
    for path in (layout.admin_kubeconfig, layout.ca_file):
        if path.exists() and not layout.state.exists():
            raise ClusterError(
                f"{path} is not of a cluster started here: move it away, or give another --dir"
            )


def _make_room(layout: Layout) -> None:
    """For a cluster of the user: remove what a crashed stack left, refuse to replace a running one."""
    record = load(layout.record)
    if record is None or record.external:
        return
    if len(stack.dead_components(record)) < len(record.processes):
        raise ClusterError(f"another cluster runs in {layout.directory}: stop it first with {_down(layout)}")
    clean(layout)


def _check_same(record: Record, layout: Layout, *, node: bool) -> None:
    if node and not record.asked_node:
        raise ClusterError(
            f"the cluster in {layout.directory} has no node: stop it first with {_down(layout)}"
        )


def _down(layout: Layout) -> str:
    return f"`python -m hack.cluster down --dir {layout.directory}`"


def _remove_old_logs(layout: Layout) -> None:
    for path in [*(layout.log(name) for name in stack.COMPONENTS), layout.audit_log]:
        path.unlink(missing_ok=True)
