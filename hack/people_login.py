"""The development issuer's login page for people: OpenID Connect's authorization code flow with PKCE.

Whoever opens the page picks one of the people it was started with; there are no passwords, so it listens on loopback
only and is not for production. Codes live for a minute and are good once.
"""

from __future__ import annotations

import base64
import hashlib
import html
import secrets
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode, urlsplit

AUTHORIZE = "/authorize"
TOKEN = "/token"
CODE_LIFE = 60.0
TOKEN_LIFE = 600
LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "::1")

Form = Mapping[str, str]


class LoginError(Exception):
    """What was wrong with a request, for the page or the client that sent it."""


@dataclass(frozen=True)
class Grant:
    """What a code stands for."""

    person: str
    client_id: str
    redirect_uri: str
    nonce: str
    challenge: str
    expires: float


@dataclass
class Login:
    """people: groups by name."""

    people: Mapping[str, Sequence[str]]
    _grants: dict[str, Grant] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def page(self, query: Form) -> str:
        """The page on which a person is picked."""
        _check_redirect(query)
        hidden = "".join(
            f'<input type="hidden" name="{html.escape(name)}" value="{html.escape(value)}">'
            for name, value in query.items()
        )
        buttons = "".join(
            f'<p><button name="person" value="{html.escape(name)}">{html.escape(name)}</button>'
            f" <small>{html.escape(', '.join(groups) or 'no groups')}</small></p>"
            for name, groups in self.people.items()
        )
        return (
            '<!doctype html><html lang="en"><meta charset="utf-8"><title>Development login</title>'
            '<meta name="viewport" content="width=device-width">'
            "<style>body{font:16px system-ui;max-width:28rem;margin:4rem auto;padding:0 1rem;color-scheme:light dark}"
            "button{font:inherit;padding:.4rem 1rem}</style>"
            "<h1>Development login</h1><p>Who are you? No password is asked for: this issuer is for one machine only.</p>"
            f'<form method="post" action="{AUTHORIZE}">{hidden}{buttons}</form></html>'
        )

    def picked(self, form: Form, now: float) -> str:
        """Where the browser goes with its code. Raises LoginError."""
        _check_redirect(form)
        person = form.get("person", "")
        if person not in self.people:
            raise LoginError("there is no such person")
        if form.get("code_challenge_method", "S256") != "S256":
            raise LoginError("code_challenge_method must be S256")
        code = secrets.token_urlsafe(24)
        grant = Grant(
            person,
            form.get("client_id", ""),
            form["redirect_uri"],
            form.get("nonce", ""),
            form.get("code_challenge", ""),
            now + CODE_LIFE,
        )
        with self._lock:
            self._grants = {key: kept for key, kept in self._grants.items() if kept.expires > now}
            self._grants[code] = grant
        separator = "&" if urlsplit(grant.redirect_uri).query else "?"
        return grant.redirect_uri + separator + urlencode({"code": code, "state": form.get("state", "")})

    def redeemed(self, form: Form, client_id: str, issuer: str, now: float) -> dict[str, Any]:
        """The claims of the ID token for a code. client_id: as the client authenticated itself. Raises LoginError."""
        with self._lock:
            grant = self._grants.pop(form.get("code", ""), None)
        if grant is None or grant.expires <= now:
            raise LoginError("the code is not known, was used before or has expired")
        if (client_id or form.get("client_id", "")) != grant.client_id or form.get(
            "redirect_uri"
        ) != grant.redirect_uri:
            raise LoginError("the code was given to another client or for another redirect_uri")
        if grant.challenge and _challenge(form.get("code_verifier", "")) != grant.challenge:
            raise LoginError("the code_verifier does not fit the code_challenge")
        claims = {
            "iss": issuer,
            "sub": grant.person,
            "aud": grant.client_id,
            "iat": int(now),
            "exp": int(now) + TOKEN_LIFE,
            "email": grant.person,
            "email_verified": True,
            "groups": list(self.people[grant.person]),
        }
        return {**claims, "nonce": grant.nonce} if grant.nonce else claims


def read_people(values: Sequence[str]) -> dict[str, Sequence[str]]:
    """`NAME=GROUP,GROUP` each."""
    split = (value.partition("=") for value in values)
    return {name: [group for group in groups.split(",") if group] for name, _, groups in split if name}


def basic_client(header: str) -> str:
    """The client id in an `Authorization: Basic` header, "" when there is none; every secret is taken."""
    scheme, _, value = header.partition(" ")
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(value, validate=True).decode().partition(":")[0]
    except ValueError:
        return ""


def token_answer(id_token: str) -> dict[str, Any]:
    """RFC 6749, section 5.1."""
    return {
        "access_token": secrets.token_urlsafe(24),
        "token_type": "Bearer",
        "expires_in": TOKEN_LIFE,
        "id_token": id_token,
    }


def _check_redirect(form: Form) -> None:
    if form.get("response_type", "code") != "code":
        raise LoginError("response_type must be code")
    host = urlsplit(form.get("redirect_uri", "")).hostname
    if host not in LOOPBACK_HOSTS:
        raise LoginError("redirect_uri must be on this machine's loopback address")


def _challenge(verifier: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
