"""What stands in an answer where a secret was: made by a key, bound to object, place and value, found again in any text.

A placeholder is the marker and 24 characters of base32, always 31 characters, so that its length tells nothing: 5 bytes
of an HMAC-SHA256 over object and place, by which one of an older value is told from one of elsewhere, and 10 bytes of one
over object, place and value. Equal for one field that stays the same, different between objects and places: two
placeholders can never be compared to learn that two secrets are equal.
"""

from __future__ import annotations

import base64
import hmac
import re
from binascii import Error
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

MARKER = "masked-"
LENGTH = 31
"""Characters of a placeholder; 44 where it stands base64-encoded."""
MIN_KEY = 16
"""Bytes; a shorter key could be guessed."""

_PLACE_BYTES, _VALUE_BYTES = 5, 10
_PLACE_LENGTH = 8
"""Characters of the part that tells the place."""
_PLAIN = re.compile(r"masked-[a-z2-7]{24}")
_ENCODED_MARKER = "bWFza2Vk"
"""How base64 of a text that begins with "masked-" begins: the part that no later character changes."""
_ENCODED = re.compile(r"bWFza2VkL[A-Za-z0-9+/]{33}=?=?")
_WHOLE_ENCODED = 44


class Found(NamedTuple):
    """A placeholder in a text. encoded: it stands there as base64, as in the data of a Secret."""

    start: int
    end: int
    placeholder: str
    encoded: bool = False


@dataclass(frozen=True, slots=True)
class Mint:
    """Makes placeholders with one secret key, which every worker of a gateway shares."""

    key: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.key) < MIN_KEY:
            raise ValueError(f"the masking key has {len(self.key)} bytes; it needs at least {MIN_KEY}")

    def placeholder(self, uid: str, path_class: str, value: str | bytes) -> str:
        """uid: of the object. path_class: where in it (`chaperone.core.masking.place`). value: what it stands for."""
        place, exact = self._digest(uid, path_class), self._digest(uid, path_class, value)
        made = base64.b32encode(place[:_PLACE_BYTES] + exact[:_VALUE_BYTES])
        return MARKER + made.decode().lower()

    def is_of(self, placeholder: str, uid: str, path_class: str) -> bool:
        """Whether it stands for a value that this place of this object has, or had once."""
        place = base64.b32encode(self._digest(uid, path_class)[:_PLACE_BYTES]).decode().lower()
        begin = len(MARKER)
        return hmac.compare_digest(placeholder[begin : begin + _PLACE_LENGTH], place)

    def _digest(self, *parts: str | bytes) -> bytes:
        """Each part with its length before it, so that nothing moves from one to the next."""
        raw = [_bytes(part) for part in parts]
        message = b"".join([len(part).to_bytes(4, "big") + part for part in raw])
        return hmac.digest(self.key, message, "sha256")


def encoded(placeholder: str) -> str:
    """The placeholder as base64: what a client can decode where the API says bytes."""
    return base64.b64encode(placeholder.encode()).decode()


def is_placeholder(text: str) -> bool:
    """Whether a text is one placeholder and nothing else, plain or base64."""
    if len(text) == LENGTH:
        return _PLAIN.fullmatch(text) is not None
    return len(text) == _WHOLE_ENCODED and _decoded(text) is not None


def holds_placeholder(text: str) -> bool:
    """Whether a text holds a placeholder anywhere, plain or base64."""
    return next(find(text), None) is not None


def find(text: str) -> Iterator[Found]:
    """Every placeholder in a text, plain ones first, each kind from left to right."""
    if MARKER in text:
        for match in _PLAIN.finditer(text):
            yield Found(match.start(), match.end(), match[0])
    if _ENCODED_MARKER in text:
        for match in _ENCODED.finditer(text):
            placeholder = _decoded(match[0])
            if placeholder is not None:
                yield Found(match.start(), match.end(), placeholder, encoded=True)


def _decoded(text: str) -> str | None:
    try:
        plain = base64.b64decode(text + "=" * (-len(text) % 4), validate=True).decode()
    except (Error, UnicodeDecodeError):
        return None
    return plain if _PLAIN.fullmatch(plain) else None


def _bytes(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode(errors="surrogatepass")
