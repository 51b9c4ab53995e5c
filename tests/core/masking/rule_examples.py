"""Texts that a pattern matches, invented at random: no credential of anybody."""

from __future__ import annotations

import string
from random import Random
from re import _parser  # type: ignore[attr-defined]
from typing import Any

ALPHABET = string.ascii_letters + string.digits + "_-+/=. "
_CATEGORIES = {
    "CATEGORY_DIGIT": string.digits,
    "CATEGORY_WORD": string.ascii_letters + string.digits + "_",
    "CATEGORY_SPACE": " ",
    "CATEGORY_NOT_SPACE": string.ascii_letters + string.digits,
    "CATEGORY_NOT_WORD": " ",
    "CATEGORY_NOT_DIGIT": string.ascii_letters,
}


def matching_text(pattern: str, random: Random) -> str:
    """One text that the pattern, in the dialect of RE2, matches (boundaries are the caller's affair)."""
    plain = pattern.replace("(?i)", "").replace(r"\z", r"\Z").replace("(?s:", "(?:").replace("(?im)", "")
    return _sequence(_parser.parse(plain), random)


def _sequence(tree: Any, random: Random) -> str:
    return "".join(_part(str(operator), argument, random) for operator, argument in tree)


def _part(operator: str, argument: Any, random: Random) -> str:
    match operator:
        case "LITERAL":
            return chr(argument)
        case "NOT_LITERAL":
            return random.choice([letter for letter in ALPHABET if ord(letter) != argument])
        case "ANY":
            return random.choice(string.ascii_lowercase)
        case "IN":
            return random.choice(_characters(argument))
        case "BRANCH":
            return _sequence(random.choice(argument[1]), random)
        case "SUBPATTERN":
            return _sequence(argument[3], random)
        case "MAX_REPEAT" | "MIN_REPEAT":
            least, most, inner = argument
            times = random.randint(least, min(int(most), least + 3))
            return "".join(_sequence(inner, random) for _ in range(times))
        case _:
            return ""


def _characters(items: Any) -> str:
    negated = str(items[0][0]) == "NEGATE"
    found = "".join(_item(str(kind), value) for kind, value in items)
    return "".join(letter for letter in ALPHABET if letter not in found) if negated else found


def _item(kind: str, value: Any) -> str:
    match kind:
        case "LITERAL":
            return chr(value)
        case "RANGE":
            return "".join(map(chr, range(value[0], value[1] + 1)))
        case "CATEGORY":
            return _CATEGORIES[str(value)]
        case _:
            return ""
