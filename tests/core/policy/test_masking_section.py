"""spec.masking: what compiles, and what is refused with its path."""

from __future__ import annotations

from typing import Any

import pytest

from chaperone.core.policy import Exemption, Masking
from chaperone.core.policy.masking_section import (
    MAX_EXEMPTIONS,
    MAX_KEYS,
    MAX_PATTERNS,
    ORDINARY,
    pattern_fault,
)
from tests.core.policies import faults_of, policy, policy_object

PUBLIC = {"kind": "ConfigMap", "path": "data.API_KEY_ID", "reason": "an id, not a key"}


def faults(**masking: Any) -> dict[str, str]:
    """Path below spec.masking to message."""
    found = faults_of(policy_object(masking=masking))
    return {path.removeprefix("spec.masking").lstrip("."): message for path, message in found.items()}


def test_standard_unless_said_otherwise() -> None:
    assert policy(masking=None).masking == policy(masking={}).masking == Masking("Standard")


def test_everything_that_can_be_said() -> None:
    exempt = {**PUBLIC, "apiGroup": "apps", "namespaces": ["dev-*"]}
    said = {
        "profile": "Strict",
        "keys": ["acmeCode"],
        "patterns": ["acme-[0-9a-f]{32}"],
        "exempt": [PUBLIC, exempt],
    }
    compiled = policy(masking=said).masking
    assert compiled == Masking(
        profile="Strict",
        keys=("acmeCode",),
        patterns=("acme-[0-9a-f]{32}",),
        exempt=(
            Exemption("ConfigMap", "data.API_KEY_ID", "an id, not a key"),
            Exemption("ConfigMap", "data.API_KEY_ID", "an id, not a key", "apps", ("dev-*",)),
        ),
    )
    assert compiled.is_strict
    assert not compiled.is_off


# Off is said aloud


def test_off_needs_a_reason() -> None:
    assert "why these agents may see" in faults(profile="Off")["reason"]
    assert "why these agents may see" in faults(profile="Off", reason="  ")["reason"]
    compiled = policy(masking={"profile": "Off", "reason": " a cluster without secrets "}).masking
    assert (compiled.is_off, compiled.reason) == (True, "a cluster without secrets")


def test_a_reason_may_wait_for_the_day_it_is_needed() -> None:
    assert not faults(profile="Standard", reason="was off in May")


# Keys


@pytest.mark.parametrize("key", ["*", "-", "__", "db*", "token?"])
def test_a_key_that_would_be_many_keys_or_none(key: str) -> None:
    assert "not a name of a key" in faults(keys=["ok", key])["keys[1]"]


# Patterns


@pytest.mark.parametrize(
    "pattern", ["^ghp_[a-z]{36}$", "acme-([0-9]{6})-x", r"\bPIN[:=]\s*(\d{6})\b", "(?i)secret-[a-z]{8}"]
)
def test_a_pattern_that_can_be_used(pattern: str) -> None:
    assert not faults(patterns=[pattern])


UNUSABLE = {
    "(": "missing )",
    "a{3,1}": "invalid repetition",
    "(?=x)a": "invalid perl operator",
    r"(a)\1": "invalid escape",
    "(a{999}){999}": "invalid repetition size",
    r"\pL{900}": "too large",
    "(ab)-(cd)": "more than one group",
    "": "1 to",
    "a*": "empty text",
    "|token": "empty text",
    "()": "empty text",
    ".": "ordinary text",
    r"\w+": "ordinary text",
    "[a-z]{3}": "ordinary text",
    "(?s:.+)": "ordinary text",
    "\ud800": "surrogates",
}


@pytest.mark.parametrize(("pattern", "why"), UNUSABLE.items())
def test_a_pattern_that_cannot(pattern: str, why: str) -> None:
    assert why in (
        faults(patterns=[pattern]).get("patterns[0]", "") if pattern else why + pattern_fault(pattern)
    )


def test_the_first_faulty_pattern_hides_no_other() -> None:
    assert faults(patterns=["(", "acme-[0-9]+", "a*"]).keys() == {"patterns[0]", "patterns[2]"}


def test_one_ordinary_word_may_look_like_a_secret() -> None:
    """A cluster may well have tokens that begin with `v1`; two ordinary words at once are a mistake."""
    assert not pattern_fault(f"^{ORDINARY[1]}")
    assert pattern_fault(f"^({ORDINARY[1]}|{ORDINARY[2]})")


# Exemptions


def exempt_faults(**changes: Any) -> dict[str, str]:
    return faults(exempt=[{key: value for key, value in {**PUBLIC, **changes}.items() if value is not None}])


@pytest.mark.parametrize("missing", ["kind", "path", "reason"])
def test_an_exemption_says_what_where_and_why(missing: str) -> None:
    assert exempt_faults(**{missing: None}) == {f"exempt[0].{missing}": "is required"}


REFUSED: dict[str, tuple[dict[str, Any], str, str]] = {
    "any kind": ({"kind": "*"}, "kind", "wildcards"),
    "two kinds": ({"kind": "ConfigMap,Secret"}, "kind", "one kind"),
    "no API group": ({"apiGroup": "Apps/v1"}, "apiGroup", "not an API group"),
    "no reason in the reason": ({"reason": "  "}, "reason", "must say why"),
    "any path": ({"path": "*"}, "path", "begin with a field"),
    "a path that begins anywhere": ({"path": "**.password"}, "path", "begin with a field"),
    "a path that is no path": ({"path": "data password"}, "path", "begin with a field"),
    "no namespaces at all": ({"namespaces": []}, "namespaces", "empty list"),
    "a field of nobody": ({"resource": "x"}, "resource", "is not a field here"),
    "all of a Secret": ({"kind": "Secret", "path": "data"}, "path", "whatever these Secrets hold"),
    "all of a Secret by its plural": (
        {"kind": "secrets", "path": "data.*"},
        "path",
        "whatever these Secrets hold",
    ),
    "most of a Secret": ({"kind": "Secret", "path": "stringData.q*"}, "path", "whatever these Secrets hold"),
}


@pytest.mark.parametrize(("changes", "field", "why"), REFUSED.values(), ids=REFUSED)
def test_an_exemption_that_is_refused(changes: dict[str, Any], field: str, why: str) -> None:
    found = exempt_faults(**changes)
    assert found.keys() == {f"exempt[0].{field}"}
    assert why in found[f"exempt[0].{field}"]


def test_one_key_of_a_secret_may_be_shown() -> None:
    assert not exempt_faults(kind="Secret", path="data.region")
    assert not exempt_faults(kind="Secret", apiGroup="acme.example", path="data")


COVERED = {
    "data.app": ("data.app", "data.app.db", "data.app[web].x", "data.app[web]"),
    "spec.containers[*].env[LEVEL].value": ("spec.containers[web].env[LEVEL].value",),
    'data["app.yaml"].db.user': ('data["app.yaml"].db.user',),
    "spec.*.host": ("spec.db.host", "spec.a.b.host", "spec.a.host.x"),
}
NOT_COVERED = {
    "data.app": ("data.apple", 'data["app.yaml"]', "data", "data.other", "metadata.annotations.data.app"),
    "spec.containers[*].env[LEVEL].value": (
        "spec.containers[web].env[PASSWORD].value",
        "spec.containers[web].env[LEVEL]",
    ),
    'data["app.yaml"].db.user': ('data["app.yaml"]', 'data["app.yaml"].db.username'),
    "spec.*.host": ("spec.host", "spec.db.hostname"),
}


@pytest.mark.parametrize("path", COVERED)
def test_a_path_covers_the_value_and_all_below(path: str) -> None:
    exemption = Exemption("ConfigMap", path, "public")
    assert [found for found in COVERED[path] if not exemption.covers(found)] == []
    assert [found for found in NOT_COVERED[path] if exemption.covers(found)] == []


def test_namespaces_are_globs_and_none_is_everywhere() -> None:
    everywhere, some = (
        Exemption("Node", "spec.x", "r"),
        Exemption("Pod", "spec.x", "r", namespaces=("dev-*", "qa")),
    )
    assert everywhere.reaches("")
    assert everywhere.reaches("prod")
    assert [name for name in ("dev-1", "qa", "prod", "") if some.reaches(name)] == ["dev-1", "qa"]


def test_the_same_place_for_another_reason() -> None:
    one, other = (Exemption("Pod", "spec.x", reason) for reason in ("a", "b"))
    assert one.same_place(other)
    assert not one.same_place(Exemption("Pod", "spec.y", "a"))


# Bounds

TOO_MUCH: dict[str, tuple[dict[str, Any], str]] = {
    "keys": ({"keys": [f"key{at}" for at in range(MAX_KEYS + 1)]}, "keys"),
    "a key": ({"keys": ["k" * 129]}, "keys[0]"),
    "patterns": ({"patterns": [f"acme{at}x" for at in range(MAX_PATTERNS + 1)]}, "patterns"),
    "a pattern": ({"patterns": ["x" * 1025]}, "patterns[0]"),
    "exemptions": ({"exempt": [PUBLIC] * (MAX_EXEMPTIONS + 1)}, "exempt"),
}


@pytest.mark.parametrize(("masking", "path"), TOO_MUCH.values(), ids=TOO_MUCH)
def test_everything_is_bounded(masking: dict[str, Any], path: str) -> None:
    assert path in faults(**masking)
