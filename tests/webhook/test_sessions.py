"""Who may change an AgentSession."""

from __future__ import annotations

from typing import Any

import pytest

from tests.webhook.reviews import CODER, GATEWAY, review
from webhook.sessions import check_session

RUNNING = {"spec": {"run": "r-1"}}
ENDED = {"spec": {"run": "r-1", "terminated": True}}
OTHER_RUN = {"spec": {"run": "r-2", "terminated": True}}


@pytest.mark.parametrize(
    ("user", "operation", "subresource", "old", "new", "allowed"),
    [
        (GATEWAY, "CREATE", "", None, RUNNING, True),
        (GATEWAY, "UPDATE", "status", RUNNING, RUNNING, True),
        (GATEWAY, "UPDATE", "", ENDED, RUNNING, False),
        ("alice", "CREATE", "", None, RUNNING, False),
        ("alice", "UPDATE", "", RUNNING, ENDED, True),
        ("alice", "UPDATE", "", ENDED, RUNNING, False),
        ("alice", "UPDATE", "", ENDED, {"spec": {"run": "r-1", "terminated": "no"}}, False),
        ("alice", "UPDATE", "", RUNNING, OTHER_RUN, False),
        ("alice", "UPDATE", "", RUNNING, {}, False),
        ("alice", "UPDATE", "status", RUNNING, RUNNING, False),
        ("alice", "DELETE", "", ENDED, None, True),
        (CODER, "UPDATE", "", RUNNING, ENDED, False),
        (CODER, "DELETE", "", ENDED, None, False),
    ],
)
def test_people_throw_the_switch_and_the_gateway_keeps_the_rest(  # noqa: PLR0917
    user: str, operation: str, subresource: str, old: Any, new: Any, allowed: bool
) -> None:
    request = review("agentsessions", operation, user=user, subresource=subresource, obj=new, old=old)[
        "request"
    ]
    answer = check_session(request, gateway=GATEWAY, guarded=frozenset({CODER}))
    assert answer.allowed is allowed
    assert allowed or answer.message
