"""Glob patterns over names: `*` is any run of characters, `?` exactly one; case counts; nothing else is special.

Compiled once into sets and prefixes where the pattern allows it. The rest becomes a regular expression whose parts
are atomic, so that no pattern makes it backtrack.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Globs:
    """Several patterns, any of which may match."""

    patterns: tuple[str, ...]
    everything: bool
    exact: frozenset[str] = field(repr=False)
    prefixes: tuple[str, ...] = field(repr=False)
    rest: re.Pattern[str] | None = field(repr=False)

    def match(self, text: str) -> bool:
        if self.everything or text in self.exact or text.startswith(self.prefixes):
            return True
        return self.rest is not None and self.rest.fullmatch(text) is not None


def globs(patterns: Iterable[str]) -> Globs:
    """Compile patterns; without any, nothing matches."""
    patterns = tuple(patterns)
    exact = frozenset(pattern for pattern in patterns if not is_glob(pattern))
    prefixes = tuple(pattern[:-1] for pattern in patterns if _is_prefix(pattern) and pattern != "*")
    rest = [_expression(pattern) for pattern in patterns if is_glob(pattern) and not _is_prefix(pattern)]
    return Globs(
        patterns=patterns,
        everything="*" in patterns,
        exact=exact,
        prefixes=prefixes,
        rest=re.compile("|".join(rest), re.DOTALL) if rest else None,
    )


def is_glob(pattern: str) -> bool:
    return "*" in pattern or "?" in pattern


def _is_prefix(pattern: str) -> bool:
    return pattern.endswith("*") and not is_glob(pattern[:-1])


def _expression(pattern: str) -> str:
    """The earliest place for each part but the last is as good as any later one, so none is tried again."""
    first, *parts = pattern.split("*")
    if not parts:
        return _literal(first)
    middle = "".join(f"(?>.*?{_literal(part)})" for part in parts[:-1] if part)
    return f"{_literal(first)}{middle}.*{_literal(parts[-1])}"


def _literal(part: str) -> str:
    return re.escape(part).replace(r"\?", ".")
