"""The development login: a code is good once, for the client and the redirect that it was given to."""

from __future__ import annotations

import base64
import hashlib
from urllib.parse import parse_qs, urlsplit

import pytest

from hack.people_login import CODE_LIFE, Login, LoginError, basic_client, read_people, token_answer

NOW = 1_800_000_000.0
VERIFIER = "v" * 43
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
ASKED = {
    "response_type": "code",
    "client_id": "console",
    "redirect_uri": "https://127.0.0.1:1/login/done",
    "state": "s<t",
    "nonce": "n",
    "code_challenge": CHALLENGE,
    "code_challenge_method": "S256",
}


def code(login: Login, **changes: str) -> str:
    where = login.picked({**ASKED, "person": "alice", **changes}, NOW)
    assert where.startswith(ASKED["redirect_uri"])
    query = parse_qs(urlsplit(where).query)
    assert query["state"] == ["s<t"]
    return query["code"][0]


@pytest.fixture
def login() -> Login:
    return Login(read_people(["alice=oncall,staff", "bob="]))


def redeem(login: Login, given: str, now: float = NOW, **changes: str) -> dict[str, object]:
    form = {"code": given, "redirect_uri": ASKED["redirect_uri"], "code_verifier": VERIFIER, **changes}
    return login.redeemed(form, "console", "https://issuer", now)


def test_a_person_who_is_picked_gets_a_token_with_groups(login: Login) -> None:
    claims = redeem(login, code(login))
    assert (claims["sub"], claims["groups"], claims["aud"], claims["nonce"]) == (
        "alice",
        ["oncall", "staff"],
        "console",
        "n",
    )
    assert token_answer("jwt")["id_token"] == "jwt"


def test_the_page_escapes_what_it_was_asked_with(login: Login) -> None:
    page = login.page({**ASKED, "state": '"><script>'})
    assert "<script>" not in page
    assert "alice" in page


def test_a_code_is_good_once_and_not_for_long(login: Login) -> None:
    given = code(login)
    redeem(login, given)
    with pytest.raises(LoginError):
        redeem(login, given)
    with pytest.raises(LoginError):
        redeem(login, code(login), NOW + CODE_LIFE)


@pytest.mark.parametrize(
    "change", [{"redirect_uri": "https://127.0.0.1:2/x"}, {"code_verifier": "other"}, {"code": "none"}]
)
def test_a_code_is_for_whom_it_was_given_to(login: Login, change: dict[str, str]) -> None:
    with pytest.raises(LoginError):
        redeem(login, code(login), NOW, **change)


@pytest.mark.parametrize(
    "change",
    [
        {"redirect_uri": "https://evil.example/"},
        {"redirect_uri": ""},
        {"response_type": "token"},
        {"person": "mallory"},
        {"code_challenge_method": "plain"},
    ],
)
def test_what_is_not_for_this_machine_is_refused(login: Login, change: dict[str, str]) -> None:
    with pytest.raises(LoginError):
        login.picked({**ASKED, "person": "alice", **change}, NOW)


@pytest.mark.parametrize(
    ("header", "client"),
    [
        ("Basic " + base64.b64encode(b"console:secret").decode(), "console"),
        ("Bearer x", ""),
        ("Basic %%", ""),
        ("", ""),
    ],
)
def test_clients_say_who_they_are(header: str, client: str) -> None:
    assert basic_client(header) == client
