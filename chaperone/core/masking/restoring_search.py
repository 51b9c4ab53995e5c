"""Placeholders in what an agent sends, in every form in which they may come back.

One fast look at the bytes says that there is none (`may_hold`); only then is a body read to the bottom: plain text, a
part of a text, base64 at any offset, and gzip inside of it, as in the releases of Helm. Finding and replacing are one
traversal (`rewrite`), so that nothing can be found that is not replaced, nor the other way round.
"""

from __future__ import annotations

import base64
import gzip
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import orjson
from ahocorasick_rs import BytesAhoCorasick, MatchKind

from chaperone.core.masking.place import Path
from chaperone.core.masking.placeholder import MARKER

MOST_LAYERS = 6
"""Encodings inside each other that are opened; Helm has four."""
MOST_UNPACKED = 16 * 1024 * 1024
"""Bytes that one gzip may unpack to."""

Swap = Callable[[str], bytes | None]
"""What stands for a placeholder; None: it stays."""
Document = Callable[[bytes], bytes | None]
"""A text that is a document, with its strings rewritten one by one as its format writes them; None: it is none."""

PLAIN = re.compile(rb"masked-[a-z2-7]{24}")
_GZIP = b"\x1f\x8b\x08"
_RUN = re.compile(rb"[A-Za-z0-9+/]{8,}={0,2}")
_WRAPPED = re.compile(rb"(?:[A-Za-z0-9+/]+[\r\n]+)+[A-Za-z0-9+/]*={0,2}[\r\n]*")
_BREAKS = re.compile(rb"[\r\n]+")


class UnopenableError(Exception):
    """An encoding that may hold a placeholder and cannot be opened within the limits."""


def fixed_part(head: bytes, phase: int) -> bytes:
    """The characters of base64 that a text which holds `head` after `phase` bytes (mod 3) has in any case."""
    first, last = -(-phase * 8 // 6), (phase + len(head)) * 8 // 6
    return base64.b64encode(b"\0" * phase + head)[first:last]


_ONCE = tuple(fixed_part(MARKER.encode(), phase) for phase in range(3))
_TWICE = tuple(fixed_part(once, phase) for once in _ONCE for phase in range(3))
_PACKED = (fixed_part(_GZIP, 0), fixed_part(fixed_part(_GZIP, 0), 0))
NEEDLES = [MARKER.encode(), *_ONCE, *_TWICE, *_PACKED]
"""One of these stands in every body that holds a placeholder, but where a writer of JSON or YAML spells letters out."""
_SPELLED_OUT = b"\\u00"
"""Any character that a placeholder is made of can be written so in JSON."""
_NEEDLES = BytesAhoCorasick(NEEDLES, matchkind=MatchKind.LeftmostFirst)
_SEARCH = BytesAhoCorasick([*NEEDLES, _SPELLED_OUT], matchkind=MatchKind.LeftmostFirst)
"""Of leftmost matches alone it looks with vector instructions: a microsecond for ten kilobytes."""
_BROKEN = BytesAhoCorasick([rb"\n", rb"\r", rb"\/"], matchkind=MatchKind.LeftmostFirst)
"""Escapes that stand between characters of base64, or for one: its readers skip line ends."""
_ENCODED = BytesAhoCorasick([*_ONCE, *_TWICE, *_PACKED], matchkind=MatchKind.LeftmostFirst)


def may_hold(body: bytes) -> bool:
    """Whether a body has to be read to the bottom. False is certain for JSON and for binary formats; a YAML document
    has more ways to write a text, and is to be read in any case."""
    if _SEARCH.find_matches_as_indexes(body):
        return True
    if b"\\" not in body or not _BROKEN.find_matches_as_indexes(body):
        return False
    joined = body.replace(rb"\r", b"").replace(rb"\n", b"").replace(rb"\/", b"/")
    return bool(_SEARCH.find_matches_as_indexes(joined))


def placeholders(text: str | bytes) -> list[str]:
    """Every placeholder in one text, in all its forms. Raises UnopenableError."""
    found: list[str] = []

    def note(placeholder: str) -> None:
        found.append(placeholder)

    rewrite(text if isinstance(text, bytes) else text.encode(errors="surrogatepass"), note)
    return found


def strings(document: Any) -> Iterator[tuple[Path, str, bool]]:
    """Every string of a decoded document, in its order: (path, text, whether it is the key at the end of the path)."""
    stack: list[tuple[Path, Any, bool]] = [((), document, False)]
    while stack:
        path, value, is_key = stack.pop()
        if isinstance(value, str):
            yield path, value, is_key
        elif isinstance(value, dict):
            for key in reversed(value):
                below = (*path, key)
                stack.append((below, value[key], False))
                stack.append((below, key, True))
        elif isinstance(value, list):
            stack += [((*path, index), value[index], False) for index in range(len(value) - 1, -1, -1)]


def copied(value: Any) -> Any:
    """A copy of decoded JSON, many times faster than copy.deepcopy."""
    if isinstance(value, dict):
        return {key: copied(child) for key, child in value.items()}
    return [copied(child) for child in value] if isinstance(value, list) else value


@dataclass(frozen=True, slots=True)
class _Rewriting:
    swap: Swap
    document: Document
    layers: int

    @property
    def inside(self) -> _Rewriting:
        """For what is one layer further inside. Raises UnopenableError."""
        if self.layers == 0:
            raise UnopenableError
        return replace(self, layers=self.layers - 1)


def no_document(_raw: bytes) -> bytes | None:
    """Every text is taken as it is."""
    return None


def rewrite(raw: bytes, swap: Swap, layers: int = MOST_LAYERS, *, document: Document = no_document) -> bytes:
    """The text with each placeholder replaced by what `swap` says, whatever it is wrapped in; the same object where
    nothing was. Raises UnopenableError."""
    if not _NEEDLES.find_matches_as_indexes(raw) and b"\n" not in raw and b"\r" not in raw:
        return raw
    return _rewritten(raw, _Rewriting(swap, document, layers))


def _rewritten(raw: bytes, how: _Rewriting) -> bytes:
    changed = _rewritten_gzip(raw, how) if raw.startswith(_GZIP) else raw
    if changed is not raw:
        return changed
    if MARKER.encode() in raw:
        changed = how.document(raw) or raw
        fit = _json_text if is_json(changed) else _as_it_is
        changed = PLAIN.sub(lambda match: _swapped(match[0], how.swap, fit), changed)
    if _is_encoded(changed):
        changed = _rewritten_base64(changed, how)
    return raw if changed == raw else changed


def is_json(raw: bytes) -> bool:
    """Whether a text is a JSON document: what is put into one has to be escaped."""
    if raw.lstrip()[:1] not in (b"{", b"["):
        return False
    try:
        orjson.loads(raw)
    except orjson.JSONDecodeError:
        return False
    return True


def _swapped(placeholder: bytes, swap: Swap, fit: Callable[[bytes], bytes]) -> bytes:
    value = swap(placeholder.decode())
    return placeholder if value is None else fit(value)


def _as_it_is(value: bytes) -> bytes:
    return value


def _json_text(value: bytes) -> bytes:
    """As it stands between the quotes of a JSON string; what is no text stays, and is found out by its reader."""
    try:
        return orjson.dumps(value.decode())[1:-1]
    except UnicodeDecodeError:
        return value


# Wrappings


def _is_encoded(raw: bytes) -> bool:
    if _ENCODED.find_matches_as_indexes(raw):
        return True
    return _WRAPPED.fullmatch(raw) is not None and bool(
        _ENCODED.find_matches_as_indexes(_BREAKS.sub(b"", raw))
    )


def _rewritten_gzip(raw: bytes, how: _Rewriting) -> bytes:
    unpacking = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        plain = unpacking.decompress(raw, MOST_UNPACKED)
    except zlib.error:
        return raw
    if unpacking.unconsumed_tail:
        raise UnopenableError
    changed = _rewritten(plain, how.inside)
    if changed is plain:
        return raw
    if unpacking.unused_data or not unpacking.eof:
        raise UnopenableError
    return gzip.compress(changed, mtime=0)


def _rewritten_base64(raw: bytes, how: _Rewriting) -> bytes:
    """Each run of base64 characters; a text that is nothing but base64 may be broken into lines."""
    joined = _BREAKS.sub(b"", raw) if _WRAPPED.fullmatch(raw) else raw
    changed = _RUN.sub(lambda match: _rewritten_run(match[0], how), joined)
    return raw if changed == joined else changed


def _rewritten_run(run: bytes, how: _Rewriting) -> bytes:
    """Where a run is a part of a longer text, the base64 may begin up to three characters later."""
    bare = run.rstrip(b"=")
    for skipped in range(4):
        end = len(bare) - (len(bare) - skipped) % 4 if (len(bare) - skipped) % 4 == 1 else len(bare)
        encoded = bare[skipped:end]
        plain = base64.b64decode(encoded + b"=" * (-len(encoded) % 4))
        if not _is_worth(plain):
            continue
        changed = _rewritten(plain, how.inside)
        if changed is not plain:
            again = base64.b64encode(changed)
            padded = len(bare) < len(run) or len(encoded) % 4 == 0
            return bare[:skipped] + (again if padded else again.rstrip(b"=")) + bare[end:]
    return run


def _is_worth(plain: bytes) -> bool:
    return plain.startswith(_GZIP) or MARKER.encode() in plain or _is_encoded(plain)
