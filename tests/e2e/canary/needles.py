"""Looking for canaries in bytes: each whole, in halves, and in every form that a program may give it on its way."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus

import ahocorasick_rs

from tests.e2e.canary.values import Canary

HALF = 8
"""Bytes of a half that are worth looking for."""


class Needles:
    """Knows some canaries in all their forms."""

    def __init__(self, canaries: Iterable[Canary]) -> None:
        by_form: dict[bytes, tuple[Canary, str]] = {}
        for canary in canaries:
            for core in canary.cores:
                for form, what in forms(core):
                    by_form.setdefault(form, (canary, what))
        self._meanings = list(by_form.values())
        self._automaton = ahocorasick_rs.BytesAhoCorasick(list(by_form))

    def found(self, haystack: bytes) -> list[tuple[Canary, str]]:
        """Each canary in it, once, with the form of its first appearance."""
        first: dict[str, tuple[Canary, str]] = {}
        for index, _, _ in self._automaton.find_matches_as_indexes(haystack, overlapping=True):
            canary, form = self._meanings[index]
            first.setdefault(canary.name, (canary, form))
        return list(first.values())


def forms(core: str) -> Iterator[tuple[bytes, str]]:
    """Every byte string that would give this text away, with its name."""
    raw = core.encode()
    middle = max(HALF, len(raw) // 2)
    yield raw, "as it is"
    yield raw[:middle], "its first half"
    yield raw[-middle:], "its second half"
    yield raw[::-1], "backwards"
    yield json.dumps(core)[1:-1].encode(), "in JSON"
    yield _as_go_writes_json(core), "in JSON"
    yield raw.hex().encode(), "in hex"
    yield raw.hex().upper().encode(), "in hex"
    for safe in ("", "/", "-_.!~*'()"):
        yield quote(core, safe=safe).encode(), "in a URL"
    yield quote_plus(core).encode(), "in a URL"
    yield "\0".join(core).encode(), "in UTF-16"
    yield from ((form, "in base64") for form in base64_forms(raw))


def base64_forms(raw: bytes) -> Iterator[bytes]:
    """What is the same in base64 of any text that holds this one: at each of three offsets, in both alphabets; and twice
    encoded, as in a Secret that holds base64."""
    for offset in range(3):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            once = _stable(encode(b"\0" * offset + raw), offset, len(raw))
            yield once
            for second in range(3):
                yield _stable(base64.b64encode(b"\0" * second + once), second, len(once))


def _stable(encoded: bytes, offset: int, length: int) -> bytes:
    """Without the characters at both ends that depend on what stands beside it."""
    first = -(-offset * 8 // 6)
    last = (offset + length) * 8 // 6
    return encoded[first:last]


def _as_go_writes_json(core: str) -> bytes:
    text = json.dumps(core)[1:-1]
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text.encode()
