"""What a recorded terminal may do to the terminal of whoever replays it, and the same as plain text.

Pictures, not power: moving the cursor, colours and the like are kept. Whatever makes a terminal answer, set its
title, read or write the clipboard, or talk to its host is left out: the answer would be typed into the viewer's shell.
"""

from __future__ import annotations

import re

_BEGIN = rb"(?:\x1b[P\]X^_]|\xc2[\x90\x98\x9d-\x9f])"
_BODY = rb"(?:[^\x07\x18\x1a\x1b\xc2]|\xc2(?!\x9c))*"
_STRING = _BEGIN + _BODY + rb"(?:\x07|\x18|\x1a|\x1b\\|\xc2\x9c|(?=\x1b)|\Z)"
"""DCS, SOS, OSC, PM and APC, up to their end, or to the escape that breaks them off."""
_CSI = rb"(?:\x1b\[|\xc2\x9b)([0-?]*)([ -/]*)([@-~])"
_OTHER = rb"\x1b(?:[ -/]+[0-~]|[0-OQ-WYZ\\`-~]|\Z)"
_BROKEN = rb"\x1b\[?[0-?]*[ -/]*|\xc2[\x80-\x9f]"
_ESCAPE = re.compile(b"|".join((_STRING, _CSI, _OTHER, _BROKEN)), re.DOTALL)
_HARMLESS_FINALS = frozenset(b"@ABCDEFGHIJKLMPSTXZ`abdefghlmrsu")
"""Of CSI sequences: cursor, erase, insert, scroll, modes, colours, margins. Not c, n, t, q, p, x, i: reports, window,
keys, printing."""
_HARMLESS_ESCAPES = frozenset(
    (b"\x1b7", b"\x1b8", b"\x1b=", b"\x1b>", b"\x1bD", b"\x1bE", b"\x1bM", b"\x1bH")
)
_CHARSETS = re.compile(rb"\x1b[()*+][0-9A-Za-z]")
_SILENT = bytes(code for code in range(32) if code not in b"\t\n\r\b\x1b\x0b\x0c\x0e\x0f") + b"\x7f"


class Cleaner:
    """Keeps the beginning of an escape that the next event may end."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> bytes:
        """What may be played on a terminal."""
        data, self._rest = self._rest + data, b""
        begun = unfinished(data)
        if begun is not None:
            data, self._rest = data[:begun], data[begun:]
        return _ESCAPE.sub(_kept, data).translate(None, _SILENT)


LONGEST_ESCAPE = 4096
_TAIL = re.compile(
    rb"(?:\x1b(?:\[[0-?]*[ -/]*|[ -/]*)|\xc2(?:\x9b[0-?]*[ -/]*)?|" + _BEGIN + _BODY + rb"(?:\x1b|\xc2)?)\Z",
    re.DOTALL,
)


def unfinished(data: bytes) -> int | None:
    """Where an escape begins that does not end in this text; None: nowhere, or further back than any honest one."""
    found = _TAIL.search(data, max(0, len(data) - LONGEST_ESCAPE))
    return found.start() if found else None


def _kept(found: re.Match[bytes]) -> bytes:
    whole, final = found.group(), found.group(3)
    if final is not None:
        plain = not found.group(2) and final[0] in _HARMLESS_FINALS
        return whole if plain else b""
    if whole in _HARMLESS_ESCAPES or _CHARSETS.fullmatch(whole):
        return whole
    return b""


def plain_text(data: bytes) -> str:
    """Without any escape: lines of visible text, for pipes and files."""
    bare = _ESCAPE.sub(b"", data).translate(None, _SILENT + b"\x0b\x0c\x0e\x0f\x1b")
    return bare.decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n")
