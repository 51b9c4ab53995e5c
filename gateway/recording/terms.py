"""Under which terms a stream is recorded: the strictest of all policies that govern its caller."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from chaperone.core.policy import Policy
from chaperone.core.verdict import Mode


@dataclass(frozen=True, slots=True)
class RecordingTerms:
    """wanted: there is a recording. required: without one there is no stream. stdin: what is typed is recorded too."""

    wanted: bool
    required: bool
    stdin: bool


def recording_terms(policies: Iterable[Policy]) -> RecordingTerms:
    """A policy in Monitor mode never stands in the way: what it requires is tried."""
    asking = [policy for policy in policies if policy.recording.streams != "Off"]
    return RecordingTerms(
        wanted=bool(asking),
        required=any(
            policy.recording.streams == "Required" and policy.mode is Mode.ENFORCE for policy in asking
        ),
        stdin=any(policy.recording.stdin for policy in asking),
    )
