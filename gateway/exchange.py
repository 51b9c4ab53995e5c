"""One request's life: authenticate, parse, judge, then forward, hold or refuse; and its audit records.

A request that needs nothing to be waited for is served synchronously inside `data_received`; `must_wait()` marks
where that ends. Whatever happens, the client gets one answer, and the audit log at least one record.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

from chaperone.core import gate, status
from chaperone.core.approval import Approval
from chaperone.core.gate import Needs
from chaperone.core.identity import Caller
from chaperone.core.masking import Echo
from chaperone.core.request import Payload, Request, Unreadable, parse
from chaperone.core.token import Refused, Token, extract_token
from chaperone.core.verdict import Action, Verdict
from gateway.access import asks_for_access
from gateway.asking import read_asking
from gateway.changes import Change
from gateway.gathering import AgentEyes, DryRunRefusedError, gather
from gateway.http.body_filter import filtered
from gateway.http.connection import ClientConnection
from gateway.http.forwarding import UnsendableError
from gateway.http.framing import Head
from gateway.http.upstream import UpstreamError
from gateway.known_reads import key_of, known_read, serve
from gateway.passage import CLIENT_GONE, Passage
from gateway.plan import Plan
from gateway.recorded import Recorded
from gateway.refusal import RefusalError, known_refusal, refusal
from gateway.restoring import Restoration
from gateway.run_gate import (
    begin,
    count_mutation,
    require_mutation_left,
    require_running,
    unless_terminated,
)
from gateway.services import Answer, Fetched, Spend
from gateway.standing import LONGEST_REMEMBERED, Standing, identity_on_the_wire
from gateway.tasks import must_wait
from gateway.withdrawal import may_withdraw, reason_to_withdraw, withdrawal_verdict

if TYPE_CHECKING:
    from gateway.data_path import DataPath

log = logging.getLogger(__name__)

NO_NEEDS = Needs()
_read_again = lru_cache(2048)(parse)
"""`parse` is pure, and clients ask the same again and again."""


class Exchange(Recorded):
    """From the head of a request to the last byte of its answer."""

    __slots__ = ("_connection", "_restoration", "_subprotocols", "_task")

    def __init__(self, path: DataPath, connection: ClientConnection, head: Head) -> None:
        super().__init__(path, connection.peer, head)
        self._connection: ClientConnection | None = connection
        self._task: asyncio.Task[None] | None = None
        self._subprotocols: tuple[str, ...] = ()
        self._restoration: Restoration | None = None

    # -- seen from the connection

    def start(self) -> None:
        connection = self._connection
        try:
            passage = serve(self, self._path, connection, self._head) if connection is not None else None
        except Exception as error:  # noqa: BLE001 - it ends in an answer
            self._fail(error)
            return
        if passage is None:
            self._task = self._path.tasks.start(self._live())
        elif not self.done:
            self._passage = passage

    def client_writable(self, writable: bool) -> None:
        if self._passage is not None:
            self._passage.client_writable(writable)

    def client_gone(self) -> None:
        """Nothing is executed any more, unless an approval has been claimed for it: that is carried through."""
        self._connection = None
        carry_through = self._approval is not None
        if self._passage is not None:
            self._passage.client_gone(carry_through=carry_through)
        if carry_through:
            return
        if self._task is not None and not self._task.done():
            self._task.cancel()
        else:
            self.complete(CLIENT_GONE, reason="the client went away")

    # -- the flow

    async def _live(self) -> None:
        """Whatever fails, even the failing, the client is not left waiting."""
        connection = self._connection
        try:
            await self._run()
        except Exception:
            log.exception("an exchange could not be ended in words", extra={"auditID": self.audit_id})
            if connection is not None:
                connection.abort()

    async def _run(self) -> None:
        try:
            await self._serve()
        except asyncio.CancelledError:
            self.complete(CLIENT_GONE, reason="the client went away")
            raise
        except Exception as error:  # noqa: BLE001 - it ends in an answer
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        """Answer in words, whatever it was."""
        known = known_refusal(error, self.request)
        if isinstance(error, UpstreamError):
            self._path.services.metrics.upstream_error(error.kind)
        if known is None:
            log.error("an exchange failed", exc_info=error, extra={"auditID": self.audit_id})
            reason = f"internal error: {type(error).__name__}"
            known = refusal(500, "the gateway failed to handle this request", reason=reason)
        self.refuse(known)

    async def _serve(self) -> None:
        caller = self.caller = await self._authenticate()
        request = self.request = self._parse()
        standing = self.standing = self._standing(caller, request)
        begin(request, standing, self.received_at)
        retry_after = self._path.services.limits.admit(standing.run, standing.limits, self._path.loop.time())
        if retry_after:
            raise refusal(
                429, "this run sends more requests than its policy allows", request, retry_after=retry_after
            )
        if asks_for_access(request):
            await self._file_access(request, standing)
        if may_withdraw(request):
            await self._withdraw(request, standing)
        known = None if self._head.upgrade or self._head.has_body else standing.reads.get(key_of(self._head))
        if known is not None:
            verdict = known.verdict
        else:
            request = self.request = await self._gather(request, standing)
            verdict = self._judge(request, standing)
            if request.is_read and not request.upgrade and not self._head.has_body:
                standing.remember(key_of(self._head), known_read(request, verdict))
        self.verdict = verdict
        if verdict.action is Action.HOLD:
            standing, verdict = await self._hold(request, standing, verdict)
        if verdict.action is not Action.ALLOW:
            raise RefusalError(403, status.denied(request, verdict), reason=verdict.reason)
        await self._forward(request, standing, verdict)

    async def _file_access(self, request: Request, standing: Standing) -> None:
        """An agent asks for rights: the gateway files that in its own name, and answers what it has made. Returns when
        nothing was filed; then the request is judged like any other, without its body, and denied."""
        desk = self._path.services.access
        if desk is None or self._connection is None or not self._head.has_body:
            return
        body = await self._connection.body()
        await must_wait()
        require_running(request, standing, self._path.clock())
        draft = desk.draft(request, body, standing.caller, standing.governed)
        if draft is None:
            verdict = self._judge(request, standing)
            raise RefusalError(403, status.denied(request, verdict), reason=verdict.reason)
        self.verdict = draft.verdict
        await self.record_durably(request)
        answer = await desk.file(draft)
        raise RefusalError(answer.code, answer.status, headers=answer.headers, reason=draft.verdict.reason)

    async def _withdraw(self, request: Request, standing: Standing) -> None:
        """An agent takes back its own request. Returns when there is nobody to ask, or no body; then it is denied."""
        desk = self._path.services.withdrawals
        if desk is None or self._connection is None or not self._head.has_body:
            return
        body = await self._connection.body()
        await must_wait()
        reason = reason_to_withdraw(request, body)
        if reason is None:
            verdict = self._judge(request, standing)
            raise RefusalError(403, status.denied(request, verdict), reason=verdict.reason)
        self.verdict = verdict = withdrawal_verdict(standing.governed)
        await self.record_durably(request)
        answer = await desk.withdraw(request, standing.caller, reason)
        raise RefusalError(answer.code, answer.status, headers=answer.headers, reason=verdict.reason)

    async def _authenticate(self) -> Caller:
        head, authenticator = self._head, self._path.services.authenticator
        protocols = b",".join(head.subprotocols).decode("latin-1") if head.subprotocols else None
        token = extract_token(
            [value.decode("latin-1") for value in head.authorization], protocols, head.upgrade == "websocket"
        )
        if not isinstance(token, Token):
            raise _unauthenticated(token)
        self._subprotocols = token.subprotocols
        caller: Caller | Refused | None = authenticator.cached(token.value)
        if caller is None:
            await must_wait()
            caller = await authenticator.authenticate(token.value)
        if not isinstance(caller, Caller):
            raise _unauthenticated(caller)
        if not head.upgrade:
            head.token = token.value
        return caller

    def _parse(self) -> Request:
        head = self._head
        read = _read_again if len(head.target) <= LONGEST_REMEMBERED else parse
        request = read(head.method, head.target, upgrade=head.upgrade, content_type=head.content_type)
        if isinstance(request, Unreadable):
            raise refusal(request.code, request.reason)
        if request.upgrade and not request.is_connect:
            raise refusal(400, "watches and logs are served over plain HTTP, without an upgrade", request)
        if head.has_body and head.method in ("GET", "HEAD"):
            raise refusal(400, f"{head.method} has no body", request)
        return request

    def _standing(self, caller: Caller, request: Request) -> Standing:
        if not self._path.services.snapshot.fresh:
            raise refusal(503, "the policies are not known well enough to decide; try again", request)
        if not self._path.services.runs.fresh:
            raise refusal(503, "it is not known whether this run was terminated; try again", request)
        try:
            standing = self._path.standings.of(caller)
        except UnsendableError as error:
            raise refusal(
                500, "the identity of your policy cannot be used", request, reason=str(error)
            ) from error
        if standing.governed.refusal:
            verdict = self._judge(request, standing)
            raise RefusalError(403, status.denied(request, verdict), reason=standing.governed.refusal)
        return standing

    def _judge(self, request: Request, standing: Standing, approval: Approval | None = None) -> Verdict:
        verdict = self.verdict = gate.judge(
            request,
            standing.caller,
            standing.policies,
            approval,
            self._path.clock(),
            governed=standing.governed,
        )
        return verdict

    async def _gather(self, request: Request, standing: Standing) -> Request:
        """The request with its body and whatever else `judge` needs. What is denied without a body is denied
        before its body is asked for."""
        self._path.restorer.check(request, standing)
        needs = gate.needs(request, standing.governed)
        if needs == NO_NEEDS and not self._head.has_body:
            return request
        if needs == NO_NEEDS and self._judge(request, standing).action is Action.DENY:
            return request
        self._refuse_foregone(request, standing)
        if self._connection is not None and self._head.has_body:
            request = replace(request, body=await self._connection.body())
        await must_wait()
        eyes = self._eyes(standing)
        self._restoration = await self._path.restorer.restore(request, standing, eyes)
        request = self._restoration.request
        try:
            return await gather(request, needs, eyes, self._restoration.live)
        except DryRunRefusedError as error:
            raise self._found_out(request, standing, error.answer) from error

    def _refuse_foregone(self, request: Request, standing: Standing) -> None:
        """What is denied whatever the object holds: not even a dry run of it reaches the API server."""
        foregone = gate.settled(request, standing.caller, standing.policies, standing.governed)
        if foregone is not None:
            self.verdict = foregone
            raise RefusalError(403, status.denied(request, foregone), reason=foregone.reason)

    def _eyes(self, standing: Standing) -> AgentEyes:
        return AgentEyes(
            self._path.pool, self._path.services.credential, standing.identity, self._path.new_id
        )

    def _found_out(self, request: Request, standing: Standing, answer: Fetched) -> RefusalError:
        """The API server's own refusal, found out by a dry run, is the final answer; it may quote objects, so the
        filter that the request itself would get sees it first."""
        unknown = replace(request, payload=Payload(undetermined=frozenset({"object", "oldObject"})))
        verdict = self._judge(unknown, standing)
        headers, body = [(b"Content-Type", answer.content_type.encode("latin-1"))], answer.body
        chosen = self._path.services.choose_filter(request, standing, verdict, self._echo)
        if chosen is not None:
            headers, body = filtered(chosen, answer.code, headers, body)
        raw = (dict(headers).get(b"Content-Type", b"application/json"), body)
        reason = "refused by the API server in a dry run"
        return RefusalError(answer.code, {}, reason=reason, raw=raw, masked=chosen.counts if chosen else {})

    async def _hold(self, request: Request, standing: Standing, verdict: Verdict) -> tuple[Standing, Verdict]:
        """The verdict once people have decided, under the policies of that moment."""
        policy = next((p for p in standing.governed.policies if p.name == verdict.policy), None)
        if policy is None:
            raise refusal(500, "the policy that holds this request is not known", request)
        await must_wait()
        require_running(request, standing, self._path.clock())
        require_mutation_left(request, standing, self._path.clock())
        standing.session.was_held()
        decide = self._path.services.holds.decide(
            request,
            standing.caller,
            verdict,
            policy,
            self._eyes(standing),
            asking=read_asking(self._head, self._subprotocols),
        )
        decided = await unless_terminated(request, standing, decide)
        if isinstance(decided, Answer):
            raise RefusalError(decided.code, decided.status, headers=decided.headers, reason=verdict.reason)
        if not isinstance(decided, Spend):
            raise TypeError(f"holds answered {type(decided).__name__}")
        self._approval = decided.approval
        standing = self.standing = self._standing(standing.caller, request)
        return standing, self._judge(request, standing, decided.approval)

    async def _forward(self, request: Request, standing: Standing, verdict: Verdict) -> None:
        require_running(request, standing, self._path.clock())
        count_mutation(request, standing, self._path.clock())
        change: Change | None = None
        identity = standing.identity
        if self._approval is not None:
            spent = (self._approval.uid, self._approval.name)
            identity = identity_on_the_wire(standing.governed, standing.caller, spent)
        if not request.is_read:
            await must_wait()
            seen = self._restoration.live if self._restoration else None
            held, eyes = self._approval is not None, self._eyes(standing)
            change = await self._path.changes.observe(request, standing, eyes, seen, held=held)
            request = await self._bound(request, standing)
            await self.record_durably(request, change)
            require_running(request, standing, self._path.clock())
        self.forwarded_at = self._path.clock()
        plan = Plan(
            request,
            self._head,
            identity,
            self._subprotocols,
            standing,
            verdict,
            self.audit_id,
            echo=self._echo,
            steady=self._restoration.steady if self._restoration is not None else None,
            change=change,
        )
        self._passage = passage = Passage(self._path, self, plan, self._connection)
        await passage.open()

    async def _bound(self, request: Request, standing: Standing) -> Request:
        """The request, for the one state of its object whose masked values it holds."""
        if self._restoration is None or not self._restoration.version:
            return request
        eyes, held = self._eyes(standing), self._approval is not None
        return await self._path.restorer.bound(request, self._restoration, standing, eyes, held=held)

    @property
    def _echo(self) -> Echo | None:
        return self._restoration.echo if self._restoration is not None else None

    # -- answers

    def refuse(self, error: RefusalError, *, outcome: int | None = None) -> None:
        """Record, then answer, unless there is nobody left to answer to. outcome: of a request that was sent."""
        connection, self._connection = self._connection, None
        head_only = self._head.method == "HEAD"
        headers = (*error.headers, ("Audit-Id", self.audit_id))
        try:
            masked = {"masked": dict(error.masked)} if error.masked else None
            self._path.services.metrics.masked(error.masked)
            self.complete(error.code, reason=error.reason, outcome=outcome, more=masked)
            if connection is None or connection.is_gone:
                return
            if error.raw is not None:
                lines = [(b"Content-Type", error.raw[0]), (b"Audit-Id", self.audit_id.encode("ascii"))]
                connection.answer_raw(error.code, error.raw[1], lines, head_only=head_only)
            else:
                connection.answer(error.code, error.document, headers, head_only=head_only)
        except Exception:
            log.exception("an answer could not be written", extra={"auditID": self.audit_id})
            if connection is not None:
                connection.abort()


def _unauthenticated(refused: Refused) -> RefusalError:
    if refused.code == 401:
        return RefusalError(401, status.unauthorized(refused.public_message), reason=refused.audit_reason)
    return refusal(refused.code, refused.public_message, reason=refused.audit_reason)
