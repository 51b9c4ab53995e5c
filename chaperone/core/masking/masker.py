"""Masking of one answer: from a decoded document, or a text, to the same without its secrets.

`Masker.document` changes the document in place: strings are replaced by strings, everything else stays as it is. Every
string is judged by where it stands (kind, name, neighbours), then by its form, then by value.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from chaperone.core.masking.detection import Detector, Known
from chaperone.core.masking.documents import walk_document
from chaperone.core.masking.keys import judgement
from chaperone.core.masking.layers import TooLargeError
from chaperone.core.masking.phrases import phrases
from chaperone.core.masking.place import NOWHERE, Place, SecretPlace, path_class
from chaperone.core.masking.placeholder import Mint
from chaperone.core.masking.report import Report
from chaperone.core.masking.scope import Scope
from chaperone.core.masking.search import search
from chaperone.core.masking.terms import Terms
from chaperone.core.masking.walk import Walk
from chaperone.core.masking.work import Collect, Echo, Work

__all__ = ["Collect", "Echo", "Masker", "UnmaskableError"]

MOST_TOGETHER = 16
"""Documents that are searched together: what they tell must not push out what was known before."""


class UnmaskableError(Exception):
    """The document cannot be masked: nothing of it may be shown."""


class Masker:
    """Masks by the terms of one caller. It keeps nothing between two documents; known values are the caller's to keep.

    detector: with the patterns of the terms, where they have any. known: the values masked before in this run, found in
    everything else. A masker may be used by several threads when its detector and its known values may.
    """

    def __init__(self, terms: Terms, detector: Detector, mint: Mint, known: Known | None = None) -> None:
        self.terms = terms
        self.detector = detector
        self.mint = mint
        self.known = known
        self._judge = judgement(terms.keys)
        self._phrases = phrases(self._judge, terms.keys)

    def document(
        self, document: Any, place: Place, *, echo: Echo | None = None, collect: Collect | None = None
    ) -> Report:
        """Mask a decoded answer IN PLACE; says what was masked.

        document: a dict or a list: an object, a list of any kind, a Table, a watch event, a Status. place: what the
        URL says of it. echo: (path class, value) pairs that stay as they are, `submitted` makes them. collect:
        receives a SecretPlace for everything that was masked. Raises UnmaskableError (and then the document, half
        masked, must not be shown) for anything else, and for what is nested too deep.
        """
        return self.documents([document], place, echo=echo, collect=collect)[0]

    def documents(
        self,
        documents: Sequence[Any],
        place: Place,
        *,
        echo: Echo | None = None,
        collect: Collect | None = None,
    ) -> list[Report]:
        """The same for several answers beside each other, which costs less. Each is masked for itself, but what one of
        them shows masked may be known in all of them. Raises UnmaskableError for any (and then none may be shown)."""
        for document in documents:
            if not isinstance(document, dict | list):
                raise UnmaskableError(f"a {type(document).__name__} is not a document")
        together = _Together(self, echo, collect)
        try:
            for document in documents:
                together.walk(partial(walk_document, document=document, place=place))
            return together.reports()
        except (RecursionError, TooLargeError) as error:
            raise UnmaskableError("the document is nested too deep") from error
        finally:
            together.tell()

    def text(
        self, text: str, place: Place = NOWHERE, *, collect: Collect | None = None
    ) -> tuple[str, Report]:
        """Mask a text that is no document: a message, a Warning header, a plain answer, a line of a log."""
        holder = {"text": text}
        uid = f"{place.group}/{place.resource}/{place.namespace}/{place.name}"
        together = _Together(self, None, collect)
        together.walk(lambda walk: walk.text(holder, "text", Scope(holder, uid)))
        (report,) = together.reports()
        return holder["text"], report

    def secret_places(self, document: Any, place: Place) -> tuple[SecretPlace, ...]:
        """What would be masked in a document, which stays as it is. Known values are not looked for."""
        found: list[SecretPlace] = []
        masker = Masker(self.terms, self.detector, self.mint)
        masker.document(copy.deepcopy(document), place, collect=found.append)
        return tuple(found)

    def submitted(self, body: Any, place: Place) -> Echo:
        """The `echo` for the answer to a write: what the agent wrote, at places that are masked on reading and at all
        others.

        body: as the agent sent it, placeholders and all (they stand for nothing that it knows).
        """
        masked = {(found.path_class, found.value) for found in self.secret_places(body, place)}
        return frozenset(masked | set(_strings(body)))

    def work(self, echo: Echo | None, collect: Collect | None) -> Work:
        return Work(self.terms, self._judge, self._phrases, self.mint, echo=echo, collect=collect)

    def holds_secret(self, text: str) -> bool:
        """Whether something would be masked in a text that was packed inside another one."""
        return Masker(self.terms, self.detector, self.mint, self.known).text(text)[1].total > 0


class _Together:
    """What is masked together: walked one after another, and searched together as long as none has to know what is
    found in those before it."""

    def __init__(self, masker: Masker, echo: Echo | None, collect: Collect | None) -> None:
        self._masker = masker
        self._echo = echo
        self._collect = collect
        self._works: list[Work] = []
        self._searched = 0

    def walk(self, walking: Callable[[Walk], None]) -> None:
        work = self._masker.work(self._echo, self._collect)
        self._works.append(work)
        walking(Walk(work, self._holds_secret))
        if work.inner or len(self._works) - self._searched == MOST_TOGETHER:
            self._search(len(self._works))

    def reports(self) -> list[Report]:
        """When all were walked."""
        self._search(len(self._works))
        return [work.report for work in self._works]

    def tell(self) -> None:
        """Also what was masked before something failed."""
        for work in self._works:
            work.tell()

    def _search(self, end: int) -> None:
        begin, self._searched = self._searched, end
        if begin < end:
            search(self._works[begin:end], self._masker.detector, self._masker.known)
        for work in self._works[begin:]:
            work.tell()

    def _holds_secret(self, text: str) -> bool:
        """Asked in the middle of a walk: everything before is known by then."""
        self._search(len(self._works) - 1)
        return self._masker.holds_secret(text)


def _strings(body: Any) -> Iterator[tuple[str, str]]:
    """Every string of a body with its path class."""
    stack: list[tuple[Any, str]] = [(body, "")]
    while stack:
        node, above = stack.pop()
        for key in node if isinstance(node, dict) else range(len(node)):
            child = node[key]
            here = _joined(above, path_class(node, (key,)))
            if isinstance(child, str):
                yield here, child
            elif isinstance(child, dict | list):
                stack.append((child, here))


def _joined(above: str, step: str) -> str:
    return f"{above}.{step}" if above and not step.startswith("[") else above + step
