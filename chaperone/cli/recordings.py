"""Recordings from wherever they are kept, for commands: fetched whole before they are shown, and held against their seal
in the audit."""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Annotated

import typer

from chaperone.cli.faults import FailedError, WrongUsageError
from chaperone.core.legible import visible
from chaperone.core.recording_seal import Match, Seal, absence, match, seal_of

if TYPE_CHECKING:
    from chaperone.store.interface import AuditStore
    from chaperone.store.recording_store import Recordings

VARIABLE = "CHAPERONE_RECORDINGS"
PLACE = typer.Option(
    "--recordings",
    envvar=VARIABLE,
    metavar="PLACE",
    help="Where recordings are: a folder, s3://BUCKET/PREFIX, gs://… or az://…, as in the gateway's settings.",
)
Place = Annotated[str, PLACE]
NAMED_PLACE = typer.Option(
    "--recordings",
    metavar="PLACE",
    help="Where recordings are; they are left alone unless this names them, whatever the environment says.",
)
IN_MEMORY = 1 << 20
"""Bytes of a recording that are kept in memory; the rest is in a temporary file while it plays."""
_ADDRESS = re.compile(r"(.+://.+)/(\d{4}/\d\d/\d\d/[^/]+)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Fetched:
    """A recording as it was found. content: from its beginning. seal: what the audit says of it, None where nobody was
    asked."""

    content: IO[bytes]
    size: int
    sha256: str
    is_sealed: bool
    seal: Seal | None

    @property
    def verdict(self) -> tuple[Match, str]:
        """Held against its seal."""
        if self.seal is None:
            return Match.UNKNOWN, "Its seal was not looked for: --store names the audit store."
        return match(self.seal, self.size, self.sha256)


class AbsentError(FailedError):
    """The recording is not there. is_explained: retention removed it, or there never was one."""

    def __init__(self, message: str, *, is_explained: bool) -> None:
        super().__init__(message)
        self.is_explained = is_explained


def split_address(address: str) -> tuple[str, str] | None:
    """(place, name) of `s3://BUCKET/PREFIX/2026/11/23/ID.cast`; None for what is no such address."""
    found = _ADDRESS.fullmatch(address)
    return (found[1], found[2]) if found is not None else None


def place_of(address: str) -> Recordings:
    """Raises WrongUsageError."""
    from chaperone.store.interface import StoreMismatchError
    from chaperone.store.recordings import open_recordings

    try:
        return open_recordings(address)
    except StoreMismatchError as fault:
        raise WrongUsageError(f"--recordings: {visible(str(fault), 300)}") from fault


def seal_in(store: AuditStore, name: str) -> Seal:
    """Raises StoreUnavailableError."""
    from chaperone.core.recording.naming import named

    known = named(name)
    records = store.get(known.audit_id) if known is not None else ()
    return seal_of([found.record for found in records], name)


@contextmanager
def fetched(place: Recordings, name: str, seal: Seal | None) -> Iterator[Fetched]:
    """All of it, before anything is shown: what breaks off is never taken for the whole. Raises AbsentError, and
    FailedError when the place does not answer."""
    with tempfile.SpooledTemporaryFile(IN_MEMORY) as content:
        try:
            stored = place.stored(name)
            digest = hashlib.sha256()
            for chunk in stored.chunks:
                digest.update(chunk)
                content.write(chunk)
        except FileNotFoundError as fault:
            raise _absent(name, seal, fault) from fault
        except OSError as fault:
            said = fault.strerror or str(fault)
            raise FailedError(
                f"the recording {visible(name, 200)} cannot be read: {visible(said, 300)}"
            ) from fault
        content.seek(0)
        yield Fetched(content, stored.size, digest.hexdigest(), stored.is_sealed, seal)


def _absent(name: str, seal: Seal | None, fault: FileNotFoundError) -> AbsentError:
    if seal is None:
        return AbsentError(
            f"{visible(str(fault), 300)}: --store asks the audit for the reason", is_explained=False
        )
    explained = bool(seal.removed) or not seal.sha256
    return AbsentError(f"the recording {visible(name, 200)}: {absence(seal)}", is_explained=explained)
