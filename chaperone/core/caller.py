"""From verified claims to a caller, by the rules of the issuer that vouched for them.

The order is that of the question asked: do the claims pass the issuer's rules (if not: 401), can the identity
they name be used here (if not: 403)? A name is never repaired. What cannot travel in a header, names one of
the cluster's own identities or is empty refuses the whole token.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chaperone.core.authentication import ClaimMapping, ClaimRule, Issuer, RunMapping
from chaperone.core.claims import CelError, Expression
from chaperone.core.identity import MAX_EXTRA, MAX_NAME, Caller, check_name
from chaperone.core.token import Refused, forbidden, unauthenticated

MAX_GROUPS = 256
MAX_EXTRA_VALUES = 64
MAX_RUN = 256

Claims = Mapping[str, Any]


class RefusedError(Exception):
    """Ends a mapping early; the functions that map turn it into their result."""

    def __init__(self, refused: Refused) -> None:
        super().__init__(refused.audit_reason)
        self.refused = refused


def map_caller(issuer: Issuer, claims: Claims) -> Caller | Refused:
    """The caller of a token whose signature and registered claims are in order. Never raises.

    401: a required claim, a rule or the run fails. 403: the identity is empty or may not be used.
    """
    try:
        return _map(issuer, claims)
    except RefusedError as error:
        return error.refused


def _map(issuer: Issuer, claims: Claims) -> Caller:
    _refuse_nul(claims)
    for rule in issuer.claim_rules:
        _check_claim_rule(rule, claims)
    subject = claims.get("sub")
    if not isinstance(subject, str) or not subject:
        raise RefusedError(unauthenticated("the token has no subject (sub)"))
    username = _username(issuer.username, claims)
    groups = _groups(issuer.groups, claims)
    extra = {
        mapping.key: values for mapping in issuer.extra if (values := _extra(mapping.expression, claims))
    }
    _check_user_rules(issuer, username, groups, extra)
    return Caller(
        issuer=issuer.url,
        subject=require_printable(subject, "its subject (sub)", MAX_NAME),
        username=username,
        groups=groups,
        extra=extra,
        run=_run(issuer.run, claims, "run"),
        model=_run(issuer.model, claims, "model"),
        agent=_run(issuer.agent, claims, "agent"),
        claims=claims,
        expires_at=float(claims["exp"]),
    )


def _refuse_nul(claims: Claims) -> None:
    """The CEL library cuts strings at NUL, in names as in comparisons, so none may reach an expression."""
    level: list[object] = [claims]
    while level:
        value = level.pop()
        if isinstance(value, str):
            if "\0" in value:
                raise RefusedError(forbidden("one of its claims holds a NUL character"))
        elif isinstance(value, Mapping):
            level += (*value, *value.values())
        elif isinstance(value, list):
            level += value


def _check_claim_rule(rule: ClaimRule, claims: Claims) -> None:
    if rule.expression is not None:
        _require_true(
            rule.expression, claims, f"the claims fail a validation rule: {rule.message or 'no message'}"
        )
    elif rule.claim not in claims:
        raise RefusedError(unauthenticated(f"the required claim {rule.claim} is missing"))
    elif claims[rule.claim] != rule.required_value:
        raise RefusedError(unauthenticated(f"the claim {rule.claim} does not have the required value"))


def _check_user_rules(
    issuer: Issuer, username: str, groups: tuple[str, ...], extra: Mapping[str, tuple[str, ...]]
) -> None:
    if not issuer.user_rules:
        return
    extras = {key: list(values) for key, values in extra.items()}
    user = {"username": username, "uid": "", "groups": list(groups), "extra": extras}
    for rule in issuer.user_rules:
        _require_true(
            rule.expression, user, f"the user fails a validation rule: {rule.message or 'no message'}"
        )


def _require_true(expression: Expression, value: object, reason: str) -> None:
    if _evaluate(expression, value, "a validation rule") is not True:
        raise RefusedError(unauthenticated(reason))


def _evaluate(expression: Expression, value: object, what: str) -> object:
    try:
        return expression.evaluate(value)
    except CelError as error:
        raise RefusedError(unauthenticated(f"the expression of {what} {error}")) from None


def _username(mapping: ClaimMapping, claims: Claims) -> str:
    if mapping.expression is not None:
        return require_name(_evaluate(mapping.expression, claims, "the user name"), "its user name")
    if mapping.claim == "email" and claims.get("email_verified", True) is not True:
        raise RefusedError(unauthenticated("the e-mail address is not verified"))
    raw = require_name(claims.get(mapping.claim, ""), "its user name")
    return require_name(mapping.prefix + raw, "its user name")


def _groups(mapping: ClaimMapping, claims: Claims) -> tuple[str, ...]:
    if mapping.expression is not None:
        names = _texts(_evaluate(mapping.expression, claims, "the groups"), "its groups")
    else:
        names = _texts(claims.get(mapping.claim), "its groups") if mapping.claim else ()
        if mapping.claim and mapping.claim not in claims:
            _refuse_distributed(mapping.claim, claims)
    if len(names) > MAX_GROUPS:
        raise RefusedError(forbidden(f"it names more than {MAX_GROUPS} groups"))
    return tuple(
        require_name(mapping.prefix + require_name(name, "one of its groups"), "one of its groups")
        for name in names
    )


def _refuse_distributed(claim: str, claims: Claims) -> None:
    """Groups that are to be fetched elsewhere (OpenID Connect Core 5.6.2) are unknown, not absent: a policy
    that denies by group would be slipped."""
    names = claims.get("_claim_names")
    if names is not None and (not isinstance(names, dict) or claim in names):
        raise RefusedError(forbidden("its groups stand elsewhere (_claim_names): let the issuer put them in"))


def _extra(expression: Expression, claims: Claims) -> tuple[str, ...]:
    values = _texts(_evaluate(expression, claims, "an extra value"), "one of its extra values")
    if len(values) > MAX_EXTRA_VALUES:
        raise RefusedError(forbidden(f"it has more than {MAX_EXTRA_VALUES} values under one extra key"))
    return tuple(require_printable(value, "one of its extra values", MAX_EXTRA) for value in values)


def _texts(value: object, what: str) -> tuple[str, ...]:
    """A string or a list of strings; null and "" are nothing, as the API server reads them."""
    if value is None or value == "":
        return ()
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list):
        raise RefusedError(forbidden(f"{what} are neither a string nor a list of strings"))
    if not all(isinstance(item, str) for item in values):
        raise RefusedError(forbidden(f"{what} are not all strings"))
    return tuple(item for item in values if item)


def _run(mapping: RunMapping, claims: Claims, what: str) -> str:
    if mapping.expression is not None:
        value = _evaluate(mapping.expression, claims, f"the {what}")
    else:
        value = next((claims[claim] for claim in mapping.claims if claims.get(claim) is not None), None)
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if value is None or value == "":
        if mapping.required:
            raise RefusedError(unauthenticated(f"the token names no {what}"))
        return ""
    return require_printable(value, f"its {what}", MAX_RUN)


def require_name(value: object, what: str) -> str:
    """A user or group name that may stand here. Raises RefusedError (403) with `what` in the reason."""
    name = "" if value is None else value
    if not isinstance(name, str):
        raise RefusedError(forbidden(f"{what} is not a string"))
    if fault := check_name(name):
        raise RefusedError(forbidden(f"{what} {fault}"))
    return name


def require_printable(value: object, what: str, limit: int) -> str:
    """Printable ASCII without spaces at the ends: what a header carries unchanged. Anything else is refused,
    non-ASCII letters too: an issuer with such names needs an expression that makes plain ones."""
    if not isinstance(value, str):
        raise RefusedError(forbidden(f"{what} is not a string"))
    if len(value) > limit:
        raise RefusedError(forbidden(f"{what} is longer than {limit} characters"))
    if not value.isascii() or not value.isprintable() or value != value.strip():
        raise RefusedError(forbidden(f"{what} has characters that a header cannot carry"))
    return value
