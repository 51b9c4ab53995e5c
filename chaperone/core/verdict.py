"""The words of a decision: action, risk, verdict. Plain values; the rules that make them live elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum


class Action(IntEnum):
    """Ordered by strictness: combining verdicts is `max`."""

    ALLOW = 0
    HOLD = 1
    DENY = 2

    @property
    def word(self) -> str:
        """As it stands in audit, metrics and messages: Allow, Hold, Deny."""
        return self.name.capitalize()


class RiskLevel(IntEnum):
    NONE = 0
    LOW = 1
    MEDIUM = 2
    HIGH = 3
    CRITICAL = 4

    @property
    def word(self) -> str:
        return self.name.lower()


class Mode(Enum):
    ENFORCE = "Enforce"
    MONITOR = "Monitor"


@dataclass(frozen=True, slots=True)
class Finding:
    """One matched row of the risk catalogue. undetermined: matched because its condition could not be evaluated."""

    row: str
    level: RiskLevel
    reason: str
    undetermined: bool = False


@dataclass(frozen=True, slots=True)
class Risk:
    """All rows that matched; the level is the highest of them."""

    findings: tuple[Finding, ...] = ()

    @property
    def level(self) -> RiskLevel:
        return max((finding.level for finding in self.findings), default=RiskLevel.NONE)

    @property
    def rows(self) -> tuple[str, ...]:
        return tuple(finding.row for finding in self.findings)


NO_RISK = Risk()


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What is to happen with one request, and why.

    policy, rule: what decided; rule is "defaults" when the risk level decided, "" when no rule was reached.
    reason: one sentence that a person or a model can act on. policies: every governing policy, by name.
    would: in Monitor mode, what Enforce would have said (action is then ALLOW); otherwise equal to action.
    masking_profile: the strictest of the governing policies (Strict, Standard, Off); "" when nobody governs for sure.
    approval_uid, approval_name: set when a spent approval turned a Hold into this Allow.
    """

    action: Action
    policy: str = ""
    policy_generation: int = 0
    rule: str = ""
    reason: str = ""
    risk: Risk = NO_RISK
    policies: tuple[str, ...] = ()
    would: Action | None = None
    masking_profile: str = ""
    approval_uid: str = ""
    approval_name: str = ""
