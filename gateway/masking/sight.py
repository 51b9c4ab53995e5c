"""What one answer is masked by, and what was masked in it so far."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain
from typing import Any

from chaperone.core.masking import Collect, Echo, Masker, Place, Report
from gateway.masking import json_text


@dataclass(frozen=True, slots=True)
class Clears:
    """A fast look at the raw JSON of objects. doubtful: which of several may hold something that would be masked for its
    place or its form. knows: whether raw bytes hold what this run was shown masked."""

    doubtful: Callable[[Sequence[bytes]], Collection[int]]
    knows: Callable[[bytes], bool]


def _all_of_them(items: Sequence[bytes]) -> Collection[int]:
    return range(len(items))


def _nothing(_raw: bytes) -> bool:
    return False


CLEARS_NOTHING = Clears(_all_of_them, _nothing)
"""Everything is decoded and looked at."""


class Sight:
    """How one answer is looked at. counts: masked values by the name of the rule."""

    __slots__ = ("_clears", "_collect", "_echo", "_masker", "counts", "place")

    def __init__(
        self,
        masker: Masker,
        place: Place,
        *,
        clears: Clears = CLEARS_NOTHING,
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
        if not self._clears.doubtful((raw,)) and not self._clears.knows(raw):
            return raw
        return self._decoded([raw])[0]

    def items(self, *batches: Sequence[bytes]) -> list[bytes]:
        """The same for all objects of some batches beside each other: what is found in one is known in all of them."""
        items = list(chain.from_iterable(batches))
        shown = list(items)
        starts = accumulate(map(len, batches), initial=0)
        found = [
            {start + index for index in self._clears.doubtful(batch)}
            for start, batch in zip(starts, batches, strict=False)
        ]
        doubtful = sorted(set().union(*found))
        self._decode(shown, doubtful)
        clear = sorted(set(range(len(items))).difference(doubtful))
        while clear and self._clears.knows(b",".join([items[index] for index in clear])):
            held = [index for index in clear if self._clears.knows(items[index])]
            if not held:
                break
            self._decode(shown, held)
            clear = [index for index in clear if index not in held]
        return shown

    def _decode(self, shown: list[bytes], indexes: Collection[int]) -> None:
        """Put what the client may see in the place of these objects."""
        decoded = self._decoded([shown[index] for index in indexes])
        for index, raw in zip(indexes, decoded, strict=True):
            shown[index] = raw

    def _decoded(self, items: Sequence[bytes]) -> list[bytes]:
        documents = [json_text.read(raw) for raw in items]
        reports = self._masker.documents(documents, self.place, echo=self._echo, collect=self._collect)
        for report in reports:
            self.count(report)
        return [
            json_text.write(document) + raw[len(raw.rstrip()) :] if report.total else raw
            for raw, document, report in zip(items, documents, reports, strict=True)
        ]

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
