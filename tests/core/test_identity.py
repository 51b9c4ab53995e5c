"""Whom the gateway impersonates, header by header."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaperone.core.identity import EXTRA_KEYS, Caller, Identity, check_name, impersonation

CALLER = Caller(
    issuer="https://issuer.example",
    subject="repo:acme/shop:ref:refs/heads/main",
    username="repo:acme/shop",
    groups=("ai-agents",),
    run="run-7",
    agent="coder",
    model="m-1",
)
ACCOUNT = Identity("system:serviceaccount:agents:coder")


def test_a_service_account_goes_without_groups() -> None:
    assert impersonation(ACCOUNT, CALLER, ["a", "b"]) == (
        ("Impersonate-User", "system:serviceaccount:agents:coder"),
        ("Impersonate-Extra-chaperone.dev%2Frun", "run-7"),
        ("Impersonate-Extra-chaperone.dev%2Fagent", "coder"),
        ("Impersonate-Extra-chaperone.dev%2Fpolicy", "a,b"),
        ("Impersonate-Extra-chaperone.dev%2Fsubject", "repo:acme/shop:ref:refs/heads/main"),
    )


def test_every_group_has_a_header_of_its_own() -> None:
    headers = impersonation(Identity("coder", ("one", "two,three")), replace(CALLER, run="", agent=""), ["a"])
    assert [value for name, value in headers if name == "Impersonate-Group"] == ["one", "two,three"]
    assert "Impersonate-Extra-chaperone.dev%2Frun" not in dict(headers)


def test_a_spent_approval_travels_with_uid_and_name() -> None:
    headers = dict(impersonation(ACCOUNT, CALLER, ["a"], approval=("0a-1b", "apr-1")))
    assert headers["Impersonate-Extra-chaperone.dev%2Fapproval"] == "0a-1b"
    assert headers["Impersonate-Extra-chaperone.dev%2Fapproval-name"] == "apr-1"


def test_no_extra_travels_that_rbac_does_not_name() -> None:
    headers = impersonation(ACCOUNT, CALLER, ["a"], approval=("0a-1b", "apr-1"))
    keys = {
        name.removeprefix("Impersonate-Extra-").replace("%2F", "/") for name, _ in headers if "Extra" in name
    }
    assert keys == set(EXTRA_KEYS)


@pytest.mark.parametrize("approval", [("", "apr-1"), ("0a", ""), ("", "")])
def test_half_an_approval_is_none(approval: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match="uid and its name"):
        impersonation(ACCOUNT, CALLER, ["a"], approval=approval)


@pytest.mark.parametrize(
    "username",
    [
        "",
        "system:admin",
        "System:admin",
        "system:serviceaccount:agents",
        "system:serviceaccount::coder",
        "system:serviceaccount:agents:coder:x",
        "system:serviceaccount:agents:co\nder",
        "system:serviceaccount:" + "a" * 300 + ":" + "b" * 300,
        "system:node:n1",
        "a\r\nImpersonate-Group: system:masters",
        "a\x00",
        "é",
        " a",
        "a" * 513,
    ],
)
def test_id08_id18_a_user_that_must_not_or_cannot_travel_is_refused(username: str) -> None:
    with pytest.raises(ValueError, match="impersonated user"):
        impersonation(Identity(username), CALLER, ["a"])


@pytest.mark.parametrize("group", ["", "system:masters", "system:nodes", "a\nb", "é", "a "])
def test_id17_a_group_that_must_not_or_cannot_travel_is_refused(group: str) -> None:
    with pytest.raises(ValueError, match="impersonated group"):
        impersonation(Identity("coder", ("fine", group)), CALLER, ["a"])


@pytest.mark.parametrize("value", ["a\r\nb", "a\x00", "é", " a", "a\u202e", "x" * 1025])
@pytest.mark.parametrize("field", ["run", "agent", "subject"])
def test_an_extra_that_cannot_travel_is_refused(field: str, value: str) -> None:
    changed: dict[str, Any] = {field: value}
    with pytest.raises(ValueError, match="chaperone.dev/" + field):
        impersonation(ACCOUNT, replace(CALLER, **changed), ["a"])


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ("repo:acme/shop", ""),
        ("a@b", ""),
        ("", "is empty"),
        ("system:masters", "begins with system:"),
        ("SYSTEM:masters", "begins with system:"),
        ("\u017fystem:masters", "outside of ASCII"),
        ("a\tb", "control character"),
        ("a\x7f", "control character"),
        (" system:masters", "space"),
        ("a" * 512, ""),
        ("a" * 513, "longer than"),
    ],
)
def test_id17_names_from_tokens(value: str, fault: str) -> None:
    assert (fault in check_name(value)) if fault else check_name(value) == ""


@given(st.text(), st.lists(st.text(), max_size=3), st.text(), st.text())
def test_what_is_sent_can_be_sent(username: str, groups: list[str], run: str, subject: str) -> None:
    try:
        headers = impersonation(
            Identity(username, tuple(groups)), replace(CALLER, run=run, subject=subject), ["a"]
        )
    except ValueError:
        return
    assert [name for name, _ in headers].count("Impersonate-User") == 1
    for _, value in headers:
        assert value
        assert value.isascii()
        assert value.isprintable()
