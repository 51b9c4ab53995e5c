"""Login by OpenID Connect (authorization code with PKCE, RFC 7636), and logout.

Authlib does the exchange and verifies the ID token; our own checks of the token's form and of its claims come on top,
and the issuer's claim mappings give the person the names that RBAC knows, as they do for agents at the gateway.
"""

from __future__ import annotations

import logging
import os
import tempfile
import time
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import yaml
from authlib.integrations.flask_client import OAuth
from flask import Blueprint, Flask, abort, redirect, request, session, url_for
from werkzeug.wrappers import Response

from chaperone.core.authentication import Issuer, RunMapping, read_configuration
from chaperone.core.caller import map_caller
from chaperone.core.token import Refused, check_claims, read_token, unauthenticated
from chaperone.settings.console import ConsoleSettings, LoginSettings
from console.person import Person, remember

log = logging.getLogger(__name__)

NEXT = "next"


class LoginError(Exception):
    """The issuer's settings cannot be used; the message says what to correct."""


def read_issuer(settings: LoginSettings) -> Issuer:
    """The one issuer of people. Raises LoginError."""
    try:
        read = read_configuration(yaml.safe_load(settings.issuer.read_text(encoding="utf-8")))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise LoginError(f"{settings.issuer} cannot be read: {error}") from error
    if isinstance(read, tuple):
        told = "; ".join(f"{fault.path or 'the document'} {fault.message}" for fault in read)
        raise LoginError(f"{settings.issuer}: {told}")
    if len(read.issuers) != 1:
        raise LoginError(
            f"{settings.issuer}: jwt must hold exactly one issuer, the one that people log in at"
        )
    issuer = read.issuers[0]
    if settings.client_id not in issuer.audiences:
        raise LoginError(
            f"{settings.issuer}: jwt[0].issuer.audiences must name the client id {settings.client_id!r}"
        )
    return replace(issuer, run=RunMapping())  # people have no run


def add_login(app: Flask, settings: ConsoleSettings, issuer: Issuer) -> None:
    """The pages /login, /login/done and /logout."""
    oauth = OAuth(app)
    oauth.register("people", **_client(settings.login, issuer))
    pages = Blueprint("login", __name__)
    view = _Login(settings, issuer, oauth.people)
    pages.add_url_rule("/login", "begin", view.begin)
    pages.add_url_rule("/login/done", "done", view.done)
    pages.add_url_rule("/logout", "logout", view.logout, methods=["POST"])
    app.register_blueprint(pages)


def _client(settings: LoginSettings, issuer: Issuer) -> dict[str, Any]:
    secret = settings.client_secret.read_text(encoding="utf-8").strip() if settings.client_secret else None
    terms: dict[str, Any] = {"scope": settings.scopes, "code_challenge_method": "S256", "timeout": 10}
    if issuer.certificate_authority:
        terms["verify"] = _as_file(issuer.certificate_authority)
    if secret is None:
        terms["token_endpoint_auth_method"] = "none"
    return {
        "client_id": settings.client_id,
        "client_secret": secret,
        "server_metadata_url": issuer.document_url,
        "client_kwargs": terms,
    }


def _as_file(authority: str) -> str:
    """`requests` takes a CA as a file only."""
    descriptor, path = tempfile.mkstemp(prefix="chaperone-issuer-ca-", suffix=".pem")
    with os.fdopen(descriptor, "w") as stream:
        stream.write(authority)
    return path


class _Login:
    def __init__(self, settings: ConsoleSettings, issuer: Issuer, client: Any) -> None:
        self._settings = settings
        self._issuer = issuer
        self._client = client

    def begin(self) -> Any:
        session.clear()
        session[NEXT] = local_path(request.args.get(NEXT, ""))
        try:
            return self._client.authorize_redirect(self._settings.url.rstrip("/") + url_for("login.done"))
        except Exception as error:  # noqa: BLE001 - whatever fails there ends in a page that says so
            log.warning("the issuer of people cannot be reached: %s", type(error).__name__)
            abort(502, f"the login service {self._issuer.url} cannot be reached; try again")

    def done(self) -> Response:
        """The browser is back with its code."""
        target = local_path(session.get(NEXT, ""))
        try:
            token = self._client.authorize_access_token(leeway=self._issuer.leeway)
        except Exception as error:  # noqa: BLE001 - state, code, signature or nonce: no login
            log.info("a login failed: %s", type(error).__name__)
            abort(403, "the login was not completed; begin again")
        person = self._person(token)
        if isinstance(person, Refused):
            log.info("a login was refused: %s", person.audit_reason)
            abort(403, f"you cannot log in here: {person.public_message}")
        remember(session, person)
        session.permanent = True
        log.info("logged in: %r", person.username)
        return redirect(target)

    def _person(self, token: dict[str, Any]) -> Person | Refused:
        now = time.time()
        read = read_token(str(token.get("id_token") or ""))
        if isinstance(read, Refused):
            return read
        if read.algorithm not in self._issuer.algorithms:
            return unauthenticated("the ID token is signed with an algorithm that is not allowed")
        claims = dict(token.get("userinfo") or {})
        ours = frozenset({self._settings.login.client_id})
        fault = check_claims(
            claims, issuer=self._issuer.url, audiences=ours, leeway=self._issuer.leeway, now=now
        )
        if fault is not None:
            return fault
        caller = map_caller(self._issuer, claims)
        if isinstance(caller, Refused):
            return caller
        return Person(caller.username, caller.groups, now, now)

    def logout(self) -> Response:
        session.clear()
        return redirect(url_for("welcome"))


def local_path(target: str) -> str:
    """A path on this console, or its first page: a login never leads anywhere else."""
    parts = urlsplit(target)
    if parts.scheme or parts.netloc or not target.startswith("/") or target.startswith(("//", "/\\")):
        return "/"
    return target
