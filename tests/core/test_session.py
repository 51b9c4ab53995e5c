"""Sessions as objects: named, read whatever is in them, counted by many writers, ended by the clock."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaperone.core import run_limits
from chaperone.core import session as sessions
from chaperone.core.identity import Caller
from chaperone.core.policy import Limits
from chaperone.core.request import Request, parse
from chaperone.core.session import PAST, STALE_AFTER, Counts, Entry, Phase, Session, Termination
from chaperone.core.session_lifetimes import Due, Lifetimes, due, surplus
from chaperone.core.timestamp import rfc3339
from tests.core.policies import policy

NOW = 1_800_000_000.0
CALLER = Caller(
    issuer="https://issuer.example",
    subject="sub-1",
    username="repo:acme/app",
    run="Run_0001",
    agent="Demo Agent",
    model="m-1",
)
KEY = ("https://issuer.example", "sub-1", "Run_0001")
LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
numbers = st.integers(0, 1000)
counts = st.builds(Counts, numbers, numbers, numbers, numbers, numbers)


def stored(status: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    obj = sessions.build(CALLER, ["coders"], started_at=NOW)
    obj["metadata"] |= {"uid": "u", "resourceVersion": "7"}
    obj["spec"] |= spec
    return {**obj, "status": status or {}}


def merged(target: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


# Names


@given(st.text(max_size=300), st.text(max_size=300), st.text(max_size=300), st.text(max_size=300))
def test_a_name_is_always_valid(issuer: str, subject: str, run: str, agent: str) -> None:
    assert LABEL.fullmatch(sessions.session_name((issuer, subject, run), agent))


def test_a_name_can_be_read_and_is_for_one_run_alone() -> None:
    name = sessions.session_name(KEY, CALLER.agent)
    assert name.startswith("demo-agent-run-0001-")
    assert name == sessions.session_name(KEY, CALLER.agent)
    others = [
        ("https://issuer.example", "sub-1", "Run-0001"),
        ("https://issuer.example", "sub-2", "Run_0001"),
    ]
    assert name not in {sessions.session_name(key, CALLER.agent) for key in others}
    assert name != sessions.session_name(KEY, CALLER.agent, 2)


@pytest.mark.parametrize(
    ("key", "agent", "prefix"),
    [
        (("i", "sub-1", ""), "", "sub-1-"),
        (("i", "s", "…"), "", "session-"),
        (("i", "s", "r" * 100), "a", "a-" + "r" * 38 + "-"),
    ],
)
def test_prefixes(key: sessions.RunKey, agent: str, prefix: str) -> None:
    name = sessions.session_name(key, agent)
    assert name.startswith(prefix)
    assert len(name) <= sessions.LONGEST_PREFIX + 13


# Reading


def test_what_is_built_is_read_back() -> None:
    read = sessions.read(stored())
    assert (read.key, read.started_at, read.last_activity) == (KEY, NOW, NOW)
    assert (read.phase, read.termination, read.counts) == (Phase.ACTIVE, None, Counts())
    without = sessions.build(replace(CALLER, run="", agent="", model=""), [], started_at=NOW)["spec"]
    assert not {"run", "agent", "model"} & without.keys()


@pytest.mark.parametrize(
    "status",
    [
        "nonsense",
        {"instances": "nonsense", "phase": 7, "requests": "many", "lastActivity": "yesterday"},
        {"instances": {"a": "nonsense", "b": {"requests": -1, "writtenAt": 5}}, "phase": "Terminated"},
    ],
)
def test_a_broken_status_counts_nothing_and_hides_no_termination(status: Any) -> None:
    obj = {**stored(terminated=True, terminatedBy="ann", terminatedReason="no"), "status": status}
    read = sessions.read(obj)
    assert read.termination == Termination("ann", "", "no")
    assert (read.phase, read.counts) == (Phase.TERMINATED, Counts())
    assert sessions.read({**stored(), "status": status}).phase is Phase.ACTIVE


def test_an_empty_object_is_read_too() -> None:
    read = sessions.read({})
    assert (read.key, read.started_at) == (("", "", ""), 0.0)


def test_who_terminated_it_is_told_legibly() -> None:
    told = str(Termination("ann\x1b", "2026-01-01T00:00:00Z", "too\neager"))
    assert told == "by ann\\x1b at 2026-01-01T00:00:00Z: too\\neager"
    assert str(Termination()) == ""


# Counting


@given(st.lists(st.tuples(st.sampled_from("abcd"), counts), max_size=20))
def test_writers_never_undo_each_other(writes: list[tuple[str, Counts]]) -> None:
    """Each knows the others as they were before all of this; the sum is right all the same."""
    obj = stored()
    seen = sessions.read(obj)
    latest: dict[str, Counts] = {}
    for name, counted in writes:
        latest[name] = latest.get(name, Counts()) + counted
        patch = sessions.written(seen, name, Entry(latest[name], 0, NOW), last_activity=NOW)
        obj = merged(obj, patch)
    assert sessions.read(obj).counts == sessions.total(latest.values())


@given(counts, counts)
def test_counts_add_up_and_come_apart_again(one: Counts, other: Counts) -> None:
    assert (one + other) - other == one


@given(st.dictionaries(st.sampled_from("abcd"), counts, min_size=1), st.sets(st.sampled_from("abcde")))
def test_folding_changes_no_sum(entries: dict[str, Counts], names: set[str]) -> None:
    instances = {name: Entry(counted, 1, NOW).fields() for name, counted in entries.items()}
    obj = stored({"instances": instances})
    before = sessions.read(obj)
    for _ in range(2):
        patch = sessions.folded(sessions.read(obj), sorted({*names, PAST}), NOW)
        obj = merged(obj, patch)
        after = sessions.read(obj)
        assert after.counts == before.counts
        assert not names & after.entries.keys()
    assert sessions.folded(after, names, NOW) == {}


def test_folding_rests_on_the_session_that_was_read() -> None:
    session = sessions.read(stored({"instances": {"a": Entry(Counts(1)).fields()}}))
    assert sessions.folded(session, ["a"], NOW)["metadata"] == {"resourceVersion": "7"}


def test_totals_are_written_and_shown() -> None:
    entry, other = Entry(Counts(5, 1, 1, 1, 2), 1, NOW), Entry(Counts(1), 2, NOW)
    session = sessions.read(stored({"instances": {"b": other.fields()}, "lastActivity": rfc3339(NOW + 9)}))
    patch = sessions.written(session, "a", entry, last_activity=NOW)
    status = patch["status"]
    assert (status["requests"], status["mutations"], status["openStreams"]) == (6, 2, 3)
    assert (status["phase"], status["lastActivity"]) == ("Active", rfc3339(NOW + 9))
    after = sessions.read(merged(stored({"instances": {"b": other.fields()}}), patch))
    assert after.shows_its_counts(NOW)
    assert not replace(after, shown_streams=2).shows_its_counts(NOW)
    assert not replace(after, shown=Counts()).shows_its_counts(NOW)


def test_a_terminated_session_stays_terminated_when_it_is_written() -> None:
    patch = sessions.written(sessions.read(stored(terminated=True)), "a", Entry(), last_activity=NOW)
    assert patch["status"]["phase"] == "Terminated"


def test_streams_of_a_gateway_that_is_gone_do_not_count() -> None:
    old = Entry(Counts(3), 2, NOW - STALE_AFTER - 1)
    session = sessions.read(
        stored({"instances": {"a": old.fields(), "b": Entry(Counts(), 1, NOW).fields(), PAST: old.fields()}})
    )
    assert session.open_streams(NOW) == 1
    assert session.counts.requests == 6
    assert sessions.stale_entries(session, NOW) == ("a",)


def test_folding_shows_the_totals_of_what_is_left() -> None:
    entries = {name: Entry(Counts(2), 1, NOW).fields() for name in "ab"}
    status = sessions.folded(sessions.read(stored({"instances": entries})), ["a"], NOW)["status"]
    assert (status["requests"], status["openStreams"]) == (4, 1)


def test_what_an_earlier_process_left_is_known_by_its_place() -> None:
    names = [sessions.entry_name(*parts) for parts in (("a", "p", 1), ("a", "q", 1), ("ab", "p", 1))]
    session = sessions.read(stored({"instances": {name: Entry().fields() for name in [*names, PAST]}}))
    assert sessions.left_behind(session, "a", "q") == ("a.p.1",)


# Limits, in words


@pytest.mark.parametrize(
    ("method", "target", "counts"),
    [
        ("GET", "/api/v1/pods", False),
        ("DELETE", "/api/v1/namespaces/dev", True),
        ("DELETE", "/api/v1/namespaces/dev?dryRun=All", False),
        ("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", False),
        ("POST", "/api/v1/namespaces/a/serviceaccounts/b/token", True),
        ("GET", "/api/v1/namespaces/a/pods/b/exec", True),
    ],
)
def test_what_counts_as_a_change(method: str, target: str, counts: bool) -> None:
    request = parse(method, target, upgrade="websocket" if target.endswith("exec") else "")
    assert isinstance(request, Request)
    assert run_limits.is_mutation(request) is counts


def test_a_refusal_says_the_limit_the_count_and_who_can_help() -> None:
    named = [
        replace(policy(name), limits=Limits(mutations_per_run=most)) for name, most in (("a", 9), ("b", 3))
    ]
    told = run_limits.too_many_mutations(KEY, named, 3, 3)
    assert told.field == "spec.limits.mutationsPerRun"
    for words in ("run Run_0001 has made 3 changes", "AgentPolicy b allows 3", "can raise", "a new run"):
        assert words in told.message
    long = run_limits.too_long(("i", "s", ""), named, 60.0, rfc3339(NOW))
    for words in ("the session of s", rfc3339(NOW), "60 seconds", "its policy", "idle long enough"):
        assert words in long.message


def test_a_terminated_run_is_told_by_whom_and_why() -> None:
    told = run_limits.terminated(KEY, Termination("ann", "", "too eager")).message
    assert "run Run_0001 was terminated by ann: too eager" in told
    assert "by a person" in run_limits.terminated(KEY, Termination()).message
    assert "deletes its AgentSession" in run_limits.terminated(("i", "s", ""), Termination()).message
    assert "cannot be written" in run_limits.unwritten(KEY).message


# Lifetimes

LIFETIMES = Lifetimes(idle_after=10, end_after=100, keep_ended=1000, keep_terminated=5000, most=2)


def session(**fields: Any) -> Session:
    known: dict[str, Any] = {
        "name": "s",
        "uid": "u",
        "resource_version": "1",
        "key": KEY,
        "started_at": NOW,
        "phase": Phase.ACTIVE,
        "last_activity": NOW,
    }
    return Session(**{**known, **fields})


SWITCHED = session(phase=Phase.TERMINATED, termination=Termination("ann", rfc3339(NOW + 50)))
BUSY = session(entries={"a": Entry(Counts(), 1, NOW + 2000)})


@pytest.mark.parametrize(
    ("which", "shown", "after", "expected"),
    [
        (session(), "Active", 9, Due.NOTHING),
        (session(), "Active", 10, Due.IDLE),
        (session(phase=Phase.IDLE), "Idle", 99, Due.NOTHING),
        (session(phase=Phase.IDLE), "Idle", 100, Due.END),
        (session(), "", 100, Due.END),
        (BUSY, "Active", 2000, Due.NOTHING),
        (session(phase=Phase.ENDED), "Ended", 1099, Due.NOTHING),
        (session(phase=Phase.ENDED), "Ended", 1100, Due.DELETE),
        (SWITCHED, "Active", 5, Due.TERMINATE),
        (SWITCHED, "Terminated", 5049, Due.NOTHING),
        (SWITCHED, "Terminated", 5050, Due.DELETE),
        (replace(SWITCHED, termination=Termination()), "Terminated", 5000, Due.DELETE),
    ],
)
def test_what_the_clock_asks_for(which: Session, shown: str, after: float, expected: Due) -> None:
    assert due(which, shown, LIFETIMES, NOW + after) is expected


def test_kept_for_ever() -> None:
    for_ever = replace(LIFETIMES, keep_ended=0, keep_terminated=0)
    for which in (session(phase=Phase.ENDED), SWITCHED):
        assert due(which, which.phase.value, for_ever, NOW + 1e9) is Due.NOTHING


def test_of_too_many_the_ended_ones_go_the_oldest_first() -> None:
    old, new = (
        session(name=name, phase=Phase.ENDED, last_activity=at) for name, at in (("o", 1.0), ("n", 2.0))
    )
    others = [session(name="a"), replace(SWITCHED, name="t")]
    assert surplus([new, old, *others], 3) == (old,)
    assert surplus([new, old, *others], 1) == (old, new)
    assert surplus([new, old], 2) == ()
