"""Reads that were allowed before and are asked again: the short way through, with every check and no waiting.

What decides is looked at anew each time: the token's caller, the policies' generation and freshness, the run's rate.
Whatever is not as it was, or would have to be waited for, goes the long way (`gateway.exchange`), from the start.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from chaperone.core.audit import Repeated
from chaperone.core.identity import Caller
from chaperone.core.request import Request
from chaperone.core.verdict import Action, Verdict
from gateway.access import asks_for_access
from gateway.http.framing import Head
from gateway.passage import Passage
from gateway.plan import Plan, is_long_running
from gateway.record import COMPLETE, traceparent
from gateway.standing import KnownRead

if TYPE_CHECKING:
    from gateway.data_path import DataPath
    from gateway.exchange import Exchange
    from gateway.http.connection import ClientConnection
    from gateway.recorded import Recorded


def key_of(head: Head) -> tuple[str, str, str]:
    """All of a bodiless head that a reading of it as a request depends on, where it asks for no upgrade."""
    return head.method, head.target, head.content_type


def known_read(request: Request, verdict: Verdict) -> KnownRead:
    """To be remembered under its caller's standing."""
    simple = verdict.action is Action.ALLOW and not is_long_running(request) and not asks_for_access(request)
    return KnownRead(request, verdict, simple=simple)


def serve(exchange: Exchange, path: DataPath, connection: ClientConnection, head: Head) -> Passage | None:
    """Send it upstream. None: nothing was sent, take the long way. Raises as `Passage.open` does."""
    services = path.services
    if not head.token or head.upgrade or head.has_body or not path.pool.idle_count:
        return None
    caller = services.authenticator.cached(head.token)
    if not isinstance(caller, Caller) or not (services.snapshot.fresh and services.runs.fresh):
        return None
    standing = path.standings.known(caller)
    if standing is None or standing.governed.refusal:
        return None
    known = standing.reads.get(key_of(head))
    if known is None or not known.simple:
        return None
    run = standing.session
    if not run.may_go_on(standing.limits, exchange.received_at):
        return None
    if services.limits.admit(standing.run, standing.limits, path.loop.time()):
        return None
    exchange.caller, exchange.standing = caller, standing
    exchange.request, exchange.verdict = known.request, known.verdict
    exchange.forwarded_at = path.clock()
    plan = Plan(known.request, head, standing.identity, (), standing, known.verdict, exchange.audit_id, known)
    passage = Passage(path, exchange, plan, connection)
    if passage.open_at_once():
        run.asked(exchange.received_at)
        return passage
    exchange.forwarded_at = 0.0
    return None


def end_record(exchange: Recorded, known: KnownRead, head: Head, code: int, now: float) -> Mapping[str, Any]:
    """The record of its ordinary end; from the second one on, all but the id and the times is encoded already."""
    recorded = (exchange.peer, head.user_agent, traceparent(head), code)
    if known.records is not None and known.recorded == recorded:
        return known.records.record(exchange.audit_id, exchange.received_at, exchange.forwarded_at, now)
    entry = exchange.record(COMPLETE, code)
    known.records, known.recorded = Repeated(entry), recorded
    return entry
