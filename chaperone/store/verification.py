"""Checking all chains of a source: a store, a file of JSON lines, or a folder of them. Changes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from chaperone.core.chain_check import ChainCheck, Kind, Verification
from chaperone.store import json_lines
from chaperone.store.engine import FILE
from chaperone.store.interface import StoreMismatchError
from chaperone.store.opening import Store, open_store
from chaperone.store.signing import public_keys, signature_check

SQLITE = b"SQLite format 3\0"


@dataclass(frozen=True, slots=True)
class Checked:
    """keys: names of those that were trusted; own: whether they were only the source's own word."""

    verification: Verification
    keys: tuple[str, ...]
    own: bool


def verify(
    source: str, *, trusted: Sequence[str] = (), kept: Iterable[Path] = (), excerpt: bool = False
) -> Checked:
    """trusted: public keys in PEM, those of the source itself when there are none; kept: files with checkpoints that were
    kept elsewhere; excerpt: chains may begin late. Raises StoreMismatchError, KeyFileError and OSError."""
    if "://" in source or is_store(Path(source)):
        store = open_store(source)
        try:
            check = _Check(trusted or store.public_keys(), kept, excerpt=excerpt)
            _store(store, check.chains)
        finally:
            store.close()
    else:
        path = Path(source)
        files = json_lines.files_of(path)
        if not files:
            raise StoreMismatchError(f"{path} holds neither a store nor files with audit records")
        check = _Check(trusted or json_lines.keys_beside(path), kept, excerpt=excerpt)
        for file in files:
            for line, where, cut in json_lines.lines_of(file):
                check.chains.line(line, where, cut=cut)
    return Checked(check.chains.result(), check.keys, own=not trusted)


def is_store(path: Path) -> bool:
    """Whether an SQLite store lies there, by its first bytes. Raises OSError."""
    file = path / FILE if path.is_dir() else path
    if not file.is_file():
        return False
    with file.open("rb") as opened:
        return opened.read(len(SQLITE)) == SQLITE


class _Check:
    def __init__(self, pems: Sequence[str], kept: Iterable[Path], *, excerpt: bool) -> None:
        keys = public_keys(pems)
        self.keys = tuple(sorted(keys))
        self.chains = ChainCheck(signature_check(keys), excerpt=excerpt)
        for path in kept:
            for line, where, _ in json_lines.lines_of(path):
                if line:
                    self.chains.expect(line, where)


def _store(store: Store, check: ChainCheck) -> None:
    """Records whose searched columns lie are faults too: a search would not find them."""
    for writer in store.writers():
        for line, where, disagreement in store.checked_lines(writer):
            sealed = check.line(line, where)
            if disagreement and sealed is not None:
                check.found(Kind.COLUMNS, sealed.link, where, disagreement)
