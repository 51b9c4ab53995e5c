"""Whom a policy governs: any of its entries, of which every field that is set must match."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chaperone.core.expression import Expression
from chaperone.core.identity import Caller
from chaperone.core.policy.globs import Globs
from chaperone.core.policy.question import subject_facts


@dataclass(frozen=True, slots=True)
class Subject:
    """One compiled entry of spec.subjects. issuer "" and None: the field was left out."""

    issuer: str = ""
    usernames: Globs | None = None
    groups: Globs | None = None
    expression: Expression | None = None

    def matches(self, caller: Caller) -> bool:
        """An expression that cannot be evaluated counts as true: rather one policy too many than none."""
        if self.issuer and self.issuer != caller.issuer:
            return False
        if not self._names(caller.username, caller.groups):
            return False
        return self.expression is None or self.expression.evaluate(subject_facts(caller)) is not False

    def could_be(self, username: str, groups: Sequence[str]) -> bool:
        """Would a user of this name, however authenticated, be governed? False when the entry names nobody: it
        speaks of an issuer or of claims, and these are not known of a user that the API server authenticated."""
        named = [
            given for given in (self.usernames, self.groups) if given is not None and not given.everything
        ]
        return bool(named) and self._names(username, groups)

    def _names(self, username: str, groups: Sequence[str]) -> bool:
        if self.usernames is not None and not self.usernames.match(username):
            return False
        return self.groups is None or any(self.groups.match(group) for group in groups)
