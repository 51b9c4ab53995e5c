"""The chain of audit records: each record is bound to the one before it by a hash over its exact stored bytes.

A sealed record is one line of JSON whose last field says where it stands, so the same bytes can be checked wherever they
are kept: `…,"chain":{"writer":W,"sequence":N,"previous":HEX,"hash":HEX}}`. The hash is SHA-256 over the hash before (32
bytes) and the line up to `,"hash"`. A checkpoint is a signed line that says how far a chain had come; whoever rewrites
records cannot rewrite it. Keys and clocks are the caller's.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from hashlib import sha256
from typing import Any, NamedTuple

import orjson

from chaperone.core.timestamp import rfc3339_micro

MAX_SEQUENCE = 1 << 40
MOST_KEPT = 10_000_000
WRITER = r"[a-z0-9][a-z0-9._-]{0,127}"
"""What a writer may be called: a stable name of one gateway's worker."""

_ORIGIN = b"kube-chaperone audit chain 1\n"
_WRITER = re.compile(WRITER)
_END = re.compile(
    rb',"chain":\{"writer":"(' + WRITER.encode() + rb')","sequence":([1-9]\d{0,12}),'
    rb'"previous":"([0-9a-f]{64})","hash":"([0-9a-f]{64})"\}\}'
)
_LONGEST_END = 400
_HASH_LENGTH = len(',"hash":""}}') + 64
_SIGNATURE = re.compile(rb',"signature":"([A-Za-z0-9+/=]{88})"\}')
_SIGNATURE_LENGTH = len(',"signature":""}') + 88
_CHECKPOINT = b'{"kind":"AuditCheckpoint",'


class Link(NamedTuple):
    """How far a chain has come. sequence: of its last record, 0 when it has none; hash: 32 bytes."""

    writer: str
    sequence: int
    hash: bytes


class Sealed(NamedTuple):
    """A record in its chain. link: the chain's end with this record; previous: the hash before; line: the exact bytes;
    record: as it was before it became a line, where that is still known."""

    link: Link
    previous: bytes
    line: bytes
    record: Mapping[str, Any] | None = None

    @property
    def is_intact(self) -> bool:
        """Whether its bytes still give the hash that it carries."""
        return sha256(self.previous + self.line[:-_HASH_LENGTH]).digest() == self.link.hash


def origin(writer: str) -> Link:
    """A chain before its first record. Raises ValueError for a name that a chain cannot have."""
    if not _WRITER.fullmatch(writer):
        raise ValueError(f"{writer!r} is no name for an audit writer: lower-case letters, digits, dot, dash")
    return Link(writer, 0, sha256(_ORIGIN + writer.encode()).digest())


def seal(after: Link, line: bytes, record: Mapping[str, Any] | None = None) -> Sealed:
    """The record (a JSON object in one line, not empty) as the next one of a chain. Raises ValueError."""
    writer, sequence, previous = after.writer, after.sequence + 1, after.hash
    if not line.endswith(b"}") or len(line) < 3 or sequence >= MAX_SEQUENCE:
        raise ValueError("this record cannot be put into a chain")
    place = f',"chain":{{"writer":"{writer}","sequence":{sequence},"previous":"{previous.hex()}"'
    payload = line[:-1] + place.encode()
    digest = sha256(previous + payload)
    stored = b'%b,"hash":"%b"}}' % (payload, digest.hexdigest().encode())
    return Sealed(Link(writer, sequence, digest.digest()), previous, stored, record)


def read_sealed(line: bytes) -> Sealed | None:
    """A stored line as what it claims to be; None when it is no sealed record. `is_intact` is not asked."""
    found = _END.search(line, max(0, len(line) - _LONGEST_END))
    if found is None or found.end() != len(line):
        return None
    writer, sequence, previous, digest = found.groups()
    link = Link(writer.decode(), int(sequence), bytes.fromhex(digest.decode()))
    return Sealed(link, bytes.fromhex(previous.decode()), line)


class Reason(Enum):
    """Why a checkpoint was written. ROTATE: at the head of a new file; PRUNE: what was before it has been removed."""

    INTERVAL = "Interval"
    CLOSE = "Close"
    ROTATE = "Rotate"
    PRUNE = "Prune"


@dataclass(frozen=True, slots=True)
class Kept:
    """What was kept of the records that a pruning removed (legal hold): sequences, and a digest over their hashes."""

    sequences: tuple[int, ...]
    digest: bytes


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A signed statement that a chain had come to `link`. time: RFC 3339; payload: what is signed; key: who signed."""

    link: Link
    time: str
    reason: Reason
    kept: Kept
    key: str
    payload: bytes
    signature: bytes


NOTHING_KEPT = Kept((), sha256(b"").digest())


def keep(links: Iterable[Link]) -> Kept:
    """The records of these links, in order."""
    digest, sequences = sha256(b""), []
    for link in links:
        digest.update(link.hash)
        sequences.append(link.sequence)
    return Kept(tuple(sequences), digest.digest())


def checkpoint_payload(link: Link, now: float, reason: Reason, key: str, kept: Kept = NOTHING_KEPT) -> bytes:
    """What is to be signed. now: Unix seconds; key: the name of the signing key."""
    fields: dict[str, object] = {
        "kind": "AuditCheckpoint",
        "apiVersion": "chaperone.dev/v1alpha1",
        "writer": link.writer,
        "sequence": link.sequence,
        "hash": link.hash.hex(),
        "time": rfc3339_micro(now),
        "reason": reason.value,
        "key": key,
    }
    if reason is Reason.PRUNE:
        fields["kept"] = {"sequences": _ranges(kept.sequences), "digest": kept.digest.hex()}
    return orjson.dumps(fields)[:-1]


def checkpoint_line(payload: bytes, signature: bytes) -> bytes:
    """The checkpoint as it is stored. signature: 64 bytes of Ed25519."""
    return payload + b',"signature":"' + base64.b64encode(signature) + b'"}'


def read_checkpoint(line: bytes) -> Checkpoint | None:
    """A stored line as the checkpoint that it claims to be; None when it is none. The signature is not checked."""
    if not line.startswith(_CHECKPOINT):
        return None
    payload, end = line[:-_SIGNATURE_LENGTH], line[-_SIGNATURE_LENGTH:]
    found = _SIGNATURE.fullmatch(end)
    if found is None:
        return None
    try:
        return _checkpoint(payload, orjson.loads(payload + b"}"), base64.b64decode(found[1], validate=True))
    except (ValueError, KeyError, TypeError):
        return None


def _checkpoint(payload: bytes, fields: dict[str, object], signature: bytes) -> Checkpoint:
    writer, sequence = fields["writer"], fields["sequence"]
    kept = fields.get("kept")
    if not isinstance(writer, str) or not isinstance(sequence, int) or not _WRITER.fullmatch(writer):
        raise ValueError("writer and sequence")
    return Checkpoint(
        Link(writer, sequence, bytes.fromhex(str(fields["hash"]))),
        str(fields["time"]),
        Reason(fields["reason"]),
        _kept(kept) if isinstance(kept, dict) else NOTHING_KEPT,
        str(fields["key"]),
        payload,
        signature,
    )


def _kept(fields: dict[str, object]) -> Kept:
    return Kept(_sequences(str(fields["sequences"])), bytes.fromhex(str(fields["digest"])))


def _ranges(sequences: tuple[int, ...]) -> str:
    """ "1-3,7" of 1, 2, 3, 7."""
    ranges: list[list[int]] = []
    for number in sequences:
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return ",".join(f"{first}-{last}" if last > first else str(first) for first, last in ranges)


def _sequences(ranges: str) -> tuple[int, ...]:
    """Raises ValueError, also for more than a pruning can have kept: anybody may have written this."""
    found: list[int] = []
    for part in ranges.split(",") if ranges else ():
        first, _, last = part.partition("-")
        new = range(int(first), int(last or first) + 1)
        if len(found) + len(new) > MOST_KEPT:
            raise ValueError("more records than a pruning keeps")
        found.extend(new)
    return tuple(found)
