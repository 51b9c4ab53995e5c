"""`spec.preview` of an ApprovalRequest: what a held request would do, bounded, legible and without secrets. Pure.

Everything here is untrusted text: objects and errors are written by strangers, and by the agent itself.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from chaperone.core.legible import visible
from chaperone.core.preview_redaction import HIDDEN, looks_secret

MOST_WARNINGS = 20
MOST_AFFECTED = 50
"""Lines, the one that says how many more there are among them."""
MOST_LINE = 300
"""Characters of one line."""
SHORTEST_SECRET = 4
"""Characters; what is shorter stands in any text by chance."""

_WARNING = re.compile(r'\s*,?\s*\d{3} \S+ "((?:[^"\\]|\\.)*)"(?: "[^"]*")?', re.DOTALL)
_QUOTED_VALUE = re.compile(r"((?:Invalid|Unsupported|Duplicate) value)s?:.*", re.DOTALL)
_HARMLESS_ENDS = ("field is immutable", "may not be changed", "field can not be changed")


@dataclass(frozen=True, slots=True)
class Findings:
    """What was found out. truncated: something was not looked at, or is not shown."""

    diff: str = ""
    warnings: tuple[str, ...] = ()
    affected: tuple[str, ...] = ()
    truncated: bool = False


def spec(found: Findings) -> dict[str, Any]:
    """The fields of `spec.preview`; each text bounded and legible. The diff comes as it is to be shown, and is left out
    where there is none: Kubernetes 1.20 takes an empty text in a custom resource for null."""
    warnings, fewer_warnings = _bounded(dict.fromkeys(found.warnings), MOST_WARNINGS)
    affected, fewer_affected = _bounded(found.affected, MOST_AFFECTED)
    return {
        **({"diff": found.diff} if found.diff else {}),
        "warnings": warnings,
        "affected": affected,
        "truncated": found.truncated or fewer_warnings or fewer_affected,
    }


def read_warnings(headers: Iterable[str]) -> tuple[str, ...]:
    """The texts of Warning headers (RFC 7234, 5.5: `299 - "text"`); one that is not of that form is left out."""
    found = [match[1] for header in headers for match in _WARNING.finditer(header)]
    return tuple(re.sub(r"\\(.)", r"\1", text, flags=re.DOTALL) for text in found)


def told(text: str, hidden: Collection[str]) -> str:
    """A message of the API server without what it may quote. hidden: the texts that are hidden in the objects."""
    safe = _QUOTED_VALUE.sub(_without_value, text)
    for value in sorted(hidden, key=len, reverse=True):
        if len(value) >= SHORTEST_SECRET:
            safe = safe.replace(value, HIDDEN)
    return "a message that may quote a secret " + HIDDEN if looks_secret(safe) else safe


def refusal(status: Mapping[str, Any], code: int, hidden: Collection[str]) -> str:
    """What the API server says to the dry run, in one line."""
    reason, message = status.get("reason"), status.get("message")
    said = told(message, hidden) if isinstance(message, str) and message else "it does not say why"
    return f"the API server would refuse it ({code}{f' {reason}' if isinstance(reason, str) and reason else ''}): {said}"


def _without_value(match: re.Match[str]) -> str:
    end = next((end for end in _HARMLESS_ENDS if match[0].rstrip().endswith(end)), "")
    return f"{match[1]}: {HIDDEN}{f': {end}' if end else ''}"


def _bounded(lines: Iterable[str], most: int) -> tuple[list[str], bool]:
    whole = list(lines)
    kept = [visible(line, MOST_LINE) for line in whole]
    if len(kept) <= most:
        return kept, False
    return [*kept[: most - 1], f"… and {len(kept) - most + 1} more"], True
