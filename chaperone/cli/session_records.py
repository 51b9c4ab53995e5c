"""`sessions export` and `sessions replay`: what a run did, from the audit store and its recordings, without a cluster."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from enum import StrEnum
from typing import IO, TYPE_CHECKING, Annotated, Any

import orjson
import typer

from chaperone.cli import audit_words
from chaperone.cli.audit import Address, opened
from chaperone.cli.faults import FailedError
from chaperone.cli.recordings import AbsentError, Place, fetched, place_of, seal_in
from chaperone.cli.replay import play, play_fetched
from chaperone.cli.screen import say
from chaperone.core.audit import Stage
from chaperone.core.kubectl_command import command
from chaperone.core.legible import visible
from chaperone.core.recorded_request import Recorded, read
from chaperone.core.recording_seal import Match

if TYPE_CHECKING:
    from chaperone.store.recording_store import Recordings

Run = Annotated[str, typer.Argument(metavar="RUN", help="The model run, as its records name it.")]
PAGE = 1000


class Form(StrEnum):
    """`--as` of `export`."""

    KUBECTL = "kubectl"
    JSON = "json"


def export(
    run: Run,
    *,
    store: Address,
    form: Annotated[
        Form, typer.Option("--as", help="kubectl: commands that ask for the same; json: the records.")
    ] = Form.KUBECTL,
) -> None:
    """Write what a run did, oldest first: as kubectl commands that ask for the same, or as its records."""
    count = 0
    for found in _timeline(store, run):
        count += 1
        if form is Form.JSON:
            print_line(orjson.dumps(found.record).decode())
        elif isinstance(recorded := read(found.record), Recorded):
            print_line(_line(recorded))
    if not count:
        raise FailedError(f"the store has no record of run {visible(run, 200)}")


def replay_command(
    run: Run,
    *,
    store: Address,
    recordings: Place,
    speed: Annotated[
        float, typer.Option("--speed", min=0.0, help="How many times as fast; 0: all at once.")
    ] = 1.0,
    idle: Annotated[
        float, typer.Option("--idle-limit", min=0.0, help="Longest pause, in seconds; 0: as it was.")
    ] = 2.0,
) -> None:
    """Tell what a run did in order, and play the recordings of its terminals and commands where they stand."""
    place, count, wrong = place_of(recordings), 0, 0
    for found in _timeline(store, run, (Stage.COMPLETE.value, Stage.PANIC.value)):
        name = _recording(found.record)
        if not name and found.record.get("stage") == Stage.PANIC.value:
            continue
        count += 1
        say("   ".join(cell or "-" for cell in audit_words.row(found, wide=False)[:6]))
        if name:
            wrong += not _play(place, name, store, speed, idle)
    if not count:
        raise FailedError(f"the store has no record of run {visible(run, 200)}")
    if wrong:
        raise FailedError(f"{wrong} recordings of this run are not as the audit sealed them")


def print_line(text: str) -> None:
    """For pipes and files: whole, whatever the terminal's width."""
    typer.echo(text)


def _line(recorded: Recorded) -> str:
    """What was refused stays in the story, as a comment."""
    words = command(recorded)
    if recorded.code < 400 or words.startswith("#"):
        return words
    return f"# {recorded.code}: {words}"


def _play(place: Recordings, name: str, store: str, speed: float, idle: float) -> bool:
    """False: it was changed, or is not there and should be. The story goes on in any case."""

    def show(recording: IO[bytes]) -> None:
        play(recording, rate=speed, idle=idle, start=0.0)

    with opened(store) as audit:
        seal = seal_in(audit, name)
    try:
        with fetched(place, name, seal) as found:
            return play_fetched(found, show) is not Match.BROKEN
    except AbsentError as fault:
        say(str(fault), "yellow" if fault.is_explained else "red", error=True)
        return fault.is_explained
    except FailedError as fault:
        say(str(fault), "yellow", error=True)
        return True


def _recording(record: Mapping[str, Any]) -> str:
    """Its name, "" where nothing was kept."""
    said = record.get("recording")
    return str(said.get("name") or "") if isinstance(said, Mapping) else ""


def _timeline(address: str, run: str, stages: Container[object] = (Stage.COMPLETE.value,)) -> Iterator[Any]:
    """Records that end a request, oldest first."""
    with opened(address) as store:
        cursor = ""
        while True:
            page = store.timeline(run, limit=PAGE, after=cursor)
            for found in page.records:
                if found.record.get("stage") in stages:
                    yield found
            cursor = page.cursor
            if not cursor:
                return
