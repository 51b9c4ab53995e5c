"""`replay`: a recording of a terminal, played in time; of a command, told line by line. Escapes go to a terminal only."""

from __future__ import annotations

import math
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated

import typer

from chaperone.cli.audit import STORE, opened
from chaperone.cli.faults import FailedError, WrongUsageError
from chaperone.cli.recordings import PLACE, Fetched, fetched, place_of, seal_in, split_address
from chaperone.cli.screen import say
from chaperone.core.legible import visible
from chaperone.core.recording.naming import named
from chaperone.core.recording.plain import Cleaner, plain_text
from chaperone.core.recording.reading import LONGEST_LINE, Moment, Opening, Reading, UnreadableError, What
from chaperone.core.recording_seal import Match, Seal
from chaperone.core.timestamp import rfc3339

if TYPE_CHECKING:
    from chaperone.store.interface import Found

RESET = b"\x1b[0m\x1b[?1l\x1b>\x1b[?25h\x1b[?7h\x1b[?1049l\r\n"
"""The terminal as it was: a recording may end in the middle of anything."""
SPEED = re.compile(r"(\d+(?:\.\d+)?)x?")
SEEK = re.compile(r"(?:(?:(\d+):)?(\d+):)?(\d+(?:\.\d+)?)")

File = Annotated[
    str,
    typer.Argument(
        metavar="FILE",
        help="A .cast or .jsonl file, - for standard input, an address such as s3://BUCKET/PREFIX/2026/11/23/ID.cast; "
        "with --recordings its name as records have it, and with --store the Audit-Id of its stream.",
    ),
]


def replay(
    file: File,
    *,
    speed: Annotated[
        str, typer.Option("--speed", help="How many times as fast: 2, 0.5; 0 for all at once.")
    ] = "1",
    idle: Annotated[
        float, typer.Option("--idle-limit", help="Longest pause, in seconds; 0: as it was.")
    ] = 2.0,
    seek: Annotated[str, typer.Option("--seek", help="Begin at this time: 90, 1:30 or 1:02:03.")] = "0",
    recordings: Annotated[str, PLACE] = "",
    store: Annotated[str, STORE] = "",
) -> None:
    """Play a recording. In a pipe: its output as plain text, at once. Ctrl-C ends it.

    With --store it is held against its seal in the audit, and exit code 1 says that somebody has changed it.
    """
    rate, start = _rate(speed), _seconds(seek)

    def show(recording: IO[bytes]) -> None:
        play(recording, rate=rate, idle=idle, start=start)

    try:
        kept = _kept(file, recordings)
        if kept is not None:
            _play_kept(*kept, store, show)
        else:
            _play_file(file, show)
    except KeyboardInterrupt:
        return


def _kept(file: str, recordings: str) -> tuple[str, str] | None:
    """(place, name or audit id) of what is kept in a store of recordings; None for a file. The place may come from the
    environment, and files still mean files."""
    if address := split_address(file):
        return address
    if not recordings or file == "-" or (named(file) is None and Path(file).is_file()):
        return None
    return recordings, file


def _play_file(file: str, show: Callable[[IO[bytes]], None]) -> None:
    try:
        if file == "-":
            show(sys.stdin.buffer)
            return
        with Path(file).open("rb") as recording:
            show(recording)
    except OSError as error:
        raise WrongUsageError(f"{visible(file)} cannot be read: {error.strerror}") from error


def _play_kept(address: str, what: str, store: str, show: Callable[[IO[bytes]], None]) -> None:
    place = place_of(address)
    name, seal = _known(what, store)
    with fetched(place, name, seal) as found:
        if play_fetched(found, show) is Match.BROKEN:
            raise FailedError(found.verdict[1])


def play_fetched(found: Fetched, show: Callable[[IO[bytes]], None]) -> Match:
    """What it is is said before and not after: nobody takes a changed recording for what happened."""
    verdict, words = found.verdict
    if verdict is Match.BROKEN:
        say(words, "red", error=True)
    elif not found.is_sealed:
        say("it is still being written: this is as far as it has come", "yellow", error=True)
    elif found.seal is not None:
        say(words, "dim", error=True)
    show(found.content)
    return verdict


def _known(what: str, store: str) -> tuple[str, Seal | None]:
    """(name, what the audit says of it). Raises FailedError for an audit id of no recording."""
    if not store:
        return what, None
    try:
        with opened(store) as audit:
            name = what if named(what) else _name_of(audit.get(what[:64]), what)
            return name, seal_in(audit, name)
    except FailedError as fault:
        if named(what) is None:
            raise
        say(f"its seal cannot be looked for: {fault}", "yellow", error=True)
        return what, None


def _name_of(records: Iterable[Found], audit_id: str) -> str:
    for found in records:
        said = found.record.get("recording")
        if isinstance(said, Mapping) and said.get("name"):
            return str(said["name"])
    raise FailedError(f'no record of the request "{visible(audit_id, 100)}" names a recording')


def play(
    recording: IO[bytes],
    *,
    rate: float,
    idle: float,
    start: float,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """rate: 0 shows everything at once. idle, start: seconds. Raises FailedError for what is no recording."""
    try:
        reading = Reading(lines(recording))
        if sys.stdout.isatty():
            _perform(reading, Pace(rate, idle, start, sleep))
        else:
            _print(reading)
    except UnreadableError as error:
        raise FailedError(f"this is not a recording that can be read: {error}") from error
    if reading.cut:
        say("the recording was cut off here", "yellow", error=True)


def lines(recording: IO[bytes]) -> Iterator[bytes]:
    """Bounded: a line that is too long for any recording comes in parts."""
    while text := recording.readline(LONGEST_LINE + 1):
        yield text


class Pace:
    """How long to wait before each moment. rate 0: never. start: nothing before this time is waited for."""

    def __init__(self, rate: float, idle: float, start: float, sleep: Callable[[float], None]) -> None:
        self._rate = rate
        self._idle = idle
        self._sleep = sleep
        self._at = start

    def wait(self, at: float) -> None:
        pause = at - self._at
        if pause <= 0 or not self._rate:
            return
        self._at = at
        if self._idle:
            pause = min(pause, self._idle)
        self._sleep(pause / self._rate)


def _perform(reading: Reading, pace: Pace) -> None:
    """What was shown, when it was shown."""
    say(_title(reading.opening), "dim")
    out, cleaner, wraps = sys.stdout.buffer, Cleaner(), not reading.opening.is_terminal
    try:
        for moment in reading.moments():
            pace.wait(moment.at)
            if moment.what is What.OUTPUT:
                data = cleaner.feed(moment.data)
                out.write(data.replace(b"\n", b"\r\n") if wraps else data)
            elif words := _words(moment):
                out.write(f"\r\n\x1b[2m{words}\x1b[0m\r\n".encode())
            out.flush()
    finally:
        out.write(RESET)
        out.flush()


def _print(reading: Reading) -> None:
    """The output alone, as text: for pipes and files."""
    waiting = b""
    for moment in reading.moments():
        if moment.what is What.OUTPUT:
            *whole, waiting = (waiting + moment.data).rsplit(b"\n", 1)
            sys.stdout.write("".join(plain_text(text + b"\n") for text in whole))
    sys.stdout.write(plain_text(waiting))
    sys.stdout.flush()


def _words(moment: Moment) -> str:
    """What else there is to tell; a size and what was typed are not shown."""
    match moment.what:
        case What.MARK:
            return f"[{visible(moment.data.decode('utf-8', 'replace'))}]"
        case What.EXIT | What.END if moment.code is not None:
            return f"[exit code {moment.code}]"
        case What.END if moment.data:
            return f"[{visible(moment.data.decode('utf-8', 'replace'))}]"
    return ""


def _title(opening: Opening) -> str:
    about = opening.about
    where = (
        f"{about.get('kind', '')} {about.get('namespace', '')}/{about.get('pod', '')}"
        if about
        else "recording"
    )
    try:
        when = rfc3339(opening.timestamp)
    except ValueError:
        when = "?"
    who = f" by {about['user']}" if about.get("user") else ""
    run = f", run {about['run']}" if about.get("run") else ""
    size = f", {opening.size[0]}x{opening.size[1]}" if opening.is_terminal else ""
    return visible(f"{where} at {when}{who}{run}{size}: {opening.command}")


def _rate(text: str) -> float:
    found = SPEED.fullmatch(text)
    if found is None:
        raise WrongUsageError(f"--speed {visible(text, 20)} is not a number such as 2, 0.5 or 0")
    return float(found.group(1))


def _seconds(text: str) -> float:
    found = SEEK.fullmatch(text)
    if found is None:
        raise WrongUsageError(f"--seek {visible(text, 20)} is not a time such as 90, 1:30 or 1:02:03")
    hours, minutes, seconds = (float(part or 0) for part in found.groups())
    return math.fsum((hours * 3600, minutes * 60, seconds))
