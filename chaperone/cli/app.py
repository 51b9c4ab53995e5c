"""The program: every command, and how it ends. `main` is what the installed scripts call."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

import typer
from typer.main import get_command

from chaperone.cli import (
    approvals,
    audit,
    audit_export,
    session_records,
    sessions,
    sessions_diff,
    sessions_undo,
)
from chaperone.cli.access import request_access
from chaperone.cli.cluster import with_cluster
from chaperone.cli.faults import FailedError, WrongUsageError
from chaperone.cli.mask import mask
from chaperone.cli.policy_check import check
from chaperone.cli.policy_explain import explain_command
from chaperone.cli.policy_insight import backtest_command, suggest_command
from chaperone.cli.policy_tests import run_tests
from chaperone.cli.replay import replay
from chaperone.cli.screen import complain
from chaperone.cli.watch import watch
from chaperone.kube.errors import KubeError, RefusedError

PLUGIN = "kubectl-chaperone"
HELP = """The control point between AI agents and Kubernetes, for people.

Look at what agents ask for and decide on it; check, explain and test the policies that govern them.
"""


def build() -> typer.Typer:
    app = typer.Typer(help=HELP, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    people: dict[str, Callable[..., None]] = {
        "list": approvals.list_requests,
        "show": approvals.show,
        "approve": approvals.approve,
        "deny": approvals.deny,
        "cancel": approvals.cancel,
        "watch": watch,
        "request-access": request_access,
    }
    for name, command in people.items():
        app.command(name)(with_cluster(command))
    app.command("mask")(mask)
    app.command("replay")(replay)
    app.add_typer(_policy(), name="policy")
    app.add_typer(_audit(), name="audit")
    app.add_typer(_sessions(), name="sessions")
    return app


def _policy() -> typer.Typer:
    policy = typer.Typer(
        help="Check, explain, test, suggest and backtest AgentPolicies.", rich_markup_mode=None
    )
    policy.command("check")(check)
    policy.command("explain")(with_cluster(explain_command))
    policy.command("test")(run_tests)
    policy.command("suggest")(suggest_command)
    policy.command("backtest")(backtest_command)
    return policy


def _audit() -> typer.Typer:
    group = typer.Typer(help="Search, verify, export, hold and prune audit records.", rich_markup_mode=None)
    group.command("verify")(audit.verify)
    group.command("search")(audit.search)
    group.command("show")(audit.show)
    group.command("hold")(audit.hold)
    group.command("prune")(audit.prune)
    group.command("export")(audit_export.export)
    group.command("forward")(audit_export.forward)
    return group


def _sessions() -> typer.Typer:
    group = typer.Typer(help="Look at what runs do, and end one.", rich_markup_mode=None)
    commands: dict[str, Callable[..., None]] = {
        "list": sessions.list_sessions,
        "show": sessions.show,
        "kill": sessions.kill,
        "follow": sessions.follow,
        "undo": sessions_undo.undo,
    }
    for name, command in commands.items():
        group.command(name)(with_cluster(command))
    group.command("replay")(session_records.replay_command)
    group.command("export")(session_records.export)
    group.command("diff")(sessions_diff.diff)
    return group


app = build()


def main() -> NoReturn:
    """The entry of `chaperone` and of `kubectl chaperone`."""
    called = Path(sys.argv[0]).name
    sys.exit(run(sys.argv[1:], "kubectl chaperone" if called == PLUGIN else "chaperone"))


def run(arguments: Sequence[str], program: str = "chaperone") -> int:
    """The exit code: 0 done, 1 refused or failed, 2 wrong usage, 130 interrupted. Faults are told on standard error."""
    try:
        code = get_command(app).main(args=list(arguments), prog_name=program, standalone_mode=False)
    except WrongUsageError as fault:
        complain(f"{program}: {fault}")
        return 2
    except typer.TyperException as error:
        complain(f"{program}: {_sentence(error)} (see `{program} --help`)")
        return 2
    except RefusedError as error:
        complain(f"{program}: {error.message or error}")
        return 1
    except (FailedError, KubeError) as error:
        complain(f"{program}: {error}")
        return 1
    return code if isinstance(code, int) else 0


def _sentence(error: typer.TyperException) -> str:
    message = error.format_message().rstrip(".")
    return message[:1].lower() + message[1:]
