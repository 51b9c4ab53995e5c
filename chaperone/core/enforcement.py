"""What a policy asks for beyond its rules, masking and recording, and which requests cannot have it: they are denied,
whatever a rule or an approval says."""

from __future__ import annotations

from collections.abc import Callable

from chaperone.core.policy import Capabilities, Policy
from chaperone.core.request import Request

Check = Callable[[Policy], str]
"""Why a request that it concerns is denied under a policy; "" when it is not."""

STREAMS = frozenset({"pods/exec", "pods/attach", "pods/portforward"})
TRAFFIC = frozenset({"exec", "attach", "portforward", "proxy"})
"""Subresources that carry bytes of any form, both ways."""


def concerned(request: Request, capabilities: Capabilities) -> list[Check]:
    """The checks that this request has to pass, policy by policy."""
    return [check for concerns, check in _CHECKS if concerns(request, capabilities)]


def _unmasked_traffic(request: Request, capabilities: Capabilities) -> bool:
    """Whatever its group: other APIs have the same subresources for their own machines."""
    return request.is_resource and (request.subresource in TRAFFIC or request.verb == "proxy")


def _too_strict(policy: Policy) -> str:
    if not policy.masking.is_strict:
        return ""
    return (
        "masking is Strict, and what passes through exec, attach, port-forward and proxy cannot be masked for certain; "
        "a person can set masking.profile: Standard in the policy"
    )


def _streams(request: Request, capabilities: Capabilities) -> bool:
    return request.is_connect and request.full_resource in STREAMS and not capabilities.recording


def _unrecordable(policy: Policy) -> str:
    if policy.recording_streams != "Required":
        return ""
    return (
        "recording is required and this gateway is set to record nothing; a person can give it a recordings.path, or set "
        'recording.streams: "Off" in the policy'
    )


_CHECKS: tuple[tuple[Callable[[Request, Capabilities], bool], Check], ...] = (
    (_unmasked_traffic, _too_strict),
    (_streams, _unrecordable),
)
