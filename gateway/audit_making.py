"""Which audit log the settings ask for: the ledger, the chain's name, the key that signs."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable
from pathlib import Path

from chaperone.settings.gateway import AuditSettings
from chaperone.store.engine import is_sqlite, store_url
from chaperone.store.interface import Pruned, RecordWriter, StoreMismatchError
from chaperone.store.retention import prune
from chaperone.store.signing import KEY_FILE, Signer, load_signer, new_signer
from chaperone.store.writing import StoreWriter
from gateway.audit import AuditLog, AuditUnavailable
from gateway.audit_chain import CheckpointTerms, SignedChain
from gateway.audit_retention import Pruning
from gateway.audit_sinks import FileSink, StreamSink

STDOUT = 1


def audit_log(
    settings: AuditSettings, *, gateway: str, worker: int, shares: bool, on_failure: Callable[[], None]
) -> AuditLog:
    """gateway: names this one beside others on the same store. Raises AuditUnavailable."""
    name = writer_name(settings.writer or gateway, worker)
    try:
        ledger, signer = _ledger(settings, name, worker, shares=shares)
    except (OSError, StoreMismatchError, ValueError) as fault:
        raise AuditUnavailable(f"audit log cannot be opened: {fault}") from fault
    if isinstance(ledger, StreamSink):
        name = f"{name}-{secrets.token_hex(4)}"
    terms = CheckpointTerms(settings.checkpoint_records, settings.checkpoint_every)
    chain = SignedChain(name, signer, wall=time.time, clock=time.monotonic, terms=terms)
    return AuditLog(
        ledger,
        chain,
        queue=settings.queue,
        wait=settings.wait,
        on_failure=on_failure,
        pruning=_pruning(settings, signer) if settings.retention and not worker else None,
    )


def _pruning(settings: AuditSettings, signer: Signer) -> Pruning:
    url = store_url(settings.store)

    def remove() -> Pruned:
        now = time.time()
        return prune(url, now - settings.retention, signer, now=now)

    return Pruning(remove)


def writer_name(gateway: str, worker: int) -> str:
    """The same after a restart of this worker; a valid name whatever the host is called."""
    safe = re.sub(r"[^a-z0-9._-]+", "-", gateway.lower()).strip("._-")[:100] or "gateway"
    return f"{safe}-{worker}"


def audit_path(path: Path, worker: int, *, shares: bool) -> Path:
    """A file has one writer: several workers have several files."""
    return path.with_name(f"{path.stem}-{worker}{path.suffix}") if shares else path


def _ledger(settings: AuditSettings, name: str, worker: int, *, shares: bool) -> tuple[RecordWriter, Signer]:
    if settings.store:
        url = store_url(settings.store)
        beside = Path(str(url.database)).parent if is_sqlite(url) else Path()
        signer = load_signer(settings.signing_key or beside / KEY_FILE)
        return StoreWriter(url, name, (signer.name, signer.public)), signer
    if settings.path == "-":
        return StreamSink(STDOUT), load_signer(settings.signing_key) if settings.signing_key else new_signer()
    path = Path(settings.path)
    signer = load_signer(settings.signing_key or path.parent / KEY_FILE)
    return FileSink(audit_path(path, worker, shares=shares)), signer
