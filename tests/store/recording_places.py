"""Places for recordings as the tests need them: a folder, a bucket of a real S3 server, and one that is gone."""

from __future__ import annotations

import time
import urllib.request
from datetime import timedelta
from typing import Any

from chaperone.store.recording_store import Recordings
from chaperone.store.recordings import open_recordings

META = {"auditID": "a-1", "run": "run-1", "user": "ä", "kind": "exec"}


def new_bucket(endpoint: str) -> str:
    """The name of an empty one."""
    name = f"b{time.time_ns()}"
    urllib.request.urlopen(urllib.request.Request(f"{endpoint}/{name}", method="PUT"), timeout=10).close()
    return name


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


def environment(endpoint: str) -> dict[str, str]:
    """The same for a program."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_ALLOW_HTTP": "true",
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
