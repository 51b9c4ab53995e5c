"""A server that speaks the S3 protocol on loopback, for the tests of object storage.

It runs from a virtual environment of its own in the cache (requirements/s3-server.in says why), made at first use.
"""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hack.cluster.cache import cache_folder, filled_once

LOCK = Path(__file__).resolve().parents[1] / "requirements" / "s3-server.lock"
START = 60.0
"""Seconds for the server to listen."""


@contextmanager
def s3_server() -> Iterator[str]:
    """The endpoint, http://127.0.0.1:PORT; any access key is taken. Ends with the block. Raises RuntimeError."""
    python = _environment() / "bin" / "python"
    port = _free_port()
    command = [str(python), "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait(server, port)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(10)


def new_bucket(endpoint: str) -> str:
    """The name of an empty one."""
    name = f"b{time.time_ns()}"
    urllib.request.urlopen(urllib.request.Request(f"{endpoint}/{name}", method="PUT"), timeout=10).close()
    return name


def client_environment(endpoint: str) -> dict[str, str]:
    """With which a program finds this server instead of a cloud's."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_ALLOW_HTTP": "true",
    }


def _environment() -> Path:
    digest = hashlib.sha256(LOCK.read_bytes() + sys.version.encode()).hexdigest()[:12]
    return filled_once(cache_folder(os.environ) / f"s3-server-{digest}", _install)


def _install(folder: Path) -> None:
    print("installing the S3 server of the tests (about 1 min, once)", flush=True)
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    pip = [
        str(folder / "bin" / "python"),
        "-m",
        "pip",
        "install",
        "--quiet",
        "--require-hashes",
        "-r",
        str(LOCK),
    ]
    done = subprocess.run(pip, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the S3 server of the tests cannot be installed: {done.stderr[-500:]}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait(server: subprocess.Popen[bytes], port: int) -> None:
    end = time.monotonic() + START
    while time.monotonic() < end and server.poll() is None:
        with socket.socket() as probe:
            probe.settimeout(0.5)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise RuntimeError(f"the S3 server of the tests did not listen within {START:.0f} s")
