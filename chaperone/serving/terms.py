"""What a server for people or for the API server is told, whichever program it belongs to."""

from __future__ import annotations

from typing import Protocol

from chaperone.settings.serving import TlsListenSettings


class Terms(Protocol):
    """drain: seconds at shutdown for running requests to end. threads: requests at the same time in one worker."""

    @property
    def listen(self) -> TlsListenSettings: ...
    @property
    def workers(self) -> int: ...
    @property
    def threads(self) -> int: ...
    @property
    def drain(self) -> float: ...
    @property
    def log_level(self) -> str: ...
