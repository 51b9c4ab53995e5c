"""The page that plays a recording: a terminal in the browser's player, a command as its transcript. What is shown is held
against the seal in the audit record: length and SHA-256. A recording passes through in pieces, never held whole."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn

from flask import Blueprint, Response, abort, render_template, url_for

from chaperone.core.legible import visible
from chaperone.core.recording.naming import named
from chaperone.core.recording.plain import plain_text
from chaperone.core.recording.reading import Moment, Opening, Reading, UnreadableError, What
from chaperone.core.recording_seal import Match, Seal, absence, match, seal_of
from chaperone.store.interface import StoreUnavailableError
from chaperone.store.recording_store import Recordings, Stored, lines_of
from console.guarding import require, services, shown
from console.records import clock_time

__all__ = ["Recordings", "pages"]

log = logging.getLogger(__name__)
pages = Blueprint("replay", __name__, url_prefix="/recordings")

KIND = "recordings"
ROLE = "chaperone-viewer"
MOST = 32 * 1024 * 1024
"""Bytes of a recording that a page shows and checks; the rest is for `kubectl chaperone replay`."""
MOST_ROWS = 2000
MOST_TEXT = 2 * 1024 * 1024
"""Characters of all rows of a page."""
UNSETTLED = "no recordings are configured: set records.recordings in the console's settings"
TOO_LONG = (
    "It is too long to be checked here: kubectl chaperone replay --store plays it with its seal,"
    " kubectl chaperone audit verify --recordings checks all."
)


@dataclass(frozen=True, slots=True)
class Looked:
    """What was seen of a recording. rows: of a transcript. has_more: there is more than the page shows. is_cut: it ends
    within a line."""

    opening: Opening
    rows: list[dict[str, str]]
    has_more: bool
    verdict: Match
    told: str
    is_cut: bool


class Passing:
    """Chunks on their way, counted and hashed."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._digest = hashlib.sha256()
        self._last = b"\n"
        self.size = 0

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            self._digest.update(chunk)
            self.size += len(chunk)
            self._last = chunk[-1:] or self._last
            yield chunk

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    @property
    def ends_within_a_line(self) -> bool:
        return self._last != b"\n"


@pages.get("/<path:name>")
def played(name: str) -> str:
    require("get", KIND, role=ROLE)
    seal, unasked = _seal(name)
    stored = _stored(name, seal)
    try:
        looked = look(stored, seal, unasked)
    except UnreadableError as error:
        abort(422, f"this recording cannot be read: {error}")
    except OSError as error:
        _away(name, error)
    opening = looked.opening
    return render_template(
        "recording.html",
        name=name,
        is_terminal=opening.is_terminal,
        command=shown(opening.command, 2000),
        facts=[(shown(word), shown(value, 500)) for word, value in opening.about.items() if value],
        began=clock_time(opening.timestamp),
        data=url_for("replay.data", name=name),
        file=url_for("replay.file", name=name),
        rows=looked.rows,
        more=looked.has_more,
        cut=looked.is_cut,
        verdict=looked.verdict.value,
        told=looked.told,
    )


@pages.get("/<path:name>/data")
def data(name: str) -> Response:
    """For the player: whole lines, as many as it may show."""
    require("get", KIND, role=ROLE)
    stored = _stored(name, _seal(name)[0])
    return Response(whole_lines(stored.chunks), mimetype="text/plain; charset=utf-8")


@pages.get("/<path:name>/file")
def file(name: str) -> Response:
    """The recording byte for byte, whatever it is."""
    require("get", KIND, role=ROLE)
    stored = _stored(name, _seal(name)[0])
    answer = Response(stored.chunks, mimetype="application/octet-stream")
    answer.content_length = stored.size
    answer.headers["Content-Disposition"] = f'attachment; filename="{name.rpartition("/")[2]}"'
    return answer


def look(stored: Stored, seal: Seal | None, unasked: str) -> Looked:
    """unasked: why there is no seal. Raises UnreadableError, and OSError."""
    passing = Passing(stored.chunks)
    reading = Reading(lines_of(passing))
    rows, more = ([], False) if reading.opening.is_terminal else _first_rows(reading)
    is_whole = stored.size <= MOST
    if is_whole:
        for _ in passing:
            pass  # what no row was made of counts for the seal all the same
    if seal is None:
        verdict, told = Match.UNKNOWN, unasked
    elif is_whole or (seal.sha256 and seal.size != stored.size):
        verdict, told = match(seal, stored.size, passing.sha256)
    else:
        verdict, told = Match.UNKNOWN, TOO_LONG
    is_cut = reading.cut or (is_whole and passing.ends_within_a_line)
    return Looked(reading.opening, rows, more or not is_whole, verdict, told, is_cut)


def whole_lines(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Up to MOST bytes; a line that was cut off would stop the player."""
    left = MOST
    for line in lines_of(chunks):
        left -= len(line)
        if left < 0 or not line.endswith(b"\n"):
            return
        yield line


def _seal(name: str) -> tuple[Seal | None, str]:
    """(what the audit says, why nobody could ask it). 404 for what is no name of a recording."""
    known = named(name)
    if known is None:
        abort(404, "there is no such recording")
    if not services().settings.records.store:
        return None, "No audit store is configured, so its seal cannot be checked."
    try:
        store = services().records()
        records = store.get(known.audit_id) if store is not None else ()
    except StoreUnavailableError as error:
        log.warning("a recording is shown without its seal: %s", error)
        return None, "The audit store does not answer, so its seal cannot be checked now."
    return seal_of([found.record for found in records], name), ""


def _stored(name: str, seal: Seal | None) -> Stored:
    """503 where the place of recordings does not answer, 404 and 410 where it has no such recording, with the reason."""
    place: Recordings | None = services().recordings
    if place is None:
        abort(503, UNSETTLED)
    try:
        return place.stored(name)
    except FileNotFoundError:
        if seal is None:
            abort(404, "there is no such recording, and the audit could not be asked for the reason")
        abort(410 if seal.removed else 404, f"This recording is not there: {absence(seal)}.")
    except OSError as error:
        _away(name, error)


def _away(name: str, error: OSError) -> NoReturn:
    log.warning("the recording %s cannot be read: %s", name, error)
    abort(503, "The store of recordings does not answer; try again. The console's log says why.")


def _first_rows(reading: Reading) -> tuple[list[dict[str, str]], bool]:
    """(what a page can take, whether there is more). Raises UnreadableError."""
    rows: list[dict[str, str]] = []
    left = MOST_TEXT
    for moment in reading.moments():
        text = _told(moment)
        if len(rows) == MOST_ROWS or len(text) > left:
            return rows, True
        left -= len(text)
        rows.append({"at": f"{moment.at:.3f}", "source": moment.source or moment.what.value, "text": text})
    return rows, False


def _told(moment: Moment) -> str:
    if moment.what is What.RESIZE:
        return f"{moment.size[0]} columns, {moment.size[1]} rows"
    if moment.what in (What.EXIT, What.END):
        words = shown(moment.data.decode("utf-8", "replace"), 500)
        return " ".join(
            part for part in (f"exit code {moment.code}" if moment.code is not None else "", words) if part
        )
    return "\n".join(visible(line, 4096) for line in plain_text(moment.data).split("\n"))
