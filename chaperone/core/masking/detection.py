"""Finding credentials by their form: what the masking engine asks of a detector, whatever engine runs inside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class Span(NamedTuple):
    """The secret part of a text, [start, end), and the rule that found it."""

    start: int
    end: int
    rule: str


class KnownSpan(NamedTuple):
    """A part of a text, [start, end), that is a known value in some form, and what stands for it."""

    start: int
    end: int
    placeholder: str


class Detector(Protocol):
    """Knows the forms of credentials. Spans of one text may overlap; their order does not matter."""

    def spans(self, text: str) -> list[Span]:
        """The secrets in one text."""

    def scan(self, texts: Sequence[str]) -> list[tuple[int, Span]]:
        """The secrets in many texts at once: (index of the text, span in it). No match reaches over two texts."""

    def hits(self, raw: bytes) -> bool:
        """Whether raw bytes (of JSON, undecoded) may hold a secret: fast, and never False by mistake for a text that
        stands there without escapes."""


class Known(Protocol):
    """The values that were masked before in this run, in all forms in which they may turn up again."""

    def spans(self, text: str) -> list[KnownSpan]:
        """Where one text holds a known value."""

    def scan(self, texts: Sequence[str]) -> list[tuple[int, KnownSpan]]:
        """The same for many texts at once: (index of the text, span in it)."""


class Together:
    """Several detectors as one: the rules that everybody has, and those of one policy."""

    def __init__(self, detectors: Sequence[Detector]) -> None:
        self._detectors = tuple(detectors)

    def spans(self, text: str) -> list[Span]:
        return [span for detector in self._detectors for span in detector.spans(text)]

    def scan(self, texts: Sequence[str]) -> list[tuple[int, Span]]:
        return [found for detector in self._detectors for found in detector.scan(texts)]

    def hits(self, raw: bytes) -> bool:
        return any(detector.hits(raw) for detector in self._detectors)
