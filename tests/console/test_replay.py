"""Recordings as pages: played, told, checked against their seal; and whatever is not one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chaperone.core.recording_seal import removal_record
from chaperone.store.interface import StoreUnavailableError
from chaperone.store.recording_folder import FolderRecordings
from chaperone.store.recording_store import Recordings, Stored
from console import replay
from console.replay import MOST_ROWS
from tests.console.conftest import URL, Stage
from tests.console.test_records import FakeStore, record

ID = "11111111-2222-3333-4444-555555555555"
CAST = f"2026/01/31/{ID}.cast"
TOLD = f"2026/01/31/{ID}.jsonl"
TERMINAL = b'{"version":2,"width":80,"height":24,"timestamp":1,"command":"sh","chaperone":{"pod":"web-0"}}\n[0.5,"o","hi"]\n'
COMMAND = (
    b'{"format":"chaperone-transcript","version":1,"timestamp":1,"command":["env"],"chaperone":{"pod":"web-0"}}\n'
    b'{"at":0.1,"stream":"stdout","text":"<b>A=1\\u001b[31m\\n"}\n{"at":0.2,"end":true,"exitCode":3}\n'
)


def setup(stage: Stage, folder: Path, name: str, content: bytes, sealed: dict[str, Any] | None) -> Any:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    told = [record(ID, recording={"name": name.removesuffix(".part"), **sealed})] if sealed else []
    return browser_on(stage, FolderRecordings(folder), FakeStore(*told))


def browser_on(stage: Stage, place: Recordings, store: Any) -> Any:
    """store: an audit store, or what is raised instead of one."""

    def records() -> Any:
        if isinstance(store, Exception):
            raise store
        return store

    settings = replace(
        stage.services.settings, records=replace(stage.services.settings.records, store="sqlite:///x")
    )
    services = replace(stage.services, records=records, settings=settings, recordings=place)
    stage.browser().application.extensions["chaperone"] = services
    stage.api.allow("victor", "get", "recordings")
    return stage.browser("victor")


def seal_of(content: bytes) -> dict[str, Any]:
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest(), "state": "sealed"}


def test_a_terminal_is_for_the_player(stage: Stage, tmp_path: Path) -> None:
    browser = setup(stage, tmp_path, CAST, TERMINAL, seal_of(TERMINAL))
    page = browser.get(f"/recordings/{CAST}", base_url=URL).text
    assert f'data-cast="/recordings/{CAST}/data"' in page
    assert "are those in the audit record" in page
    answer = browser.get(f"/recordings/{CAST}/data", base_url=URL)
    assert answer.data == TERMINAL
    assert answer.mimetype == "text/plain"


def test_a_command_is_told_and_its_output_cannot_act(stage: Stage, tmp_path: Path) -> None:
    page = (
        setup(stage, tmp_path, TOLD, COMMAND, seal_of(COMMAND)).get(f"/recordings/{TOLD}", base_url=URL).text
    )
    assert "&lt;b&gt;A=1" in page
    assert "\x1b" not in page
    assert "exit code 3" in page
    assert "asciinema" not in page


@pytest.mark.parametrize(
    ("content", "said", "told"),
    [
        (TERMINAL + b'[1,"o","more"]\n', seal_of(TERMINAL), "somebody has changed it"),
        (TERMINAL[:-3], seal_of(TERMINAL), "somebody has changed it"),
        (TERMINAL, {"state": "failed", "reason": "no space left"}, "no space left"),
        (TERMINAL, None, "has not ended yet"),
    ],
)
def test_what_is_not_as_sealed_is_said(
    stage: Stage, tmp_path: Path, content: bytes, said: dict[str, Any] | None, told: str
) -> None:
    assert told in setup(stage, tmp_path, CAST, content, said).get(f"/recordings/{CAST}", base_url=URL).text


def test_one_that_is_being_written_is_shown_as_far_as_it_has_come(stage: Stage, tmp_path: Path) -> None:
    browser = setup(stage, tmp_path, TOLD + ".part", COMMAND[:-10], None)
    page = browser.get(f"/recordings/{TOLD}", base_url=URL).text
    assert "A=1" in page
    assert "cut off" in page


@pytest.mark.parametrize(
    "name",
    [
        "../../etc/passwd",
        "2026/01/31/../../../x.cast",
        f"2026/01/31/{ID}.txt",
        f"2026/01/31/{ID}.cast.part",
        f"2026/01/32/{ID}.cast",
        "x.cast",
    ],
)
def test_nothing_else_is_read(stage: Stage, tmp_path: Path, name: str) -> None:
    (tmp_path / "x.cast").write_bytes(TERMINAL)
    browser = setup(stage, tmp_path, CAST, TERMINAL, None)
    for path in (f"/recordings/{name}", f"/recordings/{name}/data"):
        assert browser.get(path, base_url=URL).status_code == 404


def test_what_is_no_recording_is_said(stage: Stage, tmp_path: Path) -> None:
    answer = setup(stage, tmp_path, CAST, b"not one\n", None).get(f"/recordings/{CAST}", base_url=URL)
    assert answer.status_code == 422
    assert "cannot be read" in answer.text


def test_recordings_are_for_those_who_may_see_them(stage: Stage, tmp_path: Path) -> None:
    setup(stage, tmp_path, CAST, TERMINAL, None)
    for path in (f"/recordings/{CAST}", f"/recordings/{CAST}/data", f"/recordings/{CAST}/file"):
        assert stage.browser("carol").get(path, base_url=URL).status_code == 403


def test_without_a_place_the_setting_is_named(stage: Stage) -> None:
    stage.api.allow("victor", "get", "recordings")
    answer = stage.browser("victor").get(f"/recordings/{CAST}", base_url=URL)
    assert answer.status_code == 503
    assert "records.recordings" in answer.text


def test_a_transcript_of_any_length_is_a_bounded_page(stage: Stage, tmp_path: Path) -> None:
    content = COMMAND.splitlines(keepends=True)[0] + b'{"at":0.1,"stream":"stdout","text":"line"}\n' * (
        MOST_ROWS + 50
    )
    page = (
        setup(stage, tmp_path, TOLD, content, seal_of(content)).get(f"/recordings/{TOLD}", base_url=URL).text
    )
    assert page.count("<td>stdout</td>") == MOST_ROWS
    assert "There is more" in page


def test_one_row_of_any_length_is_a_bounded_page(stage: Stage, tmp_path: Path) -> None:
    line = b'{"at":0.1,"stream":"stdout","text":"' + b"x\\n" * 200_000 + b'"}\n'
    content = COMMAND.splitlines(keepends=True)[0] + line * 40
    browser = setup(stage, tmp_path, TOLD, content, seal_of(content))
    page = browser.get(f"/recordings/{TOLD}", base_url=URL).text
    assert len(page) < 3 * replay.MOST_TEXT
    assert "There is more" in page
    assert "are those in the audit record" in page


class Long:
    """A recording of more bytes than anybody holds in memory, and how many of them were asked for."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.asked = 0

    def stored(self, _name: str) -> Stored:
        return Stored(self.size, True, self._chunks())

    def _chunks(self) -> Iterator[bytes]:
        yield TERMINAL
        while self.asked < self.size:
            self.asked += 1 << 20
            yield b'[0.5,"o","xxxxxxx"]\n' * 52429


def test_a_long_recording_is_never_held_whole(stage: Stage) -> None:
    place: Any = Long(1 << 33)
    told = {"bytes": 1 << 33, "sha256": "0f" * 32, "state": "sealed"}
    browser = browser_on(stage, place, FakeStore(record(ID, recording={"name": CAST, **told})))
    page = browser.get(f"/recordings/{CAST}", base_url=URL).text
    assert place.asked <= 2 << 20
    assert "too long to be checked here" in page
    assert "There is more" in page
    place.asked = 0
    answer = browser.get(f"/recordings/{CAST}/data", base_url=URL)
    assert len(answer.data) <= replay.MOST
    assert answer.data.endswith(b"]\n")
    assert place.asked <= replay.MOST + (2 << 20)


def test_one_that_is_longer_than_its_seal_was_changed_however_long_it_is(stage: Stage) -> None:
    place: Any = Long(1 << 33)
    told = {"bytes": 120, "sha256": "0f" * 32, "state": "sealed"}
    browser = browser_on(stage, place, FakeStore(record(ID, recording={"name": CAST, **told})))
    assert "somebody has changed it" in browser.get(f"/recordings/{CAST}", base_url=URL).text


# What is not there, and what does not answer


def test_one_that_retention_removed_is_told_with_its_date(stage: Stage, tmp_path: Path) -> None:
    stream = record(ID, recording={"name": CAST, **seal_of(TERMINAL)})
    gone = removal_record(
        CAST, ID, size=9, told=stream.record, now=1_800_000_000.0, because="older than 90 days"
    )
    browser = browser_on(stage, FolderRecordings(tmp_path), FakeStore(stream, replace(stream, record=gone)))
    for path in (f"/recordings/{CAST}", f"/recordings/{CAST}/data", f"/recordings/{CAST}/file"):
        answer = browser.get(path, base_url=URL)
        assert answer.status_code == 410
        assert "removed by retention on 2027-01-15 (older than 90 days)" in answer.text


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (seal_of(TERMINAL), "MISSING: the audit record sealed"),
        ({"state": "failed", "reason": "no <space> left"}, "there is none: no &lt;space&gt; left"),
        (None, "neither the recordings nor the audit know of it"),
    ],
)
def test_one_that_is_not_there_says_why(
    stage: Stage, tmp_path: Path, told: dict[str, Any] | None, words: str
) -> None:
    found = [record(ID, recording={"name": CAST, **told})] if told else []
    browser = browser_on(stage, FolderRecordings(tmp_path), FakeStore(*found))
    answer = browser.get(f"/recordings/{CAST}", base_url=URL)
    assert answer.status_code == 404
    assert words in answer.text


def test_without_the_audit_a_recording_is_shown_as_unchecked(stage: Stage, tmp_path: Path) -> None:
    setup(stage, tmp_path, CAST, TERMINAL, None)
    away = StoreUnavailableError("postgresql://me:hunter2@db is away")
    browser = browser_on(stage, FolderRecordings(tmp_path), away)
    page = browser.get(f"/recordings/{CAST}", base_url=URL).text
    assert "seal cannot be checked now" in page
    assert "are those in the audit record" not in page
    assert "hunter2" not in page
    (tmp_path / CAST).unlink()
    answer = browser.get(f"/recordings/{CAST}", base_url=URL)
    assert answer.status_code == 404
    assert "could not be asked" in answer.text


class Away:
    """A store that is down, or that breaks off in the middle."""

    def __init__(self, first: bytes = b"") -> None:
        self.first = first

    def stored(self, _name: str) -> Stored:
        if not self.first:
            raise OSError("http://169.254.169.254/secret does not answer")
        return Stored(len(TERMINAL), True, self._chunks())

    def _chunks(self) -> Iterator[bytes]:
        yield self.first
        raise OSError("broken off at http://169.254.169.254/secret")


@pytest.mark.parametrize("first", [b"", TERMINAL[:-5]])
def test_a_store_that_does_not_answer_is_said_and_nothing_is_shown(stage: Stage, first: bytes) -> None:
    place: Any = Away(first)
    answer = browser_on(stage, place, FakeStore()).get(f"/recordings/{CAST}", base_url=URL)
    assert answer.status_code == 503
    assert "store of recordings does not answer" in answer.text
    assert "169.254" not in answer.text


@pytest.mark.parametrize("what", ["data", "file"])
def test_what_breaks_off_does_not_end_as_if_it_were_whole(stage: Stage, what: str) -> None:
    place: Any = Away(TERMINAL[:-5])
    browser = browser_on(stage, place, FakeStore())
    with pytest.raises(OSError, match="broken off"):
        assert browser.get(f"/recordings/{CAST}/{what}", base_url=URL).data


@pytest.mark.parametrize(("name", "content"), [(CAST, TERMINAL), (TOLD, COMMAND)])
def test_cut_at_any_byte_it_is_shown_up_to_the_cut_and_never_as_whole(
    stage: Stage, tmp_path: Path, name: str, content: bytes
) -> None:
    browser = setup(stage, tmp_path, name, content, seal_of(content))
    head = content.index(b"\n") + 1
    for length in range(len(content)):
        (tmp_path / name).write_bytes(content[:length])
        answer = browser.get(f"/recordings/{name}", base_url=URL)
        if length < head:
            assert answer.status_code == 422, length
            continue
        assert answer.status_code == 200, length
        assert "somebody has changed it" in answer.text
        assert ("cut off" in answer.text) is not content[:length].endswith(b"\n"), length
        lines = browser.get(f"/recordings/{name}/data", base_url=URL).data
        assert lines == content[: content.rfind(b"\n", 0, length) + 1]


def test_a_download_is_the_file_byte_for_byte(stage: Stage, tmp_path: Path) -> None:
    content = TERMINAL + b"[1"
    browser = setup(stage, tmp_path, CAST, content, seal_of(content))
    answer = browser.get(f"/recordings/{CAST}/file", base_url=URL)
    assert answer.data == content
    assert answer.content_length == len(content)
    assert answer.headers["Content-Disposition"] == f'attachment; filename="{ID}.cast"'
    assert answer.mimetype == "application/octet-stream"
