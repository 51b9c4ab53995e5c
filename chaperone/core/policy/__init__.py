"""AgentPolicy: from an object to a compiled policy, or to faults with their field paths. Compiled once, asked often.

A policy that does not compile never widens: whom it governs is refused (BrokenPolicy), and when even that cannot be
read, everybody is.
"""

from chaperone.core.policy.compilation import compile_policy, policy_set
from chaperone.core.policy.compiled import BrokenPolicy, Policy, PolicySet
from chaperone.core.policy.question import Question, View
from chaperone.core.policy.terms import (
    CAPABLE,
    Access,
    ApprovalTerms,
    Capabilities,
    Exemption,
    Fault,
    Limits,
    Masking,
    Recording,
    RiskSettings,
    RuleMatch,
)

__all__ = [
    "CAPABLE",
    "Access",
    "ApprovalTerms",
    "BrokenPolicy",
    "Capabilities",
    "Exemption",
    "Fault",
    "Limits",
    "Masking",
    "Policy",
    "PolicySet",
    "Question",
    "Recording",
    "RiskSettings",
    "RuleMatch",
    "View",
    "compile_policy",
    "policy_set",
]
