"""`mask`: what the gateway would hide in some objects, or in a log, and why. Offline; never shows what it hides."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from chaperone import pattern_cache
from chaperone.cli.builtin_resources import BUILTINS
from chaperone.cli.faults import FailedError, WrongUsageError
from chaperone.cli.manifest import Document, UnreadableError, read_documents, read_file, shown
from chaperone.cli.policy_files import read_policies
from chaperone.cli.screen import say, show_table
from chaperone.core.legible import visible
from chaperone.core.masking import (
    Masker,
    Mint,
    Place,
    Profile,
    Report,
    SecretPlace,
    Terms,
    UnmaskableError,
    combine,
)
from chaperone.core.policy import Masking, Policy

File = Annotated[
    str,
    typer.Argument(metavar="FILE", help="YAML or JSON objects, or a log with --text; - is standard input."),
]
WIDEST = 400


class Output(StrEnum):
    TABLE = "table"
    YAML = "yaml"
    JSON = "json"
    TEXT = "text"


class Choice(StrEnum):
    STANDARD = "standard"
    STRICT = "strict"


@dataclass(frozen=True, slots=True)
class Masked:
    """One object, masked in place; report: what was masked in it, by rule; found: where."""

    value: Any
    report: Report
    found: tuple[SecretPlace, ...]

    @property
    def name(self) -> str:
        """`Secret shop/db`."""
        metadata = _mapping(self.value.get("metadata"))
        place = "/".join(str(metadata[key]) for key in ("namespace", "name") if metadata.get(key))
        return visible(f"{self.value.get('kind') or 'object'} {place}".strip(), WIDEST)


def mask(
    file: File,
    *,
    policy: Annotated[
        str,
        typer.Option(
            "--policy", metavar="FILE", help="AgentPolicies whose masking sections count, together."
        ),
    ] = "",
    profile: Annotated[
        Choice | None, typer.Option("--profile", help="This profile, whatever the policies say.")
    ] = None,
    text: Annotated[
        bool, typer.Option("--text", help="The file is a log or another text, not objects.")
    ] = False,
    output: Annotated[
        Output | None,
        typer.Option("-o", "--output", help="table: what is masked and why; else the masked file itself."),
    ] = None,
) -> int:
    """Show what the gateway would mask in a file, and why: 0 done, 1 it would refuse it, 2 the file cannot be read."""
    terms = _terms(policy, profile)
    if terms is None:
        say("nothing is masked: the profile is Off", "warning", error=True)
    masker = Masker(terms, _detector(terms), Mint(os.urandom(32))) if terms else None
    if text:
        return _mask_text(file, masker, output or Output.TABLE)
    return _mask_documents(file, masker, output or Output.TABLE)


# On which terms


def _terms(file: str, profile: Choice | None) -> Terms | None:
    sections = _sections(file) if file else [Masking()]
    if profile is not None:
        chosen = Profile[profile.name].value
        sections = [Masking(chosen, section.keys, section.patterns, section.exempt) for section in sections]
    return combine(sections)


def _sections(file: str) -> list[Masking]:
    reading = read_policies([file])
    if reading.unreadable:
        raise WrongUsageError(reading.unreadable[0])
    for found in reading.policies:
        if found.faults:
            fault = found.faults[0]
            raise WrongUsageError(f"{found.place(fault.path)}: {fault.path}: {fault.message}")
    policies = [found.compiled for found in reading.policies if isinstance(found.compiled, Policy)]
    if not policies:
        raise WrongUsageError(f"{shown(file)} holds no AgentPolicy")
    return [policy.masking for policy in policies]


def _detector(terms: Terms) -> Any:
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    folder = Path(cache).expanduser() / "kube-chaperone" / "patterns"
    return pattern_cache.detector(folder, terms.patterns, terms.keys)


# Objects


def _mask_documents(file: str, masker: Masker | None, output: Output) -> int:
    if output is Output.TEXT:
        raise WrongUsageError("-o text needs --text: objects are printed as yaml or json")
    masked = [_masked(document, masker) for document in _documents(file)]
    if output is Output.YAML:
        say(
            yaml.safe_dump_all([item.value for item in masked], sort_keys=False, allow_unicode=True).rstrip(
                "\n"
            )
        )
    elif output is Output.JSON:
        values = [item.value for item in masked]
        say(json.dumps(values[0] if len(values) == 1 else _list(values), indent=2))
    else:
        _show(
            [(item.name, *_row(found)) for item in masked for found in item.found], ("OBJECT", "PATH", "RULE")
        )
    _sum([item.report for item in masked], f"{len(masked)} object{'' if len(masked) == 1 else 's'}")
    return 0


def _documents(file: str) -> list[Document]:
    try:
        documents = list(read_documents(read_file(file)))
    except UnreadableError as error:
        raise WrongUsageError(
            f"{shown(file)}:{error.line or 1}: the file {error}; is it a log? Then add --text"
        ) from error
    if not documents:
        raise WrongUsageError(f"{shown(file)} holds no object")
    return documents


def _masked(document: Document, masker: Masker | None) -> Masked:
    found: list[SecretPlace] = []
    value = document.value
    if masker is None:
        return Masked(value, Report(), ())
    try:
        report = masker.document(value, place_of(value), collect=found.append)
    except UnmaskableError as error:
        raise FailedError(
            f"the object in line {document.line('')} cannot be masked, so the gateway shows nothing of it: {error}"
        ) from error
    return Masked(value, report, tuple(found))


def place_of(value: Mapping[str, Any]) -> Place:
    """What the URL of this object would say."""
    kind, version = str(value.get("kind") or ""), str(value.get("apiVersion") or "")
    metadata = _mapping(value.get("metadata"))
    known = BUILTINS.get(kind.lower())
    return Place(
        group=version.rpartition("/")[0],
        resource=known.plural if known else f"{kind.lower()}s",
        namespace=str(metadata.get("namespace") or ""),
        name=str(metadata.get("name") or ""),
        kind=kind,
    )


def _list(values: Sequence[Any]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "List", "items": list(values)}


def _row(found: SecretPlace) -> tuple[str, str]:
    return visible(found.path_class, WIDEST), found.rule


# Texts


def _mask_text(file: str, masker: Masker | None, output: Output) -> int:
    if output in (Output.YAML, Output.JSON):
        raise WrongUsageError(f"-o {output} is for objects: with --text it is table or text")
    text, found = read_file(file), list[SecretPlace]()
    masked, report = masker.text(text, collect=found.append) if masker else (text, Report())
    if output is Output.TEXT:
        typer.echo(masked, nl=False)
    else:
        _show([(str(_line(masked, place)), place.rule) for place in found], ("LINE", "RULE"))
    lines = masked.count("\n") + (not masked.endswith("\n"))
    _sum([report], f"{lines} line{'' if lines == 1 else 's'}")
    return 0


def _line(masked: str, place: SecretPlace) -> int:
    """Where its placeholder first stands, counted from 1."""
    return masked[: max(masked.find(place.placeholder), 0)].count("\n") + 1


# Both


def _show(rows: Sequence[tuple[str, ...]], headers: tuple[str, ...]) -> None:
    if rows:
        show_table(headers, rows)


def _sum(reports: Sequence[Report], what: str) -> None:
    """On standard error, so that a masked file can be piped."""
    whole = Report()
    for report in reports:
        whole.merge(report)
    values = f"{whole.total} value{'' if whole.total == 1 else 's'}"
    say(f"{values} masked in {what}", error=True)
    if flagged := sum(whole.flags.values()):
        where = "in names, labels or keys, which are never masked"
        say(f"{flagged} more look{'s' if flagged == 1 else ''} like a secret {where}", "yellow", error=True)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
