"""What a run changed, as a page: over a real store, with records as a gateway writes them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chaperone.store.opening import Store, open_store
from console import changes
from tests.console.conftest import AGENT_SESSIONS, URL, Stage
from tests.console.test_records import HOSTILE, session, viewer
from tests.store.conftest import NOW, Bench, event

ISSUER, USER = "https://issuer.example", "agent-1"


def made(name: str, **data: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "dev", "uid": f"uid-{name}"},
        "data": data,
    }


def written(
    name: str, before: Any, after: Any, *, at: float, verb: str = "update", code: int = 200, **more: Any
) -> list[dict[str, Any]]:
    """Both records of one write."""
    shared = {
        "verb": verb,
        "requestURI": f"/api/v1/namespaces/dev/configmaps/{name}",
        "objectRef": {"resource": "configmaps", "apiVersion": "v1", "namespace": "dev", "name": name},
        "user": {"username": USER, "issuer": ISSUER, "subject": "sub-1"},
        "level": "RequestResponse",
        **more,
    }
    state = {"state": "Absent"} if before is None else {"state": "Present", "object": before}
    received = event(f"id-{name}-{at}", at=at, **shared, stage="RequestReceived", objectBefore=state)
    ended = event(f"id-{name}-{at}", at=at + 0.1, **{**shared, "responseStatus": {"code": code}})
    return [received, {**ended, "responseObject": after}]


@pytest.fixture
def written_to(tmp_path: Path, stage: Stage) -> Iterator[tuple[Bench, Store]]:
    """The store that the stage's console reads."""
    bench = Bench(f"sqlite:///{tmp_path / 'audit.db'}")
    store = open_store(bench.address)
    settings = replace(stage.services.settings, records=replace(stage.services.settings.records, store="x"))
    services = replace(stage.services, records=lambda: store, settings=settings)
    stage.browser().application.extensions["chaperone"] = services
    stage.api.add(AGENT_SESSIONS, session())
    yield bench, store
    store.close()
    bench.writer.close()


def page(stage: Stage, query: str = "") -> str:
    answer = viewer(stage).get(f"/sessions/coder-run-1/changes{query}", base_url=URL)
    assert answer.status_code == 200, answer.text
    return str(answer.text)


def test_objects_from_before_to_after(stage: Stage, written_to: tuple[Bench, Store]) -> None:
    bench, _ = written_to
    secret = "masked:a1b2c3"
    bench.write(
        *written("conf", made("conf", a="1", password=secret), made("conf", a="2", password=secret), at=NOW),
        *written(
            "conf", made("conf", a="2", password=secret), made("conf", a="3", password=secret), at=NOW + 1
        ),
        *written("gone", made("gone", k="v"), {"kind": "Status"}, at=NOW + 2, verb="delete"),
        event("read", at=NOW + 3),
    )
    text = page(stage)
    assert "configmaps dev/conf: changed" in text
    assert "data.a: 1 -&gt; 3" in text, "the net change, not each step"
    assert "configmaps dev/gone: deleted" in text
    assert secret in text, "as it is recorded"
    assert text.count('href="/audit/id-conf-') == 2
    assert "1 to 2 of 2 objects" in text


def test_another_caller_with_a_run_of_this_name_is_left_out(
    stage: Stage, written_to: tuple[Bench, Store]
) -> None:
    bench, _ = written_to
    mallory = {"username": "mallory", "issuer": "https://evil.example", "subject": "x"}
    bench.write(*written("theirs", None, made("theirs"), at=NOW, verb="create", user=mallory))
    assert "theirs" not in page(stage)
    assert "It changed no object" in page(stage)
    timeline = viewer(stage).get("/sessions/coder-run-1", base_url=URL).text
    assert "theirs" not in timeline


def test_text_of_strangers_is_shown_and_never_run(stage: Stage, written_to: tuple[Bench, Store]) -> None:
    bench, _ = written_to
    bench.write(*written("conf", made("conf"), made("conf", **{HOSTILE: HOSTILE}), at=NOW))
    text = page(stage)
    assert "<img" not in text
    assert "\x1b" not in text
    assert "&lt;img" in text


def test_many_objects_come_in_pages(stage: Stage, written_to: tuple[Bench, Store]) -> None:
    bench, _ = written_to
    for number in range(changes.OBJECTS + 3):
        bench.write(*written(f"m{number}", None, made(f"m{number}"), at=NOW + number, verb="create"))
    first = page(stage)
    assert "1 to 10 of 13 objects" in first
    assert "dev/m10" not in first
    second = page(stage, "?start=10")
    assert "11 to 13 of 13 objects" in second
    assert "dev/m12: created" in second
    assert "no further objects" in page(stage, "?start=999")
    for start in ("x", "-1", "9" * 9):
        answer = viewer(stage).get(f"/sessions/coder-run-1/changes?start={start}", base_url=URL)
        assert answer.status_code == 400


def test_a_page_is_made_of_so_many_bytes(
    stage: Stage, written_to: tuple[Bench, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    bench, _ = written_to
    monkeypatch.setattr(changes, "MOST_BYTES", 50_000)
    for number in range(9):
        bench.write(*written(f"m{number}", None, made(f"m{number}", a="x" * 8000), at=NOW + number))
    text = page(stage)
    assert "there are more than a page is made of" in text
    assert "sessions diff run-1" in text
    assert "1 to 6 of 6 objects" in text, "the beginning of the sixth write still fits"


def test_one_object_never_fills_more_than_its_share(stage: Stage, written_to: tuple[Bench, Store]) -> None:
    bench, _ = written_to
    huge = {f"key-{number}": f"value {number}" for number in range(1900)}
    bench.write(*written("conf", made("conf"), made("conf", **huge), at=NOW))
    answer = page(stage)
    assert len(answer) < 60_000
    assert "The rest is left out." in answer


def test_an_edited_record_is_said(stage: Stage, written_to: tuple[Bench, Store]) -> None:
    bench, _ = written_to
    bench.write(*written("conf", made("conf", a="1"), made("conf", a="2"), at=NOW))
    bench.sql('UPDATE records SET line = replace(line, \'"a":"2"\', \'"a":"9"\')')
    assert "1 of these records are not what was written" in page(stage)


def test_it_takes_the_rights_to_runs_and_to_the_audit(stage: Stage, written_to: tuple[Bench, Store]) -> None:
    stage.api.allow("rita", "get", "agentsessions")
    stage.api.allow("anna", "get", "auditrecords")
    for person in ("rita", "anna", "carol"):
        answer = stage.browser(person).get("/sessions/coder-run-1/changes", base_url=URL)
        assert answer.status_code == 403
    assert viewer(stage).get("/sessions/none/changes", base_url=URL).status_code == 404


def test_a_caller_without_runs_is_told_where_to_look(stage: Stage, written_to: tuple[Bench, Store]) -> None:
    stage.api.add(AGENT_SESSIONS, session("nobody", run=""))
    answer = viewer(stage).get("/sessions/nobody/changes", base_url=URL)
    assert answer.status_code == 404
    assert "names no run" in answer.text
