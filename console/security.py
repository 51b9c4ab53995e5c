"""What protects every page: headers, the CSRF token, the cookie's terms. All of it is served from here; nothing is
fetched from anywhere else, and no script or style stands inside a page."""

from __future__ import annotations

import hmac
from typing import Any

from flask import Flask, Response, abort, request, session

from console.person import CSRF

COOKIE = "__Host-chaperone"
"""The prefix makes browsers insist on Secure, Path=/ and no Domain."""
FIELD = "csrf"
HEADER = "X-CSRF-Token"
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
MOST_BODY = 65_536

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self' 'wasm-unsafe-eval'",  # the terminal player is WebAssembly
        "style-src 'self'",
        "img-src 'self' data:",
        "font-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Strict-Transport-Security": "max-age=31536000",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


def protect(app: Flask, key: bytes, longest: float) -> None:
    """Settle the cookie, check every request that may change something, and put the headers on every answer."""
    app.config.update(
        SECRET_KEY=key,
        SESSION_COOKIE_NAME=COOKIE,
        SESSION_COOKIE_SECURE=True,
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_PATH="/",
        PERMANENT_SESSION_LIFETIME=longest,
        SESSION_REFRESH_EACH_REQUEST=False,
        MAX_CONTENT_LENGTH=MOST_BODY,
    )
    app.before_request(check_csrf)
    app.after_request(add_headers)
    app.jinja_env.globals["csrf_token"] = csrf_token


def csrf_token() -> str:
    return str(session.get(CSRF, ""))


def check_csrf() -> None:
    """403 for a change that does not carry the token of this login, or that another site has asked for."""
    if request.method in SAFE:
        return
    expected = csrf_token()
    given = request.headers.get(HEADER) or request.form.get(FIELD, "")
    if not expected or not hmac.compare_digest(expected.encode(), given.encode()):
        abort(403, "this form is out of date: reload the page and try again")
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
        abort(403, "another site has sent this form")


def add_headers(response: Response) -> Response:
    headers: Any = response.headers
    for name, value in HEADERS.items():
        headers.setdefault(name, value)
    if not request.path.startswith("/static/"):
        headers.setdefault("Cache-Control", "no-store")
    return response
