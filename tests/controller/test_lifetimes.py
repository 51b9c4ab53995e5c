"""What the clock does to approvals."""

from __future__ import annotations

import pytest

from chaperone.core.approval import TERMINAL, Approval, Phase
from controller.lifetimes import NEVER, Agenda, Due, deadline, due, expiry
from tests.controller.objects import approval

DAY = 86_400.0
PENDING = approval(Phase.PENDING, expires_at=100.0, created_at=10.0)
APPROVED = approval(Phase.APPROVED, expires_at=100.0, use_before=50.0, created_at=10.0)


@pytest.mark.parametrize(
    ("case", "now", "expected"),
    [
        (PENDING, 99.9, Due.NOTHING),
        (PENDING, 100.0, Due.EXPIRE),
        (APPROVED, 49.9, Due.NOTHING),
        (APPROVED, 50.0, Due.EXPIRE),
        (approval(Phase.EXECUTING, expires_at=1.0, use_before=1.0, created_at=1.0), 9e9, Due.NOTHING),
        (approval(Phase.DENIED, expires_at=100.0, created_at=10.0), 100.0 + DAY - 1, Due.NOTHING),
        (approval(Phase.DENIED, expires_at=100.0, created_at=10.0), 100.0 + DAY, Due.DELETE),
        (approval(Phase.UNKNOWN, expires_at=100.0, created_at=10.0), 100.0 + DAY, Due.DELETE),
    ],
)
def test_what_is_due(case: Approval, now: float, expected: Due) -> None:
    assert due(case, now, DAY) is expected


def test_retention_zero_keeps_ended_approvals_for_ever() -> None:
    for phase in TERMINAL:
        assert deadline(approval(phase, created_at=1.0, expires_at=2.0), 0) == NEVER


def test_every_phase_is_either_ended_or_known() -> None:
    assert {*Phase} - TERMINAL == {Phase.PENDING, Phase.APPROVED, Phase.EXECUTING}


def test_expiry_is_a_compare_and_swap() -> None:
    patch = expiry(PENDING)
    assert patch["metadata"]["resourceVersion"] == PENDING.resource_version
    assert patch["status"]["phase"] == "Expired"


def test_the_agenda_hands_out_each_deadline_once_and_forgets_what_is_gone() -> None:
    agenda = Agenda(DAY)
    agenda.note(PENDING)
    agenda.note(approval(Phase.PENDING, name="req-2", expires_at=200.0))
    assert agenda.next_deadline() == 100.0
    assert agenda.take_due(150.0) == ("req-1",)
    assert agenda.take_due(150.0) == ()
    agenda.forget("req-2")
    assert agenda.next_deadline() == NEVER


def test_a_decided_approval_loses_its_old_deadline() -> None:
    agenda = Agenda(DAY)
    agenda.note(PENDING)
    agenda.note(approval(Phase.EXECUTING, expires_at=100.0))
    assert agenda.take_due(9e9) == ()


def test_a_full_listing_replaces_the_agenda() -> None:
    agenda = Agenda(DAY)
    agenda.note(PENDING)
    agenda.restart({"req-9": approval(Phase.PENDING, name="req-9", expires_at=300.0)})
    assert agenda.take_due(9e9) == ("req-9",)
