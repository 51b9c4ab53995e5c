"""`policy check`: every fault of the policies in some files, each with the line and the field. Needs no cluster."""

from __future__ import annotations

from typing import Annotated

import typer

from chaperone.cli.manifest import shown
from chaperone.cli.policy_files import Found, Reading, read_policies
from chaperone.cli.screen import COLOURS, say
from chaperone.core.legible import visible
from chaperone.core.policy import Fault

Files = Annotated[list[str], typer.Argument(metavar="FILE...", help="YAML or JSON; - is standard input.")]


def check(
    files: Files,
    *,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings count as faults.")] = False,
) -> int:
    """Check AgentPolicies in files, offline: 0 all good, 1 there are faults, 2 a file cannot be read."""
    reading = read_policies(files)
    faults, warnings = _faults(reading), _warnings(reading)
    for file, kind in reading.others:
        say(f"{shown(file)}: {visible(kind, 80)} is not an AgentPolicy: not looked at", "dim", error=True)
    for line in faults:
        say(visible(line), COLOURS["fault"])
    for line in warnings:
        say(visible(line), COLOURS["warning"])
    say(_sum(reading, len(faults), len(warnings)))
    return 1 if faults or (strict and warnings) or not reading.policies else 0


def _faults(reading: Reading) -> list[str]:
    told = [f"{place}" for place in reading.unreadable]
    for found in reading.policies:
        in_order = sorted(found.faults, key=lambda fault: found.document.line(fault.path))
        told += [_line(found, fault, "") for fault in in_order]
    told += [
        f'{found.place("metadata.name")}: metadata.name: "{found.compiled.name}" is the name of an earlier policy here'
        for found in reading.twice
    ]
    return told


def _warnings(reading: Reading) -> list[str]:
    return [_line(found, fault, "warning: ") for found in reading.policies for fault in found.warnings]


def _line(found: Found, fault: Fault, what: str) -> str:
    where = f"{fault.path}: " if fault.path else ""
    return f"{found.place(fault.path)}: {what}{where}{fault.message}"


def _sum(reading: Reading, faults: int, warnings: int) -> str:
    if not reading.policies and not faults:
        return "there is no AgentPolicy in it"
    return ", ".join(
        _counted(number, word)
        for number, word in ((len(reading.policies), "policy"), (faults, "fault"), (warnings, "warning"))
    )


def _counted(number: int, word: str) -> str:
    plural = {"policy": "policies"}.get(word, f"{word}s")
    return f"{number} {word if number == 1 else plural}"
