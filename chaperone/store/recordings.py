"""Recordings in an object store: S3, Google Cloud Storage, Azure Blob Storage, or a folder behind the same interface.

An object cannot be appended to. So what was asked to be on stable storage goes there piece by piece, as objects below
`NAME.part/`; sealing uploads the whole under its own name (in several parts when it is long) and removes the pieces.
What a gateway's end cut off is put together from its pieces later, up to the last whole line.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, NotFoundError
from obstore.store import LocalStore, from_url

from chaperone.core.recording.sink import RecordingWriter
from chaperone.store.interface import StoreMismatchError

SCHEMES = ("s3", "gs", "az", "azure", "abfs", "abfss", "file", "memory")
PART = ".part/"
IN_MEMORY = 1 << 20
"""Bytes of one recording that are kept in memory; the rest is in a temporary file until it is sealed."""
BLOCK = 8 << 20
ABANDONED = 600.0
"""Seconds without a new piece after which nobody writes a recording any more."""


MISSING = (NotFoundError, FileNotFoundError)
PRESENT = (AlreadyExistsError, FileExistsError)
"""obstore raises Python's own errors for these two; both spellings mean the same."""


@dataclass(frozen=True, slots=True)
class Recording:
    """A sealed recording. modified: Unix seconds."""

    name: str
    size: int
    modified: float


@dataclass(frozen=True, slots=True)
class Mended:
    """A recording whose end is missing, sealed. sha256: hexadecimal."""

    name: str
    size: int
    sha256: str


class ObjectRecordings:
    """Implements chaperone.core.recording.sink.RecordingSink, and reads. All methods raise OSError; safe for threads."""

    def __init__(self, store: Any) -> None:
        self._store = store

    def open(self, name: str, meta: Mapping[str, str]) -> RecordingWriter:
        """Nothing is in the store before the first `sync`, but it has answered. Raises FileExistsError."""
        with failing(f"the recording {name} cannot be opened"):
            try:
                obstore.head(self._store, name)
            except MISSING:
                return ObjectWriter(self._store, name, meta)
        raise FileExistsError(f"there is a recording {name} already")

    def read(self, name: str, most: int) -> bytes:
        """A sealed recording, or what there is of one that is still written. Raises FileNotFoundError, and OSError for
        one that is longer than `most` bytes."""
        with failing(f"the recording {name} cannot be read"):
            try:
                found = obstore.get(self._store, name)
            except MISSING:
                return self._pieces(name, most)
            if found.meta["size"] > most:
                raise OSError(f"the recording {name} is longer than {most} bytes")
            return bytes(found.bytes())

    def sealed(self, prefix: str = "") -> Iterator[Recording]:
        """Sealed recordings below a prefix such as `2026/11/23`, by name."""
        for name, size, modified in self._objects(prefix):
            if PART not in name:
                yield Recording(name, size, modified)

    def mend(self, now: float, *, idle: float = ABANDONED) -> Iterator[Mended]:
        """Seal what nobody writes any more. now: Unix seconds."""
        last: dict[str, float] = {}
        for name, _, modified in self._objects(""):
            whole, part, _ = name.partition(PART)
            if part:
                last[whole] = max(last.get(whole, 0.0), modified)
        for name in sorted(whole for whole, modified in last.items() if now - modified >= idle):
            mended = self._mend(name)
            if mended is not None:
                yield mended

    def _mend(self, name: str) -> Mended | None:
        """None: it held no whole line, or had been sealed and only its pieces were left."""
        with failing(f"the recording {name} cannot be mended"):
            pieces = self._piece_names(name)
            content = b"".join(bytes(obstore.get(self._store, piece).bytes()) for piece in pieces)
            content = content[: content.rfind(b"\n") + 1]
            sealed = bool(content) and _put_new(self._store, name, content, {})
            obstore.delete(self._store, pieces)
        return Mended(name, len(content), hashlib.sha256(content).hexdigest()) if sealed else None

    def _pieces(self, name: str, most: int) -> bytes:
        content, names = b"", self._piece_names(name)
        if not names:
            raise FileNotFoundError(f"there is no recording {name}")
        for piece in names:
            content += bytes(obstore.get(self._store, piece).bytes())
            if len(content) > most:
                raise OSError(f"the recording {name} is longer than {most} bytes")
        return content

    def _piece_names(self, name: str) -> list[str]:
        return [piece for piece, _, _ in self._objects(name + PART.rstrip("/"))]

    def _objects(self, prefix: str) -> list[tuple[str, int, float]]:
        with failing("the recordings cannot be listed"):
            listed = obstore.list(self._store, prefix or None)
            found = [
                (item["path"], item["size"], item["last_modified"].timestamp())
                for batch in listed
                for item in batch
            ]
        return sorted(found)


class ObjectWriter:
    """One recording under way. Implements RecordingWriter."""

    def __init__(self, store: Any, name: str, meta: Mapping[str, str]) -> None:
        self._store = store
        self._name = name
        self._meta = dict(meta)
        self._whole: IO[bytes] = tempfile.SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115  it lives as long as we
        self._fresh: list[bytes] = []
        self._pieces: list[str] = []
        self._digest = hashlib.sha256()

    def append(self, data: bytes) -> None:
        self._whole.write(data)
        self._fresh.append(data)
        self._digest.update(data)

    def sync(self) -> None:
        """What is new becomes a piece of its own."""
        if not self._fresh:
            return
        piece = f"{self._name}{PART}{len(self._pieces):08}"
        with failing(f"the recording {self._name} could not be written"):
            obstore.put(self._store, piece, b"".join(self._fresh), use_multipart=False)
        self._pieces.append(piece)
        self._fresh.clear()

    def close(self) -> None:
        """Sealed under its own name, with its digest; the pieces go only then."""
        try:
            with failing(f"the recording {self._name} could not be sealed"):
                meta = {**self._meta, "sha256": self._digest.hexdigest()}
                if not _upload(self._store, self._name, self._whole, meta):
                    raise FileExistsError(f"there is a recording {self._name} already")
                self._remove_pieces()
        finally:
            self._whole.close()

    def abort(self) -> None:
        self._whole.close()
        try:
            self._remove_pieces()
        except BaseError:
            return  # they are put together or removed by `mend`

    def _remove_pieces(self) -> None:
        if self._pieces:
            obstore.delete(self._store, self._pieces)


def is_object_store(address: str) -> bool:
    """Whether an address names one, and not a folder."""
    return address.partition("://")[0] in SCHEMES and "://" in address


def open_recordings(address: str, **options: Any) -> ObjectRecordings:
    """`s3://BUCKET/PREFIX`, `gs://…`, `az://…`, `file:///…`; credentials and region as the cloud's own tools find them
    (environment, instance). options: of obstore's `from_url`. Raises StoreMismatchError."""
    if not is_object_store(address):
        raise StoreMismatchError(f"{address} is no object store: give s3://, gs:// or az:// with a bucket")
    try:
        return ObjectRecordings(from_url(address, **options))
    except (BaseError, ValueError, OSError) as fault:
        raise StoreMismatchError(
            f"the object store {address} cannot be used: {_first_line(fault)}"
        ) from fault


@contextmanager
def failing(doing: str) -> Iterator[None]:
    """An object store's own errors as OSError, without the request that they quote."""
    try:
        yield
    except BaseError as fault:
        raise OSError(f"{doing}: {_first_line(fault)}") from fault


def _upload(store: Any, name: str, whole: IO[bytes], meta: Mapping[str, str]) -> bool:
    """False: there is such an object already."""
    size = whole.tell()
    whole.seek(0)
    if size <= BLOCK:
        return _put_new(store, name, whole.read(), meta)
    obstore.put(store, name, whole, attributes=_attributes(store, name, meta), chunk_size=BLOCK)
    return True


def _put_new(store: Any, name: str, content: bytes, meta: Mapping[str, str]) -> bool:
    try:
        obstore.put(
            store,
            name,
            content,
            attributes=_attributes(store, name, meta),
            mode="create",
            use_multipart=False,
        )
    except PRESENT:
        return False
    return True


def _attributes(store: Any, name: str, meta: Mapping[str, str]) -> dict[str, str] | None:
    """Names and values of metadata travel in headers; a folder has none."""
    if isinstance(store, LocalStore):
        return None
    kind = "application/x-asciicast" if name.endswith(".cast") else "application/jsonl"
    fit = {
        key.lower(): value for key, value in meta.items() if value and value.isascii() and value.isprintable()
    }
    return {"Content-Type": kind, **fit}


def _first_line(fault: Exception) -> str:
    words = str(fault).strip().splitlines()
    return words[0][:300] if words else type(fault).__name__
