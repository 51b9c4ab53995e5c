"""From the API server's answer to a TokenReview to a caller.

For tokens of no configured issuer. The API server proves who it is; the rules about names are the same as for
any issuer, with two differences: `system:authenticated`, which it gives to everyone, is left out, and service
accounts come in when the configuration says so, with their own two groups and no others of `system:`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from chaperone.core.authentication import TokenReviewSettings
from chaperone.core.caller import (
    MAX_EXTRA_VALUES,
    MAX_GROUPS,
    MAX_RUN,
    RefusedError,
    require_name,
    require_printable,
)
from chaperone.core.identity import MAX_EXTRA, MAX_NAME, Caller
from chaperone.core.token import Refused, Unverified, forbidden, is_date, read_token, unauthenticated

ISSUER = "tokenreview"
"""`issuer` of such callers in policies and audit records; no URL, so no configured issuer can have it."""
MAX_EXTRA_KEYS = 64

_SERVICE_ACCOUNT = re.compile(r"system:serviceaccount:([a-z0-9][-a-z0-9]{0,62}):([a-z0-9][-a-z0-9.]{0,252})")


def review_request(token: str, settings: TokenReviewSettings) -> dict[str, Any]:
    """The TokenReview object to post. Raises ValueError for an empty token, which must never be sent
    (CVE-2023-48312)."""
    if not token:
        raise ValueError("an empty token is not put to the API server")
    spec: dict[str, Any] = {"token": token}
    if settings.audiences:
        spec["audiences"] = list(settings.audiences)
    return {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": spec}


def read_review(review: Mapping[str, Any], token: str, settings: TokenReviewSettings) -> Caller | Refused:
    """The caller of a reviewed token. Never raises; whatever is not a clear yes is a refusal."""
    status = review.get("status")
    if not isinstance(status, dict) or status.get("authenticated") is not True:
        return unauthenticated("the API server does not know the token")
    if settings.audiences and not _shares(status.get("audiences"), settings.audiences):
        return unauthenticated("the API server did not confirm one of the configured audiences")
    user = status.get("user")
    if not isinstance(user, dict):
        return forbidden("the API server names no user for it")
    try:
        return _map(user, token, settings)
    except RefusedError as error:
        return error.refused


def _shares(confirmed: object, wanted: tuple[str, ...]) -> bool:
    """An API server that knows nothing of audiences confirms none, and has checked none."""
    return isinstance(confirmed, list) and any(audience in wanted for audience in confirmed)


def _map(user: Mapping[str, Any], token: str, settings: TokenReviewSettings) -> Caller:
    username, allowed_groups = _username(user.get("username"), settings)
    groups = _groups(user.get("groups"), allowed_groups)
    extra = _extra(user.get("extra"))
    uid = require_printable(user.get("uid") or "", "its uid", MAX_NAME)
    return Caller(
        issuer=ISSUER,
        subject=uid or username,
        username=username,
        groups=groups,
        extra=extra,
        run=_run(extra, settings),
        model=_first(extra, settings.model_extra),
        agent=_first(extra, settings.agent_extra),
        claims={
            "sub": username,
            "uid": uid,
            "groups": list(groups),
            "extra": {key: list(values) for key, values in extra.items()},
        },
        expires_at=_expiry(token),
    )


def _username(value: object, settings: TokenReviewSettings) -> tuple[str, frozenset[str]]:
    """The user name, and which groups that begin with `system:` go with it."""
    matched = _SERVICE_ACCOUNT.fullmatch(value) if isinstance(value, str) else None
    if matched is None:
        return require_name(value, "its user name"), frozenset()
    if not settings.allow_service_accounts:
        raise RefusedError(forbidden("it belongs to a service account, and these are not let in here"))
    own = ("system:serviceaccounts", f"system:serviceaccounts:{matched[1]}")
    return matched[0], frozenset(own)


def _groups(value: object, allowed: frozenset[str]) -> tuple[str, ...]:
    names = [] if value is None else value
    if not isinstance(names, list) or len(names) > MAX_GROUPS:
        raise RefusedError(forbidden(f"its groups are not a list of at most {MAX_GROUPS}"))
    return tuple(
        name if name in allowed else require_name(name, "one of its groups")
        for name in names
        if name != "system:authenticated"
    )


def _extra(value: object) -> dict[str, tuple[str, ...]]:
    pairs = {} if value is None else value
    if not isinstance(pairs, dict) or len(pairs) > MAX_EXTRA_KEYS:
        raise RefusedError(forbidden(f"its extra is not a mapping of at most {MAX_EXTRA_KEYS} keys"))
    result = {}
    for key, values in pairs.items():
        if not isinstance(values, list) or len(values) > MAX_EXTRA_VALUES:
            raise RefusedError(forbidden(f"an extra value is not a list of at most {MAX_EXTRA_VALUES}"))
        kept = (require_printable(item, "one of its extra values", MAX_EXTRA) for item in values)
        result[require_printable(key, "one of its extra keys", MAX_NAME)] = tuple(kept)
    return result


def _run(extra: Mapping[str, tuple[str, ...]], settings: TokenReviewSettings) -> str:
    run = _first(extra, settings.run_extra)
    if not run and settings.run_required:
        raise RefusedError(unauthenticated(f"the reviewed user names no run (extra {settings.run_extra!r})"))
    return run


def _first(extra: Mapping[str, tuple[str, ...]], key: str) -> str:
    values = extra.get(key, ()) if key else ()
    return require_printable(values[0], f"its {key}", MAX_RUN) if values else ""


def _expiry(token: str) -> float:
    """`exp` of a token that the API server has just verified, 0.0 when it is opaque: then only a new review
    tells."""
    decoded = read_token(token)
    exp = decoded.claims.get("exp") if isinstance(decoded, Unverified) else None
    return float(exp) if isinstance(exp, int | float) and is_date(exp) else 0.0
