"""Verified claims become a caller, or say why they cannot."""

from __future__ import annotations

from typing import Any

import pytest

from chaperone.core.authentication import AuthenticationConfiguration, Issuer, read_configuration
from chaperone.core.caller import map_caller
from chaperone.core.identity import Caller
from chaperone.core.token import Refused
from tests.core.test_authentication import document

CLAIMS: dict[str, Any] = {
    "iss": "https://issuer.example",
    "sub": "coder",
    "exp": 1_800_000_000,
    "groups": ["ai-agents", "team-a"],
    "run": "r-1",
    "model": "m-1",
    "agent": "a-1",
    "team": "blue",
    "email": "coder@example.com",
}
MAPPINGS = {"username": {"claim": "sub", "prefix": "oidc:"}, "groups": {"claim": "groups", "prefix": "oidc:"}}


def issuer(**fields: Any) -> Issuer:
    entry = {"issuer": {"url": "https://issuer.example", "audiences": ["us"]}, "claimMappings": MAPPINGS}
    result = read_configuration(document(entry | fields))
    assert isinstance(result, AuthenticationConfiguration), result
    return result.issuers[0]


def mapped(claims: dict[str, Any], **fields: Any) -> Caller | Refused:
    return map_caller(issuer(**fields), {name: value for name, value in claims.items() if value is not ...})


def caller(claims: dict[str, Any], **fields: Any) -> Caller:
    result = mapped(claims, **fields)
    assert isinstance(result, Caller), result
    return result


def code(claims: dict[str, Any], **fields: Any) -> int:
    result = mapped(claims, **fields)
    assert isinstance(result, Refused), result
    assert result.audit_reason
    return result.code


def mappings(**fields: Any) -> dict[str, Any]:
    return {"claimMappings": MAPPINGS | fields}


def test_every_field_comes_from_the_claims() -> None:
    assert caller(CLAIMS) == Caller(
        issuer="https://issuer.example",
        subject="coder",
        username="oidc:coder",
        groups=("oidc:ai-agents", "oidc:team-a"),
        run="r-1",
        model="m-1",
        agent="a-1",
        claims=CLAIMS,
        expires_at=1_800_000_000.0,
    )


def test_expressions_map_too() -> None:
    result = caller(
        CLAIMS,
        **mappings(
            username={"expression": "'agent:' + claims.sub"},
            groups={"expression": "claims.groups.filter(g, g.startsWith('ai-'))"},
            extra=[
                {"key": "a.io/team", "valueExpression": "claims.team"},
                {"key": "a.io/none", "valueExpression": "has(claims.none) ? claims.none : null"},
                {"key": "a.io/empty", "valueExpression": "''"},
                {"key": "a.io/list", "valueExpression": "['x', '', 'y']"},
            ],
        ),
    )
    assert result.username == "agent:coder"
    assert result.groups == ("ai-agents",)
    assert result.extra == {"a.io/team": ("blue",), "a.io/list": ("x", "y")}


@pytest.mark.parametrize(
    ("groups", "expected"),
    [(..., ()), (None, ()), ([], ()), ("solo", ("oidc:solo",)), (["a", "b"], ("oidc:a", "oidc:b"))],
)
def test_groups_are_a_string_or_a_list_or_absent(groups: Any, expected: tuple[str, ...]) -> None:
    assert caller(CLAIMS | {"groups": groups}).groups == expected


NAMES_NEVER_ALLOWED = [
    "system:masters",
    "system:nodes",
    "system:",
    "System:masters",
    "a\rb",
    "a\nImpersonate-User: admin",
    "a\0b",
    "jürgen",
    "а",  # Cyrillic
    "a\u2028b",
    "a\x7fb",
    " a",
    "a ",
    "a" * 600,
]


@pytest.mark.parametrize("name", NAMES_NEVER_ALLOWED, ids=ascii)
@pytest.mark.parametrize("prefix", ["", "oidc:"])
def test_names_that_may_never_be_used_are_forbidden(name: str, prefix: str) -> None:  # ID-17, ID-18
    plain = {"claim": "sub", "prefix": prefix}
    listed = {"claim": "groups", "prefix": prefix}
    assert code(CLAIMS | {"sub": name}, **mappings(username=plain)) == 403
    assert code(CLAIMS | {"groups": name}, **mappings(groups=listed)) == 403
    assert code(CLAIMS | {"groups": ["fine", name]}, **mappings(groups=listed)) == 403


@pytest.mark.parametrize("name", NAMES_NEVER_ALLOWED, ids=ascii)
def test_expressions_are_no_way_round(name: str) -> None:
    claims = CLAIMS | {"x": name}
    assert code(claims, **mappings(username={"expression": "claims.x"})) == 403
    assert code(claims, **mappings(groups={"expression": "[claims.x]"})) == 403


@pytest.mark.parametrize("odd", ["coder\0", {"a": ["\0"]}, [{"\0": 1}], {"x\0y": {}}], ids=ascii)
def test_a_nul_in_any_claim_is_forbidden(odd: Any) -> None:
    """The CEL library cuts a string at NUL: `claims.x == "coder"` would be true of "coder\\0"."""
    assert code(CLAIMS | {"unused": odd}) == 403


def test_a_prefix_and_a_claim_cannot_make_a_reserved_name_together() -> None:
    assert (
        code(CLAIMS | {"sub": "tem:masters"}, **mappings(username={"claim": "sub", "prefix": "sys"})) == 403
    )
    assert (
        code(CLAIMS | {"groups": "stem:masters"}, **mappings(groups={"claim": "groups", "prefix": "sy"}))
        == 403
    )


@pytest.mark.parametrize("value", ["a\r\nb", "a\0b", "é", "x" * 2000], ids=ascii)
def test_extra_run_and_subject_must_fit_a_header(value: str) -> None:  # ID-18
    claims = CLAIMS | {"x": value}
    assert code(claims, **mappings(extra=[{"key": "a.io/x", "valueExpression": "claims.x"}])) == 403
    for name in ("run", "model", "agent"):
        assert code(claims, run={name: {"claim": "x"}}) == 403
        assert code(claims, run={name: {"expression": "claims.x"}}) == 403
    assert code(CLAIMS | {"sub": value}, **mappings(username={"expression": "'fixed'"})) == 403


@pytest.mark.parametrize("name", ["", ..., None, 5, True, ["coder"], {}], ids=str)
def test_an_empty_or_odd_user_name_is_forbidden(name: Any) -> None:  # ID-08
    plain = {"claim": "name", "prefix": "oidc:"}
    assert code(CLAIMS | {"name": name}, **mappings(username=plain)) == 403


@pytest.mark.parametrize("groups", [5, True, {}, ["a", 5], ["a", None], [["a"]]], ids=str)
def test_odd_groups_are_forbidden(groups: Any) -> None:
    assert code(CLAIMS | {"groups": groups}) == 403


def test_groups_and_extra_values_are_bounded() -> None:
    assert code(CLAIMS | {"groups": [f"g{number}" for number in range(257)]}) == 403
    many = "['x', 'x', 'x', 'x', 'x', 'x', 'x', 'x'].map(a, a + claims.sub)"
    assert (
        len(caller(CLAIMS, **mappings(extra=[{"key": "a.io/x", "valueExpression": many}])).extra["a.io/x"])
        == 8
    )
    claims = CLAIMS | {"many": ["x"] * 65}
    assert code(claims, **mappings(extra=[{"key": "a.io/x", "valueExpression": "claims.many"}])) == 403


def test_groups_that_stand_elsewhere_are_not_taken_for_none() -> None:
    assert code(CLAIMS | {"groups": ..., "_claim_names": {"groups": "src1"}}) == 403
    assert code(CLAIMS | {"groups": ..., "_claim_names": "odd"}) == 403
    assert caller(CLAIMS | {"groups": ..., "_claim_names": {"other": "src1"}}).groups == ()


@pytest.mark.parametrize("subject", [..., "", None, 5], ids=str)
def test_a_subject_is_required(subject: Any) -> None:
    assert code(CLAIMS | {"sub": subject}, **mappings(username={"claim": "team", "prefix": ""})) == 401


REQUIRED = [{"claim": "team", "requiredValue": "blue"}]


def test_a_required_claim_has_an_effect() -> None:  # ID-07
    assert caller(CLAIMS, claimValidationRules=REQUIRED).username == "oidc:coder"
    assert caller(CLAIMS | {"team": ...}).username == "oidc:coder"
    for value in (..., "", "red", "Blue", None, True, ["blue"]):
        assert code(CLAIMS | {"team": value}, claimValidationRules=REQUIRED) == 401


def test_a_required_claim_without_a_value_must_be_empty() -> None:
    rule = [{"claim": "team"}]
    assert isinstance(mapped(CLAIMS | {"team": ""}, claimValidationRules=rule), Caller)
    assert code(CLAIMS, claimValidationRules=rule) == 401


@pytest.mark.parametrize(
    ("expression", "passes"),
    [
        ("claims.team == 'blue'", True),
        ("claims.team == 'red'", False),
        ("claims.missing == 'red'", False),
        ("claims.missing", False),
        ("claims.team", False),  # a string is not true
        ("claims.exp / 0 == 1", False),
        ("claims.groups.all(a, claims.groups.exists(b, a == b))", True),
    ],
)
def test_only_true_passes_a_rule(expression: str, passes: bool) -> None:
    rules = [{"expression": expression, "message": "rule one"}]
    result = mapped(CLAIMS, claimValidationRules=rules)
    assert isinstance(result, Caller) is passes
    if isinstance(result, Refused):
        assert result.code == 401
        assert "rule one" not in result.public_message


def test_an_expression_without_end_is_refused() -> None:
    nested = "claims.many.all(a, claims.many.all(b, claims.many.all(c, claims.many.all(d, true))))"
    assert code(CLAIMS | {"many": ["x"] * 100}, claimValidationRules=[{"expression": nested}]) == 401


def test_user_rules_see_the_mapped_user() -> None:
    def rules(expression: str) -> list[dict[str, str]]:
        return [{"expression": expression, "message": "no"}]

    seen = "user.username == 'oidc:coder' && 'oidc:team-a' in user.groups && user.extra['a.io/t'] == ['blue']"
    extra = mappings(extra=[{"key": "a.io/t", "valueExpression": "claims.team"}])
    assert isinstance(mapped(CLAIMS, userValidationRules=rules(seen), **extra), Caller)
    assert code(CLAIMS, userValidationRules=rules("user.username != 'oidc:coder'")) == 401
    assert code(CLAIMS, userValidationRules=rules("user.nothing == 'x'")) == 401


@pytest.mark.parametrize(
    ("verified", "passes"),
    [(..., True), (True, True), (False, False), ("true", False), (None, False), (1, False)],
)
def test_an_unverified_email_address_is_no_name(verified: Any, passes: bool) -> None:
    plain = {"claim": "email", "prefix": ""}
    result = mapped(CLAIMS | {"email_verified": verified}, **mappings(username=plain))
    assert isinstance(result, Caller) is passes
    assert passes or (isinstance(result, Refused) and result.code == 401)


def test_the_run_is_required_unless_said_otherwise() -> None:
    assert code(CLAIMS | {"run": ...}) == 401
    assert code(CLAIMS | {"run": ""}) == 401
    assert code(CLAIMS | {"run": ..., "jti": "t-1"}) == 401
    assert caller(CLAIMS | {"run": ...}, run={"run": {"required": False}}).run == ""
    assert code(CLAIMS | {"agent": ...}, run={"agent": {"claim": "agent", "required": True}}) == 401


@pytest.mark.parametrize(
    ("claims", "run"),
    [
        ({"run": ..., "run_id": "r-9"}, "r-9"),
        ({"run": None, "run_id": "r-9"}, "r-9"),
        ({"run": "r-1", "run_id": "r-9"}, "r-1"),
        ({"run": 77}, "77"),
    ],
)
def test_the_run_is_found_by_default(claims: dict[str, Any], run: str) -> None:
    assert caller(CLAIMS | claims).run == run


@pytest.mark.parametrize("value", [True, 1.5, ["r"], {}], ids=str)
def test_an_odd_run_is_forbidden(value: Any) -> None:
    assert code(CLAIMS | {"run": value}) == 403


def test_a_run_expression_that_fails_refuses_even_when_not_required() -> None:
    run = {"run": {"expression": "claims.missing", "required": False}}
    assert code(CLAIMS, run=run) == 401


def test_reasons_quote_no_claim() -> None:
    for claims in ({"sub": "sesame\n"}, {"groups": ["system:sesame"]}, {"run": "sesame\0"}):
        result = mapped(CLAIMS | claims)
        assert isinstance(result, Refused)
        assert "sesame" not in result.audit_reason + result.public_message
