"""What an approval is for: a digest over everything that decides what a request does, and over nothing else."""

from __future__ import annotations

from chaperone.core.approval import Target
from chaperone.core.identity import Caller
from chaperone.core.request import Request


def request_digest(
    request: Request, caller: Caller, target: Target, *, policy: str, policy_generation: int, cluster: str
) -> str:
    """"sha256:<64 hex>" over the canonical JSON (RFC 8785) of the request, who asks, the target and the policy."""
    raise NotImplementedError


def approval_name(digest: str, attempt: int = 1) -> str:
    """The ApprovalRequest's name: a retry finds it without memory. attempt > 1 after an earlier one has ended."""
    raise NotImplementedError
