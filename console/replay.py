"""The page that plays a recording: a terminal in the browser's player, a command as its transcript. What is shown is
checked against the seal in the audit record: length and SHA-256."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from flask import Blueprint, Response, abort, render_template, url_for

from chaperone.core.legible import visible
from chaperone.core.recording.plain import plain_text
from chaperone.core.recording.reading import Moment, Reading, UnreadableError, What
from console.audit import the_store
from console.guarding import found, require, services, shown
from console.records import clock_time

pages = Blueprint("replay", __name__, url_prefix="/recordings")

KIND = "recordings"
ROLE = "chaperone-viewer"
NAME = re.compile(r"\d{4}/\d{2}/\d{2}/([0-9a-f][0-9a-f-]{7,63})\.(?:cast|jsonl)")
MOST = 32 * 1024 * 1024
"""Bytes of a recording that a page shows; the rest is for `kubectl chaperone replay`."""
MOST_ROWS = 2000


class Recordings(Protocol):
    """Where recordings are read. Raises OSError."""

    def read(self, name: str, most: int) -> bytes | None:
        """The first `most` bytes; None where there is no such recording."""
        ...


class FolderRecordings:
    """A folder as the gateway fills it; one that is still being written is read as far as it has come."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, name: str, most: int) -> bytes | None:
        for path in (self._folder / name, self._folder / f"{name}.part"):
            try:
                with path.open("rb") as stream:
                    return stream.read(most)
            except FileNotFoundError:
                continue
        return None


@dataclass(frozen=True, slots=True)
class Seal:
    """What the audit says of a recording. word: sealed, broken, unfinished or unknown; told: in a sentence."""

    word: str
    told: str


@pages.get("/<path:name>")
def played(name: str) -> str:
    require("get", KIND, role=ROLE)
    data = _read(name)
    try:
        reading = Reading(iter(data.splitlines(keepends=True)))
        rows = [] if reading.opening.is_terminal else list(islice(_rows(reading), MOST_ROWS + 1))
    except UnreadableError as error:
        abort(422, f"this recording cannot be read: {error}")
    opening = reading.opening
    return render_template(
        "recording.html",
        name=name,
        is_terminal=opening.is_terminal,
        command=shown(opening.command, 2000),
        facts=[(shown(word), shown(value, 500)) for word, value in opening.about.items() if value],
        began=clock_time(opening.timestamp),
        data=url_for("replay.data", name=name),
        rows=rows[:MOST_ROWS],
        more=len(rows) > MOST_ROWS or len(data) == MOST,
        cut=reading.cut,
        seal=seal(name, data),
    )


@pages.get("/<path:name>/data")
def data(name: str) -> Response:
    """The recording itself, for the player."""
    require("get", KIND, role=ROLE)
    return Response(_read(name), mimetype="text/plain; charset=utf-8")


def seal(name: str, data: bytes) -> Seal:
    """Compare with the audit record of the stream."""
    said = _said_of(name)
    if said is None:
        return Seal("unfinished", "The stream has not ended yet, or its record is not in this store.")
    if not said.get("sha256"):
        return Seal(
            "unknown",
            f"The audit record has no seal for it: {shown(said.get('reason') or said.get('state'))}",
        )
    if said.get("bytes") == len(data) and said["sha256"] == hashlib.sha256(data).hexdigest():
        state = shown(said.get("state"))
        return Seal("sealed", f"Length and SHA-256 are those in the audit record ({state}).")
    if len(data) == MOST:
        return Seal("unknown", "Too long to be checked here: use kubectl chaperone audit verify.")
    return Seal("broken", "It is NOT what the audit record sealed: somebody has changed it.")


def _said_of(name: str) -> Mapping[str, Any] | None:
    matched = NAME.fullmatch(name)
    if matched is None or not services().settings.records.store:
        return None
    for entry in reversed(the_store().get(matched[1])):
        said = entry.record.get("recording")
        if isinstance(said, Mapping) and said.get("name") == name:
            return said
    return None


def _read(name: str) -> bytes:
    if NAME.fullmatch(name) is None:
        abort(404, "there is no such recording")
    recordings: Recordings | None = services().recordings
    if recordings is None:
        abort(503, "no recordings are configured: set records.recordings in the console's settings")
    content: bytes = found(recordings.read(name, MOST), "recording")
    return content


def _rows(reading: Reading) -> Iterator[dict[str, str]]:
    for moment in reading.moments():
        yield {"at": f"{moment.at:.3f}", "source": moment.source or moment.what.value, "text": _told(moment)}


def _told(moment: Moment) -> str:
    if moment.what is What.RESIZE:
        return f"{moment.size[0]} columns, {moment.size[1]} rows"
    if moment.what in (What.EXIT, What.END):
        words = shown(moment.data.decode("utf-8", "replace"), 500)
        return " ".join(
            part for part in (f"exit code {moment.code}" if moment.code is not None else "", words) if part
        )
    return "\n".join(visible(line, 4096) for line in plain_text(moment.data).split("\n"))
