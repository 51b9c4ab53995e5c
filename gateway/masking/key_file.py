"""The key of the placeholders: read from a file, or made anew for as long as this gateway runs."""

from __future__ import annotations

import logging
import secrets
from pathlib import Path

log = logging.getLogger(__name__)

LEAST = 32
"""Bytes, without white space at the ends."""


def masking_key(path: Path | None) -> bytes:
    """Before the workers are forked: all of them must use the same. Raises ValueError, OSError for a file that cannot be
    used."""
    if path is None:
        log.warning(
            "no masking.keyFile: placeholders are made with a key of this process alone, so what was read before a "
            "restart, or through another replica, cannot be written back"
        )
        return secrets.token_bytes(LEAST)
    return read_key(path)


def read_key(path: Path) -> bytes:
    """Raises ValueError, OSError."""
    key = path.read_bytes().strip()
    if len(key) < LEAST:
        raise ValueError(
            f"holds {len(key)} bytes; at least {LEAST} are needed, such as `openssl rand -hex 32` prints"
        )
    return key
