"""A WSGI application under gunicorn's threads, with our own TLS context. One process is the default: the work
is small, and a thread answers while another waits for the API server. More processes use more cores."""

from __future__ import annotations

import gc
import socket
import ssl
import struct
from collections.abc import Callable
from typing import Any

from gunicorn.app.base import BaseApplication

from chaperone.serving.certificates import Certificates
from chaperone.serving.terms import Terms

SILENCE = 10
"""Seconds that a client may keep a thread waiting for its next byte. gunicorn's threads wait for ever: sixteen clients
that say hello and no more would stop every answer."""


class Server(BaseApplication):  # type: ignore[misc]
    """Runs until SIGTERM or SIGINT, then lets running requests end. build: makes the application inside the
    worker, so that threads and connections are never shared across a fork. request_line: longest, in bytes."""

    def __init__(self, settings: Terms, build: Callable[[], Any], *, request_line: int = 512) -> None:
        self._settings = settings
        self._build = build
        self._request_line = request_line
        self._certificates = Certificates(settings.listen)
        self._certificates.context()  # a certificate that cannot be used ends the program here, with its reason
        super().__init__()

    def load_config(self) -> None:
        for name, value in self.options().items():
            self.cfg.set(name, value)
        if "control_socket_disable" in self.cfg.settings:  # older releases have no such socket
            self.cfg.set("control_socket_disable", True)

    def options(self) -> dict[str, Any]:
        """gunicorn's settings. The access log stays off: it would repeat what the API server's audit log
        says."""
        settings, listen = self._settings, self._settings.listen
        return {
            "bind": f"[{listen.address}]:{listen.port}"
            if ":" in listen.address
            else f"{listen.address}:{listen.port}",
            "workers": settings.workers,
            "worker_class": "gthread",
            "threads": settings.threads,
            "keepalive": 75,
            "graceful_timeout": max(1, int(settings.drain)),
            "certfile": str(listen.certificate),
            "keyfile": str(listen.key),
            "ssl_context": self._ssl_context,
            "post_fork": _bound_silence,
            "post_worker_init": _settle,
            "accesslog": None,
            "loglevel": settings.log_level,
            "limit_request_line": self._request_line,
            "limit_request_fields": 50,
            "forwarded_allow_ips": "",
        }

    def load(self) -> Any:
        return self._build()

    def _ssl_context(self, _config: object, _default: object) -> ssl.SSLContext:
        return self._certificates.context()


def _bound_silence(_arbiter: object, worker: Any) -> None:
    """By the kernel, on the listening sockets, whose connections inherit it: gunicorn itself sets no timeout."""
    for listener in worker.sockets:
        listener.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", SILENCE, 0))


def _settle(_worker: object) -> None:
    """What is loaded by now stays: reviews, which are many small objects, need no search through it."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
