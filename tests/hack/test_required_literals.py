"""The literals that let an engine skip a rule stand in every match of it."""

from __future__ import annotations

from random import Random

import pytest

from chaperone.core.masking import rules
from chaperone.core.masking.rule import Rule, compiled
from hack.required_literals import required_literals
from tests.core.masking.rule_examples import matching_text


@pytest.mark.parametrize(
    ("pattern", "literals"),
    [
        (r"\b(gh[pu]_[A-Za-z0-9]{36})", ["ghp_", "ghu_"]),
        (r"(?i)(?:cloudflare)[ ]{0,3}=([a-z]{3})", ["cloudflare"]),
        (r"(?:alpha|beta)[0-9]+", ["alpha", "beta"]),
        (r"(?:alpha)?[0-9]+", []),
        (r"[0-9]+(?:xyz){2}", ["xyz"]),
        (r"a[0-9]b", []),
        (r"x(?i)YZ\z", ["xyz"]),
    ],
)
def test_literals_of_a_pattern(pattern: str, literals: list[str]) -> None:
    assert required_literals(pattern) == literals


@pytest.mark.parametrize("rule", rules.built_in(), ids=lambda rule: rule.name)
def test_every_match_of_a_rule_holds_one_of_its_keywords(rule: Rule) -> None:
    assert rule.keywords
    random = Random(rule.name)
    for _ in range(30):
        match = compiled(rule.pattern).search(f" {matching_text(rule.pattern, random)} ".encode())
        if match:
            assert any(word.encode() in match[0].lower() for word in rule.keywords), match[0]
