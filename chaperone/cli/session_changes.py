"""A run's records as what it changed, for `sessions diff` and `sessions undo`: read from the store, and looked at before
they are believed."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chaperone.cli.approval_words import field, span
from chaperone.cli.audit import opened
from chaperone.cli.faults import FailedError, WrongUsageError
from chaperone.core.chain import read_sealed
from chaperone.core.changes import Target
from chaperone.core.changes_recorded import Story, may_change, read_story
from chaperone.core.legible import visible
from chaperone.core.recorded_request import request_of
from chaperone.core.request import Unreadable
from chaperone.core.timestamp import rfc3339

if TYPE_CHECKING:
    from chaperone.store.interface import AuditStore, Found, RunSummary

Run = Annotated[str, typer.Argument(metavar="RUN", help="The model run, as its records name it.")]
Objects = Annotated[
    list[str] | None,
    typer.Option(
        "--object",
        metavar="OBJECT",
        help="Only this one, such as apps/deployments/NAMESPACE/NAME; may be repeated.",
    ),
]
User = Annotated[str, typer.Option("--user", help="Whose run, where several callers have one of this name.")]

PAGE = 200
MOST_BYTES = 256 * 1024 * 1024
"""Of the records of one run that are held in memory."""
MOST_RUNS = 100_000
LIVELY = 600.0
"""Seconds without a request after which a run is taken to be over."""
TOLD = 5
"""Names, where there may be many."""


@dataclass(frozen=True, slots=True)
class Told:
    """warnings: sentences about the records. edited: one of them is not what was written; "" when all are."""

    story: Story
    warnings: tuple[str, ...]
    edited: str = ""


def changes_of(address: str, run: str, *, objects: Sequence[str], user: str) -> Told:
    """What a run changed. Raises FailedError where the store knows no such run or object, or it is too large, and
    WrongUsageError where several callers have a run of this name."""
    with opened(address) as store:
        seen = [summary for summary in store.runs(limit=MOST_RUNS) if summary.run == run]
        found = list(_bounded(_of_user(_timeline(store, run), user)))
    if not found:
        raise FailedError(_no_record(run, seen))
    _one_caller(run, found)
    edited = next((_place(each) for each in found if not is_intact(each)), "")
    story = read_story(each.record for each in found)
    warnings = tuple(_warnings(found, seen, story, time.time()))
    return Told(narrowed(story, objects), warnings, edited)


def is_intact(found: Found) -> bool:
    """Whether the record is what was written: its bytes give the hash that they carry, in the place where it stands."""
    sealed = read_sealed(found.line)
    return sealed is not None and sealed.is_intact and sealed.link[:2] == (found.writer, found.sequence)


def names_of(target: Target) -> set[str]:
    """How an object may be given: with its group before or behind the resource."""
    place = [part for part in (target.namespace, target.name) if part]
    group = f".{target.group}" if target.group else ""
    before = [part for part in (target.group, target.resource) if part]
    return {"/".join([*before, *place]), "/".join([target.resource + group, *place])}


def narrowed(story: Story, objects: Sequence[str]) -> Story:
    """Only what was done to these objects. Raises FailedError when the run wrote none of them."""
    if not objects:
        return story
    known = {name: change.target for change in story.changes for name in names_of(change.target)}
    for name in objects:
        if name not in known:
            some = ", ".join(
                sorted(
                    {
                        "/".join(part for part in (t.group, t.resource, t.namespace, t.name) if part)
                        for t in known.values()
                    }
                )[:TOLD]
            )
            raise FailedError(
                f"the run wrote no {visible(name, 300)}; it wrote {visible(some, 600) or 'nothing'}"
            )
    wanted = {known[name] for name in objects}
    return story._replace(
        changes=tuple(change for change in story.changes if change.target in wanted),
        effects=(),
        failed=(),
        dry=(),
    )


# Reading


def _timeline(store: AuditStore, run: str) -> Iterator[Found]:
    cursor = ""
    while True:
        page = store.timeline(run, limit=PAGE, after=cursor)
        yield from page.records
        cursor = page.cursor
        if not cursor:
            return


def _of_user(records: Iterable[Found], user: str) -> Iterator[Found]:
    return (found for found in records if not user or field(found.record, "user.username") == user)


def _bounded(records: Iterable[Found]) -> Iterator[Found]:
    """Those of reads are let go at once, unless they are the first or the latest."""
    held, last, first = 0, None, True
    for found in records:
        last = found
        request = request_of(found.record)
        if first or isinstance(request, Unreadable) or may_change(request):
            last, first = None, False
            held += len(found.line)
            if held > MOST_BYTES:
                raise FailedError(
                    f"the records of this run are larger than {MOST_BYTES >> 20} MiB; it cannot be shown whole"
                )
            yield found
    if last is not None:
        yield last


def _no_record(run: str, seen: Sequence[RunSummary]) -> str:
    shown = visible(run, 200)
    if seen:
        return f"the store has no record of run {shown} any more: it began at {rfc3339(seen[0].first)}, and was pruned"
    return f"the store has no record of run {shown}"


def _one_caller(run: str, records: Sequence[Found]) -> None:
    callers = {
        (field(each.record, "user.issuer"), field(each.record, "user.subject")): each.record
        for each in records
    }
    if len(callers) > 1:
        names = ", ".join(
            sorted(visible(str(field(record, "user.username") or "-"), 100) for record in callers.values())[
                :TOLD
            ]
        )
        raise WrongUsageError(
            f"{len(callers)} callers have a run {visible(run, 200)}: {names}; choose one with --user"
        )


# What is to be said of them


def _warnings(
    records: Sequence[Found], seen: Sequence[RunSummary], story: Story, now: float
) -> Iterator[str]:
    first, last = records[0].time, records[-1].time
    began = min((summary.first for summary in seen), default=first)
    if first > began + 1:
        yield (
            f"the run began at {rfc3339(began)}, and its records before {rfc3339(first)} are gone (pruned): what it "
            "changed until then is not known"
        )
    if story.torn:
        yield (
            f"{story.torn} requests have but one of their two records: a gateway was killed, or records were pruned or "
            "removed; `audit verify` tells which"
        )
    if now - last < LIVELY:
        yield f"the run was active {span(max(0.0, now - last))} ago, and may go on; `sessions kill` ends it"


def _place(found: Found) -> str:
    return f"record {found.sequence} of {visible(found.writer, 130)} (audit id {_audit_id(found.record)})"


def _audit_id(record: Mapping[str, Any]) -> str:
    return visible(str(record.get("auditID") or "-"), 100)
