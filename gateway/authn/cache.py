"""Tokens verified a moment ago: SHA-256 of the token to what was decided. No token is kept.

Callers and refusals live in separate bounded maps, so that a flood of bad tokens cannot push out good ones.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from hashlib import sha256
from typing import NamedTuple

from chaperone.core.identity import Caller
from chaperone.core.token import Refused
from gateway.authn.keyset import KeySet

MAX_CALLERS = 10_000
MAX_REFUSALS = 4096
CALLER_SECONDS = 300.0
REFUSAL_SECONDS = 10.0


class Entry(NamedTuple):
    """keys and key_generation: whose keys proved it, None when the API server did."""

    caller: Caller
    until: float
    configuration: int
    keys: KeySet | None
    key_generation: int


class TokenCache:
    """configuration: the generation of the issuers file; entries of another one are dead."""

    def __init__(self, clock: Callable[[], float], max_callers: int = MAX_CALLERS) -> None:
        self.configuration = 0
        self._clock = clock
        self._max_callers = max_callers
        self._callers: OrderedDict[bytes, Entry] = OrderedDict()
        self._refusals: OrderedDict[bytes, tuple[Refused, float, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._callers)

    def caller(self, token: str) -> Caller | None:
        """Costs a hash and a look-up; called for every request."""
        digest = sha256(token.encode("utf-8", "surrogatepass")).digest()
        entry = self._callers.get(digest)
        if entry is None:
            return None
        caller, until, configuration, keys, key_generation = entry
        if (
            until > self._clock()
            and configuration == self.configuration
            and (keys is None or keys.generation == key_generation)
        ):
            self._callers.move_to_end(digest)
            return caller
        del self._callers[digest]
        return None

    def refusal(self, token: str) -> Refused | None:
        digest = _digest(token)
        refused, until, configuration = self._refusals.get(digest, (None, 0.0, 0))
        if refused is not None and until > self._clock() and configuration == self.configuration:
            return refused
        self._refusals.pop(digest, None)
        return None

    def keep(
        self, token: str, caller: Caller, *, configuration: int, keys: KeySet | None = None, seconds: float
    ) -> None:
        """For `seconds`, but never beyond the token's own end. The generations are those it was proved under."""
        now = self._clock()
        until = min(now + seconds, caller.expires_at) if caller.expires_at else now + seconds
        if until <= now:
            return
        self._callers[_digest(token)] = Entry(
            caller, until, configuration, keys, keys.generation if keys else 0
        )
        while len(self._callers) > self._max_callers:
            self._callers.popitem(last=False)

    def refuse(self, token: str, refused: Refused, *, configuration: int) -> None:
        self._refusals[_digest(token)] = (refused, self._clock() + REFUSAL_SECONDS, configuration)
        while len(self._refusals) > MAX_REFUSALS:
            self._refusals.popitem(last=False)

    def forget(self) -> None:
        """A new configuration: nothing decided under the old one counts."""
        self.configuration += 1
        self._callers.clear()
        self._refusals.clear()


def _digest(token: str) -> bytes:
    return sha256(token.encode("utf-8", "surrogatepass")).digest()
