"""What is known of a caller before any of its requests: governing policies, limits, identity on the wire."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from chaperone.core import gate
from chaperone.core.gate import Governance
from chaperone.core.identity import Caller, impersonation
from chaperone.core.policy import Limits, PolicySet
from chaperone.core.request import Request
from chaperone.core.verdict import Verdict
from gateway.http.forwarding import UnsendableError, identity_block
from gateway.limits import RunKey, run_key, strictest
from gateway.services import Snapshot

MOST_STANDINGS = 4096


MOST_VERDICTS = 256
LONGEST_REMEMBERED = 512
"""Characters of a request target; longer ones are read and judged anew each time."""


@dataclass(frozen=True, slots=True)
class Standing:
    """One caller under one generation of the policies. identity: the impersonation headers, b"" when refused.

    verdicts: on reads, by method and target. A verdict depends on nothing else where there is neither body nor
    approval, and clients ask the same again and again.
    """

    caller: Caller
    generation: int
    policies: PolicySet
    governed: Governance
    limits: Limits
    run: RunKey
    identity: bytes
    verdicts: dict[tuple[str, str], Verdict] = field(default_factory=dict)

    def remember(self, request: Request, verdict: Verdict) -> None:
        if len(request.target) > LONGEST_REMEMBERED:
            return
        if len(self.verdicts) >= MOST_VERDICTS:
            self.verdicts.clear()
        self.verdicts[request.method, request.target] = verdict

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(policy.name for policy in self.governed.policies)


def standing_of(caller: Caller, policies: PolicySet, generation: int) -> Standing:
    """Raises UnsendableError when the identity cannot be represented: then nothing may be forwarded."""
    governed = gate.governance(caller, policies)
    limits = strictest(policy.limits for policy in governed.policies)
    return Standing(
        caller,
        generation,
        policies,
        governed,
        limits,
        run_key(caller),
        identity_on_the_wire(governed, caller),
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

    __slots__ = ("_known", "_snapshot")

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._known: OrderedDict[int, Standing] = OrderedDict()

    def of(self, caller: Caller) -> Standing:
        """Raises UnsendableError."""
        key = id(caller)
        known = self._known.get(key)
        if known is not None and known.caller is caller and known.generation == self._snapshot.generation:
            return known
        standing = standing_of(caller, self._snapshot.policies, self._snapshot.generation)
        self._known[key] = standing
        self._known.move_to_end(key)
        if len(self._known) > MOST_STANDINGS:
            self._known.popitem(last=False)
        return standing
