"""Recordings as pages: played, told, checked against their seal; and whatever is not one."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from console.replay import MOST_ROWS, FolderRecordings
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
    store: Any = FakeStore(
        *([record(ID, recording={"name": name.removesuffix(".part"), **sealed})] if sealed else [])
    )
    settings = replace(
        stage.services.settings, records=replace(stage.services.settings.records, store="sqlite:///x")
    )
    services = replace(
        stage.services, records=lambda: store, settings=settings, recordings=FolderRecordings(folder)
    )
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
    for path in (f"/recordings/{CAST}", f"/recordings/{CAST}/data"):
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
