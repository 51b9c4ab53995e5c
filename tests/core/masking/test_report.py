from __future__ import annotations

from chaperone.core.masking.report import SECRET_IN_NAME, Report


def test_it_counts_by_rule_and_adds_up() -> None:
    report, other = Report(), Report()
    report.add("a")
    other.add("a", 2)
    other.add("b")
    other.flag(SECRET_IN_NAME)
    report.merge(other)
    assert report.counts == {"a": 3, "b": 1}
    assert report.flags == {SECRET_IN_NAME: 1}
    assert report.total == 4


def test_flags_are_no_masked_values_but_something_to_tell() -> None:
    report = Report()
    assert not report
    report.flag(SECRET_IN_NAME)
    assert report
    assert report.total == 0
