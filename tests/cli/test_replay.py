"""Replaying: in time on a terminal, plain in a pipe, and never with power over the terminal of whoever looks."""

from __future__ import annotations

import io
import sys
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from chaperone.cli.replay import RESET, Pace, play, replay
from chaperone.core.recording.asciicast import Asciicast
from chaperone.core.recording.scene import Outcome, Scene
from chaperone.core.recording.transcript import Transcript
from tests.cli.conftest import Shell

SCENE = Scene(
    kind="exec",
    namespace="dev",
    pod="web",
    command=("sh",),
    tty=True,
    user="repo:acme/app",
    run="run-7",
    audit_id="a-1",
    started_at=1_800_000_000.0,
)


def cast(*outputs: tuple[float, bytes], code: int = 3) -> bytes:
    recorder = Asciicast(SCENE)
    recording = recorder.header(0.0) + recorder.resized(120, 40, 0.0)
    for at, data in outputs:
        recording += recorder.output("stdout", data, at)
    return recording + recorder.end(Outcome(exit_code=code), outputs[-1][0] + 1 if outputs else 1.0)


CAST = cast((1.0, b"$ "), (11.0, b"\x1b[31mred\x1b[0m\x1b]0;title\x07\r\n"), (11.5, b"caf\xc3\xa9\r\n"))
NOTES = b"".join(
    (
        (notes := Transcript(SCENE)).header(0.0),
        notes.output("stdout", b"one\n", 1.0),
        notes.output("stderr", b"two\n", 2.0),
        notes.end(Outcome(reason="the run was terminated"), 3.0),
    )
)


class Screen(io.TextIOWrapper):
    def __init__(self) -> None:
        self.raw_bytes = io.BytesIO()
        super().__init__(self.raw_bytes, encoding="utf-8", write_through=True)

    def isatty(self) -> bool:
        return True


@pytest.fixture
def screen() -> Screen:
    return Screen()


def played(
    screen: Screen, recording: bytes, *, rate: float = 1.0, idle: float = 0.0, start: float = 0.0
) -> tuple[bytes, list[float]]:
    pauses: list[float] = []
    with redirect_stdout(screen):
        play(io.BytesIO(recording), rate=rate, idle=idle, start=start, sleep=pauses.append)
    return screen.raw_bytes.getvalue(), pauses


def test_a_terminal_is_played_in_time_and_without_power(screen: Screen) -> None:
    shown, pauses = played(screen, CAST)
    assert pauses == [1.0, 10.0, 0.5, 1.0]
    assert b"$ \x1b[31mred\x1b[0m\r\ncaf\xc3\xa9\r\n" in shown
    assert b"title" not in shown
    assert b"[exit code 3]" in shown
    assert shown.endswith(RESET)
    title = shown.decode().splitlines()[0]
    assert "exec dev/web at 2027-01-15T08:00:00Z by repo:acme/app, run run-7, 80x24: sh" in title


@pytest.mark.parametrize(
    ("rate", "idle", "start", "expected"),
    [
        (2.0, 0.0, 0.0, [0.5, 5.0, 0.25, 0.5]),
        (1.0, 2.0, 0.0, [1.0, 2.0, 0.5, 1.0]),
        (2.0, 2.0, 0.0, [0.5, 1.0, 0.25, 0.5]),
        (1.0, 0.0, 11.0, [0.5, 1.0]),
        (0.0, 0.0, 0.0, []),
        (1.0, 0.0, 99.0, []),
    ],
)
def test_speed_pauses_and_the_beginning(
    screen: Screen, rate: float, idle: float, start: float, expected: list[float]
) -> None:
    shown, pauses = played(screen, CAST, rate=rate, idle=idle, start=start)
    assert pauses == expected
    assert b"$ " in shown


def test_a_transcript_is_told_and_its_end_too(screen: Screen) -> None:
    shown, _ = played(screen, NOTES)
    assert b"one\r\ntwo\r\n" in shown
    assert b"[the run was terminated]" in shown


def test_the_terminal_is_put_right_also_after_a_fault(screen: Screen) -> None:
    recording = b"\n".join(CAST.split(b"\n")[:3]) + b"\nnonsense\n"
    with pytest.raises(Exception, match="not a recording"):
        played(screen, recording)
    assert screen.raw_bytes.getvalue().endswith(RESET)


def test_in_a_pipe_the_output_is_plain(shell: Shell, tmp_path: Path) -> None:
    path = tmp_path / "a.cast"
    path.write_bytes(CAST)
    assert shell("replay", str(path)).out == "$ red\ncafé\n"
    path.write_bytes(NOTES)
    assert shell("replay", str(path)).out == "one\ntwo\n"


def test_a_recording_that_is_cut_plays_up_to_the_cut(shell: Shell, tmp_path: Path) -> None:
    path = tmp_path / "a.cast"
    for size in range(CAST.index(b"\n") + 1, len(CAST), 9):
        path.write_bytes(CAST[:size])
        told = shell("replay", str(path))
        assert told.code == 0
        assert "$ red\ncafé\n".startswith(told.out)
        assert ("cut off" in told.err) == (not CAST[:size].endswith(b"\n"))


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("none.cast",), 2, "cannot be read"),
        (("a.cast", "--speed", "fast"), 2, "--speed"),
        (("a.cast", "--seek", "noon"), 2, "--seek"),
        (("a.cast",), 1, "not a recording"),
    ],
)
def test_faults_are_told(
    shell: Shell, tmp_path: Path, arguments: tuple[str, ...], code: int, words: str
) -> None:
    (tmp_path / "a.cast").write_text("{}\n")
    name, *rest = arguments
    told = shell("replay", str(tmp_path / name), *rest)
    assert told.code == code
    assert words in told.err


def test_standard_input_and_times(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(CAST)))
    assert shell("replay", "-", "--seek", "1:02:03", "--speed", "2x").out == "$ red\ncafé\n"


def test_ctrl_c_ends_it(screen: Screen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_self: Pace, _at: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Pace, "wait", interrupt)
    path = tmp_path / "a.cast"
    path.write_bytes(CAST)
    with redirect_stdout(screen):
        replay(str(path))
    assert screen.raw_bytes.getvalue().endswith(RESET)
