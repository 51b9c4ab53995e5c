"""The pages of the audit: search by run, agent, verb, object, verdict and time; one request with all its records; and how
many requests ended in which verdict over time."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import orjson
from flask import Blueprint, Response, abort, render_template, request, url_for

from chaperone.store.briefs import OMITTED, shortened
from chaperone.store.interface import AuditStore, Found, Query, StoreUnavailableError
from console.charts import bars
from console.guarding import found, is_part, require, services, shown, visible_lines
from console.policies import visible_yaml
from console.records import clock_time, row

pages = Blueprint("audit", __name__, url_prefix="/audit")

KIND = "auditrecords"
ROLE = "chaperone-viewer"
PAGE = 50
PATIENCE = 0.15
"""Seconds after which a search is answered with what it has found; the page goes on by itself from there."""
MOST_FOLDED = 20_000
"""Characters of one long field that a page shows."""
NO_FILE = re.compile(r"[^0-9A-Za-z-]")
FIELDS = ("run", "agent", "user", "verb", "object", "namespace", "verdict", "risk", "policy", "text")
PLACE = ("cursor", "shown", "deep")
"""Terms of an address that say where in a search it is."""
RARE = ("user", "policy", "risk", "code", "text", "since", "until")
"""Fields that the form unfolds where they are used."""
VERDICTS = ("Allow", "Hold", "Deny")
RISKS = ("critical", "high", "medium", "low")


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time for the chart. seconds: its length; bucket: of one bar, in seconds."""

    word: str
    seconds: float
    bucket: float


@dataclass(frozen=True, slots=True)
class Results:
    """One part of a page of a search. total: rows of the page with this part. Addresses, "" where there is none: further,
    of the next part of this page, when the search has come to back_to and goes on; older, of the next page; newest, of
    the first page."""

    rows: list[dict[str, str]]
    total: int
    further: str
    older: str
    newest: str
    back_to: str


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
    store, results, fault = the_store(), None, ""
    try:
        results = search(store)
    except ValueError as error:
        fault = str(error)
    return render_template(
        "audit_rows.html" if is_part() else "audit.html",
        results=results,
        fault=fault,
        asked=request.args,
        verdicts=VERDICTS,
        risks=RISKS,
        spans=SPANS,
        more=any(request.args.get(name) for name in RARE),
    )


def search(store: AuditStore) -> Results:
    """As the address says. Raises ValueError with the field's name."""
    shown = _shown_before()
    page = store.search(
        read_query(),
        limit=PAGE - shown,
        cursor=request.args.get("cursor", ""),
        brief=True,
        patience=PATIENCE,
    )
    terms: dict[str, Any] = {
        name: value for name, value in request.args.items() if value and name not in PLACE
    }
    deep = "deep" in request.args
    total = shown + len(page.records)
    following = {**terms, "cursor": page.cursor, "shown": total, "deep": "1" if deep else None}
    return Results(
        rows=[row(entry) for entry in page.records],
        total=total,
        further=url_for("audit.searched", **following) if page.searched else "",
        older=url_for("audit.searched", **terms, cursor=page.cursor, deep="1")
        if page.cursor and not page.searched
        else "",
        newest=url_for("audit.searched", **terms) if deep else "",
        back_to=clock_time(page.searched)[:16] if page.searched else "",
    )


def _shown_before() -> int:
    """Rows that the parts of this page have shown before this one. Raises ValueError."""
    text = request.args.get("shown", "0")
    if not (text.isascii() and text.isdecimal()) or not 0 <= int(text[:9]) < PAGE:
        raise ValueError("shown: this place in the search is not one that the console has given out")
    return int(text)


@pages.get("/<audit_id>")
def one(audit_id: str) -> str:
    """Every record of one request; what is long in them is folded, and shown as far as a page can hold it."""
    require("get", KIND, role=ROLE)
    records = found(the_store().get(audit_id[:64]) or None, "request in the audit")
    return render_template("audit_request.html", records=[_whole(entry) for entry in records])


@pages.get("/<audit_id>/data")
def data(audit_id: str) -> Response:
    """The same records as they are stored, one a line."""
    require("get", KIND, role=ROLE)
    records = found(the_store().get(audit_id[:64]) or None, "request in the audit")
    lines = b"".join(entry.line + b"\n" for entry in records)
    headers = {"Content-Disposition": f'attachment; filename="audit-{NO_FILE.sub("_", audit_id[:64])}.jsonl"'}
    return Response(lines, mimetype="application/octet-stream", headers=headers)


def _whole(entry: Found) -> dict[str, Any]:
    brief = shortened(entry.record)
    sizes = brief.pop(OMITTED)
    folds = [_fold(name, entry.record[name], size) for name, size in sizes.items()]
    return {**row(entry), "yaml": visible_yaml(brief), "folds": folds}


def _fold(name: str, value: object, size: int) -> dict[str, Any]:
    """A long field as JSON with indents, cut where a page has to end."""
    text = orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
    cut = len(text) > MOST_FOLDED
    return {"name": shown(name), "size": size, "text": visible_lines(text, MOST_FOLDED), "cut": cut}


@pages.get("/counts")
def counted() -> str:
    """Requests by verdict over time."""
    require("list", KIND, role=ROLE)
    span = SPANS.get(request.args.get("span", "24h"), SPANS["24h"])
    now = services().clock()
    begin = (now - span.seconds) // span.bucket * span.bucket
    chart = bars(the_store().counts(begin, now, span.bucket), begin, now, span.bucket)
    within = next(word for word, known in SPANS.items() if known == span)
    return render_template("audit_counts.html", chart=chart, span=span, spans=SPANS, within=within)


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
    since, until = _moment("since"), _moment("until")
    if (within := request.args.get("within", "")) in SPANS and not since:
        since = services().clock() - SPANS[within].seconds
    return replace(query, since=since, until=until)


def _moment(name: str) -> float:
    text = request.args.get(name, "").strip()
    if not text:
        return 0.0
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{name}: a time such as 2026-01-31T09:00 (UTC)") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
