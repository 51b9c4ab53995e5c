"""What is known of a caller before any of its requests: governing policies, limits, identity on the wire."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from chaperone.core import gate
from chaperone.core.audit import Repeated
from chaperone.core.gate import Governance
from chaperone.core.identity import Caller, impersonation
from chaperone.core.masking import Terms, combine
from chaperone.core.policy import Limits, PolicySet
from chaperone.core.request import Request
from chaperone.core.verdict import Verdict
from gateway.http.forwarding import UnsendableError, identity_block
from gateway.limits import RunKey, run_key, strictest
from gateway.run_state import RunState
from gateway.services import Runs, Snapshot

MOST_STANDINGS = 4096


MOST_READS = 256
LONGEST_REMEMBERED = 512
"""Characters of a request target; longer ones are read and judged anew each time."""


class KnownRead:
    """A read that was judged, to be asked again.

    simple: allowed, short, and nothing but its body filter has to be made for it. records: of its ordinary ends, for
    the peer, user agent, trace and code in `recorded`.
    """

    __slots__ = ("recorded", "records", "request", "simple", "verdict")

    def __init__(self, request: Request, verdict: Verdict, *, simple: bool) -> None:
        self.request = request
        self.verdict = verdict
        self.simple = simple
        self.recorded: tuple[str, str, str, int] | None = None
        self.records: Repeated | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """One caller under one generation of the policies. identity: the impersonation headers, b"" when refused. session:
    what its run has asked for, kept for those alone whom policies govern. terms: what is to be masked in the caller's
    answers; None: nothing.

    reads: by method, target as sent, and content type. A verdict depends on nothing else where there is neither body
    nor approval nor upgrade, and clients ask the same again and again.
    """

    caller: Caller
    generation: int
    policies: PolicySet
    governed: Governance
    limits: Limits
    run: RunKey
    identity: bytes
    session: RunState
    terms: Terms | None = None
    reads: dict[tuple[str, str, str], KnownRead] = field(default_factory=dict)

    def remember(self, key: tuple[str, str, str], known: KnownRead) -> None:
        if len(key[1]) > LONGEST_REMEMBERED:
            return
        if len(self.reads) >= MOST_READS:
            self.reads.clear()
        self.reads[key] = known

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(policy.name for policy in self.governed.policies)


def standing_of(caller: Caller, policies: PolicySet, generation: int, runs: Runs) -> Standing:
    """Raises UnsendableError when the identity cannot be represented: then nothing may be forwarded."""
    governed = gate.governance(caller, policies)
    limits = strictest(policy.limits for policy in governed.policies)
    names = [policy.name for policy in governed.policies]
    return Standing(
        caller,
        generation,
        policies,
        governed,
        limits,
        run_key(caller),
        identity_on_the_wire(governed, caller),
        RunState(caller) if governed.refusal else runs.of(caller, names),
        combine(policy.masking for policy in governed.policies),
    )


def identity_on_the_wire(
    governed: Governance, caller: Caller, approval: tuple[str, str] | None = None
) -> bytes:
    """approval: (uid, name) of the one that is spent. b"" without an identity. Raises UnsendableError."""
    if governed.identity is None or governed.refusal:
        return b""
    names = [policy.name for policy in governed.policies]
    try:
        return identity_block(impersonation(governed.identity, caller, names, approval=approval))
    except UnsendableError:
        raise
    except ValueError as error:
        raise UnsendableError(str(error)) from error


class Standings:
    """A bounded cache, by the identity of the Caller object (the token cache hands out the same one)."""

    __slots__ = ("_known", "_runs", "_snapshot")

    def __init__(self, snapshot: Snapshot, runs: Runs) -> None:
        self._snapshot = snapshot
        self._runs = runs
        self._known: OrderedDict[int, Standing] = OrderedDict()

    def known(self, caller: Caller) -> Standing | None:
        """Under the policies of this moment."""
        known = self._known.get(id(caller))
        if known is None or known.caller is not caller or known.generation != self._snapshot.generation:
            return None
        return known

    def of(self, caller: Caller) -> Standing:
        """Raises UnsendableError."""
        known = self.known(caller)
        if known is not None:
            return known
        key = id(caller)
        standing = standing_of(caller, self._snapshot.policies, self._snapshot.generation, self._runs)
        self._known[key] = standing
        self._known.move_to_end(key)
        if len(self._known) > MOST_STANDINGS:
            self._known.popitem(last=False)
        return standing
