"""What was masked, counted by rule: for the audit record, the metrics and a response header. Never a value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

SECRET_IN_KEY = "secret-in-key"
SECRET_IN_NAME = "secret-in-name"


@dataclass(slots=True)
class Report:
    """counts: masked values by the name of the rule that found them. flags: what looks like a secret where nothing
    may be masked (a map key, a label, a name), by SECRET_IN_KEY or SECRET_IN_NAME.
    """

    counts: dict[str, int] = field(default_factory=dict)
    flags: dict[str, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """How many values were masked; flags do not count."""
        return sum(self.counts.values())

    def add(self, rule: str, times: int = 1) -> None:
        self.counts[rule] = self.counts.get(rule, 0) + times

    def flag(self, name: str, times: int = 1) -> None:
        self.flags[name] = self.flags.get(name, 0) + times

    def merge(self, other: Report) -> None:
        """Add what another report counted."""
        _add(self.counts, other.counts)
        _add(self.flags, other.flags)

    def __bool__(self) -> bool:
        """Whether there is anything to tell."""
        return bool(self.counts or self.flags)


def _add(into: dict[str, int], more: Mapping[str, int]) -> None:
    for name, times in more.items():
        into[name] = into.get(name, 0) + times
