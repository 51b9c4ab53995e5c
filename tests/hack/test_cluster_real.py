"""One real stack: up, in use, partly killed, up again on the dirty folder, down with nothing left."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hack.cluster import Cluster, start, status, stop
from hack.cluster.cgroups import current_hierarchies
from hack.cluster.interfaces import ROUTES, interfaces_into
from hack.cluster.layout import layout_of
from hack.cluster.node import cgroup_name, pod_subnet
from hack.cluster.pods import pod
from hack.cluster.processes import marked_pids
from hack.cluster.record import load
from hack.cluster.tools import kubectl

KILLED = ("etcd", "kube-apiserver", "containerd")


def _run(cluster: Cluster, *words: str, given: str = "") -> str:
    command = [str(kubectl(os.environ)), "--kubeconfig", str(cluster.admin_kubeconfig), *words]
    return subprocess.run(command, input=given, check=True, capture_output=True, text=True, timeout=60).stdout


def _left_of(directory: Path) -> list[str]:
    layout = layout_of(directory)
    mounts = [
        line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(directory) in line
    ]
    groups = {path / cgroup_name(layout) for path in current_hierarchies().values()}
    processes = [str(pid) for pid in marked_pids(str(layout.directory))]
    interfaces = interfaces_into(pod_subnet(layout), ROUTES.read_text())
    return [*processes, *mounts, *interfaces, *(str(group) for group in groups if group.exists())]


def _use_pods(cluster: Cluster) -> None:
    """One on the host's network, and one with an interface of its own."""
    own_network = pod("own-network")
    own_network["spec"]["hostNetwork"] = False
    for manifest in (pod("on-host"), own_network):
        _run(cluster, "apply", "-f", "-", given=json.dumps(manifest))
    _run(cluster, "wait", "--for=condition=Ready", "pod", "--all", "--timeout=40s")
    assert interfaces_into(pod_subnet(layout_of(cluster.directory)), ROUTES.read_text())
    assert _run(cluster, "exec", "-i", "on-host", "--", "cat", given="through\n") == "through\n"


@pytest.mark.cluster
def test_a_stack_starts_survives_a_crash_and_leaves_nothing(tmp_path: Path) -> None:
    directory = tmp_path / "cluster"
    try:
        cluster = start(directory)
        assert start(directory) == cluster, "a running one is returned as it is"
        assert "default" in _run(cluster, "get", "serviceaccounts")
        assert '"verb":"list"' in (directory / "audit.log").read_text()
        if cluster.has_node:
            _use_pods(cluster)
        record = load(layout_of(directory).record)
        assert record is not None
        for name in KILLED:
            if name in record.processes:
                os.kill(record.processes[name].pid, signal.SIGKILL)
        assert _eventually(lambda: any("etcd is not running" in fault for fault in status(directory)[1]))
        again = start(directory)
        assert again.has_node == cluster.has_node
        assert "on-host" not in _run(again, "get", "pods", "-A")
    finally:
        stop(directory)
    assert _left_of(directory) == []
    left = sorted(path.name for path in directory.iterdir())
    assert left == [".cluster.lock", "audit.log", "logs"]


def _eventually(check: Callable[[], bool], seconds: float = 20) -> bool:
    """A killed process is gone a moment later."""
    deadline = time.monotonic() + seconds
    while not check() and time.monotonic() < deadline:
        time.sleep(0.1)
    return check()
