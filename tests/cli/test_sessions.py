"""Sessions on the command line: found by what people have at hand, shown, ended, followed."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
import typer
import yaml

from chaperone.cli import session_words as words
from chaperone.cli import sessions as commands
from chaperone.core import session as objects
from chaperone.core.identity import Caller
from chaperone.core.session import PAST, STALE_AFTER, Counts, Entry
from chaperone.core.timestamp import rfc3339
from chaperone.store.interface import Found, Page, Query
from tests.cli.conftest import Shell
from tests.cli.fake_cluster import SESSIONS, FakeCluster

if TYPE_CHECKING:
    from chaperone.store.interface import AuditStore

NOW = time.time()
HOSTILE = "ok\x1b[2J\u202e\r\nterminated: run-9"
AGENT = Caller(
    issuer="https://issuer.example", subject="sub-1", username="repo:acme/web", agent="coder", model="m-1"
)


def session(
    run: str, *, quiet: float = 5.0, phase: str = "Active", entries: Any = None, **spec: Any
) -> dict[str, Any]:
    caller = Caller(**{**{name: getattr(AGENT, name) for name in AGENT.__slots__}, "run": run})
    obj = objects.build(caller, ["coders", "all"], started_at=NOW - 600)
    obj["metadata"] |= {"uid": f"uid-{run}", "creationTimestamp": rfc3339(NOW - 600)}
    instances = {
        name: entry.fields() for name, entry in (entries or {"a.1": Entry(Counts(3), 0, NOW)}).items()
    }
    status = {"phase": phase, "lastActivity": rfc3339(NOW - quiet), "instances": instances}
    return {**obj, "spec": {**obj["spec"], **spec}, "status": status}


@pytest.fixture
def runs(cluster: FakeCluster) -> FakeCluster:
    busy = {"a.1": Entry(Counts(5, 1, 2, 1, 3), 2, NOW), PAST: Entry(Counts(10), 0, NOW)}
    gone = {"b.1": Entry(Counts(1), 7, NOW - STALE_AFTER - 60)}
    made = [
        session("run-7", entries=busy),
        session("run-8", quiet=700, phase="Ended", entries=gone),
        session(
            "run-9",
            quiet=60,
            phase="Terminated",
            terminated=True,
            terminatedBy="ann",
            terminatedReason=HOSTILE,
        ),
    ]
    cluster.sessions = {obj["metadata"]["name"]: obj for obj in made}
    return cluster


def name_of(cluster: FakeCluster, run: str) -> str:
    (name,) = [name for name, obj in cluster.sessions.items() if obj["spec"]["run"] == run]
    return name


def test_list_shows_the_numbers_of_all_gateways(runs: FakeCluster, shell: Shell) -> None:
    done = shell("sessions", "list")
    header, *rows = [line.split() for line in done.out.splitlines()]
    assert header == list(words.COLUMNS)
    assert [row[3] for row in rows] == ["run-8", "run-9", "run-7"]
    assert rows[2][1:9] == ["Active", "coder", "run-7", "15", "1", "2", "3", "2"]
    assert rows[0][1] == "Ended"
    assert rows[0][8] == "0", "streams of a gateway that is gone"
    assert [line.split()[3] for line in shell("sessions", "list", "--active").out.splitlines()[1:]] == [
        "run-7"
    ]


def test_list_in_other_forms(runs: FakeCluster, shell: Shell) -> None:
    wide = shell("sessions", "list", "-o", "wide").out.splitlines()
    assert "TERMINATED BY" in wide[0]
    assert "coders,all" in wide[1]
    as_json = json.loads(shell("sessions", "list", "-o", "json").out)
    assert yaml.safe_load(shell("sessions", "list", "-o", "yaml").out) == as_json
    assert len(as_json["items"]) == 3


def test_nothing_to_list(cluster: FakeCluster, shell: Shell) -> None:
    assert shell("sessions", "list").err == "there are no AgentSessions\n"
    done = shell("sessions", "list", "--active")
    assert (done.code, done.out, done.err) == (0, "", "no run is active\n")


def test_show_tells_whose_and_how_much(runs: FakeCluster, shell: Shell) -> None:
    out = shell("sessions", "show", "run-7").out
    for told in (
        f"{name_of(runs, 'run-7')}: Active",
        "run           run-7",
        "user          repo:acme/web",
        "policies      coders, all",
        "requests      15",
        "changes       3",
        "open streams  2",
        "counted by    2 gateway processes",
    ):
        assert told in out
    shown = shell("sessions", "show", "run-7", "-o", "yaml").out
    assert yaml.safe_load(shown) == json.loads(shell("sessions", "show", "run-7", "-o", "json").out)


def test_what_a_stranger_wrote_stays_in_its_line(runs: FakeCluster, shell: Shell) -> None:
    done = shell("sessions", "show", "run-9")
    assert "\u202e" not in done.out
    assert [line for line in done.out.splitlines() if line.startswith("terminated")] == [
        "terminated by ann: ok\\x1b[2J\\u202e\\r\\nterminated: run-9"
    ]


def test_a_session_is_found_by_its_name_the_beginning_of_it_or_its_run(
    runs: FakeCluster, shell: Shell
) -> None:
    name = name_of(runs, "run-7")
    for given in (name, "coder-run-7", "run-7"):
        assert shell("sessions", "show", given).out.startswith(f"{name}: Active")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("coder-run", "give more of the name"),
        ("run-", 'there is no AgentSession "run-"'),
        ("x\x1b", 'there is no AgentSession "x\\x1b"'),
        ("", "name an AgentSession"),
    ],
)
@pytest.mark.parametrize("command", [("show",), ("kill", "--reason", "r", "--yes"), ("follow",)])
def test_what_fits_nothing_or_too_much_is_wrong_usage(
    runs: FakeCluster, shell: Shell, command: tuple[str, ...], given: str, told: str
) -> None:
    done = shell("sessions", *command, given)
    assert (done.code, done.out) == (2, "")
    assert told in done.err
    assert done.err.count("\n") == 1


def test_a_whole_name_wins_over_longer_ones(runs: FakeCluster, shell: Shell) -> None:
    name = name_of(runs, "run-7")
    longer = session("run-70")
    longer["metadata"]["name"] = f"{name}x"
    runs.sessions[f"{name}x"] = longer
    assert shell("sessions", "show", name).out.startswith(f"{name}: ")


def test_a_cluster_without_the_kind_is_told(cluster: FakeCluster, shell: Shell) -> None:
    cluster.refusals[SESSIONS] = (404, "NotFound", "the server could not find the requested resource")
    done = shell("sessions", "list")
    assert done.code == 1
    assert "knows no AgentSessions" in done.err


# The switch


def test_kill_ends_a_run_with_the_reason(runs: FakeCluster, shell: Shell) -> None:
    done = shell("sessions", "kill", "run-7", "--reason", "too eager", "--yes")
    assert done.code == 0
    assert "terminated: coder-run-7-" in done.out
    assert "run run-7 of agent coder (repo:acme/web)" in done.out
    assert "open streams (2)" in done.out
    patches = [(path, body) for method, path, _, body in runs.seen if method == "PATCH"]
    body = {"spec": {"terminated": True, "terminatedReason": "too eager"}}
    assert patches == [(f"{SESSIONS}/{name_of(runs, 'run-7')}", body)]


def test_killing_twice_changes_nothing(runs: FakeCluster, shell: Shell) -> None:
    done = shell("sessions", "kill", "run-9", "--reason", "again", "--yes")
    assert done.code == 0
    assert "was terminated before by ann" in done.out
    assert all(method == "GET" for method, *_ in runs.seen)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("run-7", "--reason", "r"), "give --yes"),
        (("run-7", "--reason", "", "--yes"), "--reason has to be"),
        (("run-7", "--reason", "r" * 1025, "--yes"), "--reason has to be"),
        (("run-7", "--yes"), "--reason"),
    ],
)
def test_kill_does_nothing_by_halves(
    runs: FakeCluster, shell: Shell, arguments: tuple[str, ...], told: str
) -> None:
    done = shell("sessions", "kill", *arguments)
    assert done.code == 2
    assert told in done.err
    assert all(method == "GET" for method, *_ in runs.seen)


@pytest.mark.parametrize(("says", "code"), [(True, 0), (False, 1)])
def test_on_a_terminal_it_asks(
    runs: FakeCluster, shell: Shell, monkeypatch: pytest.MonkeyPatch, says: bool, code: int
) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr(typer, "confirm", lambda _question: says)
    done = shell("sessions", "kill", "run-7", "--reason", "r")
    assert done.code == code
    assert "with 2 open streams; it cannot be taken back" in done.out
    assert bool(runs.sessions[name_of(runs, "run-7")]["spec"].get("terminated")) is says


def test_a_refusal_is_told_in_the_webhooks_words(runs: FakeCluster, shell: Shell) -> None:
    path = f"{SESSIONS}/{name_of(runs, 'run-7')}"
    runs.refusals[path] = (403, "Forbidden", "sessions are not for agents to change")
    done = shell("sessions", "kill", "run-7", "--reason", "r", "--yes")
    assert (done.code, done.out) == (1, "")
    assert "sessions are not for agents to change" in done.err


# Following


def test_follow_tells_what_grows_until_the_run_has_ended(
    runs: FakeCluster, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "PAUSE", 0.01)
    obj = runs.sessions[name_of(runs, "run-7")]
    looks: list[int] = []

    def go_on() -> None:
        looks.append(1)
        if len(looks) == 3:
            obj["status"]["instances"]["a.1"] = Entry(Counts(9, 1, 2, 1, 3), 1, NOW).fields()
        if len(looks) == 5:
            obj["spec"] |= {"terminated": True, "terminatedBy": "ann"}
            obj["status"]["instances"]["a.1"] = Entry(Counts(9, 1, 2, 1, 3), 0, NOW).fields()

    runs.on_look = go_on
    done = shell("sessions", "follow", "run-7")
    assert done.code == 0
    first, grown, ended, last = done.out.splitlines()
    assert "Active, requests 15, denied 1" in first
    assert "requests 19 (+4), denied 1" in grown
    assert "open streams 1 (-1)" in grown
    assert "Terminated" in ended
    assert last == "terminated by ann"


def test_follow_outlives_a_cluster_that_is_away(
    runs: FakeCluster, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "PAUSE", 0.01)
    name = name_of(runs, "run-7")
    path, looks = f"{SESSIONS}/{name}", []

    def come_and_go() -> None:
        looks.append(1)
        if len(looks) == 2:
            runs.refusals[path] = (503, "ServiceUnavailable", "etcd is away")
            timer()

    def timer() -> None:
        import threading

        def back() -> None:
            del runs.sessions[name], runs.refusals[path]

        threading.Timer(0.2, back).start()

    runs.on_look = come_and_go
    done = shell("sessions", "follow", "run-7")
    assert done.code == 0
    assert done.err.count("etcd is away") == 1
    assert "the session is gone" in done.err


class Records:
    """Newest first, as a store answers."""

    def __init__(self) -> None:
        self.found: list[Found] = []

    def add(self, number: int, subject: str = "sub-1", at: float = NOW) -> None:
        record = {"auditID": f"id-{number}", "user": {"subject": subject}, "verb": "get", "verdict": "Allow"}
        self.found.append(Found(number, "gw", number, at, record, b""))

    def search(self, query: Query, *, limit: int = 50, cursor: str = "") -> Page:
        assert (query.run, query.issuer) == ("run-7", AGENT.issuer)
        kept = [found for found in self.found if found.time >= query.since]
        return Page(tuple(sorted(kept, key=lambda found: -found.time)[:limit]), "")


def test_requests_are_told_once_and_late_ones_too() -> None:
    store = Records()
    newer = commands.requests_of(cast("AuditStore", store), objects.read(session("run-7")), NOW)
    store.add(1)
    store.add(2, subject="somebody else")
    assert len(newer()) == 1
    assert newer() == ()
    store.add(3, at=NOW + 100)
    assert len(newer()) == 1
    store.add(4, at=NOW + 75)
    store.add(5, at=NOW + 10)
    assert [line.split()[0] for line in newer()] == [rfc3339(NOW + 75)], "the other is too late"
    assert newer() == ()


def test_a_store_that_is_not_there_is_told(runs: FakeCluster, shell: Shell, tmp_path: Path) -> None:
    done = shell("sessions", "follow", "run-8", "--store", str(tmp_path / "nothing.db"))
    assert done.code == 1
    assert "nothing.db" in done.err
