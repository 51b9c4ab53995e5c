"""AgentPolicies from files: which documents are policies, and what is wrong with each. Nothing here asks a cluster."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from chaperone.cli.faults import FailedError
from chaperone.cli.manifest import Document, UnreadableError, read_documents, read_file, shown
from chaperone.core.policy import BrokenPolicy, Fault, Policy, PolicySet, RiskSettings, compile_policy
from chaperone.core.policy.compilation import API_VERSION, KIND


@dataclass(frozen=True, slots=True)
class Found:
    """One policy of a file, compiled. line: where its document begins."""

    file: str
    document: Document
    compiled: Policy | BrokenPolicy

    @property
    def faults(self) -> tuple[Fault, ...]:
        return self.compiled.faults if isinstance(self.compiled, BrokenPolicy) else ()

    @property
    def warnings(self) -> tuple[Fault, ...]:
        return () if isinstance(self.compiled, BrokenPolicy) else self.compiled.warnings

    def place(self, path: str) -> str:
        """file:line, as editors and CI understand it."""
        return f"{shown(self.file)}:{self.document.line(path)}"


@dataclass(frozen=True, slots=True)
class Reading:
    """All that some files hold. unreadable: "file:line: reason". others: kinds that are no policies, by file."""

    policies: tuple[Found, ...]
    unreadable: tuple[str, ...] = ()
    others: tuple[tuple[str, str], ...] = ()

    @property
    def twice(self) -> tuple[Found, ...]:
        """Policies whose name an earlier one has: only one of both can be in a cluster."""
        seen: set[str] = set()
        again = []
        for found in self.policies:
            name = found.compiled.name
            if name and name in seen:
                again.append(found)
            seen.add(name)
        return tuple(again)


def read_policies(files: Iterable[str]) -> Reading:
    """Raises WrongUsageError for a file that cannot be opened."""
    policies: list[Found] = []
    unreadable: list[str] = []
    others: list[tuple[str, str]] = []
    for file in files:
        text = read_file(file)
        try:
            for document in read_documents(text):
                if is_policy(document):
                    policies.append(Found(file, document, compile_policy(document.value)))
                else:
                    others.append((file, document.kind or "an object without a kind"))
        except UnreadableError as error:
            unreadable.append(f"{shown(file)}:{error.line or 1}: the file {error}")
    return Reading(tuple(policies), tuple(unreadable), tuple(others))


def is_policy(document: Document) -> bool:
    """By its kind; one of our group with a misspelt kind or version is a policy with a fault."""
    version = document.value.get("apiVersion") if isinstance(document.value, dict) else None
    group = API_VERSION.partition("/")[0]
    return document.kind == KIND or (
        isinstance(version, str)
        and version.partition("/")[0] == group
        and document.kind not in ("ApprovalRequest", "AgentSession")
    )


def policy_set_of(reading: Reading, settings: RiskSettings | None = None) -> PolicySet:
    """All of them as the gateway would know them. Raises FailedError when a file could not be read whole."""
    if reading.unreadable:
        raise FailedError(reading.unreadable[0])
    if reading.twice:
        again = reading.twice[0]
        raise FailedError(
            f'{again.place("metadata.name")}: "{again.compiled.name}" is the name of an earlier policy'
        )
    compiled = sorted((found.compiled for found in reading.policies), key=lambda policy: policy.name)
    return PolicySet(
        policies=tuple(policy for policy in compiled if isinstance(policy, Policy)),
        broken=tuple(policy for policy in compiled if isinstance(policy, BrokenPolicy)),
        risk_settings=settings or RiskSettings(),
    )
