"""Places for recordings as the tests need them: a folder, a bucket of a real S3 server, and one that is gone."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from chaperone.store.recording_store import Recordings
from chaperone.store.recordings import open_recordings

META = {"auditID": "a-1", "run": "run-1", "user": "ä", "kind": "exec"}


def bucket_recordings(endpoint: str, bucket: str) -> Recordings:
    return open_recordings(f"s3://{bucket}/recordings", **options(endpoint, retries=1))


def gone() -> Recordings:
    """Nobody listens there."""
    return open_recordings("s3://bucket", **options("http://127.0.0.1:1", retries=0))


def options(endpoint: str, *, retries: int) -> dict[str, Any]:
    return {
        "config": {
            "endpoint": endpoint,
            "region": "us-east-1",
            "access_key_id": "test",
            "secret_access_key": "test",
        },
        "client_options": {"allow_http": True, "connect_timeout": timedelta(seconds=2)},
        "retry_config": {"max_retries": retries, "retry_timeout": timedelta(seconds=2)},
    }


def write(place: Recordings, name: str, *pieces: bytes, seal: bool = True) -> None:
    writer = place.open(name, META)
    for piece in pieces:
        writer.append(piece)
        writer.sync()
    if seal:
        writer.close()


def read(place: Recordings, name: str) -> bytes:
    return b"".join(place.stored(name).chunks)
