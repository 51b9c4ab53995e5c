"""How the client of a held request can be kept waiting: what its headers and its query say of it.

A client that comes again by itself after a 429 is kept in short steps, which every load balancer survives; any other
gets one long wait, since for it the first refusal is the last word. One that gives up after a time of its own is told
before that, and one that asks to be told at once is. Pure: nothing is waited for here.
"""

from __future__ import annotations

from dataclasses import dataclass

from chaperone.core.policy.fields import duration
from chaperone.core.request import Request
from gateway.http.framing import Head

AT_ONCE = "never"
"""The value of the header Chaperone-Hold with which a client asks not to be kept waiting."""
COMES_AGAIN = (" kubernetes/", "helm/")
"""In the User-Agent, in lower case, of clients built on client-go: they send a request again, up to ten times, after a
429 with Retry-After (client-go rest/with_retry.go)."""
OWN_TIME = 0.8
"""The part of a client's own time after which it is told: the answer must reach it while it still listens."""
NEWEST_SUBPROTOCOLS = {"v5.channel.k8s.io": (1, 30), "spdy/3.1+portforward.k8s.io": (1, 31)}
"""From which version on an API server speaks them by default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """What a client's headers say. hold: Chaperone-Hold; reason: Chaperone-Reason, untrusted; subprotocols: of a
    WebSocket, without the one that carries a token."""

    hold: str = ""
    reason: str = ""
    user_agent: str = ""
    subprotocols: tuple[str, ...] = ()


PLAIN = Asking()


def read_asking(head: Head, subprotocols: tuple[str, ...]) -> Asking:
    return Asking(hold=head.hold, reason=head.reason, user_agent=head.user_agent, subprotocols=subprotocols)


@dataclass(frozen=True, slots=True)
class Patience:
    """seconds: the longest single wait. final: afterwards the client is not asked to come again."""

    seconds: float
    final: bool = False


def patience(request: Request, asking: Asking, *, step: float, long_step: float) -> Patience:
    """step: for clients that come again by themselves; long_step: for all others, in seconds."""
    if asking.hold == AT_ONCE:
        return Patience(0.0, final=True)
    agent = asking.user_agent.lower()
    comes_again = not request.is_connect and any(mark in agent for mark in COMES_AGAIN)
    longest = step if comes_again else long_step
    own = own_time(request)
    return Patience(own * OWN_TIME, final=True) if own and own * OWN_TIME < longest else Patience(longest)


def own_time(request: Request) -> float:
    """Seconds after which the client gives up, as it tells the API server (`timeout`); 0.0 when it does not."""
    said = request.parameter("timeout")
    return (duration(said) or 0.0) if said and request.is_resource and not request.is_connect else 0.0


def falls_back(request: Request, asking: Asking, version: tuple[int, int] | None) -> bool:
    """Does this API server refuse the WebSocket, so that the client will come with SPDY instead? An approval spent on
    the first would be missing for the second. version: (major, minor), None when it is not known."""
    if request.upgrade != "websocket" or not asking.subprotocols or version is None:
        return False
    since = [NEWEST_SUBPROTOCOLS.get(name.lower()) for name in asking.subprotocols]
    return all(first is not None and version < first for first in since)
