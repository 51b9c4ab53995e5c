"""The command of an exec as records and recordings may show it: secrets in it are masked as on a screen."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from urllib.parse import quote, urlencode

from chaperone.core.request import Request
from gateway.recording.tap import ChooseScreens, Screens
from gateway.standing import Standing

log = logging.getLogger(__name__)

COMMAND = "command"
WITHHELD = "withheld, for it could not be masked"


def command_of(request: Request) -> tuple[str, ...]:
    return tuple(value for name, value in request.parameters if name == COMMAND)


def screened(words: Iterable[str], screens: Screens | None) -> tuple[str, ...]:
    """Looked at as one line, for `--password` and what follows it are two words; the lengths are kept."""
    every = [word.encode() for word in words]
    if screens is None or not every:
        return tuple(word.decode() for word in every)
    screen, at, shown = screens.make(), 0, []
    line = screen.feed(b" ".join(every)) + screen.flush()
    for word in every:
        shown.append(line[at : at + len(word)].decode("utf-8", "replace"))
        at += len(word) + 1
    return tuple(shown)


class ShownTargets:
    """Implements gateway.services.ShowTarget."""

    def __init__(self, screens: ChooseScreens) -> None:
        self._screens = screens

    def __call__(self, request: Request, standing: Standing) -> str:
        """Path and query; raises nothing."""
        command = command_of(request)
        if not command or standing.terms is None:
            return request.target
        try:
            shown = screened(command, self._screens(request, standing))
        except Exception:
            log.exception("a command could not be masked for its record")
            shown = (WITHHELD,)
        if shown == command:
            return request.target
        others = [(name, value) for name, value in request.parameters if name != COMMAND]
        query = urlencode([*((COMMAND, word) for word in shown), *others], quote_via=quote, safe="*")
        return f"{request.path}?{query}"
