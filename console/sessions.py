"""The pages of runs: which are live, what each did in order, and the switch that ends one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Blueprint, abort, flash, g, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from chaperone.cli import approval_words as words
from chaperone.core import session as runs
from chaperone.core.legible import visible
from chaperone.core.session import Phase, Session
from chaperone.kube.errors import RefusedError
from console.audit import the_store
from console.guarding import found, is_part, require, services, shown
from console.records import clock_time, row

pages = Blueprint("sessions", __name__, url_prefix="/sessions")

KIND = "agentsessions"
ROLE = "chaperone-viewer"
PAGE = 100
MOST_ROWS = 100
ORDER = (Phase.ACTIVE, Phase.IDLE, Phase.TERMINATED, Phase.ENDED)

Obj = Mapping[str, Any]


@pages.get("/")
def listed() -> str:
    """Active ones first; with ?find= those whose agent, run, user or name holds these words."""
    require("list", KIND, role=ROLE)
    words_asked = request.args.get("find", "").strip()[:253]
    rows = [_row(obj) for obj in services().cluster.sessions() if _is_asked(obj, words_asked)]
    rows.sort(key=lambda entry: entry["order"])
    return render_template(
        "sessions_rows.html" if is_part() else "sessions.html",
        rows=rows[:MOST_ROWS],
        more=max(0, len(rows) - MOST_ROWS),
        find=words_asked,
    )


@pages.get("/<name>")
def one(name: str) -> str:
    require("get", KIND, name, role=ROLE)
    obj: Obj = found(services().cluster.session(name), "AgentSession")
    session = runs.read(obj)
    part = "session_numbers.html" if is_part() else "session.html"
    return render_template(
        part,
        row=_row(obj),
        facts=_facts(obj, session),
        approvals=_approvals(session) if not is_part() else [],
        timeline=_timeline(session, obj["spec"]["username"]) if not is_part() else None,
        ended=session.is_terminated,
        may_end=services().rights.may(g.person, "patch", KIND, name=name),
    )


@pages.post("/<name>/end")
def end(name: str) -> Response:
    """Throw the switch: every gateway closes the run's streams and refuses it from then on."""
    require("patch", KIND, name, role="chaperone-session-ender", fresh=True)
    found(services().cluster.session(name), "AgentSession")
    reason = request.form.get("reason", "").strip()
    if not reason:
        abort(400, "say why the run is ended: the agent is told, and so is the audit")
    try:
        services().cluster.end_session(name, g.person, reason)
    except RefusedError as error:
        flash(f"Not ended: {visible(error.message, 500)}", "bad")
    else:
        flash("Ended: its streams are closed and it is refused from now on.", "good")
    return redirect(url_for("sessions.one", name=name))


def _timeline(session: Session, user: str) -> dict[str, Any] | None:
    """What the run did, oldest first; None where there is nothing to look it up by, or the person may not."""
    run = session.key[2]
    if (
        not run
        or not services().rights.may(g.person, "list", "auditrecords")
        or not services().settings.records.store
    ):
        return None
    try:
        page = the_store().timeline(
            run, limit=PAGE, after=request.args.get("after", ""), brief=True, issuer=session.key[0], user=user
        )
    except ValueError:
        abort(400, "after: this place in the timeline is not one that the console has given out")
    here, later = url_for("sessions.one", name=session.name), page.cursor
    return {
        "rows": [row(entry) for entry in page.records],
        "first": here if request.args.get("after") else "",
        "next": url_for("sessions.one", name=session.name, after=later) if later else "",
    }


def _approvals(session: Session) -> list[dict[str, str]]:
    if not services().rights.may(g.person, "list", "approvalrequests"):
        return []
    issuer, subject, run = session.key
    mine = [
        obj
        for obj in services().cluster.approvals()
        if (words.text(obj, "spec.requester.issuer"), words.text(obj, "spec.requester.subject"))
        == (issuer, subject)
        and words.text(obj, "spec.requester.run") == run
    ]
    return [
        {"name": words.text(obj, "metadata.name"), "asked": words.asked(obj), "phase": words.phase(obj)}
        for obj in mine
    ]


def _is_asked(obj: Obj, asked: str) -> bool:
    spec = obj.get("spec") or {}
    told = (spec.get("agent"), spec.get("run"), spec.get("username"), words.text(obj, "metadata.name"))
    return not asked or any(asked.lower() in str(value or "").lower() for value in told)


def _row(obj: Obj) -> dict[str, Any]:
    session, spec = runs.read(obj), obj.get("spec") or {}
    now = services().clock()
    return {
        "order": (ORDER.index(session.phase), -session.last_activity),
        "name": shown(session.name),
        "agent": shown(spec.get("agent") or spec.get("username")),
        "model": shown(spec.get("model")),
        "run": shown(session.key[2]),
        "phase": session.phase.value,
        "counts": session.counts.fields(),
        "streams": session.open_streams(now),
        "last": words.span(max(0.0, now - session.last_activity)) if session.last_activity else "",
    }


def _facts(obj: Obj, session: Session) -> list[tuple[str, str]]:
    spec = obj.get("spec") or {}
    facts = [
        ("user", shown(spec.get("username"))),
        ("agent", shown(spec.get("agent"))),
        ("model", shown(spec.get("model"))),
        ("run", shown(session.key[2])),
        ("issuer", shown(session.key[0])),
        ("subject", shown(session.key[1])),
        ("policies", ", ".join(shown(name) for name in spec.get("policies") or ())),
        ("began", clock_time(session.started_at) + " UTC" if session.started_at else ""),
        ("last seen", clock_time(session.last_activity) + " UTC" if session.last_activity else ""),
        ("terminated", str(session.termination) if session.termination else ""),
    ]
    return [(word, value) for word, value in facts if value]
