"""A masker with a small detector of its own, and shorthands, for the tests of the masking engine."""

from __future__ import annotations

import base64
import copy
import re
from collections.abc import Sequence
from typing import Any

from chaperone.core.masking import NOWHERE, Masker, Mint, Place, Profile, Report, SecretPlace, Span, Terms
from chaperone.core.masking.detection import KnownSpan

MINT = Mint(b"test-key-0123456789abcdef")
AWS = "AKIAQYLPMN5HFIQR7XYZ"
GITHUB = "ghp_0123456789abcdefghijABCDEFGHIJ456789"
_FORMS = re.compile(r"(?P<aws>AKIA[A-Z2-7]{16})|(?P<github>ghp_[A-Za-z0-9]{36})")


class FewForms:
    """Knows two forms of credentials."""

    def spans(self, text: str) -> list[Span]:
        return [Span(match.start(), match.end(), str(match.lastgroup)) for match in _FORMS.finditer(text)]

    def scan(self, texts: Sequence[str]) -> list[tuple[int, Span]]:
        for text in texts:
            text.encode()  # as the engines do: no lone surrogates
        return [(index, span) for index, text in enumerate(texts) for span in self.spans(text)]

    def hits(self, raw: bytes) -> bool:
        return bool(raw)


class OneKnown:
    """Knows one value."""

    def __init__(self, value: str, placeholder: str) -> None:
        self.value, self.placeholder = value, placeholder

    def spans(self, text: str) -> list[KnownSpan]:
        return [
            KnownSpan(match.start(), match.end(), self.placeholder)
            for match in re.finditer(re.escape(self.value), text)
        ]

    def scan(self, texts: Sequence[str]) -> list[tuple[int, KnownSpan]]:
        return [(index, span) for index, text in enumerate(texts) for span in self.spans(text)]


STANDARD = Masker(Terms(), FewForms(), MINT)
STRICT = Masker(Terms(Profile.STRICT), FewForms(), MINT)


def b64(text: str | bytes) -> str:
    return base64.b64encode(text if isinstance(text, bytes) else text.encode()).decode()


def masked(document: Any, place: Place = NOWHERE, masker: Masker = STANDARD) -> Any:
    """A masked copy; masking it again changes nothing."""
    once = copy.deepcopy(document)
    masker.document(once, place)
    again = copy.deepcopy(once)
    report = masker.document(again, place)
    assert again == once
    assert report.total == 0
    return once


def reported(document: Any, place: Place = NOWHERE, masker: Masker = STANDARD) -> Report:
    return masker.document(copy.deepcopy(document), place)


def places(document: Any, place: Place = NOWHERE, masker: Masker = STANDARD) -> list[SecretPlace]:
    return list(masker.secret_places(document, place))


def custom(spec: Any, **metadata: Any) -> dict[str, Any]:
    """A custom resource."""
    return {
        "apiVersion": "example.com/v1",
        "kind": "Thing",
        "metadata": {"name": "t", "uid": "u-1", **metadata},
        "spec": spec,
    }


def spec_of(spec: Any, masker: Masker = STANDARD) -> Any:
    """The spec of a custom resource after masking."""
    return masked(custom(spec), Place("example.com", "things", "ns", "t"), masker)["spec"]
