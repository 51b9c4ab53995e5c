"""Label selectors: whether one selects an object, and how it stands in a query. Pure.

Source: kubernetes/apimachinery pkg/apis/meta/v1/helpers.go (LabelSelectorAsSelector).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def selects(selector: Any, labels: Mapping[str, Any], *, empty_selects: bool = True) -> bool:
    """Whether a LabelSelector selects these labels. One that cannot be understood does: better one budget too many."""
    if not isinstance(selector, Mapping):
        return False
    wanted, expressions = _labels(selector), _expressions(selector)
    if not wanted and not expressions:
        return empty_selects
    return all(labels.get(key) == value for key, value in wanted.items()) and all(
        _holds(expression, labels) for expression in expressions
    )


def in_query(selector: Any) -> str:
    """A LabelSelector as the query parameter `labelSelector`; "" when it has nothing to say."""
    if not isinstance(selector, Mapping):
        return ""
    parts = [f"{key}={value}" for key, value in sorted(_labels(selector).items())]
    return ",".join(parts + [text for item in _expressions(selector) if (text := _expression_text(item))])


def _labels(selector: Mapping[str, Any]) -> Mapping[str, Any]:
    labels = selector.get("matchLabels")
    return labels if isinstance(labels, Mapping) else {}


def _expressions(selector: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found = selector.get("matchExpressions")
    return [item for item in found if isinstance(item, Mapping)] if isinstance(found, list) else []


def _holds(expression: Mapping[str, Any], labels: Mapping[str, Any]) -> bool:
    key, values = str(expression.get("key")), expression.get("values") or []
    match expression.get("operator"):
        case "In":
            return labels.get(key) in values
        case "NotIn":
            return labels.get(key) not in values
        case "Exists":
            return key in labels
        case "DoesNotExist":
            return key not in labels
        case _:
            return True


def _expression_text(expression: Mapping[str, Any]) -> str:
    key, values = expression.get("key"), ",".join(map(str, expression.get("values") or []))
    forms = {"In": f"{key} in ({values})", "NotIn": f"{key} notin ({values})", "Exists": f"{key}"}
    forms["DoesNotExist"] = f"!{key}"
    return forms.get(str(expression.get("operator")), "")
