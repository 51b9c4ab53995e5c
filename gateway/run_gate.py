"""Whether a run may go on, asked wherever something is about to be done for it; the answers in words."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from chaperone.core import run_limits, status
from chaperone.core.request import Request
from chaperone.core.run_limits import RunRefused
from chaperone.core.session import Termination
from chaperone.core.status import Cause
from gateway.refusal import RefusalError
from gateway.run_state import NEVER
from gateway.standing import Standing

T = TypeVar("T")

EXPIRY_LEEWAY = 0.5
"""Seconds after the end of a token's life within which its open streams are closed."""
LATER = 5
"""Seconds, in Retry-After, when something on our side must recover first."""


def begin(request: Request, standing: Standing, now: float) -> None:
    """Count one request. Raises RefusalError (403) for a run that was terminated or has lasted too long. now: Unix
    seconds."""
    run = standing.session
    if run.may_go_on(standing.limits, now):
        run.asked(now)
        return
    run.turned_away()
    require_running(request, standing, now)


def require_running(request: Request, standing: Standing, now: float) -> None:
    """The same for a request that is counted already, before something is done for it."""
    run = standing.session
    if run.may_go_on(standing.limits, now):
        return
    _raise_if(run.refusal(standing.limits, standing.governed.policies, now), request, standing)


def count_mutation(request: Request, standing: Standing, now: float) -> None:
    """To be called once for what is about to be forwarded. Raises RefusalError when it may not be."""
    if run_limits.is_mutation(request):
        _raise_if(
            standing.session.mutate(standing.limits, standing.governed.policies, now), request, standing
        )


def require_mutation_left(request: Request, standing: Standing, now: float) -> None:
    """The same without counting: nobody is asked about what could not be forwarded anyway."""
    if run_limits.is_mutation(request):
        refused = standing.session.mutation_refusal(standing.limits, standing.governed.policies, now)
        _raise_if(refused, request, standing)


def _raise_if(refused: RunRefused | None, request: Request, standing: Standing) -> None:
    if refused is not None:
        standing.session.was_denied()
        raise _answer(refused, request, 403 if refused.field else 503)


async def unless_terminated(request: Request, standing: Standing, waits: Awaitable[T]) -> T:
    """What it gives; raises RefusalError when the run is terminated meanwhile, and cancels it. What it gives although
    it was cancelled, because it had to be brought to its end, is given."""
    run = standing.session
    waiting = _Waiting()
    run.waiting.add(waiting)
    try:
        result = await waits
    except asyncio.CancelledError:
        if not waiting.is_closed or waiting.others_cancel():
            raise
        termination = run.termination or Termination()
        run.was_denied()
        raise _answer(run_limits.terminated(run.key, termination), request, 403) from None
    finally:
        run.waiting.discard(waiting)
    if waiting.is_closed:
        waiting.others_cancel()
    return result


def stream_end(standing: Standing) -> tuple[float, str]:
    """When an open stream has to be closed (Unix seconds, or infinity), and why."""
    expires = standing.caller.expires_at
    ends = (
        (expires + EXPIRY_LEEWAY if expires else NEVER, "the token has expired"),
        (standing.session.ends_at(standing.limits), "this run has lasted as long as its policy allows"),
    )
    return min(ends)


class _Waiting:
    """A task that may be told to stop waiting."""

    def __init__(self) -> None:
        self._task = asyncio.current_task()
        self.is_closed = False

    def close(self, _reason: str) -> None:
        if self._task is not None and not self.is_closed:
            self.is_closed = True
            self._task.cancel()

    def others_cancel(self) -> bool:
        """Take back our own cancellation: is there another, such as that of a client that has gone?"""
        return self._task is None or self._task.uncancel() > 0


def _answer(refused: RunRefused, request: Request, code: int) -> RefusalError:
    cause = Cause(refused.reason, refused.message, refused.field)
    retry_after = LATER if code == 503 else None
    document = status.status(code, refused.message, request=request, causes=[cause], retry_after=retry_after)
    return RefusalError(code, document, headers=status.headers(document), reason=refused.message)
