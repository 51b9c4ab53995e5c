"""`sessions list|show|kill|follow`: what runs do, and the switch that ends one."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer
import yaml

from chaperone.cli import session_words as words
from chaperone.cli.approval_words import field, text
from chaperone.cli.approvals import MAX_REASON, refused_without_kind
from chaperone.cli.audit import VARIABLE, opened
from chaperone.cli.cluster import ClusterFlags
from chaperone.cli.faults import FailedError, WrongUsageError
from chaperone.cli.screen import say, show_json, show_table
from chaperone.core import session as sessions
from chaperone.core.legible import visible
from chaperone.core.session import Session
from chaperone.core.timestamp import rfc3339
from chaperone.kube.errors import RefusedError, UnreachableError
from chaperone.kube.official import AGENT_SESSIONS, Api

if TYPE_CHECKING:
    from chaperone.store.interface import AuditStore

Object = Mapping[str, Any]
SHOWN_AT_MOST = 5
"""Names, when several sessions fit."""
PAUSE = 1.0
"""Seconds between two looks of `follow`."""
OVERLAP = 30.0
"""Seconds by which a look at the records goes back: they are stored a moment after they were made."""
MOST_RECORDS = 1000


class Output(StrEnum):
    """`-o` of `list`."""

    JSON = "json"
    YAML = "yaml"
    WIDE = "wide"


class Form(StrEnum):
    """`-o` of `show`."""

    JSON = "json"
    YAML = "yaml"


Name = Annotated[
    str,
    typer.Argument(metavar="NAME", help="The name of the AgentSession, the beginning of one, or a run id."),
]


def list_sessions(
    *,
    active: Annotated[bool, typer.Option("--active", help="Only those that go on.")] = False,
    output: Annotated[Output | None, typer.Option("--output", "-o", help="Another form.")] = None,
    cluster: ClusterFlags,
) -> None:
    """List what runs there are and were, the latest active last."""
    found = [
        obj for obj in listed(cluster.connect()) if not active or sessions.read(obj).phase in words.GOES_ON
    ]
    if output in (Output.JSON, Output.YAML):
        whole = {"apiVersion": "v1", "kind": "List", "items": found}
        (show_json if output is Output.JSON else show_yaml)(whole)
        return
    if not found:
        say("no run is active" if active else "there are no AgentSessions", error=True)
        return
    now, wide = time.time(), output is Output.WIDE
    rows = [words.row(obj, now, wide=wide) for obj in found]
    show_table(words.WIDE_COLUMNS if wide else words.COLUMNS, rows)


def show(
    name: Name,
    *,
    output: Annotated[Form | None, typer.Option("--output", "-o", help="Another form.")] = None,
    cluster: ClusterFlags,
) -> None:
    """Show one run: whose it is, since when, and what it has done so far."""
    obj = fetched(cluster.connect(), name)
    if output is not None:
        (show_json if output is Form.JSON else show_yaml)(obj)
        return
    for line, style in words.story(obj, time.time()):
        say(line, style)


def kill(
    name: Name,
    *,
    reason: Annotated[str, typer.Option(help="Why, in your words; the agent is told.", metavar="TEXT")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    cluster: ClusterFlags,
) -> None:
    """End a run for good: its open streams are closed, and it is refused from then on, on every gateway."""
    if not reason or len(reason) > MAX_REASON:
        raise WrongUsageError(f"--reason has to be between 1 and {MAX_REASON} characters long")
    api = cluster.connect()
    obj = fetched(api, name)
    before = sessions.read(obj)
    if before.is_terminated:
        say(f"{before.name} was terminated before {before.termination}".strip())
        return
    if not yes:
        _ask(obj, before)
    path = AGENT_SESSIONS.path(before.name)
    after = api.merge(path, {"spec": {"terminated": True, "terminatedReason": reason}})
    if not sessions.read(after).is_terminated:
        raise FailedError(
            f"{before.name} was not terminated: the definitions (crds/) are of an older release"
        )
    streams = before.open_streams(time.time())
    say(f"terminated: {visible(before.name, 253)}, {words.whose(obj)}")
    say(f"every gateway now closes its open streams ({streams}) and refuses it; this cannot be taken back")


def follow(
    name: Name,
    *,
    store: Annotated[
        str,
        typer.Option(
            "--store",
            envvar=VARIABLE,
            metavar="STORE",
            help="Show its requests too, from this audit store: SQLite file or its folder, or postgresql://….",
        ),
    ] = "",
    cluster: ClusterFlags,
) -> None:
    """Follow one run until it has ended or Ctrl-C: its numbers, and its requests where the audit store is at hand."""
    api = cluster.connect()
    first = sessions.read(fetched(api, name))
    try:
        if not store:
            _follow(api, first, lambda: ())
            return
        with opened(store) as records:
            _follow(api, first, requests_of(records, first, time.time()))
    except KeyboardInterrupt:
        return


# What they share


def listed(api: Api) -> Sequence[dict[str, Any]]:
    with refused_without_kind("AgentSessions"):
        items = api.list(AGENT_SESSIONS.path()).items
    return sorted(items, key=lambda obj: (sessions.read(obj).last_activity, str(field(obj, "metadata.name"))))


def fetched(api: Api, given: str) -> dict[str, Any]:
    """The one session that is meant. Raises WrongUsageError when there is none, or more than one."""
    if not given:
        raise WrongUsageError("name an AgentSession; `sessions list` shows those there are")
    found = [obj for obj in listed(api) if words.is_named(obj, given)]
    exact = [obj for obj in found if field(obj, "metadata.name") == given]
    if len(found) == 1 or exact:
        return (exact or found)[0]
    shown = visible(given, 253)
    if not found:
        raise WrongUsageError(f'there is no AgentSession "{shown}"; `sessions list` names those there are')
    names = [text(obj, "metadata.name") for obj in found]
    more = f" and {len(names) - SHOWN_AT_MOST} more" if len(names) > SHOWN_AT_MOST else ""
    raise WrongUsageError(
        f'"{shown}" could be {", ".join(names[:SHOWN_AT_MOST])}{more}; give more of the name'
    )


def show_yaml(value: Any) -> None:
    """ASCII only, as JSON is."""
    sys.stdout.write(yaml.safe_dump(value, sort_keys=False, allow_unicode=False))


def _ask(obj: Object, session: Session) -> None:
    if not sys.stdin.isatty():
        raise WrongUsageError("kill asks before it acts, and there is no terminal to ask on; give --yes")
    streams = session.open_streams(time.time())
    say(f"This ends {words.whose(obj)} for good, with {streams} open streams; it cannot be taken back.")
    if not typer.confirm("Terminate it?"):
        raise FailedError("nothing was done")


# Following


def _follow(api: Api, session: Session, newer: Callable[[], Sequence[str]]) -> None:
    """Raises KubeError when the session cannot be read at first; later troubles are told and outlived."""
    seen: Session | None = None
    trouble = ""
    while True:
        for line in newer():
            say(line)
        try:
            obj = api.find(AGENT_SESSIONS.path(session.name))
            trouble = ""
        except (RefusedError, UnreachableError) as error:
            if str(error) != trouble:
                say(f"the cluster does not answer, trying again: {visible(str(error), 300)}", error=True)
            trouble = str(error)
            time.sleep(PAUSE)
            continue
        if obj is None:
            say("the session is gone", error=True)
            return
        latest = sessions.read(obj)
        now = time.time()
        line = words.change(seen, latest, now)
        if seen is None or line != words.change(seen, seen, now):
            say(f"{rfc3339(now)}  {line}")
        seen = latest
        if _is_over(latest, now):
            say(_how_it_ended(latest))
            return
        time.sleep(PAUSE)


def _is_over(session: Session, now: float) -> bool:
    return session.phase not in words.GOES_ON and not session.open_streams(now)


def _how_it_ended(session: Session) -> str:
    if session.termination is not None:
        return f"terminated {session.termination}".strip()
    return "ended: it has been quiet for long"


def requests_of(store: AuditStore, session: Session, since: float) -> Callable[[], Sequence[str]]:
    """A function that gives the requests of this run that were not told before, oldest first, one line each."""
    from chaperone.cli import audit_words
    from chaperone.store.interface import Query

    told: dict[tuple[str, int], float] = {}
    latest = [since + OVERLAP]
    issuer, subject, run = session.key

    def newer() -> Iterator[str]:
        start = latest[0] - OVERLAP
        query = Query(run=run, issuer=issuer, since=start)
        for found in reversed(store.search(query, limit=MOST_RECORDS).records):
            mine = field(found.record, "user.subject") == subject
            if mine and (found.writer, found.sequence) not in told:
                told[found.writer, found.sequence] = found.time
                latest[0] = max(latest[0], found.time)
                yield "   ".join(cell or "-" for cell in audit_words.row(found, wide=False)[:6])
        for key in [key for key, at in told.items() if at < start - OVERLAP]:
            del told[key]

    return lambda: tuple(newer())
