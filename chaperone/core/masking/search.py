"""The search through the strings that were noted in a walk: by form, by the words around, by value. In batches: one for
all strings, and one for each level of texts inside of texts, from the innermost outwards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from ahocorasick_rs import AhoCorasick, MatchKind

from chaperone.core.masking.detection import Detector, Known, Span
from chaperone.core.masking.phrases import Hit
from chaperone.core.masking.placeholder import MARKER, find
from chaperone.core.masking.report import SECRET_IN_KEY, SECRET_IN_NAME
from chaperone.core.masking.values import is_harmless, is_worth_knowing
from chaperone.core.masking.work import COMMAND, COMMENTS, Inner, Leaf, Work

KNOWN_VALUE = "known-value"
UNREADABLE = "nested-document"
_LEAST_REST = 16
"""Characters beside a placeholder that are still masked when they belong to a secret."""
_LONGEST_ORDINARY = 128
"""Characters of a find that may be harmless after all: a reference, a path."""
_FEW = 8
"""Values that are looked for one by one; more are looked for together."""

_Result = TypeVar("_Result")


def search(work: Work, detector: Detector, known: Known | None) -> None:
    """Mask what is found in all that was noted, and put the texts together again."""
    leaves = [*work.leaves, *work.wordless] if work.wordless else work.leaves
    _batch(work, leaves, detector, known, names=[*work.names, *work.keys], wordless=len(work.wordless))
    for depth in sorted({inner.depth for inner in work.inner}, reverse=True):
        texts = [leaf for inner in work.inner if inner.depth == depth and (leaf := _joined(work, inner))]
        _batch(work, texts, detector, known)
    for finish in work.last:
        finish()


def _joined(work: Work, inner: Inner) -> Leaf | None:
    """The text with what is masked in its trees; what has still to be searched in it, if anything."""
    text = inner.nested.rewritten()
    if text is None:
        inner.container[inner.key] = inner.nested.text
        work.hide(inner.container, inner.key, inner.frame, UNREADABLE)
        return None
    inner.container[inner.key] = text
    return (inner.container, inner.key, inner.frame, COMMENTS) if inner.is_free else None


def _batch(
    work: Work,
    leaves: Sequence[Leaf],
    detector: Detector,
    known: Known | None,
    *,
    names: Sequence[str] = (),
    wordless: int = 0,
) -> None:
    """names: what a secret in it is only noted of. wordless: how many leaves at the end are not read by their words."""
    texts = [container[key] for container, key, _, _ in leaves]
    hits: dict[int, list[Hit]] = {}
    noted = set()
    for index, span in _scanned(detector.scan, [*texts, *names] if names else texts):
        if index < len(texts):
            if not _is_ordinary(texts[index], span):
                hits.setdefault(index, []).append(Hit(*span))
        else:
            noted.add(index - len(texts))
    for index in sorted(noted):
        work.report.flag(SECRET_IN_NAME if index < len(work.names) else SECRET_IN_KEY)
    for index in _scanned(work.phrases.candidates, texts[: len(texts) - wordless] if wordless else texts):
        found = _phrases(work, texts[index], leaves[index][3])
        if found:
            hits.setdefault(index, []).extend(found)
    if hits:
        _hide(work, leaves, hits)
    if known is not None or work.values:
        _hide_known(work, leaves, known)


def _is_ordinary(text: str, span: Span) -> bool:
    """Whether what was found by its form is harmless after all: a reference, a path."""
    return span.end - span.start <= _LONGEST_ORDINARY and is_harmless(text[span.start : span.end])


def _phrases(work: Work, text: str, reading: int) -> list[Hit]:
    found = work.phrases.find(text, lines=reading != COMMAND)
    return [hit for hit in found if _is_comment(text, hit.start)] if reading == COMMENTS else found


def _hide(work: Work, leaves: Sequence[Leaf], hits: dict[int, list[Hit]]) -> None:
    for index, found in hits.items():
        container, key, frame, _ = leaves[index]
        apart = _apart(container[key], found)
        if apart:
            work.hide_hits(container, key, frame, apart)


def _hide_known(work: Work, leaves: Sequence[Leaf], known: Known | None) -> None:
    """Values that were masked in this document, and before."""
    values = [value for value in work.values if is_worth_knowing(value)]
    if values:
        texts = [container[key] for container, key, _, _ in leaves]
        _hide(work, leaves, _own(texts, sorted(values, key=len, reverse=True)))
    if known is not None:
        texts = [container[key] for container, key, _, _ in leaves]
        hits: dict[int, list[Hit]] = {}
        for index, (start, end, placeholder) in _scanned(known.scan, texts):
            hits.setdefault(index, []).append(Hit(start, end, KNOWN_VALUE, placeholder=placeholder))
        _hide(work, leaves, hits)


def _own(texts: list[str], values: list[str]) -> dict[int, list[Hit]]:
    """Where these values stand. values: the longest first."""
    hits: dict[int, list[Hit]] = {}
    joined = "\0".join(texts)
    if len(values) <= _FEW:
        values = [value for value in values if value in joined]
    if not values:
        return hits
    automaton = AhoCorasick(values, matchkind=MatchKind.LeftmostLongest)
    for index, text in enumerate(texts):
        for _, start, end in automaton.find_matches_as_indexes(text):
            hits.setdefault(index, []).append(Hit(start, end, KNOWN_VALUE))
    return hits


def _apart(text: str, hits: Iterable[Hit]) -> list[Hit]:
    """Hits that do not overlap, in their order: those that do become one. What is masked already stays as it is."""
    merged: list[Hit] = []
    for hit in sorted(hits, key=lambda hit: (hit.start, -hit.end)):
        if merged and hit.start < merged[-1].end:
            if hit.end > merged[-1].end:
                merged[-1] = merged[-1]._replace(end=hit.end, placeholder="")
        else:
            merged.append(hit)
    return (
        [part for hit in merged for part in _unmasked(text, hit)]
        if MARKER in text or "bWFza2Vk" in text
        else merged
    )


def _unmasked(text: str, hit: Hit) -> list[Hit]:
    """A hit that holds a placeholder is masked already, but for a long rest before, between or behind."""
    inside = sorted(
        (found.start, found.end) for found in find(text) if found.start < hit.end and found.end > hit.start
    )
    if not inside:
        return [hit]
    gaps = zip(
        [hit.start, *[end for _, end in inside]], [*[start for start, _ in inside], hit.end], strict=True
    )
    return [
        hit._replace(start=start, end=end)
        for start, end in gaps
        if end - start >= _LEAST_REST and text[start:end].strip()
    ]


def _is_comment(text: str, at: int) -> bool:
    return "#" in text[text.rfind("\n", 0, at) + 1 : at]


def _scanned(scan: Callable[[list[str]], Iterable[_Result]], texts: list[str]) -> list[_Result]:
    """What a scan finds; also in texts with lone surrogates, which no engine takes: they count as question marks."""
    try:
        return list(scan(texts))
    except UnicodeEncodeError:
        return list(scan([text.encode("utf-8", "replace").decode() for text in texts]))
