"""A watch, a followed log or a tunnel while it is open: counted, limited, and ended with its token or its run."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from gateway.limits import Stream
from gateway.plan import Plan
from gateway.refusal import refusal
from gateway.run_gate import stream_end
from gateway.run_state import NEVER

if TYPE_CHECKING:
    from gateway.data_path import DataPath


class OpenStream:
    """owner: whose `close` ends it."""

    __slots__ = ("_expiry", "_owner", "_path", "_plan", "is_open")

    def __init__(self, path: DataPath, plan: Plan, owner: Stream) -> None:
        self._path = path
        self._plan = plan
        self._owner = owner
        self._expiry: asyncio.TimerHandle | None = None
        self.is_open = False

    def open(self) -> None:
        """Raises RefusalError when the run has as many open as it may."""
        standing, limits = self._plan.standing, self._path.services.limits
        if not limits.may_open(standing.run, standing.limits):
            raise refusal(
                429,
                "this run has as many streams open as its policy allows; close one",
                self._plan.request,
                retry_after=5,
            )
        limits.opened(standing.run, self._owner)
        self.is_open = True
        standing.session.opened()
        self._path.services.metrics.streams(limits.open_streams)
        end, why = stream_end(standing)
        if end < NEVER:
            left = max(0.0, end - self._path.clock())
            self._expiry = self._path.loop.call_later(left, self._owner.close, why)

    def close(self) -> None:
        """Any number of times; also when it was never open."""
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
        if self.is_open:
            self.is_open = False
            limits = self._path.services.limits
            limits.closed(self._plan.standing.run, self._owner)
            self._plan.standing.session.closed(self._path.clock())
            self._path.services.metrics.streams(limits.open_streams)
