"""One document while it is masked: the strings that are still to be looked at, and what was put in place of others."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any, NamedTuple

from chaperone.core.masking.keys import Judgement
from chaperone.core.masking.nested import Nested
from chaperone.core.masking.phrases import Hit, Phrases
from chaperone.core.masking.place import SecretPlace
from chaperone.core.masking.placeholder import Mint, encoded, is_placeholder
from chaperone.core.masking.report import Report
from chaperone.core.masking.scope import Frame, Where, is_exempt, where
from chaperone.core.masking.terms import Terms

Echo = Collection[tuple[str, str | bytes]]
"""(path class, value) of what the agent itself submitted in this request: shown to it as submitted."""

Collect = Callable[[SecretPlace], object]
"""Receives everything that was masked."""

LINES, COMMAND, COMMENTS = range(3)
"""How the words in a text are read: as lines of configuration, as one command, only in its comments."""


Leaf = tuple[Any, "str | int", Frame, int]
"""A string that is still to be looked at: container, key in it, the way to the container, how its words are read."""


class Inner(NamedTuple):
    """A text that was taken apart: its trees have to be put together again into container[key]."""

    depth: int
    nested: Nested
    container: Any
    key: str | int
    frame: Frame
    is_free: bool
    """Between its values stands what is no value: comments."""


class Work:
    """values: what was masked in this document. wordless: strings of which only the form and the value
    count. names and keys: texts in which a secret may only be noted.
    last: what is done when everything is masked."""

    def __init__(
        self,
        terms: Terms,
        judge: Judgement,
        phrases: Phrases,
        mint: Mint,
        *,
        echo: Echo | None,
        collect: Collect | None,
    ) -> None:
        self.terms = terms
        self.judge = judge
        self.phrases = phrases
        self.report = Report()
        self.leaves: list[Leaf] = []
        self.wordless: list[Leaf] = []
        self.names: list[str] = []
        self.keys: list[str] = []
        self.inner: list[Inner] = []
        self.last: list[Callable[[], None]] = []
        self.values: set[str] = set()
        self._mint = mint
        self._echo = echo
        self._collect = collect
        self._found: list[SecretPlace] = []

    def hide(
        self,
        container: Any,
        key: str | int,
        frame: Frame,
        rule: str,
        *,
        value: str | bytes | None = None,
        as_bytes: bool = False,
        place: Where | None = None,
    ) -> bool:
        """Put a placeholder in the place of a whole string. value: what the string stands for, where it is packed.
        as_bytes: the placeholder goes in as base64. place: where it stands, if it goes by another name than its own.
        False: the string stays as it is (exempt, submitted, already masked).
        """
        text: str = container[key]
        if is_placeholder(text):
            return False
        value = text if value is None else value
        placeholder = self._placeholder(place or where(frame, key), value, rule, as_bytes=as_bytes)
        if not placeholder:
            return False
        container[key] = encoded(placeholder) if as_bytes else placeholder
        return True

    def hide_hits(self, container: Any, key: str | int, frame: Frame, hits: Iterable[Hit]) -> bool:
        """Put placeholders in the place of parts of a string. hits: in their order, not overlapping; one may bring its
        placeholder."""
        place = where(frame, key)
        text: str = container[key]
        parts: list[str] = []
        at = 0
        for hit in hits:
            here = place._replace(path_class=f"{place.path_class}#{hit.key}") if hit.key else place
            placeholder = self._placeholder(here, text[hit.start : hit.end], hit.rule, hit.placeholder)
            if placeholder:
                parts += [text[at : hit.start], placeholder]
                at = hit.end
        container[key] = "".join([*parts, text[at:]])
        return bool(parts)

    def _placeholder(
        self, place: Where, value: str | bytes, rule: str, given: str = "", *, as_bytes: bool = False
    ) -> str:
        """What stands for the value; nothing where it is shown."""
        if self._echo and (place.path_class, value) in self._echo:
            return ""
        if place.scope.exempt and is_exempt(place):
            return ""
        placeholder = given or self._mint.placeholder(place.scope.uid, place.path_class, value)
        self.report.add(rule)
        if isinstance(value, str) and not given:
            self.values.add(value)
        if self._collect is not None and not given:
            self._found.append(SecretPlace(placeholder, value, place.path, place.path_class, rule, as_bytes))
        return placeholder

    def tell(self) -> None:
        """Let it be known what was masked, since the last time."""
        found, self._found = self._found, []
        if self._collect is not None:
            for place in found:
                self._collect(place)
