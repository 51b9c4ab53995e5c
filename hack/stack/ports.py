"""The stack's ports: chosen free once, kept for the folder, so that kubeconfigs stay valid over a restart."""

import json
import socket
from collections.abc import Mapping

from hack.stack.layout import Layout

NAMES = ("gateway", "gateway-health", "issuer", "webhook", "controller-health", "console")


def ensure(layout: Layout) -> Mapping[str, int]:
    """Port by name; loopback only."""
    try:
        ports: dict[str, int] = json.loads(layout.ports.read_text())
    except (OSError, ValueError):
        ports = {}
    if set(ports) != set(NAMES):
        ports = _free_ports()
        layout.ports.parent.mkdir(parents=True, exist_ok=True)
        layout.ports.write_text(json.dumps(ports))
    return ports


def free_port() -> int:
    """One free loopback port, for something short-lived."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


def _free_ports() -> dict[str, int]:
    """All held at once while choosing, so that they differ."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in NAMES]
    try:
        return {name: sock.getsockname()[1] for name, sock in zip(NAMES, held, strict=True)}
    finally:
        for sock in held:
            sock.close()
