"""Masking of one answer: from a decoded document, or a text, to the same without its secrets.

`Masker.document` changes the document in place: strings are replaced by strings, everything else stays as it is.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection
from typing import Any

from chaperone.core.masking.detection import Detector, Known
from chaperone.core.masking.place import NOWHERE, Place, SecretPlace
from chaperone.core.masking.placeholder import Mint
from chaperone.core.masking.report import Report
from chaperone.core.masking.terms import Terms

Echo = Collection[tuple[str, str | bytes]]
"""(path class, value) of what the agent itself submitted in this request: shown to it as submitted."""

Collect = Callable[[SecretPlace], object]
"""Receives everything that was masked."""


class UnmaskableError(Exception):
    """The document cannot be masked: nothing of it may be shown."""


class Masker:
    """Masks by the terms of one caller. It keeps nothing between two documents; known values are the caller's to keep.

    known: the values masked before in this run, found in everything else. A masker may be used by several threads when
    its detector and its known values may.
    """

    def __init__(self, terms: Terms, detector: Detector, mint: Mint, known: Known | None = None) -> None:
        self.terms = terms
        self.detector = detector
        self.mint = mint
        self.known = known

    def document(
        self, document: Any, place: Place, *, echo: Echo | None = None, collect: Collect | None = None
    ) -> Report:
        """Mask a decoded answer IN PLACE; says what was masked.

        document: a dict or a list: an object, a list of any kind, a Table, a watch event, a Status. place: what the
        URL says of it. echo: (path class, value) pairs that stay as they are, `submitted` makes them. collect:
        receives a SecretPlace for everything that was masked. Raises UnmaskableError (and then the document, half masked,
        must not be shown) for anything else, and for what is nested too deep.
        """
        raise UnmaskableError("this version masks nothing yet")

    def text(
        self, text: str, place: Place = NOWHERE, *, collect: Collect | None = None
    ) -> tuple[str, Report]:
        """Mask a text that is no document: a message, a Warning header, a plain answer, a line of a log."""
        raise UnmaskableError("this version masks nothing yet")

    def secret_places(self, document: Any, place: Place) -> tuple[SecretPlace, ...]:
        """What would be masked in a document, which stays as it is. Known values are not looked for."""
        found: list[SecretPlace] = []
        masker = Masker(self.terms, self.detector, self.mint)
        masker.document(copy.deepcopy(document), place, collect=found.append)
        return tuple(found)

    def submitted(self, body: Any, place: Place) -> Echo:
        """The `echo` for the answer to a write: what the agent wrote at places that are masked on reading.

        body: as the agent sent it, placeholders and all (they stand for nothing that it knows).
        """
        return frozenset((found.path_class, found.value) for found in self.secret_places(body, place))
