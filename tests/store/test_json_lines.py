"""Verification over files of JSON lines, rotated ones too, and the signing key's file."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from chaperone.core.chain import Link, Reason, Sealed, origin, seal
from chaperone.core.chain_check import Kind
from chaperone.store import json_lines
from chaperone.store.interface import StoreMismatchError
from chaperone.store.signing import KeyFileError, load_signer, new_signer, public_keys, signer_of
from chaperone.store.verification import verify


def chain(count: int, start: Link | None = None) -> list[Sealed]:
    link, found = start or origin("gw-0"), []
    for number in range(count):
        found.append(seal(link, b'{"id":%d}' % number))
        link = found[-1].link
    return found


def write(path: Path, *lines: bytes, rest: bytes = b"") -> Path:
    path.write_bytes(b"".join([line + b"\n" for line in lines]) + rest)
    return path


def test_rotated_files_are_read_in_the_order_of_their_chain(tmp_path: Path) -> None:
    signer = load_signer(tmp_path / "audit.key")
    records = chain(9)
    head = signer.checkpoint(records[5].link, 1.0, Reason.ROTATE)
    write(tmp_path / "audit.jsonl", head, *(record.line for record in records[6:]))
    write(tmp_path / "audit.jsonl.1", *(record.line for record in records[3:6]))
    write(tmp_path / "audit.jsonl.2", *(record.line for record in records[:3]))
    (tmp_path / "notes.txt").write_text("nothing of ours")
    result = verify(str(tmp_path))
    assert result.verification.is_good
    assert result.keys == (signer.name,)
    (tmp_path / "audit.jsonl.1").unlink()
    faults = [(fault.kind, fault.sequence) for fault in verify(str(tmp_path)).verification.faults]
    assert faults == [(Kind.TRUNCATED, 4)]


def test_half_a_last_line_is_no_fault_and_in_the_middle_it_is(tmp_path: Path) -> None:
    records = chain(3)
    path = write(tmp_path / "a.jsonl", records[0].line, records[1].line, rest=records[2].line[:30])
    found = verify(str(path)).verification
    assert found.is_good
    assert [finding.kind for finding in found.findings] == [Kind.HALF_WRITTEN]
    assert found.findings[0].where == "a.jsonl:3"
    write(path, records[0].line, records[1].line[:30], records[2].line)
    assert not verify(str(path)).verification.is_good


def test_a_line_without_end_is_read_in_pieces_and_only_its_head_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_lines, "LONGEST", 1000)
    records = chain(3)
    path = write(tmp_path / "a.jsonl", records[0].line, b"x" * 5000, *(record.line for record in records[1:]))
    (fault,) = verify(str(path)).verification.faults
    assert (fault.kind, fault.where) == (Kind.NO_RECORD, "a.jsonl:2")
    write(path, *(record.line for record in records), rest=b"x" * 2000)
    assert [finding.kind for finding in verify(str(path)).verification.findings] == [Kind.HALF_WRITTEN]


def test_checkpoints_that_were_kept_elsewhere_find_a_tail_that_is_gone(tmp_path: Path) -> None:
    signer, records = new_signer(), chain(5)
    kept = write(tmp_path / "kept", signer.checkpoint(records[-1].link, 1.0, Reason.INTERVAL), b"")
    path = write(tmp_path / "a.jsonl", *(record.line for record in records[:3]))
    found = verify(str(path), trusted=[signer.public], kept=[kept]).verification
    assert [(fault.kind, fault.sequence) for fault in found.faults] == [(Kind.TRUNCATED, 4)]


def test_a_folder_without_records_is_no_source(tmp_path: Path) -> None:
    with pytest.raises(StoreMismatchError, match="neither a store nor files"):
        verify(str(tmp_path))
    with pytest.raises(OSError, match="none"):
        verify(str(tmp_path / "none"))


def test_the_key_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "new" / "audit.key"
    first, second = load_signer(path), load_signer(path)
    assert first.name == second.name
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(public_keys([(path.parent / "audit.key.pub").read_text()])) == [first.name]
    assert sorted(file.name for file in path.parent.iterdir()) == ["audit.key", "audit.key.pub"]


@pytest.mark.parametrize(
    "content", [b"", b"rubbish", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"]
)
def test_a_file_that_is_no_key_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "audit.key"
    path.write_bytes(content)
    with pytest.raises(KeyFileError, match=r"audit\.key"):
        load_signer(path)


def test_only_ed25519_signs() -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    private = ec.generate_private_key(ec.SECP256R1())
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with pytest.raises(KeyFileError, match="Ed25519"):
        signer_of(pem)
    public = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    with pytest.raises(KeyFileError, match="Ed25519"):
        public_keys([public.decode()])
    with pytest.raises(KeyFileError, match="PEM"):
        public_keys(["rubbish"])
