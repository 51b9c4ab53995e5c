"""The pages for users are true: walk-throughs are run, and the reference names every command and option there is."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from chaperone.cli.app import app
from tests.cli.walkthrough import Block, blocks, commands, matches, programs, run, write_files

DOCS = Path(__file__).parents[2] / "docs"
PAGES = ("first-policy.md", "approver.md", "masking.md")


def offline_blocks() -> Iterator[tuple[str, Block]]:
    return ((page, block) for page in PAGES for block in blocks(DOCS / page) if "run" in block.labels)


@pytest.fixture
def environment(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The cache is shared, so that the patterns of masking are compiled once."""
    path = f"{programs(tmp_path / 'bin')}{os.pathsep}{os.environ['PATH']}"
    cache = str(tmp_path_factory.getbasetemp() / "cache")
    return {"PATH": path, "HOME": str(tmp_path), "LANG": "C.UTF-8", "XDG_CACHE_HOME": cache}


def test_there_is_something_to_run() -> None:
    assert len(list(offline_blocks())) >= 4


@pytest.mark.parametrize(
    ("page", "block"), [pytest.param(*item, id=f"{item[0]}:{item[1].line}") for item in offline_blocks()]
)
def test_what_a_page_shows_is_what_happens(
    page: str, block: Block, tmp_path: Path, environment: dict[str, str]
) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    write_files(DOCS / page, folder)
    for command in commands(block):
        assert run(command, folder, environment) == ""


@pytest.mark.parametrize("page", PAGES)
def test_every_command_in_a_page_is_run_somewhere(page: str) -> None:
    for block in blocks(DOCS / page):
        if block.language == "console":
            assert block.labels.keys() & {"run", "cluster"}, f"{page}:{block.line} is never run"
            assert commands(block)


@pytest.mark.parametrize(
    ("expected", "printed", "same"),
    [
        (("a   b",), "a b\n", True),
        (("a ...",), "a anything\n", True),
        (("a", "...", "z"), "a\nb\nc\nz\n", True),
        (("a", "..."), "a\n", True),
        (("a",), "a\nb\n", False),
        (("a.c",), "abc\n", False),
        (("...", "z"), "z\nmore\n", False),
    ],
)
def test_output_is_compared_and_not_waved_through(
    expected: tuple[str, ...], printed: str, same: bool
) -> None:
    assert matches(expected, printed) is same


# The reference


def every_command(command: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Name as typed, and the command, for each that is no group."""
    below = getattr(command, "commands", None)
    if below is None:
        yield path, command
        return
    for name, found in below.items():
        yield from every_command(found, f"{path} {name}".strip())


def sections() -> dict[str, str]:
    """Heading to text, of docs/cli.md."""
    parts = (DOCS / "cli.md").read_text().split("\n### ")[1:]
    return {part.splitlines()[0].strip("`"): part.partition("\n### ")[0] for part in parts}


def test_the_reference_has_every_command_and_no_other() -> None:
    assert sorted(sections()) == sorted(name for name, _ in every_command(get_command(app)))


@pytest.mark.parametrize(("name", "command"), list(every_command(get_command(app))))
def test_the_reference_has_every_option_and_no_other(name: str, command: Any) -> None:
    rows = [line.split("|")[1] for line in sections()[name].splitlines() if line.startswith("| `")]
    documented = {flag for row in rows for flag in re.findall(r"`(-[^` ]+)", row)}
    cluster = {"--kubeconfig", "--context", "--as", "--as-group"}
    there = {flag for option in command.params for flag in option.opts if option.param_type_name == "option"}
    if "--kubeconfig" not in there:
        cluster = set()  # an offline command may use --as for itself
    assert documented == there - cluster - {"--help"}
    assert ("[cluster flags](#cluster-flags)" in sections()[name]) is bool(there & cluster)
    for option in command.params:
        if option.param_type_name == "argument":
            assert option.metavar.split(" ")[0].split("...")[0] in sections()[name]
