"""Opens the recordings that a setting or an option names: a folder, S3, Google Cloud Storage, Azure Blob Storage."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from obstore.exceptions import BaseError
from obstore.store import from_url

from chaperone.settings.recordings import folder_of, place_fault
from chaperone.store.interface import StoreMismatchError
from chaperone.store.recording_folder import FolderRecordings
from chaperone.store.recording_objects import ObjectRecordings, first_line
from chaperone.store.recording_store import Recordings

RETRIES = {"max_retries": 3, "retry_timeout": timedelta(seconds=10)}
"""A store that is down is said to be down while somebody still waits for the answer."""


def open_recordings(address: str, **options: Any) -> Recordings:
    """A folder, `file:///…`, `s3://BUCKET/PREFIX`, `gs://…`, `az://…`; credentials and region as the cloud's own tools
    find them (environment, instance). options: of obstore's `from_url`. Nobody is asked yet.

    Raises StoreMismatchError.
    """
    if wrong := place_fault(address) or ("" if address else "is empty"):
        raise StoreMismatchError(f"the place for recordings {address!r} {wrong}")
    folder = folder_of(address)
    if folder is not None:
        return FolderRecordings(folder)
    try:
        return ObjectRecordings(from_url(address, **{"retry_config": RETRIES, **options}))
    except (BaseError, ValueError, OSError) as fault:
        raise StoreMismatchError(f"the object store {address} cannot be used: {first_line(fault)}") from None
