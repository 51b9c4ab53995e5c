"""A packed set of Kubernetes binaries beside a SHA256SUMS file."""

import hashlib
import lzma
import re
import shutil
import tarfile
from pathlib import Path

from hack.cluster.errors import ClusterError

SUMS = "SHA256SUMS"


def sha256_of(path: Path) -> str:
    """The file's SHA-256 in lower-case hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def verify(path: Path) -> None:
    """Compare with the SHA256SUMS beside it. Raises ClusterError if that is missing, silent or different."""
    expected = _expected(path)
    actual = sha256_of(path)
    if actual != expected:
        raise ClusterError(
            f"{path} has SHA-256 {actual} where {SUMS} says {expected}: delete it and fetch it again"
        )


def unpack(path: Path, folder: Path) -> None:
    """Unpack a verified archive of programs. Raises ClusterError when it holds anything but plain files."""
    verify(path)
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                _unpack_program(archive, member, folder)
    except (tarfile.TarError, OSError, EOFError, lzma.LZMAError) as error:
        raise ClusterError(
            f"cannot unpack {path}: {error}; free some disk space or fetch it again"
        ) from error


def _unpack_program(archive: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    """By hand, because Python knows extraction filters only since 3.11.4."""
    content = archive.extractfile(member) if member.isreg() else None
    if content is None or not re.fullmatch(r"(\./)?[\w-]+", member.name):
        raise ClusterError(f"the archive has {member.name!r}, which is no program: fetch it again")
    target = folder / member.name
    with target.open("wb") as stream:
        shutil.copyfileobj(content, stream, 1 << 20)
    target.chmod(0o755)


def _expected(path: Path) -> str:
    sums = path.with_name(SUMS)
    if not sums.exists():
        raise ClusterError(f"{path} has no {SUMS} beside it to check it against: add one with sha256sum")
    for line in sums.read_text().splitlines():
        digest, _, name = line.strip().partition(" ")
        if name.strip().removeprefix("*") == path.name:
            return digest.lower()
    raise ClusterError(f"{sums} does not list {path.name}: add its line with sha256sum, or remove the file")
