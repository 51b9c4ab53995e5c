"""Bringing up one stack: everything that can start at the same time does."""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

from hack.cluster import api, cgroups, control_plane, image, node
from hack.cluster.commands import run
from hack.cluster.errors import ClusterError, tail
from hack.cluster.layout import Layout
from hack.cluster.model import Log
from hack.cluster.pki import Pki, write_pki
from hack.cluster.ports import Ports
from hack.cluster.processes import is_alive, spawn
from hack.cluster.record import Record, save
from hack.cluster.sources import Binaries, architecture

COMPONENTS = (
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "containerd",
    "kubelet",
)
DEFAULT_ACCOUNT = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}


@dataclass
class Stack:
    """The processes of one stack while it starts. Each is recorded as soon as it runs."""

    layout: Layout
    ports: Ports
    binaries: Binaries
    name: str
    record: Record
    log: Log
    pki: Pki = field(init=False)

    def start(self) -> Record:
        """Returns when the API server, the default service account and the node (if any) are ready."""
        self._write_files()
        self._spawn_storage_and_server()
        self._spawn_node()
        self._wait("the API server to be ready", lambda: self.client.ok("/readyz"))
        self._spawn_clients_of_server()
        self._wait_for_default_account()
        if self.record.has_node:
            self._wait("the node to be ready", lambda: api.is_node_ready(self.client))
        self._remember(replace(self.record, complete=True))
        return self.record

    @property
    def client(self) -> api.Api:
        return admin_api(self.layout, self.record.server)

    def _write_files(self) -> None:
        for folder in (self.layout.config, self.layout.logs, self.layout.node):
            folder.mkdir(parents=True, exist_ok=True)
        self.pki = write_pki(self.layout, self.record.server, self.name)
        (self.layout.config / "audit-policy.yaml").write_text(control_plane.AUDIT_POLICY)
        if self.record.has_node:
            node.write_node_files(self.layout, self.ports, self.binaries, self.pki)
            cgroups.create(node.cgroup_name(self.layout), cgroups.current_hierarchies())

    def _spawn_storage_and_server(self) -> None:
        no_fsync = knows_no_fsync(self.binaries["etcd"])
        self._spawn("etcd", control_plane.etcd(self.layout, self.ports, self.binaries, no_fsync=no_fsync))
        words = control_plane.apiserver(self.layout, self.ports, self.binaries, self.pki)
        self._spawn("kube-apiserver", words)

    def _spawn_node(self) -> None:
        """While the API server is still starting: the kubelet first looks for Docker, 5 seconds long."""
        if not self.record.has_node:
            return
        env = node.containerd_env(self.binaries, os.environ.get("PATH", os.defpath))
        self._spawn("containerd", node.containerd(self.layout, self.binaries), env)
        self._wait("containerd to listen", (self.layout.node / "run" / "containerd.sock").exists)
        words = node.in_namespace(
            self.record.processes["containerd"].pid, node.kubelet(self.layout, self.binaries)
        )
        self._spawn("kubelet", words, env)
        self._import_image()

    def _import_image(self) -> None:
        archive = self.layout.node / "image.tar"
        busybox = self.binaries.programs["busybox"]
        image.write_image(busybox, archive, reference=node.IMAGE, architecture=architecture())
        importing = [self.binaries["ctr"], "-a", node.SOCKET, "-n", "k8s.io", "images", "import"]
        words = [*importing, "--snapshotter=native", str(archive)]
        run(
            node.in_namespace(self.record.processes["containerd"].pid, words),
            doing=f"importing {node.IMAGE} into containerd",
            remedy=f"see {self.layout.log('containerd')}",
        )

    def _spawn_clients_of_server(self) -> None:
        if not self.binaries.missing("kube-controller-manager"):
            words = control_plane.controller_manager(self.layout, self.ports, self.binaries, self.pki)
            self._spawn("kube-controller-manager", words)
        if not self.binaries.missing("kube-scheduler"):
            words = control_plane.scheduler(self.layout, self.ports, self.binaries, self.pki)
            self._spawn("kube-scheduler", words)

    def _wait_for_default_account(self) -> None:
        """Made by the controller manager; where there is none, by us."""
        if self.binaries.missing("kube-controller-manager"):
            self.client.request("POST", "/api/v1/namespaces/default/serviceaccounts", DEFAULT_ACCOUNT)
            needs_token = False
        else:
            needs_token = self.binaries.older_than(24)
        ready = partial(api.has_default_account, self.client, needs_token=needs_token)
        self._wait("the service account default", ready)

    def _wait(self, what: str, check: Callable[[], bool]) -> None:
        api.wait_for(what, check, alive=self._check_alive, log=self.log)

    def _check_alive(self) -> None:
        for name, process in self.record.processes.items():
            if not is_alive(process):
                log_file = self.layout.log(name)
                raise ClusterError(
                    f"{name} ended while starting: its log {log_file} says why", tail(log_file)
                )

    def _spawn(self, name: str, argv: list[str], env: dict[str, str] | None = None) -> None:
        program = shutil.which(argv[0]) or argv[0]
        log_file = self.layout.log(name)
        try:
            process = spawn([program, *argv[1:]], log_file=log_file, mark=str(self.layout.directory), env=env)
        except OSError as error:
            raise ClusterError(
                f"cannot start {name} from {program}: {error.strerror}; check the file"
            ) from error
        self._remember(replace(self.record, processes={**self.record.processes, name: process}))

    def _remember(self, record: Record) -> None:
        self.record = record
        save(record, self.layout.record)


def admin_api(layout: Layout, server: str) -> api.Api:
    """The administrator's requests to a stack of ours."""
    pki = Pki(layout.pki)
    return api.Api(server, layout.ca_file, pki.certificate("admin"), pki.key("admin"))


def is_healthy(layout: Layout, record: Record) -> bool:
    """Whether a recorded stack still runs as it was when it was ready."""
    if not record.complete or dead_components(record):
        return False
    client = admin_api(layout, record.server)
    return client.ok("/readyz") and (not record.has_node or api.is_node_ready(client))


def dead_components(record: Record) -> list[str]:
    return [name for name, process in record.processes.items() if not is_alive(process)]


def knows_no_fsync(etcd: str) -> bool:
    """Whether this etcd can skip syncing to disk: faster, and nothing here needs to survive a power cut."""
    text = run(
        [etcd, "--help"], doing="asking etcd for its flags", remedy="use another etcd binary", seconds=30
    )
    return "--unsafe-no-fsync" in text
