"""How long a login lasts, and what of a cookie is believed."""

from __future__ import annotations

from typing import Any

import pytest

from console.person import Person, recall, remember, touch

ALICE = Person("alice", ("oncall",), 1000.0, 1000.0)
TERMS = {"longest": 100.0, "idle": 10.0}


def logged_in() -> dict[str, Any]:
    cookie: dict[str, Any] = {"_state_people": "left over"}
    remember(cookie, ALICE)
    return cookie


def test_a_login_is_a_new_cookie_with_a_token_of_its_own() -> None:
    first, second = logged_in(), logged_in()
    assert "_state_people" not in first
    assert recall(first, 1005.0, **TERMS) == ALICE
    assert len(first["csrf"]) > 30
    assert first["csrf"] != second["csrf"]


@pytest.mark.parametrize(("now", "there"), [(1009.9, True), (1010.0, False), (999.0, False)])
def test_it_ends_when_it_is_not_used(now: float, there: bool) -> None:
    assert (recall(logged_in(), now, **TERMS) is not None) is there


def test_it_ends_however_much_it_is_used() -> None:
    cookie = logged_in()
    for now in range(1005, 1100, 5):
        assert recall(cookie, float(now), **TERMS) is not None
        touch(cookie, float(now), every=5.0)
    assert recall(cookie, 1100.0, **TERMS) is None


def test_not_every_request_sets_a_cookie() -> None:
    cookie = logged_in()
    before = cookie["person"]
    touch(cookie, 1004.0, every=5.0)
    assert cookie["person"] is before
    touch({}, 1004.0, every=5.0)


@pytest.mark.parametrize(
    "kept", [None, "alice", {}, {"username": "a"}, {"username": "a", "groups": 3, "since": 1, "seen": 1}]
)
def test_what_is_not_one_of_ours_is_nobody(kept: object) -> None:
    assert recall({"person": kept}, 1001.0, **TERMS) is None
