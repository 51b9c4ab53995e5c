"""What looks for canaries finds them: a search that finds nothing would prove nothing."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote

import pytest

from tests.e2e.canary.needles import Needles
from tests.e2e.canary.values import SHAPES, Canary, Field


def planted() -> list[Canary]:
    field = Field("for the test of the search")
    for shape in SHAPES:
        field.plant(f"a {shape}", shape)
    return field.canaries


CANARIES = planted()


@pytest.mark.parametrize("canary", CANARIES, ids=lambda canary: canary.shape)
@pytest.mark.parametrize("offset", range(3))
def test_a_canary_is_found_in_every_form(canary: Canary, offset: int) -> None:
    needles, other = Needles([canary]), Needles([item for item in CANARIES if item is not canary])
    raw = b"\x00 \xff"[:offset] + canary.text.encode() + b"\n"
    once = base64.b64encode(raw)
    for haystack in (
        raw,
        once,
        base64.urlsafe_b64encode(raw),
        json.dumps(canary.text).encode(),
        quote(canary.text).encode(),
        *([] if canary.shape == "basic" else [base64.b64encode(b"x" * offset + once), raw.hex().encode()]),
    ):
        assert [found.name for found, _ in needles.found(b"before " + haystack)] == [canary.name]
        assert other.found(haystack) == []


def test_a_half_is_enough() -> None:
    canary = Field("x").plant("a password", "password")
    needles = Needles([Canary("c", "a password", "password", canary, (canary,))])
    assert needles.found(canary[: len(canary) // 2].encode())
    assert needles.found(canary[len(canary) // 2 :].encode())
    assert not needles.found(canary[: len(canary) // 2 - 1].encode())


def test_the_same_seed_gives_the_same_canaries_and_no_two_are_equal() -> None:
    assert planted() == CANARIES
    assert len({core for canary in CANARIES for core in canary.cores}) == sum(
        len(canary.cores) for canary in CANARIES
    )
