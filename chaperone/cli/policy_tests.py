"""`policy test`: what a platform team expects of its policies, kept as files and run in its CI."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated
from xml.etree.ElementTree import Element, ElementTree, SubElement

import typer

from chaperone.cli.faults import WrongUsageError
from chaperone.cli.fixtures import Fixture, Result, fixture_files, read_fixtures, run
from chaperone.cli.manifest import shown
from chaperone.cli.screen import COLOURS, say, show_table
from chaperone.core.legible import visible

Place = Annotated[str, typer.Argument(metavar="DIR", help="A folder with test files, or one such file.")]


def run_tests(
    place: Place,
    *,
    junit: Annotated[
        str, typer.Option("--junit", metavar="FILE", help="Write the results as JUnit XML as well.")
    ] = "",
) -> int:
    """Test policies against sentences: 0 all hold, 1 some do not, 2 a test file cannot be read."""
    fixtures = read_fixtures(fixture_files(place))
    broken = [line for fixture in fixtures for line in _broken(fixture)]
    results = [result for fixture in fixtures for result in run(fixture, time.time())]
    if not results:
        raise WrongUsageError("there is not a single case: nothing would be tested")
    show_table(("RESULT", "SENTENCE", "VERDICT", "POLICY", "RULE", "RISK"), [_row(item) for item in results])
    failed = [result for result in results if result.misses]
    for line in (*broken, *(line for result in failed for line in _story(result))):
        say(visible(line), COLOURS["fault"])
    if junit:
        _write(Path(junit), results)
    say(f"{len(results) - len(failed)} of {len(results)} hold")
    return 1 if failed or broken else 0


def _broken(fixture: Fixture) -> list[str]:
    """A policy with faults denies everything: tests of denials would hold for the wrong reason."""
    return [
        f"{shown(fixture.file)}: policy {visible(policy.name)} does not compile: {fault.path}: {fault.message}"
        for policy in fixture.policies.broken
        for fault in policy.faults
    ]


def _row(result: Result) -> list[str]:
    verdict = result.verdict
    return [
        "FAILED" if result.misses else "ok",
        visible(result.case.sentence),
        verdict.action.word,
        visible(verdict.policy),
        visible(verdict.rule),
        verdict.risk.level.word,
    ]


def _story(result: Result) -> list[str]:
    place = f"{shown(result.file)}:{result.case.line}"
    return [f"{place}: {visible(result.case.sentence)}: {miss}" for miss in result.misses]


def _write(path: Path, results: Sequence[Result]) -> None:
    failures = sum(1 for result in results if result.misses)
    counts = {"tests": str(len(results)), "failures": str(failures), "errors": "0"}
    suite = Element("testsuite", {"name": "chaperone policy test", **counts})
    for result in results:
        case = SubElement(
            suite, "testcase", {"classname": visible(result.file), "name": visible(result.case.sentence)}
        )
        if result.misses:
            failure = SubElement(case, "failure", {"message": result.misses[0]})
            failure.text = "\n".join(_story(result))
    try:
        ElementTree(suite).write(path, encoding="utf-8", xml_declaration=True)
    except OSError as error:
        raise WrongUsageError(f"{shown(str(path))} cannot be written: {error.strerror}") from error
