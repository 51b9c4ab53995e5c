"""Whom policies hand out, read from policies in any state."""

from __future__ import annotations

from typing import Any

import pytest

from chaperone.core.identity import Identity
from chaperone.kube.identities import named_identities, named_identity


@pytest.mark.parametrize(
    ("identity", "expected"),
    [
        ({"serviceAccount": {"namespace": "a", "name": "b"}}, Identity("system:serviceaccount:a:b")),
        ({"user": "u", "groups": ["g"]}, Identity("u", ("g",))),
        ({"user": "u", "groups": "nonsense"}, Identity("u")),
        ({"serviceAccount": {"namespace": "a"}, "user": "u"}, Identity("u")),
        ({"serviceAccount": {"namespace": "a"}}, None),
        ({"serviceAccount": "text"}, None),
        ({"user": 7}, None),
        ("text", None),
        (None, None),
    ],
)
def test_an_identity_counts_however_broken_the_rest_is(identity: Any, expected: Identity | None) -> None:
    assert named_identity({"spec": {"identity": identity, "rules": "broken"}}) == expected


def test_policies_without_a_spec_hand_out_nothing() -> None:
    assert named_identities([{}, {"spec": None}, {"spec": {"identity": {"user": "u"}}}]) == {Identity("u")}
