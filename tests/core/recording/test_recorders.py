"""Recordings: written, cut anywhere, and read back to the same bytes."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaperone.core.recording.asciicast import Asciicast
from chaperone.core.recording.naming import recording_name
from chaperone.core.recording.reading import Moment, Reading, UnreadableError, What
from chaperone.core.recording.recorder import Recorder
from chaperone.core.recording.scene import Outcome, Scene
from chaperone.core.recording.transcript import Transcript

SCENE = Scene(
    kind="exec",
    namespace="dev",
    pod="web-1",
    container="app",
    command=("sh", "-c", "echo hi"),
    tty=True,
    stdin=True,
    user="repo:acme/app",
    run="run-7",
    approval="dev-exec-1",
    audit_id="a-1",
    started_at=1_800_000_000.25,
)
FORMS: tuple[Callable[..., Recorder], ...] = (Asciicast, Transcript)
EITHER = pytest.mark.parametrize("form", FORMS, ids=["asciicast", "transcript"])
RAW = "caf\u00e9 ".encode() + b"\xff\xfe\x00 \x1b[31mred\x1b[0m \xe2\x82" + "€\n".encode()


def lines(recording: bytes) -> list[Any]:
    return [json.loads(line) for line in recording.splitlines()]


def read(recording: bytes) -> list[Moment]:
    return list(Reading(recording.splitlines(keepends=True)).moments())


def output(moments: list[Moment], what: What = What.OUTPUT) -> bytes:
    return b"".join(moment.data for moment in moments if moment.what is what)


def test_an_asciicast_is_what_players_expect() -> None:
    recorder = Asciicast(SCENE)
    recording = recorder.header(50.0)
    recording += recorder.resized(120, 40, 50.0)
    recording += recorder.output("stdout", b"$ ", 50.5)
    recording += recorder.typed(b"ls\r", 51.0)
    recording += recorder.output("stdout", "é\r\n".encode(), 51.25)
    recording += recorder.marked("look here", 52.0)
    recording += recorder.end(Outcome(exit_code=3), 53.5)
    head, *events = lines(recording)
    assert head == {
        "version": 2,
        "width": 80,
        "height": 24,
        "timestamp": 1_800_000_000,
        "command": "sh -c 'echo hi'",
        "title": "exec dev/web-1",
        "chaperone": {
            "kind": "exec",
            "namespace": "dev",
            "pod": "web-1",
            "container": "app",
            "stdin": True,
            "user": "repo:acme/app",
            "run": "run-7",
            "approval": "dev-exec-1",
            "auditID": "a-1",
        },
    }
    assert events == [
        [0.0, "r", "120x40"],
        [0.5, "o", "$ "],
        [1.0, "i", "ls\r"],
        [1.25, "o", "é\r\n"],
        [2.0, "m", "look here"],
        [3.5, "x", "3"],
    ]
    assert recorder.duration == 3.5
    assert recorder.length == len(recording)


def test_a_transcript_keeps_streams_apart_and_says_how_it_ended() -> None:
    recorder = Transcript(SCENE)
    recording = recorder.header(5.0)
    recording += recorder.output("stdout", b"out", 5.0)
    recording += recorder.output("stderr", b"\xff", 5.0)
    recording += recorder.typed(b"in", 6.0)
    recording += recorder.resized(80, 25, 6.0) + recorder.marked("note", 6.0)
    outcome = Outcome(exit_code=0, reason="closed", sent={"stdout": 3}, ports={80: 9})
    recording += recorder.end(outcome, 7.0)
    head, *events = lines(recording)
    assert head["format"] == "chaperone-transcript"
    assert head["command"] == ["sh", "-c", "echo hi"]
    assert head["timestamp"] == 1_800_000_000.25
    assert events == [
        {"at": 0.0, "stream": "stdout", "text": "out"},
        {"at": 0.0, "stream": "stderr", "base64": "/w=="},
        {"at": 1.0, "stream": "stdin", "text": "in"},
        {"at": 1.0, "resize": [80, 25]},
        {"at": 1.0, "mark": "note"},
        {
            "at": 2.0,
            "end": True,
            "truncated": False,
            "exitCode": 0,
            "reason": "closed",
            "bytes": {"stdout": 3},
            "ports": {"80": 9},
        },
    ]
    assert read(recording) == [
        Moment(0.0, What.OUTPUT, b"out", "stdout"),
        Moment(0.0, What.OUTPUT, b"\xff", "stderr"),
        Moment(1.0, What.INPUT, b"in", "stdin"),
        Moment(1.0, What.RESIZE, size=(80, 25)),
        Moment(1.0, What.MARK, b"note"),
        Moment(2.0, What.END, b"closed", code=0),
    ]


def test_ends_without_words() -> None:
    assert Asciicast(SCENE).end(Outcome(), 1.0) == b""
    assert lines(Asciicast(SCENE).end(Outcome(reason="killed"), 1.0)) == [[1.0, "m", "killed"]]
    assert lines(Transcript(SCENE).end(Outcome(), 1.0)) == [{"at": 1.0, "end": True, "truncated": False}]


def test_a_port_forward_has_a_header_and_an_end() -> None:
    scene = Scene(
        kind="portforward", namespace="dev", pod="web", ports=(80,), audit_id="a", started_at=1.0, tty=True
    )
    assert not scene.is_terminal
    recorder = Transcript(scene)
    head, end = lines(recorder.header(0.0) + recorder.end(Outcome(ports={80: 12}), 1.0))
    assert head["chaperone"]["ports"] == [80]
    assert "command" not in head
    assert end["ports"] == {"80": 12}


@EITHER
def test_the_recorded_output_replays_to_the_same_bytes(form: Callable[..., Recorder]) -> None:
    recorder = form(SCENE)
    recording = recorder.header(0.0) + recorder.output("stdout", RAW, 1.0) + recorder.typed(RAW, 2.0)
    recording += recorder.end(Outcome(exit_code=0), 3.0)
    assert output(read(recording)) == RAW
    assert output(read(recording), What.INPUT) == RAW


@EITHER
@given(st.binary(max_size=300), st.integers(1, 50))
def test_cuts_do_not_change_the_recording(form: Callable[..., Recorder], data: bytes, step: int) -> None:
    def record(pieces: list[bytes]) -> bytes:
        recorder = form(SCENE)
        written = [recorder.header(0.0)] + [recorder.output("stdout", piece, 1.0) for piece in pieces]
        return b"".join([*written, recorder.end(Outcome(exit_code=0), 2.0)])

    whole = record([data])
    assert record([data[at : at + step] for at in range(0, len(data), step)]) == whole
    assert output(read(whole)) == data


@EITHER
def test_all_that_stands_before_a_cut_plays(form: Callable[..., Recorder]) -> None:
    recorder = form(SCENE)
    recording = recorder.header(0.0) + recorder.resized(100, 30, 0.5)
    for number, data in enumerate((b"one ", RAW, b"three")):
        recording += recorder.output("stdout", data, 1.0 + number)
    recording += recorder.end(Outcome(exit_code=0), 9.0)
    whole = read(recording)
    for size in range(len(recording) + 1):
        part = recording[:size]
        if b"\n" not in part:
            with pytest.raises(UnreadableError):
                Reading(part.splitlines(keepends=True))
            continue
        reading = Reading(part.splitlines(keepends=True))
        moments = list(reading.moments())
        assert len(moments) <= len(whole)
        for found, expected in zip(moments, whole, strict=False):
            assert (found.at, found.what) == (expected.at, expected.what)
        assert reading.cut == (not part.endswith(b"\n"))
    assert moments == whole


def test_a_clock_that_goes_back_stands_still() -> None:
    recorder = Asciicast(SCENE)
    recording = recorder.header(10.0) + recorder.marked("a", 10.0) + recorder.marked("b", 12.0)
    recording += recorder.marked("c", 3.0) + recorder.end(Outcome(exit_code=0), 2.0)
    assert [event[0] for event in lines(recording)[1:]] == [0.0, 2.0, 2.0, 2.0]


@EITHER
def test_silence_writes_what_was_said(form: Callable[..., Recorder]) -> None:
    recorder = form(SCENE)
    assert recorder.output("stdout", b"a", 1.0) == b""
    assert recorder.settle(1.0) == b""
    assert output(read(recorder.header(0.0) + recorder.settle(2.0))) == b"a"


@EITHER
def test_a_pulse_shows_nothing_and_keeps_the_order(form: Callable[..., Recorder]) -> None:
    recorder = form(SCENE)
    recording = recorder.header(0.0) + recorder.output("stdout", b"a", 1.0) + recorder.pulse(300.0)
    recording += recorder.output("stdout", b"b", 301.0) + recorder.end(Outcome(exit_code=0), 302.0)
    assert any(b"300" in line for line in recording.splitlines())
    assert output(read(recording)) == b"ab"


@EITHER
def test_a_recording_has_a_limit_that_shows(form: Callable[..., Recorder]) -> None:
    recorder = form(SCENE, limit=2000)
    recording = recorder.header(0.0)
    for number in range(100):
        recording += recorder.output("stdout", b"x" * 100, float(number))
    assert recorder.truncated
    recording += recorder.end(Outcome(exit_code=0), 100.0)
    assert recorder.length == len(recording) < 2400
    moments = read(recording)
    assert b"at its limit of 2000 bytes" in output(moments, What.MARK)
    assert moments[-1].code == 0
    assert moments[-1].at == 100.0


@EITHER
def test_what_strangers_wrote_cannot_break_a_line(form: Callable[..., Recorder]) -> None:
    evil = 'x\n\x1b]0;evil\x07"\u2028'
    scene = Scene(kind="exec", namespace=evil, pod=evil, command=(evil,), audit_id="a", started_at=1.0)
    recorder = form(scene)
    recording = recorder.header(0.0) + recorder.marked(evil, 1.0)
    assert len(recording.split(b"\n")) == 3
    assert b"\x1b" not in recording


# Reading what is no recording of ours

CAST = b'{"version":2,"width":80,"height":24}\n'
NOTES = b'{"format":"chaperone-transcript","version":1}\n'
NO_HEADERS = [b"", b"\n", b"[]\n", b"{}\n", b"x\n", b'{"version":3}\n', b'{"version":2,"width":"a","height":1}\n',
              b'{"version":2,"width":70000,"height":1}\n', b'{"format":"chaperone-transcript","version":2}\n', CAST[:-1]]  # fmt: skip
NO_EVENTS = [
    *((CAST, text) for text in (b"{}", b"[1]", b"[1,2,3]", b'["a","o","x"]', b'[-1,"o","x"]', b'[true,"o","x"]',
                                b'[1,"r","80"]', b'[1,"r","x"]', b'[1,"r","99999x1"]', b'[1,"x","a"]', b'[1,"b","!"]',
                                b'[1,"b","\xc3\xa9"]', b"nonsense")),
    *((NOTES, text) for text in (b"[]", b"{}", b'{"at":1,"resize":[1]}', b'{"at":1,"resize":1}', b'{"at":1,"end":true,"exitCode":{}}',
                                 b'{"at":1,"stream":"stdout","base64":"!"}')),
]  # fmt: skip


@pytest.mark.parametrize("text", NO_HEADERS)
def test_what_has_no_header_is_no_recording(text: bytes) -> None:
    with pytest.raises(UnreadableError):
        Reading(text.splitlines(keepends=True))


@pytest.mark.parametrize(("head", "text"), NO_EVENTS)
def test_a_whole_line_that_is_no_event_is_told(head: bytes, text: bytes) -> None:
    with pytest.raises(UnreadableError):
        read(head + text + b"\n")


def test_other_peoples_casts_play() -> None:
    cast = b'{"version":2,"width":80,"height":24,"timestamp":7,"command":"top","env":{}}\n'
    cast += b'[0.1,"o","hi"]\n[0.2,"z","?"]\n[0.3,"b","aGk="]\n[1,"m",""]\n'
    reading = Reading(cast.splitlines(keepends=True))
    assert reading.opening.timestamp == 7
    assert reading.opening.command == "top"
    assert reading.opening.about == {}
    assert [moment.what for moment in reading.moments()] == [What.OUTPUT, What.MARK]
    notes = (
        b'{"format":"chaperone-transcript","version":1,"chaperone":[],"timestamp":"x"}\n{"at":1,"more":1}\n'
    )
    assert list(Reading(notes.splitlines(keepends=True)).moments()) == []


def test_an_endless_line_is_the_end() -> None:
    reading = Reading([CAST, b'[1,"o","' + b"x" * (1 << 20) + b'"]\n', b'[2,"o","y"]\n'])
    assert list(reading.moments()) == []
    assert reading.cut


def test_names_are_by_day() -> None:
    assert recording_name("a-1", 1_800_000_000.0, terminal=True) == "2027/01/15/a-1.cast"
    assert recording_name("a-1", 1_800_000_000.0, terminal=False) == "2027/01/15/a-1.jsonl"


def test_command_lines_are_quoted_and_bounded() -> None:
    scene = Scene(
        kind="exec",
        namespace="d",
        pod="p",
        command=("echo", "", "it's", "\x1b[0m"),
        audit_id="a",
        started_at=0,
    )
    assert scene.command_line == "echo '' 'it'\\''s' '\\x1b[0m'"
    long = Scene(kind="exec", namespace="d", pod="p", command=("x" * 9000,), audit_id="a", started_at=0)
    assert len(long.command_line) == 4096


def test_base64_is_what_it_says() -> None:
    recorder = Asciicast(SCENE)
    recorder.output("stdout", b"\xff", 1.0)
    (shown, exact) = lines(recorder.end(Outcome(), 1.0))
    assert (shown[1], exact[1]) == ("o", "b")
    assert shown[2] == "\ufffd"
    assert base64.b64decode(exact[2]) == b"\xff"


@pytest.mark.parametrize("size", [(0, 0), (0, 24), (80, 0)])
def test_a_size_that_no_player_can_draw_is_left_out(size: tuple[int, int]) -> None:
    recorder = Asciicast(SCENE)
    recorder.header(0.0)
    assert recorder.resized(*size, 0.5) == b""
