"""What holds are made of: one request that waits, the terms it waits on, and what is told of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from chaperone.core.approval import Target
from chaperone.core.identity import Caller
from chaperone.core.policy import Policy, PolicySet
from chaperone.core.request import Request
from chaperone.core.verdict import Verdict
from gateway.services import Gather


class Preview(Protocol):
    async def __call__(
        self, request: Request, verdict: Verdict, gather: Gather, /, *, clock: Callable[[], float]
    ) -> Mapping[str, Any]: ...


class HoldMetrics(Protocol):
    def held(self, count: int) -> None: ...
    def hold(self, outcome: str) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldTerms:
    """cluster: the name of this cluster in every digest. step, connect_step: longest single wait in seconds, the latter
    for what its client does not send again. waiting: requests that may wait in this worker."""

    cluster: str
    step: float = 20.0
    connect_step: float = 50.0
    waiting: int = 1000


@dataclass(frozen=True, slots=True)
class Held:
    """One request that waits, with all that its approval is bound to. step_end: of the clock, when its client is
    answered; final: and not asked to come again. reason: the requester's own words."""

    request: Request
    caller: Caller
    verdict: Verdict
    policy: Policy
    gather: Gather
    target: Target
    digest: str
    policies: PolicySet
    step_end: float
    final: bool
    reason: str = ""
