"""Detectors for the masking engine, their compiled patterns kept on disk: compiling takes seconds, reading a moment.

A file is used only when its digest is right, and its folder only when nobody else can write there: whoever could change
the compiled patterns could switch masking off. Whatever is wrong with the cache costs time, never a pattern.
"""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path

from chaperone.core.masking.detection import Detector, Together
from chaperone.core.masking.fallback_engine import KeywordDetector
from chaperone.core.masking.rule import Rule
from chaperone.core.masking.rules import built_in, of_policy

try:
    import hyperscan

    from chaperone.core.masking.hyperscan_engine import HyperscanDetector, compile_rules, expressions
except ImportError:  # no wheel for this processor: the fallback engine finds the same, more slowly
    HAS_HYPERSCAN = False
else:
    HAS_HYPERSCAN = True

MOST_FILES = 32
"""Compiled rule sets that stay in the folder; the oldest go first."""

_SUFFIX = ".hsdb"
_DIGEST_SIZE = 32
_OTHERS_MAY_WRITE = 0o022

logger = logging.getLogger(__name__)


def detector(folder: Path | None, patterns: Iterable[str] = (), keys: Iterable[str] = ()) -> Detector:
    """All built-in rules, and what a policy adds. folder: where compiled rules are kept; None: nowhere.

    Raises ValueError, naming the pattern, for one that cannot be used.
    """
    added = of_policy(patterns, keys)
    base = engine(built_in(), folder)
    return Together([base, engine(added, folder)]) if added else base


def engine(rules: Sequence[Rule], folder: Path | None) -> Detector:
    """The best engine of this machine for these rules."""
    if not HAS_HYPERSCAN:
        return KeywordDetector(rules)
    if kept := _kept(rules, folder):
        return kept
    try:
        compiled = compile_rules(rules)
    except ValueError as error:
        logger.warning("Hyperscan refuses the masking rules, the slower engine takes them: %s", error)
        return KeywordDetector(rules)
    if folder is not None:
        _keep(compiled, folder, file_name(rules))
    return HyperscanDetector(rules, compiled)


def file_name(rules: Sequence[Rule]) -> str:
    """One name for what exactly is compiled, and for one version of Hyperscan."""
    compiled = hashlib.sha256(b"\n".join(expressions(rules))).hexdigest()
    return f"{compiled[:32]}-{version('hyperscan')}{_SUFFIX}"


def _kept(rules: Sequence[Rule], folder: Path | None) -> Detector | None:
    if folder is None or not _is_ours_alone(folder):
        return None
    path = folder / file_name(rules)
    compiled = _read(path)
    if compiled is None:
        return None
    try:
        return HyperscanDetector(rules, compiled)
    except hyperscan.error as error:
        logger.warning(
            "%s does not load on this machine, the masking rules are compiled again: %s", path, error
        )
        return None


def _read(path: Path) -> bytes | None:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        logger.warning("compiled masking rules cannot be read, they are compiled again: %s", error)
        return None
    compiled = content[_DIGEST_SIZE:]
    if hashlib.sha256(compiled).digest() != content[:_DIGEST_SIZE]:
        logger.warning("%s is damaged, the masking rules are compiled again", path)
        return None
    return compiled


def _keep(compiled: bytes, folder: Path, name: str) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if _is_ours_alone(folder):
            _write(folder / name, hashlib.sha256(compiled).digest() + compiled)
            _drop_oldest(folder)
    except OSError as error:
        logger.warning(
            "compiled masking rules cannot be kept, the next start will compile them again: %s", error
        )


def _is_ours_alone(folder: Path) -> bool:
    try:
        found = folder.stat()
    except OSError:
        return False
    if found.st_uid == os.geteuid() and not found.st_mode & _OTHERS_MAY_WRITE:
        return True
    logger.warning(
        "%s may be written by others, compiled masking rules in it are not used: chmod 700 it", folder
    )
    return False


def _write(path: Path, content: bytes) -> None:
    """At once or not at all, readable by us alone (the mode of a temporary file)."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=_SUFFIX)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink()
        raise


def _drop_oldest(folder: Path) -> None:
    kept = sorted((path.stat().st_mtime, path) for path in folder.glob(f"[!.]*{_SUFFIX}"))
    for _, path in kept[:-MOST_FILES]:
        path.unlink(missing_ok=True)
