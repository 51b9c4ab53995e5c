"""The Flask application: who is logged in, what they may see, the pages, and errors in words."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flask import Flask, abort, g, redirect, render_template, request, session, url_for
from werkzeug.exceptions import HTTPException

from chaperone.core.authentication import Issuer
from chaperone.core.legible import visible
from chaperone.kube.errors import KubeError, RefusedError
from chaperone.settings.console import ConsoleSettings
from chaperone.store.interface import AuditStore, StoreUnavailableError
from console import approvals, audit, changes, policies, replay
from console.cluster import Cluster
from console.guarding import visible_lines
from console.login import add_login
from console.person import Person, recall, touch
from console.rights import Rights
from console.security import protect

log = logging.getLogger(__name__)

NAVIGATION = (
    ("approvals.listed", "Approvals"),
    ("sessions.listed", "Runs"),
    ("audit.searched", "Audit"),
    ("policies.listed", "Policies"),
)
"""Pages in the head of every page: endpoint and word."""
OPEN_TO_ALL = frozenset({"static", "welcome", "healthz", "login.begin", "login.done", "login.logout"})


@dataclass(frozen=True, slots=True)
class Services:
    """What the pages work with. records: the audit store, None where none is configured; raises
    StoreUnavailableError."""

    settings: ConsoleSettings
    cluster: Cluster
    rights: Rights
    records: Callable[[], AuditStore | None] = lambda: None
    recordings: replay.Recordings | None = None
    clock: Callable[[], float] = time.time


def create_app(services: Services, issuer: Issuer, key: bytes) -> Flask:
    """The application. key: signs the cookies."""
    app = Flask(__name__)
    app.extensions["chaperone"] = services
    protect(app, key, services.settings.login.longest)
    add_login(app, services.settings, issuer)
    app.before_request(require_login)
    app.register_error_handler(Exception, in_words)
    app.jinja_env.filters["visible"] = lambda value, most=2000: visible(str(value), most)
    app.jinja_env.filters["lines"] = visible_lines
    app.context_processor(shared)
    app.add_url_rule("/welcome", "welcome", lambda: render_template("welcome.html"))
    app.add_url_rule("/healthz", "healthz", lambda: ("ok\n", 200, {"Content-Type": "text/plain"}))
    app.add_url_rule("/", "home", lambda: redirect(url_for("approvals.listed")))
    for part in (approvals, changes, audit, policies, replay):
        app.register_blueprint(part.pages)
    return app


def require_login() -> Any:
    """Every page but a few is for people who have logged in."""
    services: Services = _services()
    terms = services.settings.login
    person = recall(session, services.clock(), longest=terms.longest, idle=terms.idle)
    g.person = person
    if request.endpoint is None or request.endpoint in OPEN_TO_ALL:
        return None
    if person is None:
        if request.headers.get("HX-Request"):
            abort(401, "your login has ended; reload the page")
        target = request.full_path if request.method == "GET" else "/"
        return redirect(url_for("welcome", next=target.rstrip("?")))
    touch(session, services.clock(), every=60.0)
    return None


def shared() -> dict[str, Any]:
    services = _services()
    return {
        "person": g.get("person"),
        "cluster_name": services.settings.cluster,
        "may": _may,
        "navigation": NAVIGATION,
    }


def in_words(error: Exception) -> Any:
    """Every fault is a page that says what to do; what it was in detail is in our log only."""
    code, message = 500, "The console failed to answer this. Its log says why."
    if isinstance(error, HTTPException):
        if error.code is None or error.code < 400:
            return error
        code, message = error.code, str(error.description)
    elif isinstance(error, RefusedError):
        code, message = 502, f"The API server refused this: {visible(error.message, 500)}"
    elif isinstance(error, StoreUnavailableError):
        code, message = 503, "The audit store does not answer; try again."
    elif isinstance(error, KubeError):
        code, message = 503, "The API server cannot be reached; try again."
    else:
        log.error("a page failed: %s", type(error).__name__, exc_info=error)
    if request.headers.get("HX-Request"):
        return render_template("fault_part.html", code=code, message=message), code
    return render_template("fault.html", code=code, message=message), code


def _may(verb: str, resource: str, name: str = "", namespace: str = "") -> bool:
    person: Person | None = g.get("person")
    if person is None:
        return False
    return _services().rights.may(person, verb, resource, name=name, namespace=namespace)


def _services() -> Services:
    from flask import current_app

    services: Services = current_app.extensions["chaperone"]
    return services
