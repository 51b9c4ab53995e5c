"""Which literals every match of a pattern must hold: what lets an engine skip a pattern without running it.

For `\\b(gh[pu]_[A-Za-z0-9]{36})` these are ("ghp_", "ghu_"): each match holds at least one of them, in lower case.
"""

from __future__ import annotations

import re
from re import _parser  # type: ignore[attr-defined]
from typing import Any

MOST = 24
"""More alternatives than this are no help."""
_MID_FLAG = re.compile(r"\(\?i\)")

Literals = tuple[str, ...]


def required_literals(pattern: str) -> list[str]:
    """In lower case, sorted; empty when the pattern demands nothing that is rare in a text."""
    best = _best(_sequence(_parser.parse(python_pattern(pattern))))
    return sorted(set(best)) if all(len(literal) >= 2 or not literal.isalnum() for literal in best) else []


def python_pattern(pattern: str) -> str:
    """The pattern in Python's dialect. Case is of no matter here, so flags in the middle may go."""
    return _MID_FLAG.sub("", pattern).replace(r"\z", r"\Z").replace("(?s:", "(?:")


def _best(candidates: list[Literals]) -> Literals:
    """The alternatives whose shortest is the longest; of those the fewest."""
    return max(candidates, key=lambda found: (min(*map(len, found), 6), -len(found)), default=())


def _sequence(tree: Any) -> list[Literals]:
    """What the parts of a sequence demand: runs of characters become literals."""
    found: list[Literals] = []
    run: Literals = ("",)
    for operator, argument in tree:
        step = _characters(str(operator), argument)
        if step and len(run) * len(step) <= MOST:
            run = tuple(sorted({head + tail for head in run for tail in step}))
            continue
        found.append(run)
        run = step or ("",)
        if not step:
            found.extend(_part(str(operator), argument))
    found.append(run)
    return [literals for literals in found if literals and all(literals)]


def _characters(operator: str, argument: Any) -> Literals:
    """The single characters that may stand here, when they are few."""
    if operator == "LITERAL":
        return (chr(argument).lower(),)
    if operator == "IN" and all(str(kind) == "LITERAL" for kind, _ in argument):
        found = {chr(value).lower() for _, value in argument}
        return tuple(sorted(found)) if len(found) <= 4 else ()
    return ()


def _part(operator: str, argument: Any) -> list[Literals]:
    if operator == "SUBPATTERN":
        return _sequence(argument[3])
    if operator == "BRANCH":
        branches = [_best(_sequence(branch)) for branch in argument[1]]
        united = tuple(literal for branch in branches for literal in branch)
        return [united] if all(branches) and len(united) <= MOST else []
    if operator in ("MAX_REPEAT", "MIN_REPEAT") and argument[0] >= 1:
        return _sequence(argument[2])
    return []
