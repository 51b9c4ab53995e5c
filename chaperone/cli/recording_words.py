"""What was found of recordings, as lines and as JSON."""

from __future__ import annotations

from typing import Any

from chaperone.cli.screen import say
from chaperone.core.legible import visible
from chaperone.store.recording_check import CheckedRecordings, Finding, Kind

MOST_SHOWN = 50
WORDS = {
    Kind.SEALED: "as they were sealed",
    Kind.REMOVED: "removed by retention",
    Kind.UNRECORDED: "without a seal in these records",
    Kind.BACK: "there again after their removal",
    Kind.CHANGED: "CHANGED",
    Kind.MISSING: "MISSING",
    Kind.UNREADABLE: "unreadable",
}


def show_recordings(found: CheckedRecordings) -> None:
    """Faults first."""
    every = sorted(found.findings, key=lambda finding: not finding.kind.is_fault)
    for finding in every[:MOST_SHOWN]:
        fault = finding.kind.is_fault
        say(f"{'fault' if fault else 'note '}  {_sentence(finding)}", "red" if fault else "dim")
    if len(every) > MOST_SHOWN:
        say(f"{len(every)} findings in all")
    counts = [f"{found.counts[kind]} {words}" for kind, words in WORDS.items() if found.counts.get(kind)]
    say(f"recordings: {', '.join(counts) or 'none'}", "red" if found.faults else "green")


def recordings_json(found: CheckedRecordings) -> dict[str, Any]:
    return {
        "good": not found.faults,
        "counts": {kind.value: number for kind, number in found.counts.items()},
        "findings": [
            {"kind": each.kind.value, "fault": each.kind.is_fault, "name": each.name, "text": each.text}
            for each in found.findings
        ],
    }


def first_recording_fault(found: CheckedRecordings) -> str:
    faults = found.faults
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return f"recordings were tampered with: {_sentence(faults[0])}{more}"


def _sentence(finding: Finding) -> str:
    return f"{finding.kind.value}: recording {finding.name}: {visible(finding.text, 400)}"
