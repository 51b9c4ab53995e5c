"""The forms of credentials, as data: those of betterleaks.json (another project's, see NOTICE.md) and own.toml."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cache
from importlib.resources import files
from typing import Any

from chaperone.core.masking.keys import normalised
from chaperone.core.masking.rule import Rule, pattern_fault

_FOREIGN = "betterleaks.json"
_OWN = "own.toml"
_STEMS = "@STEMS@"
_PLAINER = {
    "azure-storage-account-key": r"[A-Za-z0-9+/]{86}==",
    "facebook-access-token": r"\d{15}[|%][0-9A-Za-z_-]{27}",
}
"""What is searched first for rules of betterleaks.json that would take most of the time of all."""


@cache
def built_in() -> tuple[Rule, ...]:
    """Every rule that ships with this version; own ones first. Raises ValueError for a rule that cannot be used."""
    return (*own(), *foreign())


@cache
def own() -> tuple[Rule, ...]:
    document = _own_document()
    return tuple(_rule(entry, document["stems"]) for entry in document["rules"])


@cache
def foreign() -> tuple[Rule, ...]:
    return tuple(_rule(entry) for entry in json.loads(_text(_FOREIGN))["rules"])


def of_policy(patterns: Iterable[str], keys: Iterable[str]) -> tuple[Rule, ...]:
    """What a policy adds: its patterns, and its names of secrets wherever a name stands before a value.

    Raises ValueError, naming the pattern, for one that cannot be used.
    """
    return (*_patterns(patterns), *_names(tuple(filter(normalised, keys))))


def _patterns(patterns: Iterable[str]) -> Iterator[Rule]:
    for index, pattern in enumerate(patterns):
        if fault := pattern_fault(pattern):
            raise ValueError(f"masking pattern {index}: {fault}")
        yield Rule(name="policy-pattern", pattern=pattern, exact=True)


def _names(keys: tuple[str, ...]) -> Iterator[Rule]:
    """The own rules that read names, with these names in the place of the built-in ones."""
    stems = "|".join(_spelt(normalised(key)) for key in keys)
    for entry in _own_document()["rules"]:
        if keys and _STEMS in entry["pattern"]:
            yield replace(_rule(entry, stems), name=f"policy-key-{entry['name']}", keywords=(), keys=keys)


def _spelt(name: str) -> str:
    """A name of letters and digits, whatever stands between them."""
    return "[^A-Za-z0-9]{0,2}".join(map(re.escape, name))


@cache
def _own_document() -> dict[str, Any]:
    return tomllib.loads(_text(_OWN))


def examples() -> dict[str, tuple[list[str], list[str]]]:
    """For each own rule: texts in which it finds something, and texts that look alike in which it must not."""
    entries = _own_document()["rules"]
    return {entry["name"]: (entry.get("examples", []), entry.get("counterexamples", [])) for entry in entries}


def _text(name: str) -> str:
    return (files(__name__) / name).read_text(encoding="utf-8")


def _rule(entry: dict[str, Any], stems: str = "") -> Rule:
    return Rule(
        name=entry["name"],
        pattern=entry["pattern"].replace(_STEMS, stems),
        keywords=tuple(entry["keywords"]),
        gate=entry.get("gate", _PLAINER.get(entry["name"], "")).replace(_STEMS, stems),
        group=entry.get("group", 0),
        entropy=entry.get("entropy", 0.0),
        guard=entry.get("guard", ""),
        context=tuple(entry.get("context", ())),
        exact=entry.get("exact", False),
    )
