"""Processes: which are ours, and how they end."""

import os
import subprocess
import time
from dataclasses import replace
from pathlib import Path

from hack.cluster.processes import (
    Process,
    command_line,
    end_all,
    is_marked,
    is_ours,
    marked_pids,
    spawn,
    start_tick,
)


def _sleeper(folder: Path) -> Process:
    return spawn(["/bin/sleep", "60"], log_file=folder / "logs" / "sleep.log", mark=str(folder))


def test_a_spawned_process_is_ours_until_it_ends(tmp_path: Path) -> None:
    process = _sleeper(tmp_path)
    assert is_ours(process, str(tmp_path))
    assert "sleep 60" in command_line(process.pid)
    assert end_all(lambda: marked_pids(str(tmp_path))) == []
    assert not is_ours(process, str(tmp_path))
    assert command_line(process.pid) == ""


def test_a_process_id_given_to_another_process_is_not_ours(tmp_path: Path) -> None:
    process = _sleeper(tmp_path)
    try:
        assert not is_ours(replace(process, started=process.started - 1), str(tmp_path))
        assert not is_ours(process, str(tmp_path / "other"))
    finally:
        end_all(lambda: marked_pids(str(tmp_path)))


def test_a_process_that_nobody_recorded_is_found_by_its_parent_s_mark(tmp_path: Path) -> None:
    spawn(["/bin/sh", "-c", "sleep 61 & sleep 61"], log_file=tmp_path / "log", mark=str(tmp_path))
    deadline = time.monotonic() + 5
    while len(marked_pids(str(tmp_path))) < 3 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert len(marked_pids(str(tmp_path))) == 3
    assert end_all(lambda: marked_pids(str(tmp_path))) == []


def test_processes_of_others_are_left_alone(tmp_path: Path) -> None:
    with subprocess.Popen(["/bin/sleep", "60"]) as other:
        assert not is_marked(other.pid, str(tmp_path))
        end_all(lambda: marked_pids(str(tmp_path)))
        assert start_tick(other.pid) is not None
        other.kill()


def test_a_zombie_and_a_missing_process_count_as_gone() -> None:
    pid = os.posix_spawn("/bin/true", ["true"], {})
    while start_tick(pid) is not None:
        time.sleep(0.01)
    assert Path(f"/proc/{pid}").exists()
    os.waitpid(pid, 0)
    assert start_tick(pid) is None


def test_output_goes_to_the_log_and_secrets_of_our_environment_do_not_go_along(tmp_path: Path) -> None:
    log_file = tmp_path / "env.log"
    process = spawn(["/usr/bin/env"], log_file=log_file, mark="m", env={"EXTRA": "1"})
    os.waitpid(process.pid, 0)
    names = {line.partition("=")[0] for line in log_file.read_text().splitlines()}
    assert {"KUBE_CHAPERONE_CLUSTER", "EXTRA", "PATH"} <= names
    assert "PYTEST_CURRENT_TEST" not in names
