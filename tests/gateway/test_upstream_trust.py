"""A renewed CA of the API server is used for new connections, without a restart."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
import yaml

from chaperone.settings.gateway import GatewaySettings
from chaperone.settings.loading import load
from gateway import endpoints
from gateway.server import ServerSettings
from hack.cluster.certificates import new_authority


def authority(name: str) -> str:
    return new_authority(name).pair.certificate.decode()


def settings_for(tmp_path: Path, **upstream: str) -> GatewaySettings:
    (tmp_path / "authentication.yaml").write_text("{}")
    document = {
        "cluster": "here",
        "authentication": str(tmp_path / "authentication.yaml"),
        "listen": {"address": "127.0.0.1"},
        "dataPath": {"namespace": "kube-chaperone", "name": "impersonator"},
        "upstream": upstream,
        "control": {"kubeconfig": str(kubeconfig(tmp_path, "control", authority("control")))},
    }
    return load(GatewaySettings, document)


def kubeconfig(tmp_path: Path, name: str, ca: str) -> Path:
    path = tmp_path / f"{name}.kubeconfig"
    cluster = {
        "server": "https://127.0.0.1:6443",
        "certificate-authority-data": base64.b64encode(ca.encode()).decode(),
    }
    document = {
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    path.write_text(yaml.safe_dump(document))
    return path


def trusted(found: ServerSettings) -> list[str]:
    assert found.upstream.tls is not None
    return [str(ca["subject"]) for ca in found.upstream.tls.get_ca_certs()]


@pytest.mark.parametrize("source", ["a CA file", "a kubeconfig"])
def test_a_changed_ca_is_followed_and_a_broken_one_is_not(tmp_path: Path, source: str) -> None:
    ca = tmp_path / "ca.crt"

    def write(text: str) -> None:
        if source == "a CA file":
            ca.write_text(text)
        else:
            kubeconfig(tmp_path, "upstream", text)

    write(authority("first"))
    upstream = (
        {"server": "https://127.0.0.1:6443", "ca": str(ca)}
        if source == "a CA file"
        else {"kubeconfig": str(tmp_path / "upstream.kubeconfig")}
    )
    settings = settings_for(tmp_path, **upstream)
    serving = endpoints.find(settings).serving(settings)
    trust = serving.trust
    assert trust is not None
    assert "first" in trusted(serving)[0]
    assert trust.refresh() is None
    write("not a certificate")
    assert trust.refresh() is None
    write(authority("second"))
    renewed = trust.refresh()
    assert renewed is not None
    assert renewed.tls is not None
    assert "second" in str(renewed.tls.get_ca_certs())
    assert trust.refresh() is None
