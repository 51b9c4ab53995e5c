"""`chaperone audit`: look for records, check that none was changed, export, hold and prune them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chaperone.cli import audit_words as words
from chaperone.cli.faults import FailedError, WrongUsageError
from chaperone.cli.recordings import NAMED_PLACE, place_of
from chaperone.cli.screen import say, show_json, show_table
from chaperone.core.legible import visible
from chaperone.core.timestamp import unix_seconds
from chaperone.settings.loading import seconds

if TYPE_CHECKING:
    from chaperone.store.opening import Store

VARIABLE = "CHAPERONE_AUDIT_STORE"
STORE = typer.Option(
    "--store", envvar=VARIABLE, metavar="STORE", help="SQLite file or its folder, or postgresql://…."
)
Address = Annotated[str, STORE]
Moment = Annotated[str, typer.Option(metavar="TIME", help='RFC 3339, or how long ago: "2h", "7d".')]


class Output(StrEnum):
    """`-o` of commands that show records."""

    JSON = "json"
    WIDE = "wide"


def verify(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE", help="A store, a file of JSON lines (an export too), or a folder of such files."
        ),
    ] = "",
    *,
    store: Annotated[
        str, typer.Option(envvar=VARIABLE, metavar="STORE", help="The same as SOURCE.", show_envvar=True)
    ] = "",
    key: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="A public key (PEM) to trust, instead of the source's own word."),
    ] = None,
    checkpoints: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE", help="Checkpoints that were kept elsewhere: the chains must come to them."
        ),
    ] = None,
    excerpt: Annotated[
        bool, typer.Option("--excerpt", help="Chains may begin after their first record.")
    ] = False,
    signed: Annotated[
        bool,
        typer.Option("--signed", help="Fail when records at the end are not covered by a checkpoint yet."),
    ] = False,
    recordings: Annotated[str, NAMED_PLACE] = "",
    as_json: Annotated[bool, typer.Option("--json", help="The whole result as JSON.")] = False,
) -> None:
    """Check every chain of records, offline: what was edited, removed, reordered or added is named, the first first.

    With --recordings each recording is held against its seal as well: changed, missing, or removed by retention.
    """
    from chaperone.cli.recording_words import first_recording_fault, recordings_json, show_recordings
    from chaperone.store.recording_check import check_recordings
    from chaperone.store.verification import verify as check

    place = source or store
    if not place:
        raise WrongUsageError("name what is to be verified: SOURCE, or --store")
    with told():
        trusted = [path.read_text() for path in key or ()]
        checked = check(place, trusted=trusted, kept=checkpoints or (), excerpt=excerpt)
        kept = check_recordings(place, recordings) if recordings else None
    found = checked.verification
    if as_json:
        more = {"recordings": recordings_json(kept)} if kept is not None else {}
        show_json({**words.verification_json(checked), **more})
    else:
        words.show_verification(checked)
        if kept is not None:
            show_recordings(kept)
    if not found.is_good:
        raise FailedError(words.first_fault(found))
    if kept is not None and kept.faults:
        raise FailedError(first_recording_fault(kept))
    if signed and any(chain.unsigned for chain in found.chains):
        raise FailedError("records at the end of a chain are not covered by a signed checkpoint yet")


def search(
    store: Address,
    *,
    run: Annotated[str, typer.Option(help="The model run.")] = "",
    agent: Annotated[str, typer.Option(help="The agent.")] = "",
    issuer: Annotated[str, typer.Option(help="Who issued its token.")] = "",
    user: Annotated[str, typer.Option(help="The caller's user name.")] = "",
    verb: Annotated[str, typer.Option(help="The Kubernetes verb.")] = "",
    object_: Annotated[
        str, typer.Option("--object", help="A name, or resource/name such as deployments.apps/web.")
    ] = "",
    resource: Annotated[str, typer.Option(help="Such as pods, pods/exec, deployments.apps.")] = "",
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="The namespace.")] = "",
    verdict: Annotated[str, typer.Option(help="Allow, Hold or Deny.")] = "",
    risk: Annotated[str, typer.Option(help="critical, high, medium or low.")] = "",
    policy: Annotated[str, typer.Option(help="The AgentPolicy that decided.")] = "",
    code: Annotated[int, typer.Option(help="The HTTP code of the answer.")] = 0,
    since: Moment = "",
    until: Moment = "",
    text: Annotated[str, typer.Option(help="A piece of the record as it is stored; slow.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Records at most.")] = 50,
    cursor: Annotated[str, typer.Option(help="Go on where an earlier search ended.")] = "",
    output: Annotated[Output | None, typer.Option("--output", "-o", help="Another form.")] = None,
) -> None:
    """Search the records, newest first."""
    from chaperone.store.interface import Query

    query = Query(
        run=run,
        agent=agent,
        issuer=issuer,
        user=user,
        verb=verb,
        object=object_,
        resource=resource,
        namespace=namespace,
        verdict=verdict,
        risk=risk,
        policy=policy,
        code=code,
        text=text,
        since=moment("--since", since),
        until=moment("--until", until),
    )
    with opened(store) as found:
        try:
            page = found.search(query, limit=limit, cursor=cursor, brief=output is not Output.JSON)
        except ValueError as fault:
            raise WrongUsageError(f"--cursor: {fault}") from fault
    if output is Output.JSON:
        show_json({"items": [dict(item.record) for item in page.records], "cursor": page.cursor})
        return
    if not page.records:
        say("no record was found", error=True)
        return
    wide = output is Output.WIDE
    show_table(words.columns(wide=wide), [words.row(item, wide=wide) for item in page.records])
    if page.cursor:
        say(f"there are more: --cursor {page.cursor}", error=True)


def show(
    audit_id: Annotated[str, typer.Argument(metavar="ID", help="The Audit-Id of the request.")],
    store: Address,
) -> None:
    """Show every record of one request whole, as JSON."""
    with opened(store) as found:
        records = found.get(audit_id)
    if not records:
        raise FailedError(f'there is no record of the request "{visible(audit_id, 100)}"')
    show_json([dict(item.record) for item in records])


def hold(
    run: Annotated[str, typer.Argument(metavar="RUN", help="The model run.")] = "",
    *,
    store: Address,
    reason: Annotated[str, typer.Option(help="Why, in your words.", metavar="TEXT")] = "",
    by: Annotated[str, typer.Option(help="Who holds it.", metavar="NAME")] = "",
    release: Annotated[bool, typer.Option("--release", help="End the hold of this run instead.")] = False,
) -> None:
    """Keep the records and recordings of a run whatever their age (legal hold); without a run, list what is held."""
    with opened(store) as found:
        if not run:
            show_table(words.HOLDS, [words.hold_row(item) for item in found.holds()])
        elif release:
            if not found.release(run):
                raise FailedError(f'the run "{visible(run, 100)}" is not held')
            say(f"released: {visible(run, 253)}")
        else:
            found.hold(run, reason=reason, by=by, now=time.time())
            say(f"held: {visible(run, 253)}")


def prune(
    *,
    store: Address,
    older_than: Annotated[str, typer.Option(metavar="AGE", help='Such as "90d".')],
    recordings: Annotated[str, NAMED_PLACE] = "",
    signing_key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The gateway's signing key; audit.key beside SQLite.")
    ] = None,
) -> None:
    """Remove old records, and with --recordings old recordings, but for runs under legal hold. A signed checkpoint says
    what was removed of the records; each recording that goes has a record of its own."""
    from chaperone.store.recording_retention import prune_recordings
    from chaperone.store.retention import prune as remove
    from chaperone.store.signing import load_signer

    place = place_of(recordings) if recordings else None

    age = seconds(older_than)
    if not age:
        raise WrongUsageError(f'--older-than: "{visible(older_than, 50)}" is no duration such as 90d')
    with opened(store) as found:
        path = signing_key or found.key_beside()
        if path is None or not path.exists():
            raise WrongUsageError("--signing-key: name the file with the gateway's signing key")
        now, signer = time.time(), load_signer(path)
        if place is not None:
            gone = prune_recordings(found.url, place, age, signer, now=now)
            say(f"pruned: {gone.removed} recordings{_kept(gone.held)}")
        pruned = remove(found.url, now - age, signer, now=now)
    say(f"pruned: {pruned.removed} records{_kept(pruned.held)}")


def _kept(held: int) -> str:
    return f"; {held} under legal hold were kept" if held else ""


@contextmanager
def opened(address: str) -> Iterator[Store]:
    """The store, closed at the end."""
    from chaperone.store.opening import open_store

    with told():
        store = open_store(address)
        try:
            yield store
        finally:
            store.close()


@contextmanager
def told() -> Iterator[None]:
    """What goes wrong with a store, as a sentence."""
    from chaperone.store.interface import StoreMismatchError

    try:
        yield
    except (StoreMismatchError, OSError) as fault:
        raise FailedError(visible(str(fault), 500)) from fault


def moment(option: str, text: str) -> float:
    """Unix seconds; 0.0 for ""."""
    if not text:
        return 0.0
    ago = seconds(text)
    if ago is not None:
        return time.time() - ago
    try:
        return unix_seconds(text)
    except ValueError as fault:
        raise WrongUsageError(f'{option}: "{visible(text, 50)}" is neither a time nor a duration') from fault
