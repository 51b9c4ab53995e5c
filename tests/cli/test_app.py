"""How commands end: an exit code, and for every mistake of a user one sentence on standard error."""

from __future__ import annotations

import fcntl
import os
import signal
import struct
import subprocess
import sys
import termios
from contextlib import suppress
from pathlib import Path

import pytest

from tests.cli.conftest import Shell
from tests.cli.fake_cluster import APPROVALS, FakeCluster
from tests.cli.objects import approval

POLICY = "docs/examples/coding-agents.yaml"
EXPLAIN = ("policy", "explain", POLICY, "--as-user", "u")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "missing command"),
        (("lst",), "no such command 'lst'"),
        (("list", "--al"), "no such option: --al"),
        (("list", "--all", "--pending"), "exclude each other"),
        (("list", "-o", "yaml"), "'yaml' is not one of 'json', 'wide'"),
        (("list", "--as-group", "g"), "--as-group needs --as"),
        (("list", "--as", "a\nb"), "cannot travel in a header"),
        (("show",), "missing argument 'NAME'"),
        (("show", "a/b"), '"a/b" is not the name of an object'),
        (("approve", "a", "b"), "unexpected extra argument"),
        (("deny", "n", "--reason", "x" * 1025), "--reason is longer than 1024 characters"),
        (("request-access", "--role", "edit"), "missing option"),
        (
            ("request-access", "--role", "edit", "-n", "dev", "--for", "soon"),
            "spec.access.duration to be a time such as",
        ),
        (("policy", "check"), "missing argument 'FILE...'"),
        (("policy", "check", "no-such-file.yaml"), "no-such-file.yaml cannot be read: No such file"),
        (("policy", "check", "docs"), "docs cannot be read: Is a directory"),
        (("policy", "explain", POLICY, "get", "pods", "p"), "--as-user is missing"),
        (("policy", "explain", "--as-user", "u", "get", "pods", "p"), "or --cluster"),
        (("policy", "explain", POLICY, "--cluster", "--as-user", "u", "get", "pods", "p"), "one of both"),
        ((*EXPLAIN, "get"), "say what is asked"),
        ((*EXPLAIN, "get", "pods"), "get of pods needs the NAME"),
        ((*EXPLAIN, "get", "widgets", "w"), "none of Kubernetes' own resources"),
        ((*EXPLAIN, "get", "pods", "p", "--claim", "x"), "not of the form key=value"),
        ((*EXPLAIN, "get", "pods", ".."), "is refused by the gateway"),
        ((*EXPLAIN, "create", "pods", "--object", "nowhere"), "nowhere cannot be read"),
        ((*EXPLAIN, "create", "pods", "--object", POLICY), "holds 2 objects"),
        (("policy", "explain", POLICY, "--as-user", "u", "--path", "//x"), "an empty segment"),
        (
            ("policy", "explain", POLICY, "--as-user", "u", "--path", "/x", "--method", "BREW"),
            "is not one of",
        ),
        (("policy", "test", "no-such-folder"), "there is no YAML file below no-such-folder"),
    ],
)
def test_wrong_usage_is_one_sentence_and_exit_code_2(
    cluster: FakeCluster, shell: Shell, arguments: tuple[str, ...], sentence: str
) -> None:
    done = shell(*arguments)
    assert (done.code, done.out) == (2, "")
    assert sentence in done.err
    assert done.err.startswith("kubectl chaperone: ")
    assert done.err.count("\n") == 1


def test_help_is_no_fault(shell: Shell) -> None:
    done = shell("--help")
    assert done.code == 0
    assert "Usage: kubectl chaperone" in done.out


def test_a_cluster_that_is_not_there_is_said_so(shell: Shell, tmp_path: Path) -> None:
    assert shell("list").err.startswith("kubectl chaperone: there is no kubeconfig at ")
    missing = shell("list", "--kubeconfig", str(tmp_path / "none"))
    assert missing.code == 1
    assert "cannot load cluster credentials" in missing.err


def test_a_context_that_is_not_there_is_said_so(cluster: FakeCluster, shell: Shell) -> None:
    done = shell("list", "--context", "other")
    assert done.code == 1
    assert "other" in done.err


def test_of_several_kubeconfigs_those_that_exist_are_used(
    cluster: FakeCluster, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", f"/nowhere:{cluster.kubeconfig}")
    assert shell("list", "--all").code == 0


def test_a_cluster_without_our_kinds_is_said_so(cluster: FakeCluster, shell: Shell) -> None:
    cluster.refusals[APPROVALS] = (404, "NotFound", "the server could not find the requested resource")
    for arguments in (("list",), ("request-access", "--role", "r", "-n", "dev", "--for", "1m")):
        done = shell(*arguments)
        assert done.code == 1
        assert "are the definitions (crds/) of kube-chaperone installed?" in done.err


def test_a_refusal_of_rbac_is_shown_as_it_is(cluster: FakeCluster, shell: Shell) -> None:
    cluster.refusals[APPROVALS] = (403, "Forbidden", 'User "bob" cannot list resource')
    done = shell("list")
    assert (done.code, done.err) == (1, 'kubectl chaperone: User "bob" cannot list resource\n')


def test_a_server_cannot_move_the_cursor_by_its_message(cluster: FakeCluster, shell: Shell) -> None:
    cluster.refusals[APPROVALS] = (403, "Forbidden", "no\x1b[2J\u202e\nroot#")
    assert shell("list").err == "kubectl chaperone: no\\x1b[2J\\u202e root#\n"


def test_impersonation_is_kubectls(cluster: FakeCluster, shell: Shell) -> None:
    cluster.approvals["delete-dev-1"] = approval()
    done = shell("approve", "delete-dev-1", "--as", "carol", "--as-group", "a, b", "--as-group", "c")
    assert done.code == 0, done.err
    _, _, headers, _ = cluster.seen[-1]
    assert [value for name, value in headers if name == "Impersonate-Group"] == ["a, b", "c"]
    assert cluster.approvals["delete-dev-1"]["status"]["reviews"][0]["username"] == "carol"


@pytest.mark.parametrize("called", ["chaperone", "kubectl-chaperone"])
def test_the_scripts_know_how_they_were_called(tmp_path: Path, called: str) -> None:
    script = tmp_path / called
    script.write_text(f"#!{sys.executable}\nfrom chaperone.cli.app import main\nmain()\n")
    script.chmod(0o755)
    done = subprocess.run([script, "nonsense"], check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr.startswith(f"{called.replace('-', ' ')}: no such command")


def test_ctrl_c_ends_a_watch_cleanly(cluster: FakeCluster) -> None:
    cluster.approvals["delete-dev-1"] = approval()
    command = [sys.executable, "-m", "chaperone.cli", "watch", "--kubeconfig", str(cluster.kubeconfig)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("delete-dev-1   Pending   critical   coder   delete")
        process.send_signal(signal.SIGINT)
        try:
            _, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert (process.returncode, errors) == (0, "")


@pytest.mark.parametrize(("no_colour", "coloured"), [("", True), ("1", False)])
def test_colours_are_for_terminals_that_want_them(
    cluster: FakeCluster, no_colour: str, coloured: bool
) -> None:
    cluster.approvals = {name: approval(name) for name in ("a-long-name-that-is-never-cut-or-folded",)}
    shown = on_terminal("list", "--kubeconfig", str(cluster.kubeconfig), NO_COLOR=no_colour)
    assert ("\x1b[33mPending" in shown) is coloured
    assert "a-long-name-that-is-never-cut-or-folded   " in shown


def test_on_a_terminal_watch_is_a_table_and_leaves_the_cursor_as_it_was(cluster: FakeCluster) -> None:
    cluster.approvals = {"delete-dev-1": approval()}
    shown = on_terminal("watch", "--kubeconfig", str(cluster.kubeconfig), until="delete-dev-1")
    assert shown.rstrip().endswith("\x1b[?25h")
    assert "Traceback" not in shown


def on_terminal(*arguments: str, until: str = "", **environment: str) -> str:
    """All that a command writes to a terminal; with `until`, Ctrl-C is pressed once that has appeared."""
    main, other = os.openpty()
    fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    kept = {key: value for key, value in os.environ.items() if key != "NO_COLOR"} | {"TERM": "xterm"}
    wanted = {key: value for key, value in environment.items() if value}
    with subprocess.Popen(
        [sys.executable, "-m", "chaperone.cli", *arguments],
        stdin=other,
        stdout=other,
        stderr=other,
        env={**kept, **wanted},
        start_new_session=True,
    ) as process:
        os.close(other)
        shown = ""
        with suppress(OSError):  # what reading from a terminal ends with when nobody holds its other side
            while piece := os.read(main, 65536):
                shown += piece.decode()
                if until and until in shown:
                    until = ""
                    process.send_signal(signal.SIGINT)
        os.close(main)
    assert process.returncode == 0, shown
    return shown


def test_a_reader_that_goes_away_is_no_crash(cluster: FakeCluster) -> None:
    cluster.approvals = {name: approval(name) for name in (f"request-{at}" for at in range(2000))}
    program = f"{sys.executable} -m chaperone.cli list --kubeconfig {cluster.kubeconfig} | head -1"
    done = subprocess.run(["bash", "-c", program], check=False, capture_output=True, text=True, timeout=60)
    assert done.stdout.startswith("NAME")
    assert "Traceback" not in done.stderr
