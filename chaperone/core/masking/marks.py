"""Parts of a line that are not shown, and the line without them. Escape sequences inside such a part are kept."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from chaperone.core.masking.terminal import ESCAPE, Plain, sequences, without_sequences


class Find(NamedTuple):
    """A secret in a text, [start, end) in characters, what found it and what stands for it."""

    start: int
    end: int
    rule: str
    placeholder: str


class Mark(NamedTuple):
    """The same in a line of bytes with its escape sequences. A line that was shown in part may have marks before 0."""

    start: int
    end: int
    rule: str
    placeholder: str

    def moved(self, offset: int) -> Mark:
        return self._replace(start=self.start + offset, end=self.end + offset)


def text_of(line: bytes) -> str:
    """A line as a detector reads it: without escape sequences; bytes that are no UTF-8 become lone surrogates."""
    return without_sequences(line).decode(errors="surrogateescape")


def marks(line: bytes, finds: Iterable[Find]) -> list[Mark]:
    """Where the finds in `text_of(line)` stand in the line; those that overlap are one, in the name of the longest."""
    plain = Plain(line)
    text = plain.text.decode(errors="surrogateescape")
    is_ascii = len(text) == len(plain.text)
    found: list[Mark] = []
    for find in sorted(finds, key=lambda find: (find.start, -find.end)):
        start, end = (
            (find.start, find.end) if is_ascii else (_size(text[: find.start]), _size(text[: find.end]))
        )
        if start < end:
            found.append(
                Mark(plain.raw_offset(start), plain.raw_offset(end - 1) + 1, find.rule, find.placeholder)
            )
    return united(found)


def united(found: Sequence[Mark]) -> list[Mark]:
    """Marks in their order, those that overlap as one."""
    out: list[Mark] = []
    for mark in found:
        if out and mark.start < out[-1].end:
            last = out[-1]
            longest = max(last, mark, key=lambda one: one.end - one.start)
            out[-1] = longest._replace(start=last.start, end=max(last.end, mark.end))
        else:
            out.append(mark)
    return out


def without(line: bytes, found: Sequence[Mark], start: int, end: int, *, keep_length: bool) -> bytes:
    """line[start:end] with its marks, which are in order and do not overlap, replaced."""
    parts: list[bytes] = []
    at = start
    for mark in found:
        first, last = max(mark.start, at), min(mark.end, end)
        if first < last:
            parts += [line[at:first], _hidden(line[first:last], mark, keep_length=keep_length)]
            at = last
    return b"".join([*parts, line[at:end]])


def _hidden(secret: bytes, mark: Mark, *, keep_length: bool) -> bytes:
    if not keep_length:
        return mark.placeholder.encode() + (b"".join(sequences(secret)) if ESCAPE in secret else b"")
    if ESCAPE not in secret:
        return b"*" * len(secret)
    return Plain(secret).starred()


def _size(text: str) -> int:
    return len(text.encode(errors="surrogateescape"))
