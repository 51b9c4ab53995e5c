"""What a stream asks about its lines: by form and by known value, each find with what stands for it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from chaperone.core.masking.detection import Detector
from chaperone.core.masking.known import KnownValues
from chaperone.core.masking.marks import Find
from chaperone.core.masking.placeholder import Mint, holds_placeholder

KNOWN_RULE = "known-value"
_NAME_LIKE = re.compile(r"[A-Za-z]?[a-z]*(?:[-._/:][a-z]+)*")


class TextFinder:
    """Implements `chaperone.core.masking.stream.Finder`.

    uid, path_class: what placeholders are bound to, beside the value: the object whose text it is, and what part of it.
    note: receives (value, placeholder, rule) of what is found by form, to be known from then on; not of what may as well
    be the name of something, which would be masked wherever it stands.
    """

    def __init__(
        self,
        detector: Detector,
        mint: Mint,
        known: KnownValues | None = None,
        *,
        uid: str = "",
        path_class: str = "",
        note: Callable[[str, str, str], object] | None = None,
    ) -> None:
        self._detector = detector
        self._mint = mint
        self._known = known if known is not None else KnownValues()
        self._uid = uid
        self._path_class = path_class
        self._note = note

    def finds(self, texts: Sequence[str]) -> list[tuple[int, Find]]:
        found = [
            (index, Find(span.start, span.end, KNOWN_RULE, span.placeholder))
            for index, span in self._known.scan(texts)
        ]
        for index, span in self._detector.scan(texts):
            value = texts[index][span.start : span.end]
            if not holds_placeholder(value):
                found.append(
                    (index, Find(span.start, span.end, span.rule, self.placeholder(value, span.rule)))
                )
        return found

    def hits(self, raw: bytes) -> bool:
        return self._detector.hits(raw) or self._known.hits(raw)

    def begins(self, token: bytes) -> bool:
        return self._known.begins(token)

    def placeholder(self, value: str, rule: str) -> str:
        placeholder = self._mint.placeholder(self._uid, self._path_class, value)
        if self._note is not None and not _NAME_LIKE.fullmatch(value):
            self._note(value, placeholder, rule)
        return placeholder
