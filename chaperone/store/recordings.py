"""Opens the recordings that a setting or an option names: a folder, S3, Google Cloud Storage, Azure Blob Storage."""

from __future__ import annotations

from typing import Any

from obstore.exceptions import BaseError
from obstore.store import from_url

from chaperone.settings.recordings import folder_of, place_fault
from chaperone.store.interface import StoreMismatchError
from chaperone.store.recording_folder import FolderRecordings
from chaperone.store.recording_objects import ObjectRecordings, first_line
from chaperone.store.recording_store import Recordings


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
        return ObjectRecordings(from_url(address, **options))
    except (BaseError, ValueError, OSError) as fault:
        raise StoreMismatchError(f"the object store {address} cannot be used: {first_line(fault)}") from fault
