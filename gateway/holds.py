"""Held requests: find or file the ApprovalRequest, wait for people, and spend it at most once.

The name of an approval is derived from the digest of the request, so a retry finds it and any replica can carry on.
How long a client is kept waiting is for `gateway.asking` to say; between two steps nothing is remembered here. What
waits is woken by the mirror; what is decided rests on the API's own answer, on the policies of this moment and on
the live object of this moment. When approvals cannot be read or written the answer is 503, never a pass.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from chaperone.core import approval as approvals
from chaperone.core import gate
from chaperone.core.approval import Approval, Target, Usable, Wait, Waiting
from chaperone.core.digest import approval_name, body_sha256, request_digest
from chaperone.core.identity import Caller
from chaperone.core.policy import Policy
from chaperone.core.request import Request
from chaperone.core.verdict import Action, Verdict
from chaperone.kube.approvals import ApprovalStore
from chaperone.kube.errors import KubeError
from gateway import hold_answers, targets
from gateway.asking import PLAIN, Asking, falls_back, patience
from gateway.claims import Claims
from gateway.credential import CredentialUnavailable
from gateway.held import Held, HoldMetrics, HoldTerms, Preview
from gateway.http.upstream import UpstreamError
from gateway.preview import preview
from gateway.services import Answer, Gather, Snapshot, Spend

log = logging.getLogger(__name__)

MOST_ATTEMPTS = 1000
"""Approvals of one and the same request, one after the other, that may be kept in the cluster."""
LOOK_EVERY = 2.0
"""Seconds between two looks at what is waited for: in the mirror, or in the API while that is not to be trusted."""
MOST_ROUNDS = 20


class HoldLoop:
    """Implements gateway.services.Holds. wall: Unix seconds; clock: monotonic seconds."""

    def __init__(
        self,
        store: ApprovalStore,
        claims: Claims,
        snapshot: Snapshot,
        metrics: HoldMetrics,
        *,
        terms: HoldTerms,
        wall: Callable[[], float],
        clock: Callable[[], float],
        preview: Preview = preview,
    ) -> None:
        """preview: what people are shown."""
        self._store = store
        self._claims = claims
        self._snapshot = snapshot
        self._metrics = metrics
        self._terms = terms
        self._wall = wall
        self._clock = clock
        self._preview = preview
        self._waiting = 0
        self._wakers: set[asyncio.Event] = set()
        self._leaving = False

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
        """See gateway.services.Holds. Raises nothing but CancelledError, and that only while nothing is claimed."""
        if self._waiting >= self._terms.waiting:
            self._metrics.hold("overload")
            return hold_answers.busy(request)
        self._count(+1)
        try:
            if falls_back(request, asking, await targets.server_version(request, gather)):
                return hold_answers.other_protocol(request)
            return await self._decide(request, caller, verdict, policy, gather, asking=asking)
        except (KubeError, UpstreamError, CredentialUnavailable, ValueError) as fault:
            log.warning(
                "a held request cannot be decided", extra={"cause": str(fault), "policy": policy.name}
            )
            self._metrics.hold("unavailable")
            return hold_answers.unavailable(request)
        except asyncio.CancelledError:
            self._metrics.hold("gone")
            raise
        finally:
            self._count(-1)

    async def finish(self, approval: Approval, code: int, audit_id: str) -> None:
        """Write the outcome of a spent approval; tried until it is written."""
        await self._claims.finish(approval, code, audit_id)

    def let_go(self) -> None:
        """This gateway is about to end: whoever waits is asked to come again, and finds its approval on another one."""
        self._leaving = True
        for waker in self._wakers:
            waker.set()

    def _count(self, step: int) -> None:
        self._waiting += step
        self._metrics.held(self._waiting)

    async def _decide(
        self,
        request: Request,
        caller: Caller,
        verdict: Verdict,
        policy: Policy,
        gather: Gather,
        *,
        asking: Asking,
    ) -> Spend | Answer:
        kept = patience(request, asking, step=self._terms.step, long_step=self._terms.connect_step)
        step_end = self._clock() + kept.seconds
        target = await targets.observe(request, gather)
        if not isinstance(target, Target):
            return hold_answers.untargeted(request, target)
        digest = request_digest(
            request,
            caller,
            target,
            policy=policy.name,
            policy_generation=policy.generation,
            cluster=self._terms.cluster,
        )
        policies = self._snapshot.policies
        return await self._wait(
            Held(
                request,
                caller,
                verdict,
                policy,
                gather,
                target,
                digest,
                policies,
                step_end,
                kept.final,
                asking.reason,
            )
        )

    async def _wait(self, held: Held) -> Spend | Answer:
        """Until somebody has decided, this step is over, or the whole time is."""
        for _ in range(MOST_ROUNDS):
            name, approval = await self._find(held)
            waited = False
            with self._store.changes(name) as changed, self._wakes(changed):
                changed.set()  # it may have changed before we began to listen: the first wait looks once more
                while approval is not None:
                    wait = self._question(held, approval)
                    if wait.answer is Waiting.NEW_ATTEMPT:
                        if waited:
                            return self._ended(held, approval)
                        break
                    answer = await self._act(held, approval, wait, changed)
                    if answer is not None:
                        return answer
                    waited = True
                    # Whatever ends it rests on the API itself, which the mirror may still be behind.
                    waits = wait.answer is Waiting.WAIT and self._left(held, approval) > 0
                    approval = await (self._look(name) if waits else self._read(name))
        raise ValueError("the approvals of one request come and go faster than they can be followed")

    async def _act(
        self, held: Held, approval: Approval, wait: Wait, changed: asyncio.Event
    ) -> Spend | Answer | None:
        if wait.answer is Waiting.CLAIM:
            return await self._claim(held, approval.name)
        if wait.answer is Waiting.WAIT:
            return await self._wait_a_while(held, approval, changed)
        return await self._refuse(held, approval.name)

    def _ended(self, held: Held, approval: Approval) -> Answer:
        """While it was waited for: its client is told, and nobody is asked again unless the client comes again."""
        self._metrics.hold("ended")
        return hold_answers.ended(held.request, approval)

    async def _refuse(self, held: Held, name: str) -> Answer | None:
        approval = await self._read(name)
        if approval is None:
            return None
        wait = self._question(held, approval)
        if wait.answer in (Waiting.WAIT, Waiting.CLAIM, Waiting.NEW_ATTEMPT):
            return None
        self._metrics.hold(wait.answer.value)
        return hold_answers.refused(held.request, approval, wait)

    # Finding and filing

    async def _find(self, held: Held) -> tuple[str, Approval | None]:
        """The approval that this request waits for, filed when there is none. Raises KubeError, ValueError."""
        for attempt in range(1, MOST_ATTEMPTS + 1):
            name = approval_name(held.digest, attempt)
            seen = self._seen(name)
            if seen is not None and self._is_over(held, seen):
                continue
            approval = await self._read(name) or await self._file(held, name)
            if approval is None or not self._is_over(held, approval):
                return name, approval
        raise ValueError(f"more than {MOST_ATTEMPTS} approvals of one request are kept; delete old ones")

    def _is_over(self, held: Held, approval: Approval) -> bool:
        return self._question(held, approval).answer is Waiting.NEW_ATTEMPT

    def _seen(self, name: str) -> Approval | None:
        """As mirrored, where the mirror is to be trusted and knows it."""
        mirror = self._store.mirror
        obj: Any = self._store.seen(name) if mirror.ready and not mirror.failure else None
        return approvals.read(obj) if obj is not None else None

    async def _look(self, name: str) -> Approval | None:
        """As mirrored, or else as the API has it."""
        return self._seen(name) or await self._read(name)

    async def _read(self, name: str) -> Approval | None:
        obj = await self._store.get(name)
        return approvals.read(obj) if obj is not None else None

    async def _file(self, held: Held, name: str) -> Approval | None:
        """Create it; None when it was created by somebody else and is gone again."""
        policy, now = held.policy, self._wall()
        obj = await self._store.create(
            approvals.build(
                name=name,
                request=held.request,
                caller=held.caller,
                target=held.target,
                digest=held.digest,
                body_sha256=body_sha256(held.request),
                policy=policy.name,
                policy_generation=policy.generation,
                rule=held.verdict.rule,
                risk=held.verdict.risk,
                required=policy.approval.required,
                expires_at=now + policy.approval.expire_after,
                use_within=policy.approval.use_within,
                reason=held.reason,
                preview=await self._preview(held.request, held.verdict, held.gather, clock=self._clock),
            )
        )
        if obj is not None:
            await self._show_count(name, policy.approval.required)
        return approvals.read(obj) if obj is not None else await self._read(name)

    async def _show_count(self, name: str, required: int) -> None:
        """For whoever lists approvals; nothing depends on it."""
        try:
            await self._store.patch_status(name, approvals.uncounted(required))
        except KubeError as error:
            log.warning(
                "the count of approvals could not be shown", extra={"approval": name, "cause": str(error)}
            )

    # Waiting

    def _question(self, held: Held, approval: Approval) -> Wait:
        terms = held.policy.approval
        return approvals.waiting_answer(
            approval,
            digest=held.digest,
            target=held.target,
            policy_generation=held.policy.generation,
            now=self._wall(),
            use_within=terms.use_within,
            expire_after=terms.expire_after,
        )

    async def _wait_a_while(self, held: Held, approval: Approval, changed: asyncio.Event) -> Answer | None:
        """None: look again. Otherwise the step is over (come again), or all the time that clients are kept."""
        left = self._left(held, approval)
        if left <= 0:
            latest = await self._read(approval.name)
            if latest is None or self._question(held, latest).answer is not Waiting.WAIT:
                return None
            return self._not_in_time(held, latest)
        try:
            async with asyncio.timeout(min(left, LOOK_EVERY)):
                await changed.wait()
        except TimeoutError:
            return None
        changed.clear()
        return None

    @contextmanager
    def _wakes(self, waker: asyncio.Event) -> Iterator[None]:
        self._wakers.add(waker)
        try:
            yield
        finally:
            self._wakers.discard(waker)

    def _left(self, held: Held, approval: Approval) -> float:
        """Seconds of this step, or of the whole time where that ends first."""
        if self._leaving:
            return 0.0
        return min(self._hold_left(held, approval), held.step_end - self._clock())

    def _hold_left(self, held: Held, approval: Approval) -> float:
        now = self._wall()
        return min(approval.created_at, now) + held.policy.approval.hold_for - now

    def _not_in_time(self, held: Held, approval: Approval) -> Answer:
        left = 0.0 if held.final else self._hold_left(held, approval)
        self._metrics.hold("timeout" if left <= 0 else "retry")
        again = hold_answers.LATER if self._leaving else hold_answers.COME_AGAIN
        terms = held.policy.approval
        return hold_answers.pending(held.request, approval, terms, hold_left=left, again=again)

    # Spending

    async def _claim(self, held: Held, name: str) -> Spend | Answer | None:
        """Everything anew, then the claim. None: it is no longer what it seemed; look again."""
        approval = await self._read(name)
        if approval is None or self._question(held, approval).answer is not Waiting.CLAIM:
            return None
        target = await targets.observe(held.request, held.gather)
        usable = approvals.usable(
            approval,
            digest=held.digest,
            target=target if isinstance(target, Target) else Target(),
            policy_generation=self._policy_generation(held),
            now=self._wall(),
        )
        if not isinstance(usable, Usable):
            self._metrics.hold("changed")
            wait = Wait(Waiting.CHANGED, usable.reason, changed=usable.changed)
            return hold_answers.refused(held.request, approval, wait)
        claimed = await self._take(approval)
        self._metrics.hold("spent" if claimed else "lost race")
        return Spend(claimed) if claimed else None

    def _policy_generation(self, held: Held) -> int:
        """Of the policy as it is now; -1 when it no longer is what holds this request, or when nobody knows. Any other
        policy may have come meanwhile and deny it, so the request is judged anew."""
        policies = self._snapshot.policies
        if not self._snapshot.fresh:
            return -1
        if policies is held.policies:
            return held.policy.generation
        verdict = gate.judge(held.request, held.caller, policies, None, self._wall())
        now_held = verdict.action is Action.HOLD and verdict.policy == held.policy.name
        return verdict.policy_generation if now_held else -1

    async def _take(self, approval: Approval) -> Approval | None:
        """The claim goes to its end whatever happens to the client, so that we know what we have claimed; what was
        claimed for a client that has gone is given up, and nothing is executed."""
        task = asyncio.ensure_future(self._claims.take(approval))
        cancelled = False
        while not task.done():
            try:
                await asyncio.shield(task)
            except asyncio.CancelledError:
                cancelled = True
            except (KubeError, ValueError):
                break
        claimed = None if task.exception() is not None else task.result()
        if not cancelled:
            return task.result()
        if claimed is not None:
            self._claims.abandon(claimed)
        raise asyncio.CancelledError
