"""Where a masked value may be written: only to where it is masked again when the object is read.

Asked of the masking itself, over the object as it would be. The same place gives the same placeholder again. Elsewhere
the place alone must make the value a secret, so a word without any meaning is put there and looked for: what would be
found by its form today may be shown tomorrow.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from chaperone.core.masking.masker import Masker
from chaperone.core.masking.place import Path, Place, SecretPlace, item_step, key_step
from chaperone.core.masking.restoring_live import LAST_APPLIED, Live, NotTextError
from chaperone.core.masking.restoring_patches import Fault
from chaperone.core.masking.restoring_search import PLAIN, copied, fixed_part, placeholders, rewrite, strings
from chaperone.core.masking.search import KNOWN_VALUE

CANARY = "kdwqzmnvtrbxhgfp"
"""Stands for a value whose form says nothing. Each place gets one of its own: what is masked in one place of an object
may be found again in another."""
_LETTERS = "bcdfghjkmnpqrstvwxz"
_VISIBLE = tuple(
    each.decode() for each in (CANARY.encode(), *(fixed_part(CANARY.encode(), phase) for phase in range(3)))
)
_PACKED = ("H4sI", "SDRzS")
"""How gzip begins in base64, once and twice."""

SHOWN = "what stands here is not masked when it is read, so a masked value may not be written here"
SHOWS = "after this change a masked value would be shown here"
NO_TEXT = "the value is not text: it can only stand in the data of a Secret or the binaryData of a ConfigMap"
NO_BASE64 = "the field takes base64: send the placeholder as it was read there"


@dataclass(frozen=True, slots=True)
class _Leaf:
    """A string of the masked world that holds placeholders."""

    path: Path
    text: str
    found: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Shown:
    """How an object would be read: its strings by path, and what was masked in each for what it is there."""

    texts: dict[Path, str]
    places: dict[Path, list[SecretPlace]]


def misplaced(
    document: dict[str, Any], place: Place, live: Live, masker: Masker, sent: frozenset[str]
) -> list[Fault]:
    """document: the object, or a part of it, as the agent would see it: secrets are placeholders. sent: the fields of
    the request that hold placeholders; the others are the object's own. Raises UnopenableError, UnmaskableError."""
    leaves = [
        _Leaf(path, text, tuple(found))
        for path, text, is_key in strings(document)
        if not is_key and path != LAST_APPLIED and (found := placeholders(text))
    ]
    if not leaves:
        return []
    try:
        restored = mapped(document, live.resolved)
    except NotTextError as error:
        return [Fault(words(error.path), NO_TEXT)]
    plain = Masker(masker.terms, masker.detector, masker.mint)
    shown = _shown(restored, place, live, plain)
    moved = [leaf for leaf in leaves if not _stays(leaf, document, shown, live)]
    if not moved:
        return []
    names = {leaf.path: _canary(index) for index, leaf in enumerate(leaves)}
    canaries = _shown(mapped(document, partial(_with_canary, names)), place, live, plain)
    return list(_faults(moved, shown, canaries, sent))


def mapped(value: Any, change: Callable[[str, Path], str], path: Path = ()) -> Any:
    """A copy with every string changed; keys stay."""
    if isinstance(value, str):
        return change(value, path)
    if isinstance(value, dict):
        return {key: mapped(child, change, (*path, key)) for key, child in value.items()}
    if isinstance(value, list):
        return [mapped(child, change, (*path, index)) for index, child in enumerate(value)]
    return value


def class_of(document: Any, path: Path) -> str:
    """The path class in a document of which the path may only be a part; list indexes may be text."""
    text = ""
    for step in path:
        if isinstance(document, list):
            index = int(step) if str(step).isdigit() else -1
            document = document[index] if 0 <= index < len(document) else None
            text += item_step(document)
        else:
            document = document.get(step) if isinstance(document, dict) else None
            text += key_step(str(step))
    return text.removeprefix(".")


def words(path: Path) -> str:
    """A path as people write it: spec.containers[0].env[2].value."""
    text = "".join(f"[{step}]" if isinstance(step, int) else key_step(step) for step in path)
    return text.removeprefix(".")


def _shown(document: dict[str, Any], place: Place, live: Live, masker: Masker) -> _Shown:
    """As an object of its kind, with the uid that the live one has."""
    metadata = document.get("metadata")
    own = live.document.get("metadata") or {}
    kept = {key: own[key] for key in ("uid", "name", "namespace") if key in own}
    subject = copied(document)
    subject |= {key: live.document[key] for key in ("apiVersion", "kind") if key in live.document}
    subject["metadata"] = {**(subject["metadata"] if isinstance(metadata, dict) else {}), **kept}
    found: defaultdict[Path, list[SecretPlace]] = defaultdict(list)
    masker.document(subject, place, collect=lambda each: found[each.path].append(each))
    texts = {path: text for path, text, is_key in strings(subject) if not is_key}
    return _Shown(texts, found)


def _stays(leaf: _Leaf, document: Any, shown: _Shown, live: Live) -> bool:
    """Whether each placeholder stands where the live object shows it, and comes back when the object is read: one that
    was masked for its place, for the place again."""
    bound = Counter(each for each in leaf.found if each in live.bound)
    if not bound <= Counter(placeholders(shown.texts.get(leaf.path, ""))):
        return False
    here = {place.placeholder for place in shown.places.get(leaf.path, ()) if place.rule != KNOWN_VALUE}
    where = class_of(document, leaf.path)
    return all(each in here if each in live.own else where in live.shown.get(each, ()) for each in leaf.found)


def _canary(index: int) -> bytes:
    word = ""
    for _ in range(4):
        index, letter = divmod(index, len(_LETTERS))
        word += _LETTERS[letter]
    return f"{CANARY}{word}".encode()


def _with_canary(names: Mapping[Path, bytes], text: str, path: Path) -> str:
    name = names.get(path)
    if name is None:
        return text
    return rewrite(text.encode(errors="surrogatepass"), lambda _: name).decode(errors="surrogatepass")


def _faults(moved: list[_Leaf], shown: _Shown, canaries: _Shown, sent: frozenset[str]) -> Iterator[Fault]:
    for leaf in moved:
        there, found = canaries.texts[leaf.path], canaries.places.get(leaf.path)
        if not found or _is_visible(there) or _form(there) != _form(shown.texts[leaf.path]):
            yield Fault(words(leaf.path), SHOWN if words(leaf.path) in sent else SHOWS)
        elif found[0].encoded and PLAIN.search(leaf.text.encode(errors="surrogatepass")):
            yield Fault(words(leaf.path), NO_BASE64)


def _is_visible(text: str) -> bool:
    """What is packed is not looked into: there a value can only stay where it is."""
    return text.startswith(_PACKED) or any(each in text for each in _VISIBLE)


def _form(text: str) -> bytes:
    """The text with all placeholders alike."""
    return rewrite(text.encode(errors="surrogatepass"), lambda _: b"*")
