"""Conditions on how a request asks: its size, and the options in its query and in its body.

The query is read as the API server reads it: the first value counts, and a boolean is true unless it says otherwise.
Source: kubernetes/apimachinery pkg/runtime/conversion.go, pkg/apis/meta/v1/conversion.go.
"""

from __future__ import annotations

from chaperone.core.policy import RiskSettings
from chaperone.core.request import Request
from chaperone.core.risk.content import on_object
from chaperone.core.risk.fields import any_of, field, flag, is_one_of
from chaperone.core.risk.row import NO, UNKNOWN, YES, Condition, Outcome, Reads


def _bulk(request: Request, settings: RiskSettings) -> Outcome:
    return YES if len(request.body) > settings.bulk_body_bytes else NO


def _query_flag(request: Request, key: str) -> Outcome:
    value = request.parameter(key)
    return NO if value is None or value == "0" or value.lower() == "false" else YES


def _forced(request: Request, _: RiskSettings) -> Outcome:
    return _query_flag(request, "force")


def _no_grace(value: object) -> Outcome:
    if value is None:
        return NO
    if isinstance(value, bool) or not isinstance(value, int):
        return UNKNOWN
    return YES if value <= 0 else NO


def _query_grace(request: Request) -> Outcome:
    value = request.parameter("gracePeriodSeconds")
    if value is None:
        return NO
    try:
        return _no_grace(int(value))
    except ValueError:
        return UNKNOWN  # the server refuses it, or reads it in a way that is not known here


def strong_query(request: Request) -> Outcome:
    """Does the query ask for force, no grace period, or orphans?"""
    return any_of(
        (
            _query_flag(request, "force"),
            _query_grace(request),
            is_one_of(request.parameter("propagationPolicy"), ("Orphan",)),
            _query_flag(request, "orphanDependents"),
        )
    )


def strong_body(options: object) -> Outcome:
    """Does an options object ask for one of them?"""
    return any_of(
        (
            flag(field(options, "force")),
            _no_grace(field(options, "gracePeriodSeconds")),
            is_one_of(field(options, "propagationPolicy"), ("Orphan",)),
            flag(field(options, "orphanDependents")),
        )
    )


def _strong_delete(request: Request, _: RiskSettings) -> Outcome:
    return any_of((strong_query(request), _strong_options(request)))


def _strong_options(request: Request) -> Outcome:
    options = request.payload.options
    unread = "options" in request.payload.undetermined or (options is None and request.body != b"")
    return UNKNOWN if unread else strong_body(options)


BULK = Condition("bulk", "with a body above the configured size", _bulk)
FORCED = Condition("strong-options", "with force", _forced)
STRONG_DELETE = Condition(
    "strong-options",
    "with force, no grace period, or orphaned dependents",
    _strong_delete,
    Reads.OPTIONS,
)
STRONG_EVICTION = Condition(
    "strong-options",
    "with such options inside",
    on_object(lambda obj, _, __: strong_body(field(obj, "deleteOptions"))),
    Reads.OBJECT,
)
