"""`sessions diff`: what a run changed, object by object, before and after."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated

import typer
from rich.text import Text

from chaperone.cli.audit import Address
from chaperone.cli.screen import complain, console, say, show_json
from chaperone.cli.session_changes import Objects, Run, User, changes_of
from chaperone.cli.sessions import Form, show_yaml
from chaperone.core.changes_shown import Line, Tone, story_data, story_lines

STYLES: Mapping[Tone, str] = {
    Tone.PLAIN: "",
    Tone.TITLE: "bold",
    Tone.QUIET: "dim",
    Tone.ADDED: "green",
    Tone.REMOVED: "red",
    Tone.WARNING: "yellow",
}


def diff(
    run: Run,
    *,
    store: Address,
    objects: Objects = None,
    user: User = "",
    output: Annotated[Form | None, typer.Option("--output", "-o", help="Another form.")] = None,
) -> None:
    """Show what a run changed, object by object: each field, and the whole difference."""
    told = changes_of(store, run, objects=objects or (), user=user)
    for warning in told.warnings:
        complain(f"warning: {warning}")
    if told.edited:
        complain(
            f"warning: {told.edited} was edited after it was written, so this cannot be believed; run `audit verify`"
        )
    if output is not None:
        (show_json if output is Form.JSON else show_yaml)(story_data(run, told.story))
        return
    lines = list(story_lines(told.story))
    show_lines(lines)
    if not lines:
        say("the run changed nothing", error=True)


def show_lines(lines: Iterable[Line]) -> None:
    """Coloured on a terminal only."""
    screen = console()
    for line in lines:
        screen.print(Text(line.text, style=STYLES[line.tone]), soft_wrap=True)
