"""The live object of a write, twice: with its values, and as the agent sees it. What stands for what in it.

A placeholder has a meaning in one object alone, so this is all there is to resolve one with.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from chaperone.core.masking.detection import Known
from chaperone.core.masking.json_text import read_json
from chaperone.core.masking.masker import Masker
from chaperone.core.masking.nested import Nested
from chaperone.core.masking.place import Path, Place, SecretPlace, path_class
from chaperone.core.masking.placeholder import MARKER
from chaperone.core.masking.restoring_search import PLAIN, copied, placeholders, rewrite, strings
from chaperone.core.masking.search import KNOWN_VALUE
from chaperone.core.masking.yaml_text import looks_like_yaml, read_yaml

LAST_APPLIED: Path = ("metadata", "annotations", "kubectl.kubernetes.io/last-applied-configuration")
"""What kubectl's client-side apply keeps for its next run. It only compares the names of fields with it, so masked text
may stay there; nothing is ever resolved inside."""


class NotTextError(ValueError):
    """A value that is no text stands where only text can stand."""

    def __init__(self, path: Path) -> None:
        super().__init__("a value is not text")
        self.path = path


@dataclass(frozen=True, slots=True)
class Live:
    """masked: the document as the agent sees it. values: what each placeholder in it stands for. texts: whole strings
    that hold placeholders, and what stands there in truth, to the byte. places: what was masked in it. bound: its own
    placeholders; others are of other objects, whose values turned up here. own: those of what was masked for what it
    is at its place; all others repeat a value that is masked elsewhere. shown: the path classes of the strings in which
    each placeholder is seen.
    """

    document: Mapping[str, Any] = field(repr=False)
    masked: dict[str, Any] = field(repr=False)
    uid: str
    version: str
    values: Mapping[str, bytes] = field(repr=False)
    texts: Mapping[str, str] = field(repr=False)
    places: tuple[SecretPlace, ...] = field(repr=False)
    bound: frozenset[str]
    own: frozenset[str]
    shown: Mapping[str, frozenset[str]]

    def resolved(self, text: str, path: Path = ()) -> str:
        """A string from the agent with values in place of placeholders. Raises NotTextError, UnopenableError."""
        whole = self.texts.get(text)
        if whole is not None:
            return whole
        if path == LAST_APPLIED:
            return text
        raw = text.encode(errors="surrogatepass")
        changed = rewrite(raw, self.values.get, document=self._document)
        if changed is raw:
            return text
        try:
            return changed.decode(errors="surrogatepass")
        except UnicodeDecodeError as error:
            raise NotTextError(path) from error

    def _document(self, raw: bytes) -> bytes | None:
        """A text that is a document, with its strings resolved: spelled as they were where that reads as meant, else as
        the format writes them."""
        nested = _taken_apart(raw)
        if nested is None:
            return None
        for slot in nested.slots:
            if MARKER in slot.value:
                slot.container[slot.key] = self.resolved(slot.value)
        plain = PLAIN.sub(lambda match: self.values.get(match[0].decode(), match[0]), raw)
        again = _taken_apart(plain)
        if again is not None and again.roots == nested.roots:
            return plain
        text = nested.rewritten()
        return None if text is None else text.encode()


def _taken_apart(raw: bytes) -> Nested | None:
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return None
    if text.lstrip()[:1] in ("{", "["):
        return read_json(text) or read_yaml(text)
    return read_yaml(text) if "\n" in text and looks_like_yaml(text) else None


def look(document: Mapping[str, Any], place: Place, masker: Masker) -> Live:
    """document: as the API server has it. Raises UnmaskableError."""
    masked, places = _masked(document, place, Masker(masker.terms, masker.detector, masker.mint))
    seen = masked if masker.known is None else _masked(document, place, masker)[0]
    values = {found.placeholder: _raw(found.value) for found in places}
    metadata = document.get("metadata") or {}
    return Live(
        document=document,
        masked=seen,
        uid=str(metadata.get("uid") or ""),
        version=str(metadata.get("resourceVersion") or ""),
        values=_known_values(masked, masker.known) | values,
        texts=_texts(document, seen) | (_texts(document, masked) if seen is not masked else {}),
        places=places,
        bound=frozenset(values),
        own=frozenset(found.placeholder for found in places if found.rule != KNOWN_VALUE),
        shown=_shown(document, seen),
    )


def _masked(
    document: Mapping[str, Any], place: Place, masker: Masker
) -> tuple[dict[str, Any], tuple[SecretPlace, ...]]:
    shown, places = copied(document), list[SecretPlace]()
    masker.document(shown, place, collect=places.append)
    return shown, tuple(places)


def _changed(document: Mapping[str, Any], masked: Mapping[str, Any]) -> Iterator[tuple[Path, str, str]]:
    """(path, what is shown, what stands there) of every string that is masked. Masking replaces strings by strings and
    leaves everything else as it is."""
    for (path, shown, _), (_, text, _) in zip(strings(masked), strings(document), strict=True):
        if shown != text:
            yield path, shown, text


def _texts(document: Mapping[str, Any], masked: Mapping[str, Any]) -> dict[str, str]:
    return {shown: text for _, shown, text in _changed(document, masked)}


def _known_values(masked: Mapping[str, Any], known: Known | None) -> dict[str, bytes]:
    """What the placeholders of other objects stand for, in the form in which it stands here."""
    if known is None:
        return {}
    texts = [text for _, text, is_key in strings(masked) if not is_key]
    return {span.placeholder: _raw(texts[index][span.start : span.end]) for index, span in known.scan(texts)}


def _shown(document: Mapping[str, Any], seen: Mapping[str, Any]) -> dict[str, frozenset[str]]:
    found: defaultdict[str, set[str]] = defaultdict(set)
    for path, shown, _ in _changed(document, seen):
        for placeholder in placeholders(shown):
            found[placeholder].add(path_class(seen, path))
    return {placeholder: frozenset(classes) for placeholder, classes in found.items()}


def _raw(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode(errors="surrogatepass")
