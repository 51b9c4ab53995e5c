"""One form of a credential, and how a text is read by it: the same for every engine.

An engine only says which rules may match which text; what is found there is decided here, by RE2 on the bytes of that one
text.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import re2

from chaperone.core.masking.guards import GUARDS, Candidate

MOST_FINDS = 2_000
"""Finds of one rule in one text; a text with more is masked from the last one to its end."""
MAX_PATTERN = 1000
"""Characters of a pattern that a policy may bring."""
MAX_MEMORY = 8 << 20
"""Bytes that RE2 may use for one pattern; what needs more does not compile."""

_TOKEN_REST = re.compile(rb"[A-Za-z0-9_+/=~-]*")
_BEFORE = 64
"""Bytes before a match that a guard may look at: the rest of the name in front."""


@dataclass(frozen=True, slots=True)
class Rule:
    """pattern: in the syntax of RE2, over bytes. keywords: in lower case; every match holds at least one; none: unknown.

    group: which group is the secret; 0: the first that took part, else the whole match. entropy: bits a character that
    the secret must exceed. guard: a name in GUARDS. context: one of these, in lower case, must stand in the text.
    gate: a plainer pattern that matches wherever `pattern` does. exact: the secret ends where the group ends; else it
    is drawn out to the end of the token. keys: names of secrets beyond the built-in ones, for guards that judge names.
    """

    name: str
    pattern: str
    keywords: tuple[str, ...] = ()
    gate: str = ""
    group: int = 0
    entropy: float = 0.0
    guard: str = ""
    context: tuple[str, ...] = ()
    exact: bool = False
    keys: tuple[str, ...] = ()

    @property
    def gate_pattern(self) -> str:
        return self.gate or self.pattern


def finds(rule: Rule, raw: bytes) -> Iterator[tuple[int, int]]:
    """The secrets in one text as [start, end), in bytes."""
    if rule.context and not _holds_any(raw.lower(), rule.context):
        return
    search = compiled(rule.pattern).search
    position = times = 0
    while match := search(raw, position):
        start, end = _secret(rule, match)
        position = max(end, match.start() + 1)
        times += 1
        if times > MOST_FINDS:
            yield start, len(raw)
            return
        if end > start and _holds(rule, raw, match.start(), start, end):
            end = end if rule.exact else _token_end(raw, end)
            position = max(position, end)
            yield start, end


@cache
def compiled(pattern: str) -> Any:
    """RE2 over bytes. Raises re2.error for what is no pattern or too big."""
    return re2.compile(pattern.encode(), _options())


def pattern_fault(pattern: str) -> str:
    """What is wrong with a pattern of a policy; "" for nothing."""
    if not pattern:
        return "it is empty"
    if len(pattern) > MAX_PATTERN:
        return f"it has {len(pattern)} characters; at most {MAX_PATTERN} are read"
    try:
        matches_nothing = compiled(pattern).search(b"") is not None
    except re2.error as error:
        return f"it is no RE2 pattern: {_words(error)}"
    return "it matches the empty text, so it would mask everything" if matches_nothing else ""


def _words(error: Exception) -> str:
    reason = error.args[0] if error.args else ""
    return reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)


@cache
def _options() -> Any:
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.log_errors = False
    options.max_mem = MAX_MEMORY
    return options


def _secret(rule: Rule, match: Any) -> tuple[int, int]:
    if rule.group:
        return _span(match, rule.group)
    spans = (_span(match, group) for group in range(1, match.re.groups + 1))
    return next((span for span in spans if span[1] > span[0]), _span(match, 0))


def _span(match: Any, group: int) -> tuple[int, int]:
    start, end = match.span(group)
    return start, end


def _token_end(raw: bytes, end: int) -> int:
    match = _TOKEN_REST.match(raw, end)
    return match.end() if match else end


def _holds(rule: Rule, raw: bytes, match_start: int, start: int, end: int) -> bool:
    secret = raw[start:end]
    if rule.entropy and entropy(secret) <= rule.entropy:
        return False
    if not rule.guard:
        return True
    before = raw[max(0, match_start - _BEFORE) : start]
    return GUARDS[rule.guard](Candidate(before, secret, raw[end : end + _BEFORE], rule.keys))


def _holds_any(text: bytes, words: tuple[str, ...]) -> bool:
    return any(word.encode() in text for word in words)


def entropy(secret: bytes) -> float:
    """Bits a character by the frequency of characters (Shannon), as the published rules count it."""
    counts = Counter(secret).values()
    return -sum(count / len(secret) * math.log2(count / len(secret)) for count in counts)
