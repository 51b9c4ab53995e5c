"""AgentSessions in words for a terminal: one row, the whole of one, one change. Pure; objects in, text out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from chaperone.cli.approval_words import Line, age, field, span, text, texts
from chaperone.core import session as sessions
from chaperone.core.session import Counts, Phase, Session
from chaperone.core.timestamp import rfc3339

Object = Mapping[str, Any]

COLUMNS = ("NAME", "PHASE", "AGENT", "RUN", "REQUESTS", "DENIED", "HELD", "CHANGES", "STREAMS", "LAST", "AGE")
WIDE_COLUMNS = (*COLUMNS, "MASKED", "USERNAME", "MODEL", "POLICIES", "TERMINATED BY")
GOES_ON = frozenset({Phase.ACTIVE, Phase.IDLE})


def row(obj: Object, now: float, *, wide: bool = False) -> list[str]:
    """The cells under COLUMNS, or WIDE_COLUMNS."""
    session = sessions.read(obj)
    counts = session.counts
    numbers = (counts.requests, counts.denied, counts.held, counts.mutations, session.open_streams(now))
    cells = [
        text(obj, "metadata.name"),
        session.phase.value,
        text(obj, "spec.agent"),
        text(obj, "spec.run"),
        *map(str, numbers),
        span(max(0.0, now - session.last_activity)),
        age(obj, now),
    ]
    if wide:
        cells += [str(counts.masked), text(obj, "spec.username"), text(obj, "spec.model")]
        cells += [",".join(texts(obj, "spec.policies")), text(obj, "spec.terminatedBy")]
    return cells


def story(obj: Object, now: float) -> Iterator[Line]:
    """All that is known of one session."""
    session = sessions.read(obj)
    yield f"{text(obj, 'metadata.name')}: {session.phase.value}", "bold"
    if session.termination is not None:
        yield f"terminated {session.termination}".strip(), "red"
    yield "", ""
    for word, value in _facts(obj, session, now):
        if value:
            yield f"{word:<14}{value}", ""


def _facts(obj: Object, session: Session, now: float) -> Iterator[tuple[str, str]]:
    for word, path in (("run", "run"), ("agent", "agent"), ("model", "model"), ("user", "username")):
        yield word, text(obj, f"spec.{path}")
    yield "issuer", text(obj, "spec.issuer")
    yield "subject", text(obj, "spec.subject")
    yield "policies", ", ".join(texts(obj, "spec.policies"))
    yield "started", f"{rfc3339(session.started_at)} ({span(max(0.0, now - session.started_at))} ago)"
    yield (
        "last active",
        f"{rfc3339(session.last_activity)} ({span(max(0.0, now - session.last_activity))} ago)",
    )
    for word, number in numbers(session.counts, session.open_streams(now)):
        yield word, str(number)
    yield "counted by", f"{len(session.entries)} gateway processes" if len(session.entries) > 1 else ""


def numbers(counts: Counts, streams: int) -> Iterator[tuple[str, int]]:
    """All of them, in words."""
    yield "requests", counts.requests
    yield "denied", counts.denied
    yield "held", counts.held
    yield "masked", counts.masked
    yield "changes", counts.mutations
    yield "open streams", streams


def change(before: Session | None, after: Session, now: float) -> str:
    """One line for whoever follows: the numbers, and by how much they grew."""
    had = dict(numbers(before.counts, before.open_streams(now))) if before is not None else {}
    words = [after.phase.value]
    for word, number in numbers(after.counts, after.open_streams(now)):
        grown = number - had.get(word, number)
        words.append(f"{word} {number}" + (f" ({grown:+d})" if grown else ""))
    return ", ".join(words)


def whose(obj: Object) -> str:
    """`run run-7 of agent coder (repo:acme/web)`."""
    run, agent, user = (text(obj, f"spec.{name}") for name in ("run", "agent", "username"))
    named = f"run {run}" if run else "the session"
    return f"{named} of agent {agent} ({user})" if agent else f"{named} of {user}"


def is_named(obj: Object, given: str) -> bool:
    """By the beginning of its name, or by its whole run id."""
    return str(field(obj, "metadata.name")).startswith(given) or field(obj, "spec.run") == given
