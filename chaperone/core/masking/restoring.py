"""Placeholders that come back in a write: each resolved to the live value it stands for, or the write refused.

A placeholder is resolved by content, wherever it stands in the body, against one live object; and only into a place of
the same object that is masked when it is read back. A placeholder is never sent on, a secret never overwritten by one,
and none is carried to where it could be read.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from chaperone.core.body import Media
from chaperone.core.masking.masker import Masker
from chaperone.core.masking.place import Path, Place, key_step
from chaperone.core.masking.restoring_live import LAST_APPLIED, Live
from chaperone.core.masking.restoring_patches import Fault, Outcome, leaves, malformed, outcome
from chaperone.core.masking.restoring_places import CANARY, misplaced, words
from chaperone.core.masking.restoring_search import UnopenableError, may_hold, placeholders

MOST_FAULTS = 20
_BETWEEN_TERMS = re.compile(r"(?<!\\),")
_OPERATOR = re.compile(r"!=|==?")
_STEPS = re.compile(r"[^.\[\]]+")

UNKNOWN = (
    "the placeholder here is of another object, or of none; write the value itself, or leave the field out"
)
NO_OBJECT = (
    "there is no object here (or none that you may read) whose value the placeholder could stand for; write the value "
    "itself, or refer to the Secret that holds it"
)
OLD = "the placeholder here stands for an older value of this field, which has changed since; read the object again"
OTHER = "the body is of another object than the one that is written, so its placeholders mean nothing here"
STALE = "the object has been modified since it was read with this placeholder; read it again"
IN_A_NAME = "a placeholder stands where a name stands; write the name itself"
MALFORMED = "the body is not what its content type says: an object, or for a JSON patch a list of operations"
UNOPENED = "a field is packed too deep or too large to be searched for placeholders"

Written = frozenset[tuple[str, str | bytes]]
"""(path class, value) of what an agent wrote itself at places that are masked on reading."""


@dataclass(frozen=True, slots=True)
class Write:
    """One write as the agent sent it. body: decoded."""

    media: Media
    body: Any = field(repr=False)
    place: Place


@dataclass(frozen=True, slots=True)
class Restored:
    """resolve: gives each string of the body that is to be sent, by its path; None: the body goes as it came. version:
    of the object that it was made for, "" where nothing depends on it. echo: what the agent wrote itself, at places
    that are masked on reading. guesses: those of them for which the live object has a masked value."""

    resolve: Callable[[str, Path], str] | None = None
    version: str = ""
    echo: Written = field(default=frozenset(), repr=False)
    guesses: Written = field(default=frozenset(), repr=False)


@dataclass(frozen=True, slots=True)
class Unrestorable:
    """The write is refused. code: 409 where reading again helps, 422 where it does not."""

    faults: tuple[Fault, ...]

    @property
    def code(self) -> int:
        return 409 if all(fault.stale for fault in self.faults) else 422


class _Sent(NamedTuple):
    """A string of the body that holds placeholders. bare: it is a name, and can hold none."""

    path: Path
    text: str
    bare: bool
    found: list[str]


def restore(write: Write, live: Live | None, masker: Masker | None) -> Restored | Unrestorable:
    """live: None where there is no object, or none that the agent may read. masker: None where nothing is masked."""
    if malformed(write.media, write.body):
        return Unrestorable((Fault("", MALFORMED),))
    try:
        if live is None or masker is None:
            return _without_object(write, masker)
        return _with_object(write, live, masker)
    except UnopenableError:
        return Unrestorable((Fault("", UNOPENED),))


def _without_object(write: Write, masker: Masker | None) -> Restored | Unrestorable:
    faults = [Fault(words(path), NO_OBJECT) for path, text, _ in _strings(write) if placeholders(text)]
    if faults:
        return Unrestorable(tuple(faults[:MOST_FAULTS]))
    return Restored(echo=_echo(write.body, write.place, masker))


def _with_object(write: Write, live: Live, masker: Masker) -> Restored | Unrestorable:
    sent = [
        _Sent(path, text, bare, found)
        for path, text, bare in _strings(write)
        if (found := placeholders(text))
    ]
    made = outcome(write.media, write.body, live.masked) if live.places or sent else Outcome(write.body)
    faults = [*_unknown(write, sent, live, masker), *made.faults]
    if not faults and (live.places or sent):
        faults += misplaced(
            made.document, write.place, live, masker, frozenset(words(each.path) for each in sent)
        )
    if faults:
        return Unrestorable(tuple(dict.fromkeys(faults))[:MOST_FAULTS])
    echo = _echo(made.document, write.place, masker)
    return Restored(
        resolve=live.resolved if sent else None,
        version=live.version if sent or made.reads else "",
        echo=echo,
        guesses=_guesses(echo, live),
    )


def _strings(write: Write) -> Iterator[tuple[Path, str, bool]]:
    return leaves(write.media, write.body)


# Placeholders that mean nothing here


def _unknown(write: Write, sent: list[_Sent], live: Live, masker: Masker) -> Iterator[Fault]:
    said = _said(write.body)
    if sent and said.get("uid") not in (None, "", live.uid):
        yield Fault("metadata.uid", OTHER)
        return
    for path, text, bare, found in sent:
        if bare:
            yield Fault(words(path), IN_A_NAME)
        elif (
            path != LAST_APPLIED and text not in live.texts and any(each not in live.values for each in found)
        ):
            strangers = [each for each in found if each not in live.values]
            yield _meaningless(path, strangers, live, masker, said.get("resourceVersion"))


def _meaningless(path: Path, strangers: list[str], live: Live, masker: Masker, version: Any) -> Fault:
    """strangers: placeholders that stand for nothing here now. version: of the object, as the body says it."""
    classes = {place.path_class for place in live.places}
    if all(any(masker.mint.is_of(each, live.uid, where) for where in classes) for each in strangers):
        return Fault(words(path), OLD, stale=True)
    if version and version != live.version:
        return Fault(words(path), STALE, stale=True)
    return Fault(words(path), UNKNOWN)


def _said(body: Any) -> dict[str, Any]:
    """What the body says of the object that it is of, and of its state."""
    metadata = body.get("metadata") if isinstance(body, dict) else None
    return metadata if isinstance(metadata, dict) else {}


# What the agent wrote itself


def _echo(document: Any, place: Place, masker: Masker | None) -> Written:
    if masker is None or not isinstance(document, dict):
        return frozenset()
    said = {pair for pair in masker.submitted(document, place) if not placeholders(pair[1])}
    return frozenset(said | set(_read_in_data(document)))


def _read_in_data(document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """What is written to the stringData of a Secret is read in its data, as base64."""
    texts = document.get("stringData")
    for key, value in texts.items() if isinstance(texts, dict) else ():
        if isinstance(value, str) and not placeholders(value):
            where = f"data{key_step(key)}"
            yield where, value
            yield where, _base64(value)


def _guesses(echo: Written, live: Live) -> Written:
    """Of a value in base64 the echo has both forms; one is counted."""
    masked = frozenset(place.path_class for place in live.places)
    found = {(where, value) for where, value in echo if where in masked}
    return frozenset(found - {(where, _base64(value)) for where, value in found})


def _base64(value: str | bytes) -> str:
    raw = value if isinstance(value, bytes) else value.encode(errors="surrogatepass")
    return base64.b64encode(raw).decode()


# What a request says beside its body


def in_target(path: str, parameters: Iterable[tuple[str, str]]) -> bool:
    """Whether a placeholder stands in the path or the query of a request."""
    said = [path, *(text for pair in parameters for text in pair)]
    raw = "\n".join(said).encode(errors="surrogatepass")
    if not may_hold(raw):
        return False
    try:
        return any(placeholders(text) for text in said)
    except UnopenableError:
        return True


def selects_secret(selector: str, place: Place, masker: Masker) -> bool:
    """Whether a field selector (`spec.token=x,metadata.name!=y`) looks at a field that is masked on reading: the answer
    would tell whether a guess is right. place: of the list."""
    for term in _BETWEEN_TERMS.split(selector):
        field = _OPERATOR.split(term, maxsplit=1)[0].strip()
        document: Any = CANARY
        for step in reversed(_STEPS.findall(field)):
            document = {step: document}
        if isinstance(document, dict) and masker.secret_places(document, place):
            return True
    return False
