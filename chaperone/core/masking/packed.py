"""Texts that are packed: masked whole when anything inside is a secret, for no part of them can be replaced."""

from __future__ import annotations

from collections.abc import Callable

from chaperone.core.masking.layers import TooLargeError, unpacked

Opener = Callable[[str], bool]
"""Whether something would be masked in a text."""


def holds_secret(text: str, opener: Opener) -> bool:
    """Whether a text is base64 and holds a secret in one of its layers, or more than can be looked through."""
    try:
        return any(isinstance(content, str) and opener(content) for content in unpacked(text))
    except TooLargeError:
        return True
