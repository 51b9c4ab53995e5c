"""Where the API server is and how long to wait for it. Sizes in bytes, times in seconds."""

from __future__ import annotations

import ssl
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamSettings:
    """The one upstream of a gateway; nothing that a client sends changes it. tls None: plain HTTP (tests)."""

    host: str
    port: int
    tls: ssl.SSLContext | None = None
    server_name: str = ""
    """The name in the API server's certificate, and the Host header; "" for `host`."""
    connect_seconds: float = 10.0
    """TCP and TLS handshake together."""
    first_byte_seconds: float = 65.0
    """To the head of an answer; the API server gives up after 60 s. Streams have no such limit."""
    idle_seconds: float = 60.0
    """A pooled connection is closed then; the API server closes its side later."""
    most_idle: int = 64
    head_bytes: int = 256 * 1024
    write_buffer: int = 256 * 1024

    @property
    def host_header(self) -> str:
        """Host and port as in a URL (RFC 9112, section 3.2)."""
        name = self.server_name or self.host
        name = f"[{name}]" if ":" in name else name
        return name if self.port == 443 else f"{name}:{self.port}"
