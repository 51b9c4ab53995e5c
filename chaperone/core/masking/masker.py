"""Masking of one answer: from a decoded document, or a text, to the same without its secrets.

`Masker.document` changes the document in place: strings are replaced by strings, everything else stays as it is. Every
string is judged by where it stands (kind, name, neighbours), then by its form, then by value.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
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
        if not isinstance(document, dict | list):
            raise UnmaskableError(f"a {type(document).__name__} is not a document")
        work = self._work(echo, collect)
        try:
            walk_document(Walk(work, self._holds_secret), document, place)
            search(work, self.detector, self.known)
        except (RecursionError, TooLargeError) as error:
            raise UnmaskableError("the document is nested too deep") from error
        return work.report

    def text(
        self, text: str, place: Place = NOWHERE, *, collect: Collect | None = None
    ) -> tuple[str, Report]:
        """Mask a text that is no document: a message, a Warning header, a plain answer, a line of a log."""
        return self._text(text, place, collect)

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

    def _work(self, echo: Echo | None = None, collect: Collect | None = None) -> Work:
        return Work(self.terms, self._judge, self._phrases, self.mint, echo=echo, collect=collect)

    def _text(self, text: str, place: Place, collect: Collect | None) -> tuple[str, Report]:
        work = self._work(collect=collect)
        holder = {"text": text}
        uid = f"{place.group}/{place.resource}/{place.namespace}/{place.name}"
        Walk(work, self._holds_secret).text(holder, "text", Scope(holder, uid))
        search(work, self.detector, self.known)
        return holder["text"], work.report

    def _holds_secret(self, text: str) -> bool:
        """Whether something would be masked in a text that was packed inside another one."""
        return Masker(self.terms, self.detector, self.mint, self.known).text(text)[1].total > 0


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
