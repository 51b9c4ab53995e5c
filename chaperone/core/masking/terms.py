"""What has to be masked for one caller: the terms of all policies that govern it, as one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from chaperone.core.policy.terms import Masking

if TYPE_CHECKING:
    from chaperone.core.policy.terms import Exemption


class Profile(Enum):
    """How much is masked. Off is no profile: there are no terms then."""

    STANDARD = "Standard"
    STRICT = "Strict"


@dataclass(frozen=True, slots=True)
class Terms:
    """keys: more key names that mean a secret. patterns: more forms of secrets, in the syntax of RE2; the secret is
    the first group where there is one. exempt: places that stay as they are.
    """

    profile: Profile = Profile.STANDARD
    keys: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()
    exempt: tuple[Exemption, ...] = ()

    @property
    def is_strict(self) -> bool:
        return self.profile is Profile.STRICT


STANDARD = Terms()
_OFF = "Off"


def combine(policies: Iterable[Masking]) -> Terms | None:
    """The strictest of what the governing policies say; None only where every one of them says Off.

    Keys and patterns are united. An exemption holds only where each policy would show the place: because it has the
    same exemption, or because it masks nothing at all. No policy at all: the standard terms.
    """
    policies = tuple(policies)
    masking = [policy for policy in policies if policy.profile != _OFF]
    if policies and not masking:
        return None
    strict = any(policy.profile == Profile.STRICT.value for policy in masking)
    return Terms(
        profile=Profile.STRICT if strict else Profile.STANDARD,
        keys=tuple(dict.fromkeys(key for policy in policies for key in policy.keys)),
        patterns=tuple(dict.fromkeys(pattern for policy in policies for pattern in policy.patterns)),
        exempt=_common(masking),
    )


def _common(policies: list[Masking]) -> tuple[Exemption, ...]:
    """The exemptions that all have, whatever reasons they give."""
    first, others = policies[0].exempt if policies else (), policies[1:]
    return tuple(
        exemption
        for exemption in first
        if all(any(exemption.same_place(other) for other in policy.exempt) for policy in others)
    )
