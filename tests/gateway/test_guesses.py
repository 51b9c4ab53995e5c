"""How many values a run may try in the masked fields of one object."""

from __future__ import annotations

from gateway.guesses import Guesses

RUN = ("https://issuer", "agent", "run-1")
OTHER = ("https://issuer", "agent", "run-2")


def guess(number: int, field: str = "data.password") -> list[tuple[str, str | bytes]]:
    return [(field, f"guess-{number}")]


def test_so_many_different_values_and_no_more() -> None:
    guesses = Guesses(most=3)
    assert all(guesses.admit(RUN, "uid", guess(number)) for number in range(3))
    assert not guesses.admit(RUN, "uid", guess(3))
    assert not guesses.admit(RUN, "uid", guess(4, "data.token"))


def test_the_same_value_again_is_no_new_guess() -> None:
    guesses = Guesses(most=1)
    assert all(guesses.admit(RUN, "uid", guess(1)) for _ in range(10))
    assert guesses.admit(RUN, "uid", [])
    assert not guesses.admit(RUN, "uid", guess(2))
    assert guesses.admit(RUN, "uid", guess(1))


def test_runs_and_objects_are_counted_apart() -> None:
    guesses = Guesses(most=1)
    assert guesses.admit(RUN, "uid", guess(1))
    assert guesses.admit(RUN, "other", guess(2))
    assert guesses.admit(OTHER, "uid", guess(2))
    assert not guesses.admit(RUN, "uid", guess(2))


def test_a_write_with_too_many_at_once_is_refused_and_not_counted() -> None:
    guesses = Guesses(most=2)
    assert not guesses.admit(RUN, "uid", guess(1) + guess(2) + guess(3))
    assert guesses.admit(RUN, "uid", guess(1) + guess(2))


def test_what_was_not_heard_of_for_longest_is_forgotten_first() -> None:
    guesses = Guesses(most=1, objects=2)
    for uid in ("a", "b"):
        assert guesses.admit(RUN, uid, guess(1))
    assert guesses.admit(RUN, "a", guess(1))
    assert guesses.admit(RUN, "c", guess(1))
    assert not guesses.admit(RUN, "a", guess(2))
    assert guesses.admit(RUN, "b", guess(2))
