"""Which answers are masked, and as what: decided from the request and the terms of its caller, before it is sent.

Only what is listed here as holding nothing of any object goes through as it is: discovery, the API's own description,
health. All else is masked, also what this page has never heard of.
"""

from __future__ import annotations

from typing import Protocol

from chaperone.core.masking import Collect, Echo, Masker, Place, Terms
from chaperone.core.request import Request
from chaperone.core.verdict import Verdict
from gateway.limits import RunKey
from gateway.masking.answer import AnswerFilter, Shape
from gateway.masking.bodies import Body
from gateway.masking.sight import Clears, Sight
from gateway.masking.text_body import LimitedTextBody, TextBody, TextStream
from gateway.standing import Standing

OPEN_PATHS = frozenset({"/", "/api", "/apis", "/version", "/healthz", "/livez", "/readyz", "/openid/v1/jwks"})
OPEN_PREFIXES = (
    "/openapi/",
    "/api/",
    "/apis/",
    "/healthz/",
    "/livez/",
    "/readyz/",
    "/version/",
    "/.well-known/",
)
"""Of requests for no resource: what the API consists of. It says nothing of any object."""


class Engine(Protocol):
    """Everything that knows what a secret is."""

    def masker(self, terms: Terms, run: RunKey) -> Masker: ...

    def collect(self, run: RunKey) -> Collect:
        """Remembers what was masked for the rest of the run."""

    def stream(self, terms: Terms, run: RunKey, sight: Sight) -> TextStream:
        """For one text that comes in pieces."""

    def clears(self, terms: Terms, run: RunKey, place: Place) -> Clears:
        """The fast look at raw JSON of one kind."""


class Choice:
    """Implements gateway.services.ChooseFilter."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def __call__(
        self, request: Request, standing: Standing, _verdict: Verdict, echo: Echo | None
    ) -> AnswerFilter | None:
        """echo: what the agent wrote itself in this request, at places that are masked on reading."""
        if standing.terms is None or is_open(request):
            return None
        engine, terms, run, place = self._engine, standing.terms, standing.run, place_of(request)
        masker = engine.masker(terms, run)
        sight = Sight(
            masker,
            place,
            clears=engine.clears(terms, run, place),
            collect=engine.collect(run),
            echo=echo,
        )

        def text(sight: Sight) -> Body:
            return _text(request, engine.stream(terms, run, sight), sight)

        return AnswerFilter(sight, shape_of(request), text)


def is_open(request: Request) -> bool:
    """Whether the answer holds nothing of any object, whatever it is."""
    if request.is_resource:
        return False
    return request.path in OPEN_PATHS or request.path.startswith(OPEN_PREFIXES)


def place_of(request: Request) -> Place:
    """What the URL says of the answer; nothing for what lies behind a proxy."""
    if not request.is_resource or _is_proxied(request):
        return Place()
    return Place(
        group=request.group,
        resource=request.resource,
        namespace=request.namespace,
        name=request.name,
        subresource=request.subresource,
    )


def shape_of(request: Request) -> Shape:
    if not request.is_resource or _is_proxied(request):
        return Shape.ANY
    if _is_log(request):
        return Shape.LOG
    if request.verb == "watch":
        return Shape.WATCH
    return Shape.LIST if request.verb in ("list", "deletecollection") else Shape.OBJECT


def _is_proxied(request: Request) -> bool:
    return request.verb == "proxy" or request.subresource == "proxy"


def _is_log(request: Request) -> bool:
    return not request.group and request.full_resource == "pods/log"


def _text(request: Request, stream: TextStream, sight: Sight) -> Body:
    """A log that is not followed ends by itself; anything else may be slow, and somebody waits for it."""
    if not _is_log(request):
        return TextBody(stream, live=True)
    live = (request.parameter("follow") or "false").lower() not in ("0", "false", "f")
    limit = request.parameter("limitBytes")
    if limit is None:
        return TextBody(stream, live=live)
    return LimitedTextBody(stream, sight, live=live, limit=_number(limit))


def _number(text: str) -> int:
    """What cannot be read counts as full at once: then a last word is never shown."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else 0
