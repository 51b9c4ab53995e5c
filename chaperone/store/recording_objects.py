"""Recordings in an object store: S3, Google Cloud Storage, Azure Blob Storage.

An object cannot be appended to. So what was asked to be on stable storage goes there piece by piece, as objects below
`NAME.part/`; sealing uploads the whole under its own name (in several parts when it is long) and removes the pieces.
What a gateway's end cut off is put together from its pieces later, up to the last whole line. Nothing is held whole in
memory.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import IO, Any, NamedTuple

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, NotFoundError

from chaperone.core.recording.naming import is_day, named
from chaperone.core.recording.reading import LONGEST_LINE
from chaperone.store import recording_store
from chaperone.store.recording_sink import RecordingWriter
from chaperone.store.recording_store import (
    BLOCK,
    Cut,
    Recording,
    Stored,
    about_of,
    checked,
    counted,
    recent_days,
)

PART = f"{recording_store.PART}/"
IN_MEMORY = 1 << 20
"""Bytes of one recording that are kept in memory; the rest is in a temporary file until it is sealed."""
UPLOAD = 8 << 20
"""Bytes that are sent in one request."""
ABANDONED = 600.0
"""Seconds without a new piece after which nobody writes a recording any more."""
LISTED = 1000
"""Objects of one answer to a listing."""
DIGEST = "sha256"
"""Meta data of a sealed object."""

_QUERY = re.compile(r"\?\S+")
MISSING = (NotFoundError, FileNotFoundError)
PRESENT = (AlreadyExistsError, FileExistsError)
"""obstore raises Python's own errors for these two; both spellings mean the same."""


class _Object(NamedTuple):
    """modified: Unix seconds."""

    path: str
    size: int
    modified: float


class ObjectRecordings:
    """Implements chaperone.store.recording_store.Recordings. store: of obstore."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self._looked = False

    def open(self, name: str, meta: Mapping[str, str]) -> RecordingWriter:
        """Nothing is in the store before the first `sync`, but it has answered. Raises FileExistsError."""
        checked(name)
        with failing(f"the recording {name} cannot be opened"):
            if _is_there(self._store, name):
                raise FileExistsError(f"there is a recording {name} already")
        return ObjectWriter(self._store, name, meta)

    # Reading

    def stored(self, name: str) -> Stored:
        checked(name)
        with failing(f"the recording {name} cannot be read"):
            found = self._whole(name) or self._under_way(name) or self._whole(name)
        if found is None:
            raise FileNotFoundError(f"there is no recording {name}")
        return found

    def _whole(self, name: str) -> Stored | None:
        try:
            found = obstore.get(self._store, name)
        except MISSING:
            return None
        size = found.meta["size"]
        return Stored(size, True, counted(_streamed(found, name), size, name))

    def _under_way(self, name: str) -> Stored | None:
        pieces = self._pieces(name)
        size = sum(piece.size for piece in pieces)
        return Stored(size, False, counted(self._joined(pieces, name), size, name)) if pieces else None

    def _joined(self, pieces: Sequence[_Object], name: str) -> Iterator[bytes]:
        for piece in pieces:
            with failing(f"the recording {name} cannot be read"):
                found = obstore.get(self._store, piece.path)
            yield from _streamed(found, name)

    def days(self) -> Iterator[str]:
        for year in self._folders(None):
            for month in self._folders(year):
                yield from (day for day in self._folders(month) if is_day(day))

    def sealed(self, day: str) -> Iterator[Recording]:
        every = list(self._objects(day)) if is_day(day) else []
        under_way = {each.path.partition(PART)[0] for each in every if PART in each.path}
        for each in sorted(every):
            found = named(each.path)
            if found is not None and each.path not in under_way:
                yield Recording(found, each.size, each.modified)

    # Removing

    def remove(self, names: Sequence[str]) -> None:
        for name in names:
            checked(name)
        with failing("recordings cannot be removed"):
            try:
                obstore.delete(self._store, list(names))
            except MISSING:  # some stores tell, and what is behind it may still be there
                for name in names:
                    _delete_one(self._store, name)

    # Mending

    def cut_off(self, now: float) -> Iterator[Cut]:
        for day in recent_days(now) if self._looked else self.days():
            last: dict[str, float] = {}
            for each in self._objects(day):
                name, part, _ = each.path.partition(PART)
                if part and named(name):
                    last[name] = max(last.get(name, 0.0), each.modified)
            for name in sorted(name for name, modified in last.items() if now - modified >= ABANDONED):
                found = self._mended(name)
                if found is not None:
                    yield found
        self._looked = True

    def _mended(self, name: str) -> Cut | None:
        """None: it held no whole line, or was sealed already and only its pieces were left."""
        pieces = self._pieces(name)
        with (
            failing(f"the recording {name} cannot be mended"),
            tempfile.SpooledTemporaryFile(IN_MEMORY) as whole,
        ):
            found = _gathered(self._joined(pieces, name), whole, name)
            sealed = found is not None and _upload(self._store, name, whole, _meta(found))
            obstore.delete(self._store, [piece.path for piece in pieces])
        return found if sealed else None

    # Listing

    def _pieces(self, name: str) -> list[_Object]:
        return sorted(self._objects(name + recording_store.PART))

    def _objects(self, prefix: str) -> Iterator[_Object]:
        with failing("the recordings cannot be listed"):
            for batch in obstore.list(self._store, prefix, chunk_size=LISTED):
                for item in batch:
                    yield _Object(item["path"], item["size"], item["last_modified"].timestamp())

    def _folders(self, prefix: str | None) -> list[str]:
        with failing("the recordings cannot be listed"):
            found = obstore.list_with_delimiter(self._store, prefix)
        return sorted(each.rstrip("/") for each in found["common_prefixes"])


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
                meta = {**self._meta, DIGEST: self._digest.hexdigest()}
                if not _upload(self._store, self._name, self._whole, meta):
                    raise FileExistsError(f"there is a recording {self._name} already")
                self._remove_pieces()
        finally:
            self._whole.close()

    def abort(self) -> None:
        self._whole.close()
        try:
            self._remove_pieces()
        except (BaseError, OSError):
            return  # they are put together or removed by `cut_off`

    def _remove_pieces(self) -> None:
        if self._pieces:
            obstore.delete(self._store, self._pieces)


@contextmanager
def failing(doing: str) -> Iterator[None]:
    """An object store's own errors as OSError. They quote the whole request, and with it what may be signed: so they are
    in no traceback."""
    try:
        yield
    except BaseError as fault:
        raise OSError(f"{doing}: {first_line(fault)}") from None


def first_line(fault: Exception) -> str:
    """Without the query of an address: an Azure signature stands there."""
    words = str(fault).strip().splitlines()
    return _QUERY.sub("?…", words[0])[:300] if words else type(fault).__name__


def _streamed(found: Any, name: str) -> Iterator[bytes]:
    with failing(f"the recording {name} cannot be read"):
        for chunk in found.stream(min_chunk_size=BLOCK):
            yield bytes(chunk)


def _gathered(chunks: Iterator[bytes], whole: IO[bytes], name: str) -> Cut | None:
    """The recording up to its last whole line, in `whole`; None where there is none."""
    digest, length, rest = hashlib.sha256(), 0, b""
    for chunk in chunks:
        lines, end, rest = (rest + chunk).rpartition(b"\n")
        length += len(lines) + len(end)
        for piece in (lines, end):
            digest.update(piece)
            whole.write(piece)
    if not length:
        return None
    whole.seek(0)
    about = about_of(whole.readline(LONGEST_LINE)) or {}
    whole.seek(0, 2)
    return Cut(name, checked(name).audit_id, length, digest.hexdigest(), about)


def _meta(cut: Cut) -> dict[str, str]:
    """As a gateway that had lived would have given it."""
    whose = {key: str(cut.about.get(key, "")) for key in ("run", "user", "kind")}
    return {"auditID": cut.audit_id, **whose, DIGEST: cut.sha256}


def _upload(store: Any, name: str, whole: IO[bytes], meta: Mapping[str, str]) -> bool:
    """False: there is such an object already. A long one goes up in parts, for which stores know no such condition."""
    size = whole.tell()
    whole.seek(0)
    if size <= UPLOAD:
        return _put_new(store, name, whole.read(), meta)
    if _is_there(store, name):
        return False
    obstore.put(store, name, whole, attributes=_attributes(name, meta), chunk_size=UPLOAD)
    return True


def _put_new(store: Any, name: str, content: bytes, meta: Mapping[str, str]) -> bool:
    try:
        obstore.put(
            store, name, content, attributes=_attributes(name, meta), mode="create", use_multipart=False
        )
    except PRESENT:
        return False
    return True


def _is_there(store: Any, name: str) -> bool:
    try:
        obstore.head(store, name)
    except MISSING:
        return False
    return True


def _delete_one(store: Any, name: str) -> None:
    try:
        obstore.delete(store, name)
    except MISSING:
        return


def _attributes(name: str, meta: Mapping[str, str]) -> Any:
    """Names and values of metadata travel in headers."""
    kind = "application/x-asciicast" if name.endswith(".cast") else "application/jsonl"
    fit = {
        key.lower(): value for key, value in meta.items() if value and value.isascii() and value.isprintable()
    }
    return {"Content-Type": kind, **fit}
