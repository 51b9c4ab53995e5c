"""What people are shown of the objects that a held request is about: masked by the standard terms, always.

The same placeholders as in the agent's answers, so that both can speak of the same secret.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from chaperone.core.masking import Masker, SecretPlace
from chaperone.core.request import Request
from gateway.masking.choice import place_of


class Hiding:
    """Implements gateway.preview.Hide. Raises UnmaskableError for what cannot be masked: then no preview is shown."""

    def __init__(self, masker: Masker) -> None:
        self._masker = masker

    def __call__(self, request: Request, obj: Mapping[str, Any]) -> tuple[Mapping[str, Any], frozenset[str]]:
        shown = copy.deepcopy(dict(obj))
        found: list[SecretPlace] = []
        self._masker.document(shown, place_of(request), collect=found.append)
        return shown, frozenset(place.value for place in found if isinstance(place.value, str))
