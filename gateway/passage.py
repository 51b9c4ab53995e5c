"""An allowed request on its way: upstream connection, answer or tunnel, retry, stream limits, expiry, records."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

from chaperone.core.streams.events import StreamError
from gateway.http.answers import end_to_end
from gateway.http.body_filter import filtered
from gateway.http.connection import ClientConnection
from gateway.http.relay import Outcome, Relay
from gateway.http.tunnel import Tunnel
from gateway.http.upgrading import Handshake, Refusal
from gateway.http.upstream import UpstreamConnection, UpstreamError
from gateway.open_stream import OpenStream
from gateway.plan import Plan, is_long_running
from gateway.record import COMPLETE, STARTED
from gateway.refusal import RefusalError, refusal
from gateway.sending import request_bytes
from gateway.services import Tap
from gateway.steady import steady
from gateway.tasks import must_wait

if TYPE_CHECKING:
    from gateway.data_path import DataPath
    from gateway.exchange import Exchange

log = logging.getLogger(__name__)

RETRYABLE = frozenset({"GET", "HEAD"})
UNAUTHENTICATED = 401
NOTHING: Mapping[str, int] = {}
CLIENT_GONE = 499
"""In records and metrics: the client went before it was answered."""


class Passage:
    """One forwarded request. Ends in exactly one `Exchange.complete`, by way of `refuse` when there is no answer."""

    __slots__ = (
        "_client",
        "_exchange",
        "_filter",
        "_is_stream",
        "_path",
        "_plan",
        "_reason",
        "_receiver",
        "_recorded",
        "_retried",
        "_sent",
        "_stream",
        "_tap",
        "_task",
        "_tunnel",
        "_used_token",
    )

    def __init__(
        self, path: DataPath, exchange: Exchange, plan: Plan, client: ClientConnection | None
    ) -> None:
        self._path = path
        self._exchange = exchange
        self._plan = plan
        self._client = client
        self._receiver: Relay | Handshake | None = None
        self._tunnel: Tunnel | None = None
        self._tap: Tap | None = None
        self._task: asyncio.Task[None] | None = None
        self._reason = ""
        self._used_token = ""
        chosen = path.services.choose_filter(plan.request, plan.standing, plan.verdict, plan.echo)
        self._filter = steady(chosen, plan.steady)
        self._retried = False
        self._is_stream = plan.known is None and is_long_running(plan.request)
        self._recorded = False
        self._sent = False
        self._stream = OpenStream(path, plan, self)

    @property
    def scope(self) -> tuple[str, str]:
        """The Kubernetes user as whom it was forwarded, and its namespace."""
        identity = self._plan.standing.governed.identity
        return identity.username if identity is not None else "", self._plan.request.namespace

    # -- sending

    async def open(self) -> None:
        """Send the request. Raises RefusalError or UpstreamError while nothing has been sent."""
        plan = self._plan
        data = self._bytes()
        if self._is_stream:
            self._stream.open()
        try:
            if plan.request.upgrade:
                await must_wait()
                self._tap = await self._open_tap()
            upstream = self._path.pool.take()
            if upstream is None:
                await must_wait()
                upstream = await self._path.pool.connect()
        except BaseException:
            self._stream.close()
            self._drop_tap()
            raise
        self._send(upstream, data)

    def open_at_once(self) -> bool:
        """As `open`, for a known read, where a connection is idle. False: nothing was sent."""
        data = self._bytes()
        upstream = self._path.pool.take()
        if upstream is None:
            return False
        self._send(upstream, data)
        return True

    def _bytes(self) -> bytes:
        self._used_token, data = request_bytes(self._path, self._plan, self._filter)
        return data

    async def _open_tap(self) -> Tap | None:
        plan = self._plan
        try:
            return await self._path.services.open_tap(
                plan.request, plan.standing, plan.verdict, plan.audit_id
            )
        except Exception as error:
            log.exception("a stream could not be recorded or masked", extra={"auditID": plan.audit_id})
            self._path.services.metrics.recording("refused")
            raise refusal(
                503,
                "policy requires this stream to be recorded or masked, and the gateway cannot do so at this moment",
                plan.request,
                reason=f"recording: {type(error).__name__}",
            ) from error

    def _send(self, upstream: UpstreamConnection, data: bytes) -> None:
        request = self._plan.request
        self._receiver = receiver = self._make_receiver()
        receiver.source(upstream)
        endless = self._is_stream and not request.upgrade
        patience = 0.0 if endless else self._path.pool.settings.first_byte_seconds
        self._sent = True
        try:
            upstream.ask(
                data,
                receiver,
                patience=patience,
                no_body=request.method == "HEAD",
                upgrade=bool(request.upgrade),
            )
        except UpstreamError as error:
            receiver.lost(error)

    def _make_receiver(self) -> Relay | Handshake:
        plan = self._plan
        if plan.request.upgrade:
            return Handshake(
                plan.request.upgrade, accepted=self._upgraded, refused=self._not_upgraded, failed=self._failed
            )
        return Relay(
            self._client,
            self._ended,
            self._filter,
            head_only=plan.request.method == "HEAD",
            admit=self._admit,
            copy=plan.change.copy if plan.change is not None else None,
        )

    # -- an ordinary answer

    def _admit(self, code: int, whole: bool = False) -> None:
        """Upstream has answered; nothing of it has reached the client. A read is recorded now or not answered. whole:
        the answer has been filtered to its end, so that its record can say what was masked."""
        plan = self._plan
        self._check_credential(code)
        if plan.known is None and not plan.request.is_read and not self._is_stream:
            return
        ends = not self._is_stream and (whole or self._filter is None)
        record = self._exchange.begun_record(COMPLETE if ends else STARTED, code, plan.known, self._masked)
        try:
            self._path.services.audit.write(record)
        except Exception as error:
            raise UpstreamError(
                "the audit log cannot take the record of this request, so its answer is withheld", code=503
            ) from error
        self._recorded = ends

    def _check_credential(self, code: int) -> None:
        """A 401 is about the gateway's own credential, unless it comes from what lies behind a proxy subresource."""
        if code != UNAUTHENTICATED or self._plan.request.verb == "proxy":
            return
        if self._plan.request.subresource == "proxy":
            return
        self._path.services.credential.reject(self._used_token)
        raise UpstreamError(
            "the API server did not accept the gateway's own credential; try again",
            code=503,
            kind="credential",
        )

    def _ended(self, outcome: Outcome) -> None:
        error = outcome.error
        if error is not None and not outcome.answered:
            self._failed(error, outcome.code)
            return
        relay = self._receiver
        sent = relay.bytes_sent if isinstance(relay, Relay) else 0
        reason = self._reason or (str(error) if error is not None else "")
        changed = self._plan.change.completed(outcome.code) if self._plan.change is not None else {}
        more = {"bytesSent": sent, **self._masked_field(), **changed}
        self._complete(outcome.code, reason=reason, recorded=self._recorded and not reason, more=more)

    @property
    def _masked(self) -> Mapping[str, int]:
        return self._filter.counts if self._filter is not None else NOTHING

    def _count_masked(self) -> None:
        if self._masked:
            self._path.services.metrics.masked(self._masked)
            self._plan.standing.session.was_masked()

    def _masked_field(self) -> dict[str, object]:
        return {"masked": dict(self._masked)} if self._masked else {}

    def _failed(self, error: UpstreamError, code: int = 0) -> None:
        """There is nothing to pass on. code: what upstream answered, 0 when it is not known whether it did."""
        if error.untouched and self._may_retry():
            self._retried = True
            self._task = self._path.tasks.start(self._again())
            return
        self._path.services.metrics.upstream_error(error.kind)
        self._stream.close()
        self._drop_tap()
        self._exchange.refuse(refusal(error.code, str(error), self._plan.request), outcome=code)

    def _may_retry(self) -> bool:
        request = self._plan.request
        return (
            not self._retried
            and self._client is not None
            and request.method in RETRYABLE
            and not request.upgrade
            and request.is_read
        )

    async def _again(self) -> None:
        """Once more, on a new connection: the idle one had died before it was asked."""
        try:
            data = self._bytes()
            await must_wait()
            self._send(await self._path.pool.connect(), data)
        except UpstreamError as error:
            self._failed(error)
        except RefusalError as error:
            self._stream.close()
            self._exchange.refuse(error)

    # -- an upgraded connection

    def _upgraded(self, upstream: UpstreamConnection, early: bytes) -> None:
        client = self._client
        try:
            self._admit(upstream.code)
        except UpstreamError as error:
            upstream.abort()
            self._failed(error, upstream.code)
            return
        if client is None or client.is_gone:
            upstream.abort()
            return
        relay = Relay(client, _no_outcome)
        tunnel = Tunnel(client, upstream, relay, self._tunnel_ended, self._tap)
        if self._tap is not None:
            try:
                self._tap.begin(upstream.headers, tunnel)
            except StreamError as error:
                upstream.abort()
                self._failed(UpstreamError(f"the stream cannot be read: {error}"), upstream.code)
                return
        self._receiver = None
        self._tunnel = tunnel
        tunnel.open(early)

    def _tunnel_ended(self, reason: str) -> None:
        tunnel, self._tunnel = self._tunnel, None
        tap, self._tap = self._tap, None
        reason = self._reason or reason
        counted = {"bytesSent": tunnel.bytes_sent, "bytesReceived": tunnel.bytes_received} if tunnel else {}
        if tap is None:
            self._complete(101, reason=reason, recorded=False, more=counted)
            return
        self._stream.close()
        self._path.tasks.spawn(self._seal(tap, reason, counted))

    async def _seal(self, tap: Tap, reason: str, counted: Mapping[str, object]) -> None:
        """The record of a stream waits for its recording to be sealed."""
        more = await tap.ended(reason)
        if masked := more.get("masked"):
            self._path.services.metrics.masked(masked)
            self._plan.standing.session.was_masked()
        if recording := more.get("recording"):
            self._path.services.metrics.recording(recording["state"])
        self._complete(101, reason=reason, recorded=False, more={**counted, **more})

    def _not_upgraded(self, refused: Refusal) -> None:
        """Upstream did not switch: its error is passed on, bounded, and never as a stream."""
        self._drop_tap()
        if refused.code < 400:
            failure = UpstreamError(f"the API server answered the upgrade with {refused.code}")
            self._failed(failure, refused.code)
            return
        try:
            self._check_credential(refused.code)
        except UpstreamError as error:
            self._failed(error, refused.code)
            return
        headers, body = end_to_end(refused.headers), refused.body
        if self._filter is not None:
            try:
                headers, body = filtered(self._filter, refused.code, headers, body)
            except UpstreamError as error:
                self._failed(error, refused.code)
                return
        client, self._client = self._client, None
        reason = "the API server refused the upgrade"
        self._complete(refused.code, reason=reason, recorded=False, more=self._masked_field())
        if client is not None and not client.is_gone:
            client.answer_raw(refused.code, body, headers)

    def _drop_tap(self) -> None:
        tap, self._tap = self._tap, None
        if tap is not None:
            tap.dropped()

    # -- ended from elsewhere

    def close(self, reason: str) -> None:
        """End a stream now, for this reason: the token has expired, the run was terminated."""
        self._reason = reason
        if self._tunnel is not None:
            self._tunnel.close(reason)
            return
        if isinstance(self._receiver, Relay):
            self._receiver.end_at_border()
        if self._stream.is_open and self._client is not None:
            self._client.abort()

    def end_soon(self) -> None:
        """The gateway is stopping: a watch ends at its next border, a tunnel when its time is up."""
        if isinstance(self._receiver, Relay):
            self._reason = "the gateway is stopping"
            self._receiver.end_at_border()

    # -- seen from the exchange

    def client_writable(self, writable: bool) -> None:
        if self._receiver is not None:
            self._receiver.client_writable(writable)

    def client_gone(self, *, carry_through: bool) -> None:
        """carry_through: an approval was claimed for this request, so it runs to its end."""
        self._client = None
        if self._task is not None:
            self._task.cancel()
        if self._receiver is not None:
            self._receiver.client_gone(carry_through=carry_through)
        if not carry_through or self._plan.request.upgrade:
            self._stream.close()
            self._drop_tap()
            self._count_masked()
            self._exchange.complete(
                CLIENT_GONE,
                reason="the client went away",
                outcome=0 if self._sent else None,
                more=self._masked_field(),
            )

    def _complete(
        self, code: int, *, reason: str, recorded: bool, more: Mapping[str, object] | None = None
    ) -> None:
        self._count_masked()
        self._stream.close()
        self._receiver = None
        self._exchange.complete(code, reason=reason, recorded=recorded, more=more)


def _no_outcome(_outcome: Outcome) -> None:
    """The tunnel itself tells how it ends."""
