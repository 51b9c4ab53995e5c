"""Audit records and the result of a verification in words and columns. What strangers wrote is made legible."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from chaperone.cli.screen import say, show_table
from chaperone.core.legible import visible
from chaperone.core.timestamp import rfc3339

if TYPE_CHECKING:
    from chaperone.core.chain_check import ChainSummary, Finding, Verification
    from chaperone.store.interface import Found, Hold
    from chaperone.store.verification import Checked

CHAINS = ("WRITER", "FIRST", "LAST", "RECORDS", "SIGNED", "ENDED")
HOLDS = ("RUN", "SINCE", "BY", "REASON")
MOST_SHOWN = 20


def columns(*, wide: bool) -> Sequence[str]:
    narrow = ("TIME", "CODE", "VERDICT", "VERB", "OBJECT", "NAMESPACE", "RUN", "AUDIT-ID")
    return (
        (*narrow, "AGENT", "USER", "POLICY", "RULE", "RISK", "STAGE", "WRITER", "SEQUENCE")
        if wide
        else narrow
    )


def row(found: Found, *, wide: bool) -> list[str]:
    record = found.record
    cells = [
        rfc3339(found.time),
        str(_at(record, "responseStatus", "code") or ""),
        _word(record, "verdict"),
        _word(record, "verb"),
        _object(record),
        _word(record, "objectRef", "namespace"),
        _word(record, "run"),
        _word(record, "auditID"),
    ]
    if wide:
        fields = (("agent",), ("user", "username"), ("policy", "name"), ("policy", "rule"), ("risk", "level"))
        cells += [_word(record, *path) for path in fields]
        cells += [_word(record, "stage"), found.writer, str(found.sequence)]
    return cells


def hold_row(hold: Hold) -> list[str]:
    return [visible(hold.run, 253), rfc3339(hold.since), visible(hold.by, 100), visible(hold.reason, 200)]


def show_verification(checked: Checked) -> None:
    found = checked.verification
    show_table(CHAINS, [_chain(chain) for chain in found.chains])
    for name in checked.keys:
        say(f"trusted key: {name}{' (as the source itself names it)' if checked.own else ''}")
    shown = [finding for finding in found.findings if finding.kind.is_fault or not finding.writer][
        :MOST_SHOWN
    ]
    notes = [finding for finding in found.findings if not finding.kind.is_fault and finding.writer][
        :MOST_SHOWN
    ]
    for finding in notes:
        say(f"note   {sentence(finding)}", "dim")
    for finding in shown:
        fault = finding.kind.is_fault
        say(f"{'fault' if fault else 'note '}  {sentence(finding)}", "red" if fault else "dim")
    total = sum(found.counts.values())
    if total > len(shown) + len(notes):
        say(f"{total} findings in all")
    for chain in found.chains:
        if chain.unsigned:
            say(
                f"note   {chain.writer}: no signed checkpoint covers the last {chain.unsigned} records yet",
                "dim",
            )
    if found.is_good:
        say(f"verified: {sum(chain.records for chain in found.chains)} records", "green")


def first_fault(found: Verification) -> str:
    faults = found.faults
    count = sum(number for kind, number in found.counts.items() if kind.is_fault)
    more = f" (and {count - 1} more)" if count > 1 else ""
    return f"the record was tampered with: {sentence(faults[0])}{more}"


def sentence(finding: Finding) -> str:
    place = f"{finding.writer} record {finding.sequence}" if finding.sequence else finding.writer
    where = f" ({visible(finding.where, 200)})" if finding.where else ""
    return f"{finding.kind.value}: {place}{': ' if place else ''}{finding.text}{where}"


def verification_json(checked: Checked) -> dict[str, Any]:
    found = checked.verification
    return {
        "good": found.is_good,
        "trustedKeys": list(checked.keys),
        "keysFromSource": checked.own,
        "chains": [
            {
                "writer": chain.writer,
                "first": chain.first,
                "last": chain.last,
                "records": chain.records,
                "signed": chain.signed,
                "pruned": chain.pruned,
                "closed": chain.closed,
            }
            for chain in found.chains
        ],
        "findings": [
            {
                "kind": finding.kind.value,
                "fault": finding.kind.is_fault,
                "writer": finding.writer,
                "sequence": finding.sequence,
                "where": finding.where,
                "text": finding.text,
            }
            for finding in found.findings
        ],
        "counts": {kind.value: number for kind, number in found.counts.items()},
    }


def _chain(chain: ChainSummary) -> list[str]:
    ended = "in order" if chain.closed else "open"
    numbers = (chain.first, chain.last, chain.records, chain.signed)
    return [chain.writer, *map(str, numbers), ended]


def _object(record: Mapping[str, Any]) -> str:
    reference = record.get("objectRef")
    if not isinstance(reference, Mapping):
        return visible(str(record.get("requestURI", "")), 80)
    resource, sub = _word(record, "objectRef", "resource"), _word(record, "objectRef", "subresource")
    name = _word(record, "objectRef", "name")
    return "/".join(part for part in (resource, name, sub) if part)


def _word(record: Mapping[str, Any], *path: str) -> str:
    found = _at(record, *path)
    return visible(found, 253) if isinstance(found, str) else ""


def _at(record: Mapping[str, Any], *path: str) -> Any:
    found: Any = record
    for key in path:
        found = found.get(key) if isinstance(found, Mapping) else None
    return found
