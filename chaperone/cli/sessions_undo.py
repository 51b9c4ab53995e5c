"""`sessions undo`: take back what a run changed, through the gateway, as far as its records and the world allow."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from typing import Annotated

import typer

from chaperone.cli.audit import Address
from chaperone.cli.cluster import ClusterFlags
from chaperone.cli.faults import FailedError, WrongUsageError
from chaperone.cli.screen import complain, say, show_table
from chaperone.cli.session_changes import Objects, Run, Told, User, changes_of
from chaperone.cli.session_gateway import Gateway
from chaperone.cli.session_undoing import Outcome, Undoing, plan_lines
from chaperone.cli.sessions_diff import show_lines
from chaperone.core.changes import Change
from chaperone.core.legible import visible
from chaperone.core.undo import Create, Delete, Put, ordered

COLUMNS = ("OBJECT", "OUTCOME", "WHY")


def undo(
    run: Run,
    *,
    store: Address,
    objects: Objects = None,
    user: User = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Ask the API server what would come of it, and change nothing.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Delete what the run created also where others have changed or used it since."
        ),
    ] = False,
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="Do not wait for approvals; run it again when they are given.")
    ] = False,
    cluster: ClusterFlags,
) -> None:
    """Take back what a run changed, object by object, through the gateway, with your own rights."""
    told = changes_of(store, run, objects=objects or (), user=user)
    _check(told, yes=yes or dry_run)
    changes = ordered(told.story.changes)
    reason = f"undo of run {run}" if run.isascii() and run.isprintable() else "undo of a run"
    gateway = Gateway(cluster, reason=reason[:300], waits=not no_wait, tell=_tell)
    work = Undoing(gateway, changes, force=force, dry_run=dry_run, tell=_tell)
    if not dry_run and not _go_on(work, changes, yes=yes):
        raise FailedError("nothing was done")
    outcomes = _carried_out(work, changes, dry_run=dry_run)
    _tell_end(told, outcomes, dry_run=dry_run)
    _end(outcomes)


def _check(told: Told, *, yes: bool) -> None:
    """Raises FailedError for records that cannot be believed."""
    for warning in told.warnings:
        complain(f"warning: {warning}")
    if told.edited:
        raise FailedError(
            f"{told.edited} was edited after it was written, so nothing is undone from these records; run `audit verify`"
        )
    if not yes and not sys.stdin.isatty():
        raise WrongUsageError(
            "undo asks before it acts, and there is no terminal to ask on; give --yes, or --dry-run"
        )


def _go_on(work: Undoing, changes: Sequence[Change], *, yes: bool) -> bool:
    """Whether there is something to do, and a person wants it."""
    if yes:
        return True
    plans = [(change, work.preview(change)) for change in changes]
    for change, planned in plans:
        for line in plan_lines(change, planned):
            say(line)
    if not any(isinstance(planned, Create | Delete | Put) for _, planned in plans):
        return True
    return typer.confirm("Do this?")


def _carried_out(work: Undoing, changes: Sequence[Change], *, dry_run: bool) -> list[Outcome]:
    outcomes: list[Outcome] = []
    for number, change in enumerate(changes, 1):
        outcome = work.undo(change)
        outcomes.append(outcome)
        say(f"[{number}/{len(changes)}] {change.target.words}: {outcome.ended.value}")
        if dry_run:
            show_lines(outcome.lines)
    return outcomes


def _tell_end(told: Told, outcomes: Sequence[Outcome], *, dry_run: bool) -> None:
    say()
    if outcomes:
        show_table(COLUMNS, [[each.target.words, each.ended.value, each.why] for each in outcomes])
    else:
        say("the run left no change of an object")
    for effect in told.story.effects:
        say(f"cannot be undone: {visible(effect.what, 400)}  ({visible(effect.why, 300)})", "yellow")
    if any(each.is_new for each in outcomes):
        say(
            "objects that are made again are new ones: their uid, their age and their status are not the old ones"
        )
    if dry_run:
        say("this was a dry run: nothing was changed")


def _end(outcomes: Sequence[Outcome]) -> None:
    counts = Counter(each.ended.value for each in outcomes if not each.ended.is_fine)
    if counts:
        words = ", ".join(f"{count} {ended}" for ended, count in sorted(counts.items()))
        raise FailedError(f"not everything was restored: {words}")


def _tell(text: str) -> None:
    say(text, "yellow", error=True)
