"""What the data path asks of the rest of the gateway, as protocols: callers, policies, holds, audit, metrics.

The data path depends on these shapes alone, so that each can be faked in a test. Nothing here does anything.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from chaperone.core.approval import Approval
from chaperone.core.gate import Governance
from chaperone.core.identity import Caller
from chaperone.core.masking import Echo
from chaperone.core.policy import Policy, PolicySet
from chaperone.core.request import Request
from chaperone.core.session import RunKey
from chaperone.core.token import Refused
from chaperone.core.verdict import Verdict
from gateway.asking import PLAIN, Asking
from gateway.http.body_filter import BodyFilter
from gateway.limits import RunLimits
from gateway.run_state import RunState

if TYPE_CHECKING:
    from gateway.restoring import Engine
    from gateway.standing import Standing


class Authenticator(Protocol):
    def cached(self, token: str) -> Caller | None:
        """The caller of a token verified before and still valid; the *same* object while it is cached."""
        ...

    async def authenticate(self, token: str) -> Caller | Refused:
        """Verify a token. Raises nothing; whatever is not a Caller is a refusal."""
        ...


class Snapshot(Protocol):
    """The policies as last seen. generation changes whenever `policies` does."""

    @property
    def policies(self) -> PolicySet: ...
    @property
    def generation(self) -> int: ...
    @property
    def fresh(self) -> bool:
        """False when the watch has been silent for longer than the limit: then nothing may be judged."""
        ...


class Runs(Protocol):
    """The runs whose requests are served, and what ends them."""

    @property
    def fresh(self) -> bool:
        """False when a run might have been terminated without our knowing: then nothing may be served."""
        ...

    def of(self, caller: Caller, policies: Iterable[str]) -> RunState:
        """The one object of a run. policies: those that govern it, by name."""
        ...


class UnkeptRuns:
    """For a data path of which nobody keeps sessions: nothing is written, and nobody terminates anything."""

    fresh = True

    def __init__(self) -> None:
        self._runs: dict[RunKey, RunState] = {}

    def of(self, caller: Caller, policies: Iterable[str]) -> RunState:
        key = (caller.issuer, caller.subject, caller.run)
        return self._runs.setdefault(key, RunState(caller, tuple(policies)))


@dataclass(frozen=True, slots=True)
class Fetched:
    """The answer to a request that the gateway made by itself, as the agent."""

    code: int
    content_type: str
    body: bytes
    warnings: tuple[str, ...] = ()
    """The values of its Warning headers, as they came."""


class Gather(Protocol):
    """Looks at the cluster with the agent's own eyes (impersonated), never with the gateway's."""

    async def fetch(
        self, method: str, target: str, *, body: bytes = b"", content_type: str = "", limit: int = ...
    ) -> Fetched:
        """One JSON request. Raises gateway.http.upstream.UpstreamError when there is no (complete) answer."""
        ...


@dataclass(frozen=True, slots=True)
class Spend:
    """The approval has been claimed (phase Executing): carry the request through, client or no client."""

    approval: Approval


@dataclass(frozen=True, slots=True)
class Answer:
    """What the client gets instead of the forwarded request. headers: extra ones, such as Retry-After."""

    code: int
    status: Mapping[str, Any]
    headers: tuple[tuple[str, str], ...] = ()


class Holds(Protocol):
    async def decide(
        self,
        request: Request,
        caller: Caller,
        verdict: Verdict,
        policy: Policy,
        gather: Gather,
        *,
        asking: Asking = PLAIN,
    ) -> Spend | Answer:
        """Keep the client waiting for a decision. Cancelled when the client goes; once the approval is
        claimed the cancellation must be caught and Spend returned, for then the request is carried through."""
        ...

    async def finish(self, approval: Approval, code: int, audit_id: str) -> None:
        """Record the outcome of a spent approval. code 0: unknown, the connection died in between."""
        ...


@dataclass(frozen=True, slots=True)
class Draft:
    """A request for access that may be filed. spec: of the ApprovalRequest; verdict: for the audit."""

    spec: Mapping[str, Any]
    caller: Caller
    request: Request
    verdict: Verdict


class AccessDesk(Protocol):
    """Takes agents' requests for access."""

    def draft(self, request: Request, body: bytes, caller: Caller, governed: Governance) -> Draft | None:
        """What is to be filed; None when the body asks for something else. Raises gateway.refusal.RefusalError."""
        ...

    async def file(self, draft: Draft) -> Answer:
        """The request as it is in the cluster now, or why it is not. Raises nothing."""
        ...


class Withdraw(Protocol):
    """Takes back what an agent has asked for."""

    async def withdraw(self, request: Request, caller: Caller, reason: str = "") -> Answer:
        """The cancelled request, or why it is not. reason: the caller's words. Raises nothing."""
        ...


class Audit(Protocol):
    def write(self, record: Mapping[str, Any]) -> None:
        """Enqueue a record; never blocks. Raises when the queue is full or the sink is down."""
        ...

    async def durable(self, record: Mapping[str, Any]) -> None:
        """Return when the record is on stable storage. Raises when it cannot be put there."""
        ...


class Metrics(Protocol):
    def observe(self, verb: str, verdict: str, code: int, seconds: float) -> None: ...
    def connections(self, count: int) -> None:
        """Open client connections of this worker."""
        ...

    def upstream_error(self, reason: str) -> None:
        """One request that the API server did not answer, by the kind of UpstreamError."""
        ...

    def streams(self, count: int) -> None:
        """Open watches, log streams and tunnels of this worker."""
        ...

    def masked(self, counts: Mapping[str, int]) -> None:
        """Values masked in one answer, by the name of the rule."""
        ...

    def recording(self, state: str) -> None:
        """One stream that was to be recorded: sealed, truncated, partial or failed as its record says it, or refused."""
        ...


class Credential(Protocol):
    """The data path's own credential: may impersonate and nothing else. Reloaded by its owner."""

    def token(self) -> str:
        """The bearer token of this moment. Raises when there is none: then nothing is forwarded."""
        ...

    def reject(self, token: str) -> None:
        """The API server did not accept this token."""
        ...


class TappedStream(Protocol):
    """What a tap may do with the stream it sits on, beside changing its bytes."""

    def brake(self, on: bool, /) -> None:
        """Read nothing more from either side, until it is let go."""
        ...

    def later(self, seconds: float, call: Callable[[], None], /) -> Callable[[], None]:
        """Returns what calls it off."""
        ...

    def end_after_this(self, reason: str, /) -> None:
        """Close both sides, after what is being passed on at this moment; the client is told the reason."""
        ...


class Tap(Protocol):
    """Sees both directions of an upgraded connection. Whatever it raises closes the stream, both ends."""

    def begin(self, headers: Sequence[tuple[bytes, bytes]], stream: TappedStream) -> None:
        """The API server has switched protocols, and the client does not know yet. headers: of its answer. Raises
        chaperone.core.streams.events.StreamError to refuse."""
        ...

    def from_client(self, piece: bytes) -> bytes:
        """What goes upstream in place of `piece`."""
        ...

    def from_upstream(self, piece: bytes) -> bytes:
        """What goes to the client in place of `piece`."""
        ...

    def idle(self) -> bytes:
        """Nothing has come from upstream for a moment: what goes to the client now."""
        ...

    def rest(self) -> bytes:
        """Upstream sends nothing more: what goes to the client before its end."""
        ...

    def farewell(self, reason: str) -> bytes:
        """The gateway ends the stream: what the client is told."""
        ...

    def dropped(self) -> None:
        """The stream never began. Called instead of `ended`."""
        ...

    async def ended(self, reason: str) -> Mapping[str, Any]:
        """Called once, when both sides are closed. What belongs into the audit record (a recording's length and
        digest); under "masked" the counts by rule. Raises nothing."""
        ...


OpenTap = Callable[[Request, "Standing", Verdict, str], Awaitable[Tap | None]]
"""(request, who asks and under which policies, verdict, audit id), before the upstream handshake. None: nothing is masked
or recorded. Raises when the stream must be recorded and cannot be."""

ChooseFilter = Callable[[Request, "Standing", Verdict, Echo | None], BodyFilter | None]
"""(request, who asks and under which policies, verdict, what the agent wrote itself in this request), before it is sent.
None: nothing is to be masked."""


def no_filter(
    _request: Request, _standing: Standing, _verdict: Verdict, _echo: Echo | None
) -> BodyFilter | None:
    """Every response as it is."""
    return None


async def no_tap(_request: Request, _standing: Standing, _verdict: Verdict, _audit_id: str) -> Tap | None:
    """Every stream as it is, unrecorded."""
    return None


ShowTarget = Callable[[Request, "Standing"], str]
"""Path and query of a request as records may show them. Raises nothing."""


def whole_target(request: Request, _standing: Standing) -> str:
    """As it is."""
    return request.target


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """Everything one worker's data path needs, made once at the start. masking: what knows the secrets of live objects,
    for placeholders in requests; None: every placeholder is refused."""

    authenticator: Authenticator
    snapshot: Snapshot
    holds: Holds
    audit: Audit
    metrics: Metrics
    credential: Credential
    limits: RunLimits = field(default_factory=RunLimits)
    runs: Runs = field(default_factory=UnkeptRuns)
    access: AccessDesk | None = None
    withdrawals: Withdraw | None = None
    choose_filter: ChooseFilter = no_filter
    masking: Engine | None = None
    open_tap: OpenTap = no_tap
    show_target: ShowTarget = whole_target
