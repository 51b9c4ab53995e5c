"""A gateway that is configured wrongly does not start: exit code 2, and every fault named at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.__main__ import main
from gateway.audit_making import audit_path
from gateway.worker import Place, lease_name

ISSUERS = """
apiVersion: apiserver.config.k8s.io/v1beta1
kind: AuthenticationConfiguration
jwt:
- issuer: {url: "https://issuer.example", audiences: [kube-chaperone]}
  claimMappings: {username: {claim: sub, prefix: ""}}
"""

KUBECONFIG = """
current-context: c
contexts: [{name: c, context: {cluster: c, user: u}}]
clusters: [{name: c, cluster: {server: "https://10.0.0.1:6443"}}]
users: [{name: u, user: {token: secret-token}}]
"""

SETTINGS = """
cluster: test
authentication: FOLDER/issuers.yaml
listen: {address: 127.0.0.1, port: 0}
upstream: {kubeconfig: FOLDER/kubeconfig}
control: {kubeconfig: FOLDER/kubeconfig}
dataPath: {namespace: kube-chaperone, name: chaperone-impersonator}
health: {port: 0}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "issuers.yaml").write_text(ISSUERS)
    (tmp_path / "kubeconfig").write_text(KUBECONFIG)
    (tmp_path / "gateway.yaml").write_text(SETTINGS.replace("FOLDER", str(tmp_path)))
    return tmp_path


def check(folder: Path) -> int:
    return main(["--config", str(folder / "gateway.yaml"), "--check"])


def test_a_good_configuration_passes_the_check(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(folder) == 0
    assert capsys.readouterr().err == ""


def test_faults_of_the_file_are_named_at_once(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "gateway.yaml").write_text("listen: {address: 0.0.0.0}\nworkers: 0\nlimit: {}\n")
    assert check(folder) == 2
    said = capsys.readouterr().err
    for words in ("cluster: is required", "authentication: is required", "workers: is 0", "did you mean limits?",
                  "listen.certificate", "dataPath: give namespace and name"):  # fmt: skip
        assert words in said


def test_faults_of_what_it_points_at_are_named_at_once(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "issuers.yaml").write_text("jwt: [{issuer: {url: 'http://plain'}}]")
    (folder / "kubeconfig").write_text(KUBECONFIG.replace("token: secret-token", "exec: {command: x}"))
    assert check(folder) == 2
    said = capsys.readouterr().err
    assert "authentication: jwt[0]" in said
    assert "'exec' are not supported" in said
    assert "secret-token" not in said


def test_a_port_that_is_taken_is_a_fault(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        text = (folder / "gateway.yaml").read_text()
        (folder / "gateway.yaml").write_text(text.replace("port: 0}", f"port: {taken.getsockname()[1]}}}", 1))
        assert check(folder) == 2
    assert "cannot listen on 127.0.0.1:" in capsys.readouterr().err


def test_a_missing_settings_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--config", str(tmp_path / "none.yaml")]) == 2
    assert "none.yaml" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("place", "expected"),
    [(Place(), "audit.jsonl"), (Place(0, 2), "audit-0.jsonl"), (Place(3, 4), "audit-3.jsonl")],
)
def test_each_worker_has_its_own_audit_file(place: Place, expected: str) -> None:
    found = audit_path(Path("/var/log/audit.jsonl"), place.number, shares=place.shares)
    assert found == Path("/var/log") / expected


@pytest.mark.parametrize("host", ["gw-7f9c", "UPPER_case", "-.-", "x" * 300, "a.b.example"])
def test_a_lease_has_a_valid_name_whatever_the_host_is_called(host: str) -> None:
    import re

    name = lease_name(host, 0)
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?", name)
    assert len(name) <= 253


@pytest.mark.parametrize("workers", ["0", "65", "-1"])
def test_a_number_of_workers_that_cannot_be_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], workers: str
) -> None:
    assert main(["--config", str(folder / "gateway.yaml"), "--check", "--workers", workers]) == 2
    assert "--workers" in capsys.readouterr().err


def test_several_workers_need_a_port_that_they_can_share(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--config", str(folder / "gateway.yaml"), "--check", "--workers", "2"]) == 2
    assert "must be given when several workers share it" in capsys.readouterr().err
