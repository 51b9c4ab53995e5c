"""The network interfaces of pods: gone with their network namespace, just after the last process in it."""

import ipaddress
import shutil
import subprocess
import time
from pathlib import Path

ROUTES = Path("/proc/net/route")
SECONDS = 2.0


def interfaces_into(subnet: str, routes: str) -> list[str]:
    """Names of the interfaces with a route into the subnet (`routes` as /proc/net/route, little-endian)."""
    network = ipaddress.ip_network(subnet)
    lines = (line.split() for line in routes.splitlines()[1:])
    return sorted({words[0] for words in lines if _address(words[1]) in network})


def remove(subnet: str) -> None:
    """Wait until the kernel has removed them, and help it if it does not."""
    deadline = time.monotonic() + SECONDS
    while (left := _left(subnet)) and time.monotonic() < deadline:
        time.sleep(0.05)
    for name in left if shutil.which("ip") else []:
        subprocess.run(["ip", "link", "delete", name], check=False, capture_output=True)


def _left(subnet: str) -> list[str]:
    return interfaces_into(subnet, ROUTES.read_text()) if ROUTES.exists() else []


def _address(hexadecimal: str) -> ipaddress.IPv4Address:
    return ipaddress.IPv4Address(bytes.fromhex(hexadecimal)[::-1])
