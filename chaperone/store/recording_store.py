"""What a store of recordings is asked for and what it answers, whether it is a folder or an object store."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from chaperone.core.recording.naming import RecordingName, day_of, named
from chaperone.core.recording.reading import LONGEST_LINE, Reading, UnreadableError
from chaperone.store.recording_sink import RecordingSink

PART = ".part"
"""Behind the name of a recording that is still being written."""
RECENT = 8
"""Days back in which is looked again and again for what was cut off; whatever is older is looked for once."""
BLOCK = 1 << 20
"""Bytes that are read at a time."""


@dataclass(frozen=True, slots=True)
class Recording:
    """A sealed recording. modified: Unix seconds, when it was sealed."""

    name: RecordingName
    size: int
    modified: float


@dataclass(frozen=True, slots=True)
class Stored:
    """A recording, to be read once. size: bytes. is_sealed: False while it is written; then there may be more of it
    soon. chunks: its bytes, bounded pieces of them; raises OSError, also when fewer come than `size`."""

    size: int
    is_sealed: bool
    chunks: Iterator[bytes]


@dataclass(frozen=True, slots=True)
class Cut:
    """A recording whose end is missing, sealed. length: bytes. sha256: hexadecimal. about: what its header says
    (core.recording.scene.Scene.described)."""

    name: str
    audit_id: str
    length: int
    sha256: str
    about: Mapping[str, Any]


class Recordings(RecordingSink, Protocol):
    """All methods raise OSError; FileNotFoundError for what is not there, or is no name of a recording. Safe for
    threads."""

    def stored(self, name: str) -> Stored:
        """A sealed recording, or what there is of one that is still written."""
        ...

    def days(self) -> Iterator[str]:
        """Days that have recordings (`2026/11/23`), the oldest first."""
        ...

    def sealed(self, day: str) -> Iterator[Recording]:
        """Of one day, by name; none that is still written, and nothing that is no recording."""
        ...

    def remove(self, names: Sequence[str]) -> None:
        """Sealed ones. Those that are not there any more are passed over."""
        ...

    def cut_off(self, now: float) -> Iterator[Cut]:
        """Seal what nobody writes any more, up to its last whole line. now: Unix seconds. Looks at everything when it is
        called first, later at the streams that began lately."""
        ...


def recent_days(now: float) -> list[str]:
    """The oldest first; tomorrow too, for clocks that are ahead. now: Unix seconds."""
    return [day_of(now + 86_400 * offset) for offset in range(-RECENT, 2)]


def checked(name: str) -> RecordingName:
    """Raises FileNotFoundError for what no recording is called: such a name is not looked for."""
    found = named(name)
    if found is None:
        raise FileNotFoundError(f"no recording is called {name[:200]!r}")
    return found


def counted(chunks: Iterable[bytes], size: int, name: str) -> Iterator[bytes]:
    """No more than `size` bytes; raises OSError when there are fewer."""
    left = size
    for chunk in chunks:
        yield chunk[:left]
        left -= min(left, len(chunk))
        if not left:
            return
    if left:
        raise OSError(f"the recording {name} ended {left} bytes early while it was read")


def lines_of(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Lines with their ends; one that is too long for any recording comes in parts."""
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        yield from (line + b"\n" for line in whole)
        while len(rest) > LONGEST_LINE:
            yield rest[: LONGEST_LINE + 1]
            rest = rest[LONGEST_LINE + 1 :]
    if rest:
        yield rest


def about_of(first_line: bytes) -> Mapping[str, Any] | None:
    """What a recording's header says; None where it is none."""
    try:
        return Reading(iter([first_line])).opening.about
    except UnreadableError:
        return None


def digest_of(chunks: Iterable[bytes]) -> tuple[int, str]:
    """(length, SHA-256 in hexadecimal)."""
    digest, size = hashlib.sha256(), 0
    for chunk in chunks:
        digest.update(chunk)
        size += len(chunk)
    return size, digest.hexdigest()
