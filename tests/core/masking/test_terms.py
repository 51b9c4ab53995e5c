from __future__ import annotations

from chaperone.core.masking import STANDARD, Profile, Terms, combine
from chaperone.core.policy import Exemption, Masking


def exemption(path: str, reason: str = "public") -> Exemption:
    return Exemption("ConfigMap", path, reason)


def test_without_a_policy_the_standard_holds() -> None:
    assert combine([]) == STANDARD
    assert not STANDARD.is_strict


def test_only_if_all_say_off_nothing_is_masked() -> None:
    assert combine([Masking("Off"), Masking("Off")]) is None
    assert combine([Masking("Off"), Masking("Standard")]) == STANDARD


def test_the_strictest_profile_wins() -> None:
    terms = combine([Masking("Standard"), Masking("Strict"), Masking("Off")])
    assert terms == Terms(Profile.STRICT)
    assert terms is not None
    assert terms.is_strict


def test_keys_and_patterns_are_united_once_each() -> None:
    terms = combine(
        [Masking(keys=("a", "b"), patterns=("x",)), Masking(keys=("b", "c"), patterns=("x", "y"))]
    )
    assert terms == Terms(keys=("a", "b", "c"), patterns=("x", "y"))


def test_an_exemption_holds_if_every_policy_would_show_the_place() -> None:
    shared, other = exemption("data.a"), exemption("data.b")
    same = exemption("data.a", reason="for another reason")
    terms = combine([Masking(exempt=(shared, other)), Masking(exempt=(same,)), Masking("Off")])
    assert terms == Terms(exempt=(shared,))
    assert combine([Masking(exempt=(shared,)), Masking()]) == STANDARD
