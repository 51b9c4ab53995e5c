"""Terminals, forwarded ports, followed logs and watches through the gateway, with real pods and real kubectl."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from hack.stack.kubectl import Kubectl
from hack.stack.ports import free_port
from tests.e2e.waiting import until

pytestmark = [pytest.mark.cluster, pytest.mark.pods]
WAYS = pytest.mark.parametrize("websockets", ["true", "false"], ids=["websocket-first", "spdy"])


@pytest.fixture
def through(conformant: tuple[Kubectl, Kubectl]) -> Kubectl:
    return conformant[1]


@WAYS
def test_exec_in_a_terminal(through: Kubectl, pod_namespace: str, websockets: str) -> None:
    with terminal(through, websockets, "exec", "-it", "-n", pod_namespace, "shell", "--", "sh") as screen:
        screen.send(b"stty size; echo $((40+2)); exit 3\n")
        shown = screen.read_to_end()
    assert b"42" in shown
    assert screen.exit_code == 3


def test_attach_in_a_terminal_ends_with_the_client(through: Kubectl, pod_namespace: str) -> None:
    command = through.command("attach", "-i", "-n", pod_namespace, "echo")
    with running(command, through.environment()) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(b"ping\n")
        process.stdin.flush()
        assert read_until(process.stdout.fileno(), b"ping")


@WAYS
def test_port_forward(through: Kubectl, pod_namespace: str, websockets: str) -> None:
    port = free_port()
    environment = {**through.environment(), "KUBECTL_PORT_FORWARD_WEBSOCKETS": websockets}
    command = through.command("port-forward", "-n", pod_namespace, "pod/web", f"{port}:18099")
    with running(command, environment):
        for _ in range(3):  # several connections over one forward
            text = until(
                "an answer over the forwarded port", lambda: fetch(f"http://127.0.0.1:{port}/index.html")
            )
            assert text == "from-the-pod\n"


def test_logs_followed(through: Kubectl, pod_namespace: str) -> None:
    with running(
        through.command("logs", "-f", "-n", pod_namespace, "talker"), through.environment()
    ) as process:
        assert process.stdout
        shown = read_until(process.stdout.fileno(), b"last\n")
    assert shown == b"".join(b"line %d\n" % n for n in range(1, 6)) + b"last\n"


def test_watch_sees_a_change(through: Kubectl, admin: Kubectl, pod_namespace: str) -> None:
    command = through.command("get", "configmaps", "-n", pod_namespace, "-w", "-o", "name")
    with running(command, through.environment()) as process:
        assert process.stdout
        read_until(process.stdout.fileno(), b"configmap/kube-root-ca.crt\n")
        admin.must("making a change", "create", "configmap", "seen", "-n", pod_namespace)
        try:
            assert read_until(process.stdout.fileno(), b"configmap/seen\n")
        finally:
            admin.must("cleaning up", "delete", "configmap", "seen", "-n", pod_namespace)


def test_kubectl_proxy(through: Kubectl, pod_namespace: str) -> None:
    port = free_port()
    with running(through.command("proxy", f"--port={port}"), through.environment()):
        url = f"http://127.0.0.1:{port}/api/v1/namespaces/{pod_namespace}/pods/shell"
        found = json.loads(until("an answer through kubectl proxy", lambda: fetch(url)))
    assert found["metadata"]["name"] == "shell"


class Terminal:
    """A command on a pseudo-terminal."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self._master, slave = pty.openpty()
        self._process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, env=environment, start_new_session=True
        )
        os.close(slave)
        self.exit_code: int | None = None

    def send(self, text: bytes) -> None:
        os.write(self._master, text)

    def read_to_end(self, seconds: float = 60) -> bytes:
        shown = bytearray()
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            ready, _, _ = select.select([self._master], [], [], 0.2)
            try:
                piece = os.read(self._master, 65536) if ready else b""
            except OSError:  # the other end is closed
                break
            if ready and not piece:
                break
            shown += piece
            if not ready and self._process.poll() is not None:
                break
        return bytes(shown)

    def close(self) -> None:
        try:
            self.exit_code = self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self.exit_code = self._process.wait()
        os.close(self._master)


@contextmanager
def terminal(kubectl: Kubectl, websockets: str, *arguments: str) -> Iterator[Terminal]:
    environment = {**kubectl.environment(), "KUBECTL_REMOTE_COMMAND_WEBSOCKETS": websockets}
    screen = Terminal(kubectl.command(*arguments), environment)
    try:
        yield screen
    finally:
        screen.close()


@contextmanager
def running(command: list[str], environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def read_until(descriptor: int, wanted: bytes, seconds: float = 60) -> bytes:
    shown = bytearray()
    deadline = time.monotonic() + seconds
    while wanted not in shown and time.monotonic() < deadline:
        ready, _, _ = select.select([descriptor], [], [], 0.2)
        piece = os.read(descriptor, 65536) if ready else b""
        if ready and not piece:
            break
        shown += piece
    assert wanted in shown, bytes(shown)
    return bytes(shown)


def fetch(url: str) -> str:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return str(answer.read().decode())
    except OSError:
        return ""
