"""The agent's eyes, within bounds: so many requests, so many at once, and until a moment. Nothing here raises but what
is not expected at all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any
from urllib.parse import quote, urlencode

import orjson

from gateway.http.upstream import UpstreamError
from gateway.services import Fetched, Gather

MOST_BYTES = 2 * 1024 * 1024
"""Of one answer."""


@dataclass(frozen=True, slots=True)
class PreviewLimits:
    """seconds: for the whole preview. calls: requests to the API server. at_once: of these at the same time."""

    seconds: float = 3.0
    calls: int = 12
    at_once: int = 4


LIMITS = PreviewLimits()


class Gap(Enum):
    """Why something could not be looked at."""

    UNSEEN = "not visible to the agent"
    ABSENT = "not there"
    UNLOOKED = "not looked at, for lack of time or requests"
    FAILED = "cannot be read"


@dataclass(frozen=True, slots=True)
class Seen:
    """One answer. obj: the decoded object, None where gap says why not. said: the answer itself, if there was one."""

    obj: Mapping[str, Any] | None = None
    gap: Gap | None = None
    code: int = 0
    said: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def items(self) -> list[Mapping[str, Any]]:
        """The objects of a list."""
        items = (self.obj or {}).get("items")
        return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []

    @property
    def total(self) -> int:
        """How many objects the list has, those that were not sent included (where the API server tells)."""
        metadata = (self.obj or {}).get("metadata")
        rest = metadata.get("remainingItemCount") if isinstance(metadata, dict) else None
        return len(self.items) + (rest if isinstance(rest, int) else 0)

    @property
    def is_partial(self) -> bool:
        metadata = (self.obj or {}).get("metadata")
        return isinstance(metadata, dict) and bool(metadata.get("continue"))


class Looks:
    """One preview's view of the cluster. clock: monotonic seconds."""

    def __init__(self, gather: Gather, clock: Callable[[], float], limits: PreviewLimits = LIMITS) -> None:
        self._gather = gather
        self._clock = clock
        self._deadline = clock() + limits.seconds
        self._left = limits.calls
        self._turn = asyncio.Semaphore(limits.at_once)
        self.incomplete = False
        """Something was not looked at for lack of time or requests."""

    @property
    def calls_left(self) -> int:
        return self._left

    @property
    def seconds_left(self) -> float:
        return self._deadline - self._clock()

    async def get(self, path: str, **query: str) -> Seen:
        """One object or list, by its path without a query."""
        chosen = {key: value for key, value in sorted(query.items()) if value}
        return await self.ask("GET", f"{path}?{urlencode(chosen, quote_via=quote)}" if chosen else path)

    async def ask(self, method: str, target: str, *, body: bytes = b"", content_type: str = "") -> Seen:
        """One request that changes nothing, so it is sent again where a kept connection turns out to be closed."""
        async with self._turn:
            for _ in range(2):
                left = self.seconds_left
                if left <= 0 or self._left <= 0:
                    self.incomplete = True
                    return Seen(gap=Gap.UNLOOKED)
                self._left -= 1
                try:
                    async with asyncio.timeout(left):
                        return _seen(
                            await self._gather.fetch(
                                method, target, body=body, content_type=content_type, limit=MOST_BYTES
                            )
                        )
                except TimeoutError:
                    self.incomplete = True
                    return Seen(gap=Gap.UNLOOKED)
                except UpstreamError as error:
                    if not error.untouched:
                        return Seen(gap=Gap.FAILED)
            return Seen(gap=Gap.FAILED)


_GAPS = {401: Gap.UNSEEN, 403: Gap.UNSEEN, 404: Gap.ABSENT, 405: Gap.UNSEEN}


def _seen(answer: Fetched) -> Seen:
    try:
        value = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        value = None
    said = value if isinstance(value, dict) else {}
    if 200 <= answer.code < 300 and said:
        return Seen(said, None, answer.code, said, answer.warnings)
    return Seen(None, _GAPS.get(answer.code, Gap.FAILED), answer.code, said, answer.warnings)
