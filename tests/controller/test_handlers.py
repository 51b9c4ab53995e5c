"""What kopf is given: our login, our settings, and no handler that would mark or hold objects."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime
from pathlib import Path

import kopf
import pytest
import yaml

from chaperone.kube.official import load_configuration
from chaperone.settings.controller import ControllerSettings
from controller import handlers
from controller.__main__ import main

LATER = datetime(2030, 1, 1, tzinfo=UTC)


def kubeconfig(folder: Path, user: dict[str, str]) -> Path:
    path = folder / "kubeconfig"
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        "clusters": [{"name": "k", "cluster": {"server": "https://127.0.0.1:6443"}}],
        "users": [{"name": "u", "user": user}],
    }
    path.write_text(yaml.safe_dump(document))
    return path


def test_kopf_logs_in_with_the_same_credential(tmp_path: Path) -> None:
    found = load_configuration(str(kubeconfig(tmp_path, {"token": "t-1"})))
    info = handlers.connection_info(found, LATER)
    assert (info.server, info.scheme, info.token) == ("https://127.0.0.1:6443", "Bearer", "t-1")
    assert info.insecure is False
    assert info.expiration == LATER


def test_a_client_certificate_needs_no_token(tmp_path: Path) -> None:
    (tmp_path / "c").write_text("cert")
    (tmp_path / "k").write_text("key")
    user = {"client-certificate": str(tmp_path / "c"), "client-key": str(tmp_path / "k")}
    info = handlers.connection_info(load_configuration(str(kubeconfig(tmp_path, user))), LATER)
    assert info.token is None
    assert info.certificate_path
    assert info.private_key_path


def test_no_handler_puts_finalizers_or_annotations_on_objects() -> None:
    """Timers, daemons and change handlers do; objects would hang while the controller is down."""
    registry = kopf.get_default_registry()
    assert not registry._spawning.get_all_handlers()
    assert not registry._changing.get_all_handlers()
    watched = {str(handler.selector) for handler in registry._watching.get_all_handlers()}
    assert len(watched) == 3


def test_kopf_never_gives_up_on_the_api_server_and_each_request_starts_anew() -> None:
    backoffs = handlers.EndlessBackoffs()
    first = list(itertools.islice(backoffs, 1000))
    assert first[:4] == [1.0, 2.0, 5.0, 10.0]
    assert len(first) == 1000
    assert next(iter(backoffs)) == 1.0


def test_under_plain_kopf_the_settings_come_from_the_named_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "controller.yaml"
    config.write_text("resync: 10s\n")
    monkeypatch.setenv(handlers.CONFIG_VARIABLE, str(config))
    memo = kopf.Memo()
    assert handlers.settings_of(memo).resync == 10.0
    assert handlers.settings_of(memo) is handlers.settings_of(memo)


def test_settings_that_are_given_are_not_read_again() -> None:
    given = ControllerSettings()
    assert handlers.settings_of(kopf.Memo({handlers.SETTINGS_KEY: given})) is given


def test_every_fault_of_the_settings_is_told_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "controller.yaml"
    config.write_text("resync: never\nprobe: {port: 99999}\nretention: {approval: 1d}\n")
    assert main(["--config", str(config)]) == 2
    told = capsys.readouterr().err
    for path in ("resync", "probe.port", "retention.approval"):
        assert path in told


def test_liveness_must_leave_room_for_two_resyncs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "controller.yaml"
    config.write_text("resync: 10m\nstuckAfter: 15m\n")
    assert main(["--config", str(config)]) == 2
    assert "stuckAfter" in capsys.readouterr().err
