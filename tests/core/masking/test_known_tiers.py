"""Every automaton over known values finds the same, whichever way it was made."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chaperone.core.masking.known_literals import literals
from chaperone.core.masking.known_tiers import ANCHOR, FEW, MIN_PART, Compile, Form, Tier, quick

ENGINES = pytest.mark.parametrize("engine", [quick, literals])
ALPHABET = b"\0\n\r\\.*+^$[](){}|?xab\xff"
ANCHORS = st.lists(
    st.lists(st.sampled_from(ALPHABET), min_size=1, max_size=ANCHOR).map(bytes),
    min_size=1,
    max_size=12,
    unique=True,
)


def places(text: bytes, anchors: list[bytes]) -> set[tuple[int, int]]:
    """By the plainest search there is."""
    return {
        (index, start)
        for index, anchor in enumerate(anchors)
        for start in range(len(text))
        if text.startswith(anchor, start)
    }


@settings(max_examples=150, deadline=None)
@given(anchors=ANCHORS, picks=st.lists(st.integers(0, 11), max_size=8), noise=st.binary(max_size=6))
def test_every_anchor_is_found_wherever_it_stands(
    anchors: list[bytes], picks: list[int], noise: bytes
) -> None:
    text = noise.join(anchors[pick % len(anchors)] for pick in picks)
    wanted = places(text, anchors)
    for engine in (quick, literals):
        assert set(engine(anchors)(text)) == wanted, engine


@ENGINES
@pytest.mark.parametrize("count", [1, FEW, FEW + 1, 700])
def test_few_anchors_and_many(engine: Compile, count: int) -> None:
    anchors = [f"value-number-{index:04}".encode() for index in range(count)]
    find = engine(anchors)
    assert set(find(b"x " + b" ".join(anchors))) == {(n, 2 + 18 * n) for n in range(count)}
    assert list(find(b"value-number-9999 value-number-000")) == []
    assert list(find(b"")) == []


@ENGINES
def test_bytes_that_no_value_has_are_nobodys(engine: Compile) -> None:
    assert list(engine([b"hunter2-one"])(b"\0\1aba\2\0 hunter2-on")) == []


@ENGINES
def test_what_begins_alike_is_told_apart(engine: Compile) -> None:
    header = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9."
    forms = [Form(f"{header}{index:040}".encode(), f"masked-{index}", True) for index in range(50)]
    tier = Tier(forms, engine)
    for form in forms:
        whole = [found.placeholder for start, end, found in tier.matches(b"= " + form.text) if end == 79]
        assert whole == [form.placeholder]
    assert {found.placeholder for _, _, found in tier.matches(header.encode() + b"0" * 60)} >= {"masked-0"}


@ENGINES
def test_one_inside_of_another(engine: Compile) -> None:
    forms = [Form(text, text.decode(), True) for text in (b"hunter2-one-more", b"ter2-one", b"one-more")]
    found = {
        (start, end, form.placeholder)
        for start, end, form in Tier(forms, engine).matches(b"hunter2-one-more")
    }
    assert found == {(0, 16, "hunter2-one-more"), (3, 11, "ter2-one"), (8, 16, "one-more")}


@ENGINES
def test_half_of_a_long_one_is_enough(engine: Compile) -> None:
    form = Form(b"".join(b"%04x" % index for index in range(40)), "masked", True)
    tier = Tier([form], engine)
    assert [(start, end) for start, end, _ in tier.matches(b"x" + form.text[:80] + b"...")] == [(1, 81)]
    assert list(tier.matches(form.text[: MIN_PART + 1])) == []


def test_what_hyperscan_refuses_is_said() -> None:
    with pytest.raises(ValueError, match="do not compile"):
        literals([b""])


@ENGINES
def test_many_threads_search_one(engine: Compile) -> None:
    tier = Tier([Form(f"value-number-{n}".encode(), "", True) for n in range(100)], engine)
    text = b"x" * 50_000 + b" value-number-77 " + b"y" * 50_000
    failures: list[BaseException] = []

    def search() -> None:
        try:
            for _ in range(50):
                assert len(list(tier.matches(text))) == 2
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=search) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
