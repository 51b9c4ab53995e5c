"""The search through the strings that were noted in a walk: by form, by the words around, by value. In batches: one for
all strings, and one for each level of texts inside of texts, from the innermost outwards.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate, chain
from typing import NamedTuple, TypeVar

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

Hits = dict[int, list[Hit]]
"""What was found, by the index of its leaf."""
_Result = TypeVar("_Result")


class Part(NamedTuple):
    """What is searched of one document. names: what a secret in it is only noted of. wordless: how many leaves at the
    end are not read by their words."""

    work: Work
    leaves: Sequence[Leaf]
    names: Sequence[str] = ()
    wordless: int = 0

    def texts(self) -> list[str]:
        """As they are now."""
        return [container[key] for container, key, _, _ in self.leaves]


def search(works: Sequence[Work], detector: Detector, known: Known | None) -> None:
    """Mask what is found in all that was noted, and put the texts together again. Several documents are searched
    together: what one of them shows masked is known in all of them."""
    _batch([_outermost(work) for work in works], detector, known)
    for work in works:
        for depth in sorted({inner.depth for inner in work.inner}, reverse=True):
            texts = [leaf for inner in work.inner if inner.depth == depth and (leaf := _joined(work, inner))]
            _batch([Part(work, texts)], detector, known)
        for finish in work.last:
            finish()


def _outermost(work: Work) -> Part:
    leaves = [*work.leaves, *work.wordless] if work.wordless else work.leaves
    return Part(work, leaves, [*work.names, *work.keys], len(work.wordless))


def _joined(work: Work, inner: Inner) -> Leaf | None:
    """The text with what is masked in its trees; what has still to be searched in it, if anything."""
    text = inner.nested.rewritten()
    if text is None:
        inner.container[inner.key] = inner.nested.text
        work.hide(inner.container, inner.key, inner.frame, UNREADABLE)
        return None
    inner.container[inner.key] = text
    return (inner.container, inner.key, inner.frame, COMMENTS) if inner.is_free else None


def _batch(parts: Sequence[Part], detector: Detector, known: Known | None) -> None:
    texts = [part.texts() for part in parts]
    hits = _by_form(parts, texts, detector)
    _by_words(parts, texts, hits)
    for part, found in zip(parts, hits, strict=True):
        _hide(part, found)
        _hide_own(part)
        part.work.tell()
    if known is not None:
        _hide_known(parts, known)


def _by_form(parts: Sequence[Part], texts: Sequence[list[str]], detector: Detector) -> list[Hits]:
    """What looks like a credential, for each part; in names it is only noted."""
    groups = [[*own, *part.names] for part, own in zip(parts, texts, strict=True)]
    return [
        _noted(part, own, found)
        for part, own, found in zip(parts, texts, _scanned(detector.scan, groups), strict=True)
    ]


def _noted(part: Part, texts: list[str], spans: Iterable[tuple[int, Span]]) -> Hits:
    hits: Hits = {}
    noted = set()
    for index, span in spans:
        if index >= len(texts):
            noted.add(index - len(texts))
        elif not _is_ordinary(texts[index], span):
            hits.setdefault(index, []).append(Hit(*span))
    for index in sorted(noted):
        part.work.report.flag(SECRET_IN_NAME if index < len(part.work.names) else SECRET_IN_KEY)
    return hits


def _by_words(parts: Sequence[Part], texts: Sequence[list[str]], hits: Sequence[Hits]) -> None:
    """Add what the words around it say to be a secret."""
    groups = [own[: len(own) - part.wordless] for part, own in zip(parts, texts, strict=True)]
    candidates = parts[0].work.phrases.candidates
    worth = _scanned(lambda flat: ((index, None) for index in candidates(flat)), groups)
    for part, own, more, indexes in zip(parts, texts, hits, worth, strict=True):
        for index, _ in indexes:
            found = _phrases(part.work, own[index], part.leaves[index][3])
            if found:
                more.setdefault(index, []).extend(found)


def _is_ordinary(text: str, span: Span) -> bool:
    """Whether what was found by its form is harmless after all: a reference, a path."""
    return span.end - span.start <= _LONGEST_ORDINARY and is_harmless(text[span.start : span.end])


def _phrases(work: Work, text: str, reading: int) -> list[Hit]:
    found = work.phrases.find(text, lines=reading != COMMAND)
    return [hit for hit in found if _is_comment(text, hit.start)] if reading == COMMENTS else found


def _hide(part: Part, hits: Hits) -> None:
    for index, found in hits.items():
        container, key, frame, _ = part.leaves[index]
        apart = _apart(container[key], found)
        if apart:
            part.work.hide_hits(container, key, frame, apart)


def _hide_own(part: Part) -> None:
    """Values that were masked in this document."""
    values = [value for value in part.work.values if is_worth_knowing(value)]
    if values:
        _hide(part, _own(part.texts(), sorted(values, key=len, reverse=True)))


def _hide_known(parts: Sequence[Part], known: Known) -> None:
    """Values that were masked before."""
    for part, spans in zip(parts, _scanned(known.scan, [part.texts() for part in parts]), strict=True):
        hits: Hits = {}
        for index, (start, end, placeholder) in spans:
            hits.setdefault(index, []).append(Hit(start, end, KNOWN_VALUE, placeholder=placeholder))
        _hide(part, hits)


def _own(texts: list[str], values: list[str]) -> Hits:
    """Where these values stand. values: the longest first."""
    hits: Hits = {}
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


def _scanned(
    scan: Callable[[list[str]], Iterable[tuple[int, _Result]]], groups: Sequence[list[str]]
) -> list[list[tuple[int, _Result]]]:
    """What one scan of all groups finds in each of them, with the index in the group."""
    found: list[list[tuple[int, _Result]]] = [[] for _ in groups]
    starts = list(accumulate((len(group) for group in groups[:-1]), initial=0))
    for index, result in _readable(scan, list(chain.from_iterable(groups))):
        group = bisect_right(starts, index) - 1
        found[group].append((index - starts[group], result))
    return found


def _readable(scan: Callable[[list[str]], Iterable[_Result]], texts: list[str]) -> list[_Result]:
    """What a scan finds; also in texts with lone surrogates, which no engine takes: they count as question marks."""
    try:
        return list(scan(texts))
    except UnicodeEncodeError:
        return list(scan([text.encode("utf-8", "replace").decode() for text in texts]))
