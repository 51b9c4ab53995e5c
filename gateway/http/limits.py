"""How much of everything a client may send, and how long it may take. Sizes in bytes, times in seconds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpLimits:
    """Limits of one worker. There is no way to switch one off; raise it instead."""

    head_bytes: int = 64 * 1024
    """Request line and headers together."""
    request_line_bytes: int = 16 * 1024
    header_count: int = 128
    body_bytes: int = 3 * 1024 * 1024
    """What the API server takes as well."""
    buffered_bodies: int = 256 * 1024 * 1024
    """Request bodies held at one moment by all connections of the worker together."""
    pipelined_bytes: int = 64 * 1024
    """What may wait behind a request that is not answered yet."""
    write_buffer: int = 64 * 1024
    """Above this the source of the bytes is paused."""
    connections: int = 10_000
    head_seconds: float = 10.0
    """From the first byte of a request to the end of its headers; from the handshake to the first byte."""
    body_seconds: float = 60.0
    idle_seconds: float = 120.0
    """Between two requests of one connection."""
    stall_seconds: float = 120.0
    """A client that takes no byte of its response for so long is gone."""
    linger_seconds: float = 2.0
    """How long the rest of a refused upload is read and thrown away, so that its answer arrives."""
    handshake_seconds: float = 10.0
