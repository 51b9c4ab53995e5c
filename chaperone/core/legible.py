"""Text from strangers, made safe to show: in a terminal, a log line, a message, a chat.

It shows what is there: what a reader could not see, or what would move a cursor, turns into its escape. It
is no HTML or Markdown escape (whoever renders these does that) and it hides no secret.
"""

from __future__ import annotations

_UNSEEN = frozenset(
    [
        chr(code) for code in (0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0)
    ]  # fillers, joiners
    + [
        chr(code) for code in (*range(0x180B, 0x1810), *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))
    ]  # selectors
)
"""Characters that draw nothing although `str.isprintable` calls them printable."""

_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def visible(text: str, limit: int = 0) -> str:
    """The text with every unseen character written as its escape: `\\n`, `\\x1b`, `\\u202e`, `\\U000e0041`.

    limit: longest result in characters, the last of them "…" when something was cut; 0: no limit.
    """
    if limit:
        text = text[: limit + 1]
    if not is_visible(text):
        text = text.translate({ord(character): _escaped(character) for character in _unseen(text)})
    return f"{text[: limit - 1]}…" if limit and len(text) > limit else text


def is_visible(text: str) -> bool:
    """True when a reader sees all of it: no control, format, private, unassigned or blank character but the
    space.
    """
    return text.isprintable() and (text.isascii() or _UNSEEN.isdisjoint(text))


def json_line(line: bytes) -> bytes:
    """One line of JSON (UTF-8, as orjson writes it) with unseen characters as JSON escapes: its value stays
    the same.
    """
    if line.isascii() and b"\x7f" not in line:
        return line
    text = line.decode()
    if is_visible(text):
        return line
    return text.translate({ord(character): _json_escaped(character) for character in _unseen(text)}).encode()


def _unseen(text: str) -> list[str]:
    """Each once: a text may have hundreds of thousands of characters, and few different ones."""
    return [character for character in set(text) if not is_visible(character)]


def _escaped(character: str) -> str:
    code = ord(character)
    if code <= 0xFF:
        return _SHORT.get(character, f"\\x{code:02x}")
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def _json_escaped(character: str) -> str:
    units = character.encode("utf-16-be").hex()
    return "".join([f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4)])
