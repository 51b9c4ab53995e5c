"""Masking of a text that comes in pieces: logs, the output of a command, a file on its way through `kubectl cp`.

It works line by line (a NUL byte ends a line too), so that the result does not depend on where the pieces were cut; what
is clean is never split into lines. A line that does not end is shown in parts. While nothing comes, `idle` lets go what
cannot be the beginning of a secret.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Protocol

from chaperone.core.masking.key_block import KeyBlock, begins_key
from chaperone.core.masking.marks import Find, Mark, marks, text_of, united, without
from chaperone.core.masking.report import Report
from chaperone.core.masking.terminal import unfinished_at, without_sequences

WINDOW = 16_384
"""Bytes of a line that are looked at together."""
HOLD = 4_096
"""Bytes at the end of a window that stay behind: no credential without line breaks is longer."""
CONTEXT = 4_096
"""Bytes of the same line that were shown already and are still looked at."""
STRETCH = 8_192
"""Bytes of lines that are cleared together; where something is found, so many are looked at line by line."""
KEY_RULE = "private-key"

_LINES = re.compile(rb"[^\n\0]*[\n\0]+")
_SEPARATOR = re.compile(rb"[\s\"'`,|<>(){}\0]")
_LAST_TOKEN = re.compile(rb"[^\s\"'`,|<>(){}=\0]*\Z")
_HARMLESS = re.compile(rb".{0,3}|[a-z._/~-]+|[A-Z]?[a-z]+|[A-Z_]+|[0-9.:,%/-]+|.*[$#>%:?!~\]]", re.DOTALL)
"""Beginnings of a token that are shown while the rest is awaited: words, numbers, prompts."""
_PART_OF_CHARACTER = re.compile(rb"(?:[\xc0-\xff]|[\xe0-\xff][\x80-\xbf]|[\xf0-\xff][\x80-\xbf]{2})\Z")


class Finder(Protocol):
    """What a stream asks."""

    def finds(self, texts: Sequence[str]) -> list[tuple[int, Find]]:
        """The secrets in each text: (index of the text, find)."""

    def hits(self, raw: bytes) -> bool:
        """Whether lines of bytes may hold a secret; never False by mistake."""

    def begins(self, token: bytes) -> bool:
        """Whether a known value may begin like this."""

    def placeholder(self, value: str, rule: str) -> str:
        """What stands for a value that the stream itself found."""


class TextStream:
    """One direction of one stream. keep_length: a `*` for each byte instead of a placeholder.

    report: what was masked so far, by rule.
    """

    def __init__(self, finder: Finder, *, keep_length: bool = False) -> None:
        self.report = Report()
        self._finder = finder
        self._keep_length = keep_length
        self._held = b""
        self._context = b""
        self._is_in_secret = False
        self._key = KeyBlock()

    @property
    def held(self) -> int:
        """Bytes that are held back."""
        return len(self._held)

    def feed(self, piece: bytes) -> bytes:
        """The next piece; what may be shown of all that came so far."""
        buffer = self._held + piece if self._held else piece
        end = max(buffer.rfind(b"\n"), buffer.rfind(b"\0")) + 1
        out = self._lines(buffer[:end]) if end else b""
        shown, self._held = self._first_parts(buffer[end:])
        return out + shown

    def idle(self) -> bytes:
        """After silence: the part of the unfinished line that cannot be the beginning of a secret."""
        line = self._held
        if not line or self._is_in_secret or self._key.may_continue(without_sequences(self._context + line)):
            return b""
        found = self._marks(line)
        end = self._safe_end(line, found)
        self._held = line[end:]
        return self._shown(line, end, found)

    def flush(self) -> bytes:
        """At the end: everything that is left."""
        line, self._held = self._held, b""
        return self._last_part(line) if line else b""

    def _lines(self, block: bytes) -> bytes:
        """Whole lines with their ends, some at a time; of the first one a part may have been shown."""
        if self._context:
            end = _line_end(block, 0)
            return self._last_part(block[:end]) + self._lines(block[end:])
        if len(block) <= STRETCH:
            return self._stretch(block)
        return b"".join([self._stretch(stretch) for stretch in _stretches(block)])

    def _stretch(self, block: bytes) -> bytes:
        if self._key.is_inside or self._key.at_start or _has_long_line(block):
            return b"".join([self._line(line, finds) for line, finds in self._found(block)])
        plain = without_sequences(block).replace(b"\0", b"\n")
        may_begin_key = begins_key(plain)
        if not may_begin_key and not self._finder.hits(plain):
            return block
        return b"".join(
            [
                self._line(line, finds) if finds or may_begin_key else line
                for line, finds in self._found(block)
            ]
        )

    def _found(self, block: bytes) -> list[tuple[bytes, list[Find]]]:
        """Each line with what is found in it; nothing in one that is longer than a window."""
        lines = _lines(block)
        texts = [text if len(text) <= WINDOW else "" for text in _texts(block, lines)]
        found: dict[int, list[Find]] = {}
        for index, find in self._finder.finds(texts):
            found.setdefault(index, []).append(find)
        return [(line, found.get(index, [])) for index, line in enumerate(lines)]

    def _line(self, line: bytes, finds: list[Find]) -> bytes:
        end = _text_end(line)
        if end > WINDOW:
            return self._last_part(line)
        key = self._key_mark(line[:end])
        if not finds and key is None:
            return line
        found = [key] if key is not None else marks(line[:end], finds)
        return self._masked(line, found, len(line))

    def _key_mark(self, text: bytes) -> Mark | None:
        """The part of a line that belongs to a private key; it takes the place of all other finds."""
        if not (self._key.is_inside or self._key.at_start or begins_key(text)):
            return None
        plain = without_sequences(text)
        secret = self._key.secret(plain)
        if secret is None or secret[0] >= secret[1]:
            return None
        before, value = (
            part.decode(errors="surrogateescape") for part in (plain[: secret[0]], plain[slice(*secret)])
        )
        find = Find(
            len(before), len(before) + len(value), KEY_RULE, self._finder.placeholder(value, KEY_RULE)
        )
        return marks(text, [find])[0]

    # A line that is shown in parts: `context` is what was shown of it.

    def _first_parts(self, line: bytes) -> tuple[bytes, bytes]:
        """(what is shown of a line that has not ended, what is held): nothing is shown while it is short."""
        out = b""
        while len(line.rstrip(b"\r")) > WINDOW:
            window = line[:WINDOW]
            found = self._marks(window)
            end = self._cut(window, found)
            out += self._shown(window, end, found)
            line = line[end:]
        return out, line

    def _last_part(self, line: bytes) -> bytes:
        """The rest of a line with its end."""
        end = _text_end(line)
        out, text = self._first_parts(line[:end])
        key = self._key_mark(self._context + text)
        found = [key.moved(-len(self._context))] if key is not None else self._marks(text)
        out += self._shown(text, len(text), found)
        self._context, self._is_in_secret = b"", False
        return out + line[end:]

    def _marks(self, line: bytes) -> list[Mark]:
        """Marks in a part of a line, counted from its start."""
        before = len(self._context)
        whole = self._context + line
        finds = [find for _, find in self._finder.finds([text_of(whole)])]
        found = [mark.moved(-before) for mark in marks(whole, finds)] if finds else []
        if not self._is_in_secret:
            return found
        end = _SEPARATOR.search(line)
        return united(sorted([Mark(-1, end.start() if end else len(line), "", ""), *found]))

    def _cut(self, window: bytes, found: list[Mark]) -> int:
        """How much of a full window is shown: up to a token, and not into a secret unless it is endless."""
        separators = [match.end() for match in _SEPARATOR.finditer(window, WINDOW - HOLD)]
        end = separators[-1] if separators else WINDOW - HOLD
        inside = next((mark for mark in found if mark.start < end < mark.end), None)
        self._is_in_secret = inside is not None and inside.start <= 0
        return inside.start if inside is not None and inside.start > 0 else end

    def _safe_end(self, line: bytes, found: list[Mark]) -> int:
        """How much of an unfinished line cannot be the beginning of a secret."""
        whole = self._context + line
        end = min(len(line), unfinished_at(whole) - len(self._context))
        if partial := _PART_OF_CHARACTER.search(line[:end]):
            end = partial.start()
        token = _last_token(whole[: end + len(self._context)])
        if not _HARMLESS.fullmatch(token) or self._finder.begins(token):
            end -= len(token)
        if found and found[-1].end >= end:
            end = min(end, found[-1].start)
        return max(end, 0)

    def _shown(self, line: bytes, end: int, found: list[Mark]) -> bytes:
        """Show line[:end]; it is the context of what follows."""
        out = self._masked(line, found, end)
        self._context = (self._context + line[:end])[-CONTEXT:]
        return out

    def _masked(self, line: bytes, found: list[Mark], end: int) -> bytes:
        for mark in found:
            if mark.rule and mark.start < end and mark.end > 0:
                self.report.add(mark.rule)
        return without(line, found, 0, end, keep_length=self._keep_length)


def _text_end(line: bytes) -> int:
    """Where the end of a line begins."""
    return len(line.rstrip(b"\r\n\0"))


def _lines(block: bytes) -> list[bytes]:
    """Whole lines with their ends."""
    if b"\0" in block:
        return _LINES.findall(block)
    return [line + b"\n" for line in block.split(b"\n")[:-1]]


def _texts(block: bytes, lines: list[bytes]) -> list[str]:
    """The texts of the lines of a block, one for each."""
    if b"\0" in block:
        return [text_of(line[: _text_end(line)]) for line in lines]
    texts = text_of(block).split("\n")[:-1]
    return [text.rstrip("\r") for text in texts] if b"\r" in block else texts


def _line_end(block: bytes, start: int) -> int:
    """Where the line ends that holds the byte at start, its end included."""
    ends = [end for end in (block.find(b"\n", start), block.find(b"\0", start)) if end >= 0]
    return min(ends) + 1 if ends else len(block)


def _stretches(block: bytes) -> Iterator[bytes]:
    """Whole lines, about STRETCH bytes at a time."""
    start = 0
    while start < len(block):
        end = _line_end(block, min(start + STRETCH, len(block) - 1))
        yield block[start:end]
        start = end


def _has_long_line(block: bytes) -> bool:
    start = 0
    while len(block) - start > WINDOW:
        stop = start + WINDOW + 1
        end = max(block.rfind(b"\n", start, stop), block.rfind(b"\0", start, stop))
        if end < 0:
            return True
        start = end + 1
    return False


def _last_token(text: bytes) -> bytes:
    match = _LAST_TOKEN.search(without_sequences(text[-HOLD:]))
    return match[0] if match else b""
