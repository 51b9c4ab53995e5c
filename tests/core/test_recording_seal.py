"""What the audit says of a recording, and what follows for one that is there, was changed, or is not there."""

from __future__ import annotations

from typing import Any

import pytest

from chaperone.core.audit import Stage
from chaperone.core.recording_seal import (
    Match,
    Seal,
    absence,
    described_as_record,
    match,
    removal_record,
    seal_of,
)

NAME = "2026/11/23/a-1.cast"
DIGEST = "0f" * 32
STREAM: dict[str, Any] = {
    "auditID": "a-1",
    "stage": "ResponseComplete",
    "user": {"username": "repo:acme/app", "issuer": "https://issuer.example"},
    "run": "run-7",
    "agent": "coder",
    "verdict": "Allow",
    "objectRef": {"resource": "pods", "name": "web-1", "subresource": "exec"},
    "recording": {"name": NAME, "state": "sealed", "bytes": 120, "sha256": DIGEST},
}
SEALED = Seal(size=120, sha256=DIGEST, state="sealed", run="run-7")
OLD = "older than 90d"


def removal(told: dict[str, Any] = STREAM) -> dict[str, Any]:
    return removal_record(NAME, "a-1", size=120, told=told, now=1_800_000_000.0, because=OLD)


def test_a_stream_that_goes_on_has_no_seal() -> None:
    assert seal_of([{"stage": "ResponseStarted"}, {"recording": "no"}], NAME) == Seal()
    assert seal_of([{**STREAM, "recording": {"name": "another"}}], NAME) == Seal()


def test_the_last_record_that_names_it_counts() -> None:
    cut = {
        **STREAM,
        "stage": "Panic",
        "recording": {"name": NAME, "state": "cut", "bytes": 7, "sha256": "aa"},
    }
    assert seal_of([{"stage": "ResponseStarted"}, STREAM], NAME) == SEALED
    assert seal_of([cut, STREAM], NAME) == SEALED
    assert seal_of([STREAM, cut], NAME).state == "cut"


@pytest.mark.parametrize("size", [None, "120", True, -1, 1.5])
def test_a_length_that_is_none_fits_nothing(size: object) -> None:
    told = {**STREAM, "recording": {"name": NAME, "state": "sealed", "bytes": size, "sha256": DIGEST}}
    assert match(seal_of([told], NAME), 120, DIGEST)[0] is Match.BROKEN


def test_the_record_of_a_removal_belongs_to_the_run_and_is_no_request() -> None:
    entry = removal()
    assert entry["stage"] == Stage.REMOVED.value == "RecordingRemoved"
    assert (entry["auditID"], entry["run"], entry["agent"]) == ("a-1", "run-7", "coder")
    assert entry["user"] == STREAM["user"]
    assert entry["recording"] == {"name": NAME, "state": "removed", "bytes": 120, "sha256": DIGEST}
    assert entry["reason"] == OLD
    assert "verdict" not in entry


def test_a_removed_recording_keeps_its_seal() -> None:
    found = seal_of([STREAM, removal()], NAME)
    assert found == seal_of([removal(), STREAM], NAME)
    assert (found.size, found.sha256, found.state) == (120, DIGEST, "sealed")
    assert (found.removed[:10], found.because) == ("2027-01-15", OLD)


def test_a_removal_whose_stream_has_no_record_any_more_is_told_from_the_header() -> None:
    about = {"kind": "exec", "namespace": "dev", "pod": "web-1", "user": "u", "groups": ["g"], "run": "run-7"}
    entry = removal(described_as_record(about))
    assert entry["user"] == {"username": "u", "groups": ["g"]}
    assert (entry["run"], entry["objectRef"]["name"]) == ("run-7", "web-1")
    assert "sha256" not in entry["recording"]
    found = seal_of([entry], NAME)
    assert (found.state, found.size, found.sha256, found.run) == ("removed", 120, "", "run-7")
    assert found.removed


@pytest.mark.parametrize("groups", [None, 5, "text", {"a": 1}])
def test_a_header_that_somebody_wrote_into_is_still_a_record(groups: object) -> None:
    entry = removal(described_as_record({"user": ["x"], "run": 7, "groups": groups}))
    assert entry["user"] == {"username": "['x']", "groups": []}
    assert entry["run"] == "7"


@pytest.mark.parametrize(
    ("seal", "size", "digest", "expected", "told"),
    [
        (SEALED, 120, DIGEST, Match.SEALED, "are those in the audit record (sealed)"),
        (SEALED, 121, DIGEST, Match.BROKEN, "121 bytes instead of 120"),
        (SEALED, 120, "aa", Match.BROKEN, "somebody has changed it"),
        (Seal(), 120, DIGEST, Match.UNFINISHED, "has not ended yet"),
        (Seal(state="failed", reason="no space"), 1, DIGEST, Match.UNKNOWN, "no space"),
        (Seal(state="failed"), 1, DIGEST, Match.UNKNOWN, "failed"),
    ],
)
def test_what_is_there_is_held_against_its_seal(
    seal: Seal, size: int, digest: str, expected: Match, told: str
) -> None:
    found, words = match(seal, size, digest)
    assert found is expected
    assert told in words


@pytest.mark.parametrize(
    ("seal", "told"),
    [
        (seal_of([STREAM, removal()], NAME), "removed by retention on 2027-01-15 (older than 90d)"),
        (Seal(state="removed", removed="2027-01-15T00:00:00Z"), "removed by retention on 2027-01-15"),
        (SEALED, "MISSING: the audit record sealed 120 bytes"),
        (Seal(state="failed", reason="no space"), "there is none: no space"),
        (Seal(state="failed"), "there is none: failed"),
        (Seal(), "neither the recordings nor the audit know of it"),
    ],
)
def test_what_is_not_there_has_a_reason(seal: Seal, told: str) -> None:
    assert told in absence(seal)


def test_what_records_say_cannot_move_a_cursor() -> None:
    told = {"recording": {"name": NAME, "state": "failed", "reason": "a\x1b[2J" + "b" * 1000}}
    words = absence(seal_of([told], NAME))
    assert "\x1b" not in words
    assert len(words) < 500
