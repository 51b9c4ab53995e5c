"""Label selectors select what Kubernetes would select."""

from __future__ import annotations

from typing import Any

import pytest

from chaperone.core.preview_selectors import in_query, selects

LABELS = {"app": "web", "tier": "front"}


def expression(key: str, operator: str, *values: str) -> dict[str, Any]:
    return {"matchExpressions": [{"key": key, "operator": operator, "values": list(values)}]}


CASES: dict[str, tuple[Any, bool, str]] = {
    # sentence: (selector, does it select LABELS, as a query)
    "its labels": ({"matchLabels": {"app": "web", "tier": "front"}}, True, "app=web,tier=front"),
    "another label": ({"matchLabels": {"app": "db"}}, False, "app=db"),
    "a missing label": ({"matchLabels": {"x": "y"}}, False, "x=y"),
    "one of": (expression("app", "In", "web", "db"), True, "app in (web,db)"),
    "none of": (expression("app", "NotIn", "web"), False, "app notin (web)"),
    "none of, and missing": (expression("x", "NotIn", "web"), True, "x notin (web)"),
    "there": (expression("app", "Exists"), True, "app"),
    "not there": (expression("app", "DoesNotExist"), False, "!app"),
    "an unknown operator": (expression("app", "Near"), True, ""),
    "both": (
        {"matchLabels": {"app": "web"}, **expression("x", "Exists")},
        False,
        "app=web,x",
    ),
    "no list of expressions": ({"matchLabels": [], "matchExpressions": {}}, True, ""),
    "nothing": (None, False, ""),
}


@pytest.mark.parametrize(("selector", "expected", "query"), CASES.values(), ids=CASES)
def test_selectors(selector: Any, expected: bool, query: str) -> None:
    assert selects(selector, LABELS) is expected
    assert in_query(selector) == query


def test_an_empty_selector_depends_on_who_asks() -> None:
    assert selects({}, LABELS)
    assert not selects({}, LABELS, empty_selects=False)
