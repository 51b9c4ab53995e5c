"""What a server for people or for the API server is told, whichever program it belongs to."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol


class Listen(Protocol):
    """Where it listens, always with TLS."""

    @property
    def address(self) -> str: ...
    @property
    def port(self) -> int: ...
    @property
    def certificate(self) -> Path: ...
    @property
    def key(self) -> Path: ...
    @property
    def client_ca(self) -> Path | None: ...


class Terms(Protocol):
    """drain: seconds at shutdown for running requests to end. threads: requests at the same time in one worker."""

    @property
    def listen(self) -> Listen: ...
    @property
    def workers(self) -> int: ...
    @property
    def threads(self) -> int: ...
    @property
    def drain(self) -> float: ...
    @property
    def log_level(self) -> str: ...
