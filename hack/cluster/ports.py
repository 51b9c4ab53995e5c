"""Free loopback ports for one stack.

They are taken below the range from which the kernel gives ports to outgoing connections, so that none is lost
between the choice and the moment a component binds it.
"""

import random
import socket
from dataclasses import dataclass, fields
from pathlib import Path

LOWEST = 15000
EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")


@dataclass(frozen=True)
class Ports:
    etcd: int
    etcd_peer: int
    apiserver: int
    controller_manager: int
    scheduler: int
    kubelet: int
    kubelet_healthz: int


def choose_ports() -> Ports:
    """A different free port for each component. Raises OSError when the machine has none left."""
    below = _first_ephemeral()
    held: list[socket.socket] = []
    try:
        held.extend(_bind_one(below) for _ in fields(Ports))
        return Ports(*(sock.getsockname()[1] for sock in held))
    finally:
        for sock in held:
            sock.close()


def _first_ephemeral() -> int:
    try:
        first = int(EPHEMERAL.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return 32768
    return first if first >= LOWEST + 1000 else 65535


def _bind_one(below: int) -> socket.socket:
    for _ in range(200):
        sock = socket.socket()
        try:
            sock.bind(("127.0.0.1", random.randrange(LOWEST, below)))  # noqa: S311 - no secret
            return sock
        except OSError:
            sock.close()
    raise OSError(f"no free loopback port found between {LOWEST} and {below}: close some listening programs")
