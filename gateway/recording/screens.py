"""What masks the channels of a stream: the gateway's one masking engine, a `*` for each byte of a secret."""

from __future__ import annotations

from collections.abc import Mapping

from chaperone.core.masking import Terms
from chaperone.core.request import Request
from chaperone.core.streams.conversation import Screen
from gateway.limits import RunKey
from gateway.masking.choice import place_of
from gateway.masking.engine import MaskingEngine
from gateway.masking.sight import Sight
from gateway.recording.tap import Screens
from gateway.standing import Standing


class EngineScreens:
    """Of one stream. Implements gateway.recording.tap.Screens."""

    def __init__(self, engine: MaskingEngine, terms: Terms, run: RunKey, request: Request) -> None:
        self._engine = engine
        self._terms = terms
        self._run = run
        self._sight = Sight(engine.masker(terms, run), place_of(request))

    @property
    def counts(self) -> Mapping[str, int]:
        return self._sight.counts

    def make(self) -> Screen:
        return self._engine.stream(self._terms, self._run, self._sight, keep_length=True)


class ChooseScreens:
    """Implements gateway.recording.tap.ChooseScreens: all that is masked for this caller is masked here."""

    def __init__(self, engine: MaskingEngine) -> None:
        self._engine = engine

    def __call__(self, request: Request, standing: Standing) -> Screens | None:
        if standing.terms is None:
            return None
        return EngineScreens(self._engine, standing.terms, standing.run, request)
