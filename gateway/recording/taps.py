"""Opens the tap of a stream before its handshake: the recording's header is durable, or the stream is refused."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from chaperone.core.recording.asciicast import Asciicast
from chaperone.core.recording.naming import recording_name
from chaperone.core.recording.recorder import Recorder
from chaperone.core.recording.scene import Scene
from chaperone.core.recording.transcript import Transcript
from chaperone.core.request import Request
from chaperone.core.streams.negotiation import is_stream
from chaperone.core.verdict import Verdict
from chaperone.store.recording_sink import RecordingSink, RecordingWriter
from gateway.recording.commands import COMMAND, screened
from gateway.recording.tap import NO_ANSWER, ChooseScreens, Screens, StreamTap
from gateway.recording.terms import RecordingTerms, recording_terms
from gateway.recording.track import RecordingError, Track
from gateway.services import Tap
from gateway.standing import Standing

log = logging.getLogger(__name__)

THREADS = 4
NO_SINK = "this gateway is configured to record nothing"


def no_screens(_request: Request, _standing: Standing) -> Screens | None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class TapSettings:
    """limit: bytes of one recording. patience: seconds for the sink to take something."""

    limit: int = 0
    patience: float = 10.0


class Taps:
    """Implements gateway.services.OpenTap. sink: None records nothing. wall, clock: Unix seconds, monotonic seconds."""

    def __init__(
        self,
        sink: RecordingSink | None,
        *,
        wall: Callable[[], float],
        clock: Callable[[], float],
        screens: ChooseScreens = no_screens,
        settings: TapSettings | None = None,
    ) -> None:
        self._sink = sink
        self._wall = wall
        self._clock = clock
        self._screens = screens
        self._settings = settings or TapSettings()
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="recordings")

    def close(self) -> None:
        """Once no stream is open any more."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def __call__(
        self, request: Request, standing: Standing, verdict: Verdict, audit_id: str
    ) -> Tap | None:
        """Raises RecordingError when policy requires a recording and there can be none; whatever a masker raises."""
        terms = recording_terms(standing.governed.policies)
        readable = is_stream(request) and request.subresource != "portforward"
        screens = self._screens(request, standing) if readable else None
        if not terms.wanted:
            return (
                StreamTap(request, terms, clock=self._clock, screens=screens) if screens is not None else None
            )
        scene = scene_of(request, standing, verdict, audit_id=audit_id, now=self._wall(), screens=screens)
        return await self._recorded(request, terms, scene, screens)

    async def _recorded(
        self, request: Request, terms: RecordingTerms, scene: Scene, screens: Screens | None
    ) -> StreamTap:
        name = recording_name(scene.audit_id, scene.started_at, terminal=scene.is_terminal)
        kind: type[Recorder] = Asciicast if scene.is_terminal else Transcript
        recorder = kind(scene, limit=self._settings.limit)
        try:
            track = await self._opened(name, scene, recorder.header(self._clock()))
        except RecordingError as error:
            if terms.required:
                raise
            log.warning("a stream goes on without a recording", extra={"error": str(error)})
            return StreamTap(request, terms, clock=self._clock, screens=screens, gap=str(error))
        return StreamTap(
            request,
            terms,
            clock=self._clock,
            screens=screens,
            name=name,
            recorder=recorder,
            track=track,
            patience=self._settings.patience,
        )

    async def _opened(self, name: str, scene: Scene, header: bytes) -> Track:
        """With its header on stable storage. Raises RecordingError."""
        if self._sink is None:
            raise RecordingError(NO_SINK)
        meta = {"auditID": scene.audit_id, "run": scene.run, "user": scene.user, "kind": scene.kind}
        opening = self._pool.submit(self._sink.open, name, meta)
        try:
            async with asyncio.timeout(self._settings.patience):
                track = Track(await asyncio.wrap_future(opening), self._pool)
                track.append(header)
                await track.durable()
        except BaseException as error:
            opening.add_done_callback(_abandon)
            if isinstance(error, TimeoutError):
                raise RecordingError(NO_ANSWER) from error
            if isinstance(error, OSError):
                raise RecordingError(f"{type(error).__name__}: {error.strerror or error}") from error
            raise
        return track


def _abandon(opening: Future[RecordingWriter]) -> None:
    """Whatever was opened, also after nobody waits for it any more."""
    if not opening.cancelled() and opening.exception() is None:
        opening.result().abort()


def scene_of(
    request: Request,
    standing: Standing,
    verdict: Verdict,
    *,
    audit_id: str,
    now: float,
    screens: Screens | None,
) -> Scene:
    """Secrets in the command are masked as they would be on the screen."""
    caller = standing.caller
    every = request.parameters if is_stream(request) else ()  # behind a proxy they are somebody else's
    return Scene(
        kind=request.subresource if request.resource == "pods" else request.full_resource,
        namespace=request.namespace,
        pod=request.name,
        container=_first(every, "container") or "",
        command=screened([value for name, value in every if name == COMMAND], screens),
        tty=_is_true(_first(every, "tty")),
        stdin=_is_true(_first(every, "stdin")),
        ports=tuple(
            int(value) for name, value in every if name == "ports" and value.isdigit() and len(value) < 6
        ),
        user=caller.username,
        groups=caller.groups,
        run=caller.run,
        agent=caller.agent,
        model=caller.model,
        policy=verdict.policy,
        approval=verdict.approval_name,
        audit_id=audit_id,
        started_at=now,
    )


def _first(parameters: Iterable[tuple[str, str]], key: str) -> str | None:
    return next((value for name, value in parameters if name == key), None)


def _is_true(value: str | None) -> bool:
    """As the API server reads a boolean in a query: anything but false and 0."""
    return value is not None and value.lower() not in ("false", "0")
