"""What one answer is masked by, and what was masked in it so far."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from chaperone.core.masking import Collect, Echo, Masker, Place, Report
from gateway.masking import json_text

Clears = Callable[[bytes], bool]
"""Whether raw JSON is known to hold nothing that would be masked, without decoding it."""


def clears_nothing(_raw: bytes) -> bool:
    """Everything is decoded and looked at."""
    return False


class Sight:
    """How one answer is looked at. counts: masked values by the name of the rule."""

    __slots__ = ("_clears", "_collect", "_echo", "_masker", "counts", "place")

    def __init__(
        self,
        masker: Masker,
        place: Place,
        *,
        clears: Clears = clears_nothing,
        collect: Collect | None = None,
        echo: Echo | None = None,
    ) -> None:
        self._masker = masker
        self._clears = clears
        self._collect = collect
        self._echo = echo
        self.place = place
        self.counts: dict[str, int] = {}

    def raw(self, raw: bytes) -> bytes:
        """One JSON value as the client may see it: the same bytes where nothing was masked. Raises what masking raises,
        and gateway.masking.json_text.UnreadableJsonError."""
        if self._clears(raw):
            return raw
        document = json_text.read(raw)
        if not self.document(document):
            return raw
        return json_text.write(document) + raw[len(raw.rstrip()) :]

    def document(self, document: Any) -> bool:
        """Mask a decoded value in place; True when something was masked."""
        report = self._masker.document(document, self.place, echo=self._echo, collect=self._collect)
        self.count(report)
        return report.total > 0

    def text(self, text: str) -> str:
        """A message, or the value of a header."""
        masked, report = self._masker.text(text, self.place, collect=self._collect)
        self.count(report)
        return masked

    def count(self, report: Report) -> None:
        for rule, count in report.counts.items():
            self.counts[rule] = self.counts.get(rule, 0) + count
