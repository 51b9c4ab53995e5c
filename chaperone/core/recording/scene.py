"""Who does what where: the part of a recording that is known before its first byte."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chaperone.core.legible import visible

MOST_COMMAND = 4096
"""Characters of a command that a header shows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """kind: exec, attach, portforward or proxy; of services and nodes, services/proxy and nodes/proxy, and then `pod` is
    their name. started_at: Unix seconds. approval: the name of the one that was spent, ""."""

    kind: str
    namespace: str
    pod: str
    container: str = ""
    command: tuple[str, ...] = ()
    tty: bool = False
    stdin: bool = False
    ports: tuple[int, ...] = ()
    user: str = ""
    groups: tuple[str, ...] = ()
    run: str = ""
    agent: str = ""
    model: str = ""
    approval: str = ""
    policy: str = ""
    audit_id: str
    started_at: float

    @property
    def is_terminal(self) -> bool:
        return self.tty and self.kind in ("exec", "attach")

    @property
    def command_line(self) -> str:
        """As people read it; words with spaces in quotes, control characters as escapes."""
        return visible(" ".join(_quoted(word) for word in self.command), MOST_COMMAND)

    def described(self) -> dict[str, Any]:
        """Every field that says something, under the names of the `chaperone` object of a header."""
        fields = {
            "kind": self.kind,
            "namespace": self.namespace,
            "pod": self.pod,
            "container": self.container,
            "ports": list(self.ports),
            "stdin": self.stdin,
            "user": self.user,
            "groups": list(self.groups),
            "run": self.run,
            "agent": self.agent,
            "model": self.model,
            "policy": self.policy,
            "approval": self.approval,
            "auditID": self.audit_id,
        }
        return {name: value for name, value in fields.items() if value}


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a stream ended. exit_code: None when nobody said. reason: why, when the command did not end it.
    sent: bytes by channel, as in {"stdout": 12}; ports: of a port-forward, bytes by port."""

    exit_code: int | None = None
    reason: str = ""
    sent: Mapping[str, int] | None = None
    ports: Mapping[int, int] | None = None


def _quoted(word: str) -> str:
    plain = word and not any(character in word for character in " \t\n\"'\\$`;&|<>()*?[]{}#~!")
    return word if plain else "'" + word.replace("'", "'\\''") + "'"
