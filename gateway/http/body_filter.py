"""What may change a response on its way to the client, and how a whole body goes through it at once.

The relay owns the order of the calls: `ask`, then `head`, then `data` for every piece, then `end`. Whatever a filter
raises withholds the answer, or breaks it off when it has begun; an UpstreamError names the code and the reason.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Mapping
from typing import Protocol

from gateway.http.framing import Header
from gateway.http.upstream import UpstreamError

log = logging.getLogger(__name__)

WITHHELD = "the answer could not be checked for secrets, so it is withheld"


class BodyFilter(Protocol):
    """One for each response."""

    @property
    def live(self) -> bool:
        """Known after `head`. True: the head goes to the client at once. False: it goes with the first bytes that the
        filter lets go, so that it can wait for the end of a short body and say what was done to it."""

    @property
    def patience(self) -> float:
        """Seconds of silence after which `idle` is to be called; 0.0 while nothing is held back."""

    @property
    def counts(self) -> Mapping[str, int]:
        """How many values were masked so far, by the name of the rule."""

    def ask(self, headers: list[Header]) -> list[Header]:
        """The client's headers as they are to go upstream: Accept and Accept-Encoding narrowed to what can be read
        here. Called before the request is sent; a second time when it is sent again."""

    def head(self, code: int, headers: list[Header]) -> list[Header]:
        """The headers to send; called once, before any body. Content-Length is removed by the relay."""

    def data(self, piece: bytes) -> bytes:
        """What may be sent now, of this piece and of what was held back before."""

    def idle(self) -> bytes:
        """What may be sent although nothing followed it for `patience` seconds."""

    def cut(self) -> bytes:
        """What was held back and may still be sent, where the gateway itself ends the response between two events."""

    def end(self) -> bytes:
        """The rest. Raises when the body ended in the middle of something."""

    def tell(self, *, whole: bool) -> list[Header]:
        """Headers that say what was masked. whole: the body has been seen to its end. Called once, after `head`."""


def filtered(
    body_filter: BodyFilter, code: int, headers: list[Header], body: bytes
) -> tuple[list[Header], bytes]:
    """A response that is there as a whole, as the client may see it. Raises UpstreamError."""
    try:
        kept = body_filter.head(code, headers)
        changed = body_filter.data(body) + body_filter.end()
        return [*kept, *body_filter.tell(whole=True)], changed
    except Exception as error:  # noqa: BLE001 - it is raised again, without its words
        raise withheld(error) from None


def withheld(error: Exception) -> UpstreamError:
    """What the client is told when a filter fails. The log shows where it failed and with which kind of error, never
    with which words: they may quote what was to be masked."""
    if isinstance(error, UpstreamError):
        return error
    frames = [f"{one.filename}:{one.lineno}" for one in traceback.extract_tb(error.__traceback__)]
    log.error("an answer could not be filtered", extra={"cause": type(error).__name__, "frames": frames[-8:]})
    return UpstreamError(WITHHELD)
