"""How a place for recordings is written, in settings and on the command line: a folder, or an object store's address."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

SCHEMES = ("s3", "gs", "az", "azure", "abfs", "abfss")
LOCAL = "file"
PLACES = "a folder, s3://BUCKET/PREFIX, gs://… or az://…"


def is_object_store(address: str) -> bool:
    scheme, separator, _ = address.partition("://")
    return bool(separator) and scheme in SCHEMES


def folder_of(address: str) -> Path | None:
    """The folder that an address names, as a path or as `file:///…`; None where it names none."""
    scheme, separator, _ = address.partition("://")
    if not separator:
        return Path(address) if address else None
    parts = urlsplit(address)
    if scheme != LOCAL or parts.hostname not in (None, "localhost") or not parts.path.strip("/"):
        return None
    return Path(unquote(parts.path))


def place_fault(address: str) -> str:
    """What is wrong with an address, "" where nothing is; an empty one is nobody's fault."""
    if not address or folder_of(address) is not None:
        return ""
    if not is_object_store(address):
        return f"must be {PLACES}"
    return "" if urlsplit(address).netloc else "must name a bucket, as in s3://BUCKET/PREFIX"
