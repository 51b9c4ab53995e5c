"""The exit code, from what the API server says on the error channel."""

from __future__ import annotations

import json

import pytest

from chaperone.core.recording.exit_status import exit_code
from tests.core.streams.framing import SUCCESS, failure


@pytest.mark.parametrize("code", [1, 3, 126, 137])
def test_the_code_of_a_command(code: int) -> None:
    assert exit_code(failure(code)) == code


def test_success_is_zero() -> None:
    assert exit_code(SUCCESS) == 0


def other(**fields: object) -> bytes:
    return json.dumps({**json.loads(failure(3)), **fields}).encode()


@pytest.mark.parametrize(
    "said",
    [b"", b"exit 3", b"[]", b'"Success"', SUCCESS[:-1], other(reason="InternalError"), other(details=None), other(details={}),
     other(details={"causes": 3}), other(details={"causes": ["x"]}), other(details={"causes": [{"reason": "Other"}]}),
     other(details={"causes": [{"reason": "ExitCode", "message": "many"}]}),
     other(details={"causes": [{"reason": "ExitCode", "message": "9" * 40}]})],
)  # fmt: skip
def test_what_names_no_code(said: bytes) -> None:
    assert exit_code(said) is None
