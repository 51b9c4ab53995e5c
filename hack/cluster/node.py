"""The configuration and command lines of the node: containerd and kubelet in a mount namespace of their own.

Both have folders that no setting moves (/run/containerd, /var/lib/kubelet, /var/lib/cni, /var/log/pods and
.../containers). In the namespace these are folders of the stack; the machine's own stay untouched, and every
mount of the node vanishes with its last process. The kernel settings they would write are plain files there.
"""

import hashlib
import json
import shlex
from pathlib import Path
from typing import Any

from hack.cluster.layout import Layout
from hack.cluster.pki import Pki
from hack.cluster.ports import Ports
from hack.cluster.sources import Binaries

IMAGE = "localhost/busybox:1"
SOCKET = "/run/containerd/containerd.sock"
MOVED = {
    "run": "/run/containerd",
    "kubelet": "/var/lib/kubelet",
    "cni": "/var/lib/cni",
    "pod-logs": "/var/log/pods",
    "container-logs": "/var/log/containers",
}
KERNEL_SETTINGS = (
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
    "net/ipv4/ip_forward",
)
UNUSED_PLUGINS = (
    "io.containerd.internal.v1.opt",
    "io.containerd.snapshotter.v1.aufs",
    "io.containerd.snapshotter.v1.btrfs",
    "io.containerd.snapshotter.v1.devmapper",
    "io.containerd.snapshotter.v1.overlayfs",
    "io.containerd.snapshotter.v1.zfs",
)


def cgroup_name(layout: Layout) -> str:
    return f"kube-chaperone-{layout.ident}"


def pod_subnet(layout: Layout) -> str:
    """A /24 of 10.128.0.0/9, by the stack's folder."""
    digest = hashlib.sha256(layout.ident.encode()).digest()
    return f"10.{128 + digest[0] % 128}.{digest[1]}.0/24"


def containerd(layout: Layout, binaries: Binaries) -> list[str]:
    """Make the namespace, move the folders, become containerd."""
    steps = ["mount --make-rshared /"]
    for name, target in MOVED.items():
        steps.append(f"mkdir -p {shlex.quote(str(layout.node / name))} {target}")
        steps.append(f"mount --bind {shlex.quote(str(layout.node / name))} {target}")
    for name in KERNEL_SETTINGS:
        copy = shlex.quote(str(_kernel_copy(layout, name)))
        steps.append(f"test ! -e /proc/sys/{name} || mount --bind {copy} /proc/sys/{name}")
    config = shlex.quote(str(layout.node / "containerd.toml"))
    steps.append(f"exec {shlex.quote(binaries['containerd'])} --config {config}")
    return [
        "/usr/bin/unshare",
        "--mount",
        "--propagation",
        "private",
        "--",
        "/bin/sh",
        "-ec",
        "\n".join(steps),
    ]


def containerd_env(binaries: Binaries, path: str) -> dict[str, str]:
    """containerd finds its shim, and the shim runc, on PATH."""
    folders = dict.fromkeys(str(binaries.programs[name].parent) for name in ("containerd", "runc"))
    env = {"PATH": ":".join([*folders, path])}
    return env | ({"LD_LIBRARY_PATH": str(binaries.libraries)} if binaries.libraries else {})


def in_namespace(containerd_pid: int, argv: list[str]) -> list[str]:
    """The same command inside the node's mount namespace, with the same process id."""
    return ["/usr/bin/nsenter", "--mount", f"--target={containerd_pid}", "--", *argv]


def kubelet(layout: Layout, binaries: Binaries) -> list[str]:
    flags = [
        f"--config={layout.node / 'kubelet.json'}",
        f"--kubeconfig={layout.kubeconfig('node')}",
        "--hostname-override=localhost",
        f"--container-runtime-endpoint=unix://{SOCKET}",
    ]
    old = ["--container-runtime=remote", f"--pod-infra-container-image={IMAGE}", "--network-plugin=cni"]
    return [binaries["kubelet"], *flags, *(old if binaries.older_than(24) else [])]


def write_node_files(layout: Layout, ports: Ports, binaries: Binaries, pki: Pki) -> None:
    """All configuration files of the node."""
    (layout.node / "cni-conf").mkdir(parents=True)
    (layout.node / "cni-conf" / "10-ptp.conflist").write_text(json.dumps(_network(layout), indent=1))
    (layout.node / "containerd.toml").write_text(_containerd_config(layout, binaries))
    (layout.node / "kubelet.json").write_text(json.dumps(_kubelet_config(layout, ports, pki), indent=1))
    resolver = Path("/etc/resolv.conf")
    (layout.node / "resolv.conf").write_text(resolver.read_text() if resolver.exists() else "")
    for name in KERNEL_SETTINGS:
        setting = Path("/proc/sys") / name
        if setting.exists():
            _kernel_copy(layout, name).parent.mkdir(parents=True, exist_ok=True)
            _kernel_copy(layout, name).write_text(setting.read_text())


def _kernel_copy(layout: Layout, name: str) -> Path:
    return layout.node / "proc-sys" / name


def _network(layout: Layout) -> dict[str, Any]:
    """Bridge-less, so that no interface outlives its pod."""
    ipam = {"type": "host-local", "subnet": pod_subnet(layout), "dataDir": "/var/lib/cni/networks"}
    return {"cniVersion": "0.4.0", "name": "ptp", "plugins": [{"type": "ptp", "ipMasq": False, "ipam": ipam}]}


def _containerd_config(layout: Layout, binaries: Binaries) -> str:
    """The native snapshotter copies files: no overlay mounts, works on any file system, small images only."""
    quoted = json.dumps
    return f"""\
version = 2
root = {quoted(str(layout.node / "containerd"))}
state = "/run/containerd"
disabled_plugins = {quoted(UNUSED_PLUGINS)}

[grpc]
  address = {quoted(SOCKET)}

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = {quoted(IMAGE)}
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  tolerate_missing_hugetlb_controller = true
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"

[plugins."io.containerd.grpc.v1.cri".containerd]
  snapshotter = "native"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = {quoted(str(binaries.programs["ptp"].parent))}
  conf_dir = {quoted(str(layout.node / "cni-conf"))}
"""


def _kubelet_config(layout: Layout, ports: Ports, pki: Pki) -> dict[str, Any]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": "127.0.0.1",
        "port": ports.kubelet,
        "healthzPort": ports.kubelet_healthz,
        "readOnlyPort": 0,
        "tlsCertFile": str(pki.certificate("kubelet")),
        "tlsPrivateKeyFile": str(pki.key("kubelet")),
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": False},
            "x509": {"clientCAFile": str(pki.certificate("ca"))},
        },
        "authorization": {"mode": "AlwaysAllow"},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{cgroup_name(layout)}",
        "enforceNodeAllocatable": ["none"],
        "failSwapOn": False,
        "evictionHard": {},
        "imageGCHighThresholdPercent": 100,
        "makeIPTablesUtilChains": False,
        "oomScoreAdj": 0,
        "resolvConf": str(layout.node / "resolv.conf"),
        "volumePluginDir": str(layout.node / "volume-plugins"),
        "nodeStatusUpdateFrequency": "1s",
        "nodeStatusReportFrequency": "5m",
        "kubeAPIQPS": 100,
        "kubeAPIBurst": 200,
    }
