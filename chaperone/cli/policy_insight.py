"""`policy suggest` and `policy backtest`: what a run's records say about policies, offline from the audit store."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer
import yaml

from chaperone.cli.approvals import Form
from chaperone.cli.audit import Address, moment, opened
from chaperone.cli.faults import FailedError, WrongUsageError
from chaperone.cli.policy_files import policy_set_of, read_policies
from chaperone.cli.screen import say, show_json, show_table
from chaperone.core.backtest import Difference, Result, backtest
from chaperone.core.gate import describe
from chaperone.core.legible import visible
from chaperone.core.suggestion import NothingToSuggestError, suggest

MOST = 200_000
"""Records that one command reads."""
COLUMNS = ("TIME", "RUN", "REQUEST", "WAS", "WOULD BE", "BY", "UNSURE")
PAGE = 1000


def suggest_command(
    store: Address,
    *,
    run: Annotated[str, typer.Option(help="The model run.", metavar="RUN")],
    name: Annotated[
        str, typer.Option(help="Name of the policy and its roles.", metavar="NAME")
    ] = "suggested",
) -> None:
    """Write the least AgentPolicy and roles that a run needed, as a draft to read and apply."""
    try:
        documents = suggest(_records(store, run=run, since=0.0), name)
    except NothingToSuggestError as error:
        raise FailedError(f"nothing can be suggested for run {visible(run, 200)}: {error}") from error
    said = (
        f"# What the run {visible(run, 200)} needed. A draft: read it, narrow it, then `kubectl apply -f` it."
    )
    sys.stdout.write(said + "\n" + yaml.safe_dump_all(documents, sort_keys=False, allow_unicode=False))


def backtest_command(
    files: Annotated[
        list[str], typer.Argument(metavar="FILE...", help="Files with all the policies to judge under.")
    ],
    *,
    store: Address,
    since: Annotated[str, typer.Option(metavar="TIME", help='RFC 3339, or how long ago: "2h", "7d".')] = "7d",
    run: Annotated[str, typer.Option(help="Only this model run.")] = "",
    output: Annotated[Form | None, typer.Option("--output", "-o", help="Another form.")] = None,
) -> None:
    """Judge recorded requests again under changed policies, and list every verdict that would differ."""
    policies = policy_set_of(read_policies(files))
    if not policies.policies and not policies.broken:
        raise WrongUsageError("the files hold no AgentPolicy")
    result = backtest(_records(store, run=run, since=moment("--since", since)), policies, time.time())
    if output is Form.JSON:
        show_json(as_json(result))
    else:
        _show(result)


def as_json(result: Result) -> dict[str, Any]:
    return {
        "judged": result.judged,
        "same": result.same,
        "leftOut": dict(sorted(result.left_out.items())),
        "differences": [_difference(item) for item in result.differences],
    }


def _difference(item: Difference) -> dict[str, Any]:
    recorded = item.recorded
    return {
        "auditID": recorded.audit_id,
        "time": recorded.time,
        "run": recorded.caller.run,
        "request": describe(recorded.request),
        "was": recorded.decided.word,
        "wouldBe": item.would.word,
        "policy": item.policy,
        "rule": item.rule,
        "reason": item.reason,
        **({"unsure": item.unsure} if item.unsure else {}),
    }


def _show(result: Result) -> None:
    rows = [
        [
            item.recorded.time[:19],
            visible(item.recorded.caller.run, 60),
            describe(item.recorded.request),
            item.recorded.decided.word,
            item.would.word,
            f"{item.policy}/{item.rule}" if item.policy else "",
            item.unsure,
        ]
        for item in result.differences
    ]
    if rows:
        show_table(COLUMNS, rows)
    for why, count in sorted(result.left_out.items()):
        say(f"{count} record(s) left out: {why}")
    unsure = sum(1 for item in result.differences if item.unsure)
    say(
        f"{result.judged} request(s) judged: {result.same} as before, {len(result.differences) - unsure} different, "
        f"{unsure} unsure"
    )


def _records(address: str, *, run: str, since: float) -> Iterator[Mapping[str, Any]]:
    """The last record of each request, newest first."""
    from chaperone.store.interface import Query

    with opened(address) as store:
        cursor, count = "", 0
        while True:
            page = store.search(
                Query(run=run, since=since, stage="ResponseComplete"), limit=PAGE, cursor=cursor
            )
            for found in page.records:
                yield found.record
            count += len(page.records)
            cursor = page.cursor
            if not cursor:
                return
            if count >= MOST:
                raise FailedError(f"there are more than {MOST} records: narrow it with --since or --run")
