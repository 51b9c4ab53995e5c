"""docs/risk-rows.md is up to date, and the locks it speaks of are there."""

from __future__ import annotations

import pytest

from chaperone.core.request import Origin
from chaperone.core.risk.catalogue import CATALOGUE
from chaperone.core.risk.row import Row
from chaperone.core.verdict import RiskLevel
from hack import risk_rows

GATED = [
    row
    for row in CATALOGUE
    if Origin.ADMISSION in row.seen_by and row.level in (RiskLevel.CRITICAL, RiskLevel.HIGH)
]
NAMED_KINDS_ONLY = {"R17", "R18", "R23", "R27", "R36"}
"""Rows about any kind at all: where the guard has to name kinds, it sees them for the kinds that it names."""


def test_the_page_is_what_would_be_written() -> None:
    assert risk_rows.PAGE.read_text() == risk_rows.page(), "run: .venv/bin/python -m hack.risk_rows"


@pytest.mark.parametrize("row", GATED, ids=lambda row: row.id)
def test_the_guard_sees_every_row_that_is_gated_by_default(row: Row) -> None:
    assert risk_rows.sight(row, (1, 28)) == "sees it"
    expected = "sees it for the kinds that other rows name" if row.id in NAMED_KINDS_ONLY else "sees it"
    for version in ((1, 20), (1, 27)):
        assert risk_rows.sight(row, version) == expected


@pytest.mark.parametrize("row", CATALOGUE, ids=lambda row: row.id)
def test_where_admission_is_blind_the_page_says_what_rbac_has_to_withhold(row: Row) -> None:
    blind = risk_rows.sight(row, risk_rows.NEW) != "sees it" or row.id in ("R13", "R58")
    assert (row.id in risk_rows.NOTES) == blind


def test_a_kind_that_no_rule_names_would_show() -> None:
    """The comparison can fail: without the rule for config maps two rows lose their lock."""
    rules = [rule for rule in risk_rows.guard_rules(risk_rows.OLD) if "configmaps" not in rule["resources"]]
    blind = {
        row.id
        for row in GATED
        for act in risk_rows.admission_acts(row)
        if not risk_rows.is_covered(act, rules)
    }
    assert {"R38", "R46", "R19"} <= blind
