"""Only a clear yes of the API server makes a caller."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from chaperone.core.authentication import TokenReviewSettings
from chaperone.core.identity import Caller
from chaperone.core.reviewed import ISSUER, read_review, review_request
from chaperone.core.token import Refused

RUN = {"authentication.kubernetes.io/pod-uid": ["u-1"], "authentication.kubernetes.io/pod-name": ["coder-0"]}
ACCOUNT = {
    "username": "system:serviceaccount:agents:coder",
    "uid": "sa-1",
    "groups": ["system:serviceaccounts", "system:serviceaccounts:agents", "system:authenticated"],
    "extra": RUN,
}
PERSON = {"username": "anna", "groups": ["team", "system:authenticated"], "extra": RUN}
ACCOUNTS = TokenReviewSettings(allow_service_accounts=True)


def review(user: object = PERSON, **status: Any) -> dict[str, Any]:
    return {"kind": "TokenReview", "status": {"authenticated": True, "user": user, **status}}


def code(answer: dict[str, Any], settings: TokenReviewSettings = ACCOUNTS) -> int:
    result = read_review(answer, "opaque", settings)
    assert isinstance(result, Refused), result
    return result.code


def test_a_user_is_read() -> None:
    assert read_review(review(), "opaque", TokenReviewSettings()) == Caller(
        issuer=ISSUER,
        subject="anna",
        username="anna",
        groups=("team",),
        extra={key: tuple(values) for key, values in RUN.items()},
        run="u-1",
        agent="coder-0",
        claims={"sub": "anna", "uid": "", "groups": ["team"], "extra": RUN},
    )


def test_a_service_account_is_let_in_only_when_configured() -> None:
    assert code(review(ACCOUNT), TokenReviewSettings()) == 403
    result = read_review(review(ACCOUNT), "opaque", ACCOUNTS)
    assert isinstance(result, Caller)
    assert (result.username, result.subject) == ("system:serviceaccount:agents:coder", "sa-1")
    assert result.groups == ("system:serviceaccounts", "system:serviceaccounts:agents")


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"status": None},
        {"status": {}},
        {"status": {"authenticated": False, "error": ""}},  # ID-10
        {"status": {"authenticated": False, "user": PERSON}},
        {"status": {"user": PERSON}},
        {"status": {"authenticated": "true", "user": PERSON}},
        {"status": {"authenticated": 1, "user": PERSON}},
        {"spec": {"authenticated": True}, "user": PERSON},
    ],
    ids=str,
)
def test_whatever_is_not_yes_is_no(answer: dict[str, Any]) -> None:
    assert code(answer) == 401


@pytest.mark.parametrize(
    "user",
    [
        None,
        {},
        {"username": "", "extra": RUN},
        {"username": "system:admin", "extra": RUN},
        {"username": "system:anonymous", "extra": RUN},
        {"username": "system:serviceaccount:agents", "extra": RUN},
        {"username": "system:serviceaccount:agents:coder:x", "extra": RUN},
        {"username": "system:serviceaccount:agents:coder\n", "extra": RUN},
        {"username": "System:serviceaccount:agents:coder", "extra": RUN},
        PERSON | {"groups": ["system:masters"]},
        PERSON | {"groups": ["system:serviceaccounts"]},
        PERSON | {"groups": "team"},
        PERSON | {"groups": [None]},
        ACCOUNT | {"groups": ["system:serviceaccounts:kube-system"]},
        ACCOUNT | {"groups": ["system:masters"]},
        PERSON | {"extra": {"a": "b"}},
        PERSON | {"extra": {"a": ["x\r\ny"]}},
        PERSON | {"extra": {"a\n": ["x"]}},
        PERSON | {"extra": []},
        PERSON | {"uid": 5},
    ],
    ids=str,
)
def test_identities_that_may_not_be_used_are_forbidden(user: object) -> None:
    assert code(review(user)) == 403


def test_audiences_are_confirmed_by_the_server() -> None:
    settings = TokenReviewSettings(audiences=("us", "we"))
    assert review_request("t", settings)["spec"] == {"token": "t", "audiences": ["us", "we"]}
    assert isinstance(read_review(review(audiences=["we"]), "t", settings), Caller)
    odd: list[object] = [None, [], ["them"], "us", {}]
    for confirmed in odd:
        assert code(review(audiences=confirmed), settings) == 401


def test_an_empty_token_is_never_sent() -> None:  # ID-09
    with pytest.raises(ValueError, match="empty"):
        review_request("", ACCOUNTS)
    assert review_request("t", ACCOUNTS)["spec"] == {"token": "t"}
    assert review_request("t", TokenReviewSettings(audiences=("us",)))["spec"]["audiences"] == ["us"]


def test_the_run_is_required_unless_said_otherwise() -> None:
    user = PERSON | {"extra": {"a.io/job": ["j-1"]}}
    assert code(review(user)) == 401
    optional = read_review(review(user), "t", TokenReviewSettings(run_required=False))
    named = read_review(review(user), "t", TokenReviewSettings(run_extra="a.io/job"))
    assert isinstance(optional, Caller)
    assert isinstance(named, Caller)
    assert (optional.run, named.run) == ("", "j-1")


def test_the_end_of_a_reviewed_jwt_is_known() -> None:
    parts = (json.dumps(part).encode() for part in ({"alg": "RS256"}, {"iss": "i", "exp": 1_800_000_000}))
    token = ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in (*parts, b"s"))
    known, opaque = (read_review(review(), text, ACCOUNTS) for text in (token, "opaque"))
    assert isinstance(known, Caller)
    assert isinstance(opaque, Caller)
    assert (known.expires_at, opaque.expires_at) == (1_800_000_000.0, 0.0)
