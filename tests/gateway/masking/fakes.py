"""An engine that knows one secret, wherever it stands, and can be made to fail."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from chaperone.core.masking import STANDARD, Collect, Echo, Masker, Mint, Place, Report, Span, Terms
from chaperone.core.masking.place import NOWHERE
from gateway.limits import RunKey
from gateway.masking.sight import CLEARS_NOTHING, Clears, Sight
from gateway.masking.text_body import TextStream

SECRET = "hunter2-correct-horse"
SHOWN = "masked-abcdefghijklmnopqrstuvwx"
EXPLODE = "explode"


class NoDetector:
    def spans(self, text: str) -> list[Span]:
        return []

    def scan(self, texts: Any) -> list[tuple[int, Span]]:
        return []

    def hits(self, raw: bytes) -> bool:
        return SECRET.encode() in raw or EXPLODE.encode() in raw


class FakeMasker(Masker):
    """places: where each document that was masked came from."""

    def __init__(self) -> None:
        super().__init__(STANDARD, NoDetector(), Mint(b"k" * 32))
        self.places: list[Place] = []

    def document(
        self, document: Any, place: Place, *, echo: Echo | None = None, collect: Collect | None = None
    ) -> Report:
        return self.documents([document], place)[0]

    def documents(
        self,
        documents: Sequence[Any],
        place: Place,
        *,
        echo: Echo | None = None,
        collect: Collect | None = None,
    ) -> list[Report]:
        return [self._walked(document, place) for document in documents]

    def text(
        self, text: str, place: Place = NOWHERE, *, collect: Collect | None = None
    ) -> tuple[str, Report]:
        report = Report()
        return self._masked(text, report), report

    def _walked(self, document: Any, place: Place) -> Report:
        self.places.append(place)
        report = Report()
        _walk(document, lambda text: self._masked(text, report))
        return report

    def _masked(self, text: str, report: Report) -> str:
        if EXPLODE in text:
            raise RuntimeError(f"cannot mask {text}")
        if SECRET in text:
            report.add("known", text.count(SECRET))
        return text.replace(SECRET, SHOWN)


def _walk(document: Any, change: Callable[[str], str]) -> None:
    entries = document.items() if isinstance(document, dict) else enumerate(document)
    for key, value in list(entries):
        if isinstance(value, str):
            document[key] = change(value)
        elif isinstance(value, dict | list):
            _walk(value, change)


class FakeStream:
    """Lets go of whole lines."""

    def __init__(self, masker: Masker, sight: Sight) -> None:
        self._masker = masker
        self._sight = sight
        self._held = b""

    @property
    def held(self) -> int:
        return len(self._held)

    def feed(self, piece: bytes) -> bytes:
        whole, end, self._held = (self._held + piece).rpartition(b"\n")
        return self._out(whole + end)

    def idle(self) -> bytes:
        return self.flush()

    def flush(self) -> bytes:
        held, self._held = self._held, b""
        return self._out(held)

    def _out(self, raw: bytes) -> bytes:
        text, report = self._masker.text(raw.decode())
        self._sight.count(report)
        return text.encode()


class FakeEngine:
    def __init__(self) -> None:
        self.one = FakeMasker()
        self.asked: list[tuple[Terms, RunKey]] = []

    def masker(self, terms: Terms, run: RunKey) -> Masker:
        self.asked.append((terms, run))
        return self.one

    def collect(self, run: RunKey) -> Collect:
        return lambda _found: None

    def stream(self, terms: Terms, run: RunKey, sight: Sight) -> TextStream:
        return FakeStream(self.one, sight)

    def clears(self, terms: Terms, run: RunKey, place: Place) -> Clears:
        if place.resource == "pods":
            hits = self.one.detector.hits
            return Clears(
                doubtful=lambda items: [index for index, item in enumerate(items) if hits(item)],
                knows=lambda _raw: False,
            )
        return CLEARS_NOTHING
