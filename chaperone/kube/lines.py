"""Lines out of a byte stream, however it was cut."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator


async def split_lines(parts: AsyncIterable[bytes], limit: int) -> AsyncIterator[bytes]:
    """Every complete non-empty line without its line end. Raises ValueError for a line over `limit` bytes,
    and for
    one that the stream ends within: a cut event must not be taken for a whole one."""
    rest = bytearray()
    async for part in parts:
        start = len(rest)
        rest += part
        if part.find(b"\n") < 0 and len(rest) <= limit:
            continue
        begin = 0
        while (end := rest.find(b"\n", max(begin, start))) >= 0:
            if end - begin > limit:
                raise ValueError(f"a line is longer than {limit} bytes")
            if line := bytes(rest[begin:end]).strip():
                yield line
            begin = end + 1
        del rest[:begin]
        if len(rest) > limit:
            raise ValueError(f"a line is longer than {limit} bytes")
    if rest.strip():
        raise ValueError("the stream ended within a line")
