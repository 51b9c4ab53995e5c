"""The pages of approvals: what waits, one request in full, and the decision of the person who has logged in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Blueprint, abort, flash, g, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from chaperone.cli import approval_words as words
from chaperone.core.guard import approval_rights
from chaperone.core.legible import visible
from chaperone.kube.errors import RefusedError
from console.guarding import found, is_part, require, services

pages = Blueprint("approvals", __name__, url_prefix="/approvals")

KIND = "approvalrequests"
DECISIONS = {"approve": "Approved", "deny": "Denied"}
MOST_ROWS = 100
OPEN_PHASES = ("Pending", "Approved", "Executing")

Obj = Mapping[str, Any]


@pages.get("/")
def listed() -> str:
    """Those that wait first; with ?all=1 the finished ones as well."""
    require("list", KIND)
    everything = request.args.get("all") == "1"
    objects = [obj for obj in services().cluster.approvals() if everything or words.phase(obj) in OPEN_PHASES]
    objects.sort(key=_waits_last)
    return render_template(
        "approvals_rows.html" if is_part() else "approvals.html",
        rows=[_row(obj, services().clock()) for obj in objects[:MOST_ROWS]],
        more=max(0, len(objects) - MOST_ROWS),
        everything=everything,
    )


@pages.get("/<name>")
def shown(name: str) -> str:
    require("get", KIND, name)
    obj: Obj = found(services().cluster.approval(name), "ApprovalRequest")
    return render_template(
        "approval.html",
        obj=obj,
        name=words.text(obj, "metadata.name"),
        phase=words.phase(obj),
        count=words.count(obj),
        asked=words.asked(obj),
        facts=[(word, value) for word, value in words.facts(obj, services().clock()) if value],
        reviews=list(words.reviews(obj)),
        diff=words.field(obj, "spec.preview.diff") or "",
        body=words.field(obj, "spec.request.body") or "",
        reason=words.text(obj, "spec.reason", 1024),
        risks=words.texts(obj, "spec.risk.reasons"),
        affected=words.texts(obj, "spec.preview.affected"),
        warnings=words.texts(obj, "spec.preview.warnings"),
        truncated=bool(words.field(obj, "spec.preview.truncated")),
        may_decide=_may_decide(obj),
        deniable=words.deniable(obj),
    )


@pages.post("/<name>/<decision>")
def decide(name: str, decision: str) -> Response:
    """The webhook asks RBAC about the person once more, and stamps the review."""
    if decision not in DECISIONS:
        abort(404, "there is no such decision")
    obj: Obj = found(services().cluster.approval(name), "ApprovalRequest")
    if not _may_decide(obj, fresh=True):
        policy, namespaces = approval_rights(obj)
        where = ", ".join(namespaces) or "the cluster"
        abort(403, f"you may not review this: RBAC does not let you approve under policy {policy} in {where}")
    try:
        services().cluster.decide(name, g.person, DECISIONS[decision], request.form.get("reason", "").strip())
    except RefusedError as error:
        flash(f"Not recorded: {visible(error.message, 500)}", "bad")
    else:
        flash(f"Recorded: you have {'approved' if decision == 'approve' else 'denied'} {name}.", "good")
    return redirect(url_for("approvals.shown", name=name))


def _may_decide(obj: Obj, *, fresh: bool = False) -> bool:
    """Whether RBAC lets this person review it in every namespace that it is about. The webhook decides."""
    rights = services().rights
    policy, namespaces = approval_rights(obj)
    return all(
        rights.may(g.person, "approve", "approvals", name=policy, namespace=namespace, fresh=fresh)
        for namespace in namespaces
    )


def _row(obj: Obj, now: float) -> dict[str, str]:
    cells = dict(zip(words.COLUMNS, words.row(obj, now), strict=True))
    return {key.lower(): value for key, value in cells.items()} | {
        "asked": words.asked(obj),
        "by": words.by_whom(obj),
    }


def _waits_last(obj: Obj) -> int:
    phase = words.phase(obj)
    return OPEN_PHASES.index(phase) if phase in OPEN_PHASES else len(OPEN_PHASES)
