"""How the webhook starts, and how it refuses to."""

from __future__ import annotations

import os
import socket
import ssl
import struct
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from flask import Flask

from chaperone.serving.server import SILENCE, Server
from chaperone.settings.webhook import WebhookListenSettings, WebhookSettings
from tests.serving.test_certificates import write_pair
from webhook.__main__ import METRICS_FOLDER, _shared_metrics, main


@pytest.fixture
def listen(tmp_path: Path) -> WebhookListenSettings:
    return write_pair(tmp_path, "webhook", mtime=1000)


def server(listen: WebhookListenSettings) -> Server:
    return Server(WebhookSettings(listen=listen), lambda: Flask("never built here"))


def test_the_server_keeps_to_itself(listen: WebhookListenSettings) -> None:
    """No control socket, no access log, no trust in forwarded addresses."""
    config = server(listen).cfg
    assert config.control_socket_disable is True
    assert config.accesslog is None
    assert config.forwarded_allow_ips == []
    assert config.worker_class_str == "gthread"


@pytest.mark.parametrize(("address", "bind"), [("127.0.0.1", "127.0.0.1:9443"), ("::", "[::]:9443")])
def test_both_address_families(listen: WebhookListenSettings, address: str, bind: str) -> None:
    assert server(replace(listen, address=address)).cfg.bind == [bind]


def test_every_connection_asks_for_the_current_certificate(listen: WebhookListenSettings) -> None:
    made = server(listen)
    context = made.cfg.ssl_context(made.cfg, None)
    assert isinstance(context, ssl.SSLContext)
    assert made.cfg.ssl_context(made.cfg, None) is context


def test_every_fault_of_the_settings_is_told_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "webhook.yaml"
    config.write_text("listen: {certificate: /nowhere.crt, key: /nowhere.key, port: 0}\nthreds: 4\n")
    assert main(["--config", str(config)]) == 2
    told = capsys.readouterr().err
    for path in ("listen.certificate", "listen.key", "listen.port", "threds"):
        assert path in told


def test_a_certificate_that_cannot_be_used_is_told(
    listen: WebhookListenSettings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    listen.certificate.write_text("nothing")
    config = tmp_path / "webhook.yaml"
    config.write_text(f"listen: {{certificate: {listen.certificate}, key: {listen.key}}}\n")
    assert main(["--config", str(config)]) == 2
    assert "webhook cannot start" in capsys.readouterr().err


def test_one_account_cannot_be_gateway_and_controller(
    listen: WebhookListenSettings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "webhook.yaml"
    accounts = "accounts: {gateway: same, controller: same}"
    config.write_text(f"listen: {{certificate: {listen.certificate}, key: {listen.key}}}\n{accounts}\n")
    assert main(["--config", str(config)]) == 2
    assert "different accounts" in capsys.readouterr().err


def test_a_client_that_says_nothing_more_does_not_keep_its_thread(listen: WebhookListenSettings) -> None:
    """The kernel ends a read that nobody answers, on every connection that the listener accepts."""
    listener = socket.create_server(("127.0.0.1", 0))
    server(listen).cfg.post_fork(None, SimpleNamespace(sockets=[SimpleNamespace(sock=listener)]))
    with listener, socket.create_connection(listener.getsockname()), listener.accept()[0] as accepted:
        bound = accepted.getsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, 16)
    assert struct.unpack("ll", bound) == (SILENCE, 0)


def test_workers_meet_in_a_folder_that_only_the_first_process_removes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(METRICS_FOLDER, raising=False)
    with _shared_metrics(1):
        assert METRICS_FOLDER not in os.environ
    monkeypatch.setenv(METRICS_FOLDER, "")
    with _shared_metrics(2):
        folder = Path(os.environ[METRICS_FOLDER])
        # As in a worker: the end of the block is reached in a process that did not begin it.
        monkeypatch.setattr(os, "getpid", lambda: 1)
    assert folder.is_dir()
    monkeypatch.undo()
    folder.rmdir()
    with _shared_metrics(2):
        folder = Path(os.environ[METRICS_FOLDER])
    assert not folder.exists()
    del os.environ[METRICS_FOLDER]


def test_as_many_workers_as_asked_for(listen: WebhookListenSettings) -> None:
    settings = WebhookSettings(listen=listen, workers=3)
    assert Server(settings, lambda: Flask("never built here")).cfg.workers == 3
