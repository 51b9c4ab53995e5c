"""The pages of the audit: search by run, agent, verb, object, verdict and time; one request with all its records; and how
many requests ended in which verdict over time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import orjson
from flask import Blueprint, abort, render_template, request, url_for

from chaperone.store.interface import AuditStore, Query, StoreUnavailableError
from console.charts import bars
from console.guarding import found, is_part, require, services
from console.policies import visible_yaml
from console.records import row

pages = Blueprint("audit", __name__, url_prefix="/audit")

KIND = "auditrecords"
ROLE = "chaperone-viewer"
PAGE = 50
FIELDS = ("run", "agent", "user", "verb", "object", "namespace", "verdict", "risk", "policy", "text")
VERDICTS = ("Allow", "Hold", "Deny")
RISKS = ("critical", "high", "medium", "low")


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time for the chart. seconds: its length; bucket: of one bar, in seconds."""

    word: str
    seconds: float
    bucket: float


SPANS = {
    "1h": Span("the last hour", 3600, 60),
    "24h": Span("the last day", 86_400, 1800),
    "7d": Span("the last week", 604_800, 21_600),
    "30d": Span("the last 30 days", 2_592_000, 86_400),
}


@pages.get("/")
def searched() -> str:
    """Newest first, in pages. A faulty field is said at the form, and nothing is searched."""
    require("list", KIND, role=ROLE)
    store, fault = the_store(), ""
    rows, following = [], ""
    try:
        query = read_query()
        page = store.search(query, limit=PAGE, cursor=request.args.get("cursor", ""))
        rows = [row(entry) for entry in page.records]
        if page.cursor:
            terms: dict[str, Any] = {**request.args.to_dict(), "cursor": page.cursor}
            following = url_for("audit.searched", **terms)
    except ValueError as error:
        fault = str(error)
    part = "audit_rows.html" if is_part() else "audit.html"
    return render_template(
        part, rows=rows, following=following, fault=fault, asked=request.args, verdicts=VERDICTS, risks=RISKS
    )


@pages.get("/<audit_id>")
def one(audit_id: str) -> str:
    require("get", KIND, role=ROLE)
    records = found(the_store().get(audit_id[:64]) or None, "request in the audit")
    shown = [
        {**row(entry), "yaml": visible_yaml(orjson.loads(orjson.dumps(entry.record)))} for entry in records
    ]
    return render_template("audit_request.html", records=shown)


@pages.get("/counts")
def counted() -> str:
    """Requests by verdict over time."""
    require("list", KIND, role=ROLE)
    span = SPANS.get(request.args.get("span", "24h"), SPANS["24h"])
    now = services().clock()
    begin = (now - span.seconds) // span.bucket * span.bucket
    chart = bars(the_store().counts(begin, now, span.bucket), begin, now, span.bucket)
    return render_template("audit_counts.html", chart=chart, span=span, spans=SPANS)


def the_store() -> AuditStore:
    """The store of the settings; 503 in words where there is none or it does not answer."""
    try:
        store = services().records()
    except StoreUnavailableError as error:
        abort(503, f"the audit store cannot be read: {error}")
    if store is None:
        abort(503, "no audit store is configured: set records.store in the console's settings")
    known: AuditStore = store
    return known


def read_query() -> Query:
    """From the form. Raises ValueError with the field's name."""
    given: dict[str, Any] = {name: request.args.get(name, "").strip()[:500] for name in FIELDS}
    query = Query(**given)
    if code := request.args.get("code", "").strip():
        if not code.isdigit() or not 100 <= int(code) <= 599:
            raise ValueError("code: a number from 100 to 599")
        query = replace(query, code=int(code))
    return replace(query, since=_moment("since"), until=_moment("until"))


def _moment(name: str) -> float:
    text = request.args.get(name, "").strip()
    if not text:
        return 0.0
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{name}: a time such as 2026-01-31T09:00 (UTC)") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
