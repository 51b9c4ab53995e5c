"""Tests of policies as files: sentences with a request and what is expected of it.

```yaml
policies: [../coding-agents.yaml]          # files, from where this one stands
callers:
  coder: {username: "repo:acme/web", groups: [ai-agents], run: run-1}
cases:
- sentence: deleting a namespace asks a person
  caller: coder
  request: {verb: delete, resource: namespaces, name: prod}
  expect: {verdict: Hold, policy: coding-agents, rule: namespaces-go-with-approval, risk: critical, rows: [R22]}
```

Read strictly: a field that is not known is a fault, for a misspelt expectation would test nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chaperone.cli.asking import Asked, caller_of, request_of
from chaperone.cli.faults import FailedError, WrongUsageError
from chaperone.cli.manifest import Document, UnreadableError, read_documents, read_file, shown
from chaperone.cli.policy_files import policy_set_of, read_policies
from chaperone.core.gate import judge
from chaperone.core.identity import Caller
from chaperone.core.legible import visible
from chaperone.core.policy import PolicySet
from chaperone.core.policy.fields import Fields
from chaperone.core.policy.terms import Fault
from chaperone.core.request import Request
from chaperone.core.verdict import Action, RiskLevel, Verdict

SUFFIXES = (".yaml", ".yml")
VERDICTS = tuple(action.word for action in Action)
LEVELS = tuple(level.word for level in RiskLevel)


@dataclass(frozen=True, slots=True)
class Expected:
    """ "" and None: not looked at. reason: a part of it. rows: each of these, maybe among others; an empty list: none."""

    verdict: str
    policy: str = ""
    rule: str = ""
    risk: str = ""
    reason: str = ""
    rows: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """One sentence. line: where it stands in its file."""

    sentence: str
    line: int
    caller: Caller
    request: Request
    expected: Expected


@dataclass(frozen=True, slots=True)
class Fixture:
    file: str
    policies: PolicySet
    cases: tuple[Case, ...]


@dataclass(frozen=True, slots=True)
class Result:
    """misses: what was expected and what came instead; empty when the case holds."""

    file: str
    case: Case
    verdict: Verdict
    misses: tuple[str, ...] = field(default=())


def fixture_files(place: str) -> list[Path]:
    """Every YAML file below a folder that is a fixture, in order. Raises WrongUsageError when there is none."""
    root = Path(place)
    files = [root] if root.is_file() else sorted(path for path in root.rglob("*") if path.suffix in SUFFIXES)
    if not files:
        raise WrongUsageError(f"there is no YAML file below {visible(place, 400)}")
    return files


def read_fixtures(places: Iterable[Path]) -> list[Fixture]:
    """Files with policies or other objects between them are passed over. Raises WrongUsageError with every fault of
    a file, and when no fixture is there; FailedError when a policy that it names cannot be read."""
    fixtures = [found for path in places if (found := _fixture(path)) is not None]
    if not fixtures:
        raise WrongUsageError("there is no file with `cases` in it: nothing would be tested")
    return fixtures


def _fixture(path: Path) -> Fixture | None:
    documents = _documents(path)
    if len(documents) != 1 or "cases" not in documents[0].value:
        return None
    [document] = documents
    faults: list[Fault] = []
    top = _Part(Fields(document.value, "", faults), document.value)
    policies = _policy_files(top.fields)
    callers = {name: _caller(part) for name, part in top.child("callers").parts()}
    cases = tuple(_case(part, callers, path.parent, document) for part in top.each("cases"))
    top.fields.close()
    if faults:
        place = shown(str(path))
        told = (f"{place}:{document.line(item.path)}: {item.path} {item.message}" for item in faults)
        raise WrongUsageError("; ".join(told))
    return Fixture(str(path), _policies(path.parent, policies), cases)


def _documents(path: Path) -> list[Document]:
    try:
        return [
            document for document in read_documents(read_file(str(path))) if isinstance(document.value, dict)
        ]
    except UnreadableError as error:
        raise WrongUsageError(f"{shown(str(path))}:{error.line or 1}: the file {error}") from error


def _policy_files(top: Fields) -> tuple[str, ...]:
    top.require("policies")
    return top.texts("policies") or ()


def _policies(folder: Path, names: Sequence[str]) -> PolicySet:
    files = [str(folder / name) for name in names]
    reading = read_policies(files)
    if not reading.policies and not reading.unreadable:
        raise FailedError(f"there is no AgentPolicy in {', '.join(map(shown, files))}")
    return policy_set_of(reading)


@dataclass(frozen=True, slots=True)
class _Part:
    """Fields that are read one by one, and the same as they are, for what is free in form (claims, objects)."""

    fields: Fields
    value: object

    def child(self, key: str) -> _Part:
        return _Part(self.fields.child(key), self._below(key))

    def each(self, key: str) -> Iterator[_Part]:
        values = self._below(key)
        for at, fields in enumerate(self.fields.children(key)):
            yield _Part(fields, values[at] if isinstance(values, list) else None)

    def parts(self) -> Iterator[tuple[str, _Part]]:
        names = list(self.value) if isinstance(self.value, Mapping) else []
        return ((str(name), self.child(str(name))) for name in names)

    def free(self, key: str) -> Mapping[str, Any]:
        """An object of any form; empty when it is left out."""
        self.child(key)
        value = self._below(key)
        return value if isinstance(value, Mapping) else {}

    def _below(self, key: str) -> object:
        return self.value.get(key) if isinstance(self.value, Mapping) else None


def _caller(part: _Part) -> Caller:
    fields = part.fields
    fields.require("username")
    caller = caller_of(
        username=fields.text("username"),
        groups=fields.texts("groups", empty=True) or (),
        issuer=fields.text("issuer"),
        subject=fields.text("subject"),
        run=fields.text("run"),
        agent=fields.text("agent"),
        model=fields.text("model"),
        claims=part.free("claims"),
    )
    fields.close()
    return caller


def _case(part: _Part, callers: Mapping[str, Caller], folder: Path, document: Document) -> Case:
    fields = part.fields
    for key in ("sentence", "caller", "request", "expect"):
        fields.require(key)
    sentence = fields.text("sentence")
    caller = _named_caller(part, callers)
    request = _request(part, folder)
    expected = _expected(fields.child("expect"))
    fields.close()
    return Case(sentence, document.line(fields.path), caller, request, expected)


def _named_caller(part: _Part, callers: Mapping[str, Caller]) -> Caller:
    """One of those above by name, or one that is written out."""
    if isinstance(part.value, Mapping) and isinstance(part.value.get("caller"), Mapping):
        return _caller(part.child("caller"))
    name = part.fields.text("caller")
    if name and name not in callers:
        part.fields.fault("caller", f'"{visible(name, 80)}" is none of the callers')
    return callers.get(name) or caller_of(username=name)


def _request(case: _Part, folder: Path) -> Request:
    part = case.child("request")
    fields = part.fields
    asked = Asked(
        verb=fields.text("verb"),
        resource=fields.text("resource"),
        name=fields.text("name"),
        namespace=fields.text("namespace"),
        all_namespaces=fields.flag("allNamespaces"),
        method=fields.text("method", "GET"),
        path=fields.text("path"),
        content_type=fields.text("contentType"),
        object=_object(part, "object", folder),
        old_object=_object(part, "oldObject", folder),
    )
    fields.close()
    try:
        return request_of(asked)
    except WrongUsageError as error:
        case.fields.fault("request", str(error))
        return Request(method="GET", verb="get", path="/")


def _object(part: _Part, key: str, folder: Path) -> Mapping[str, Any] | None:
    """Written out, or the name of a file that holds it."""
    value = part.value.get(key) if isinstance(part.value, Mapping) else None
    if not isinstance(value, str):
        return part.free(key) or None
    name = part.fields.text(key)
    found = _documents(folder / name)
    if len(found) != 1:
        part.fields.fault(key, f"{visible(name, 200)} holds {len(found)} objects; it has to be one")
        return None
    return dict(found[0].value)


def _expected(fields: Fields) -> Expected:
    fields.require("verdict")
    expected = Expected(
        verdict=fields.choice("verdict", VERDICTS, ""),
        policy=fields.text("policy"),
        rule=fields.text("rule"),
        risk=fields.choice("risk", LEVELS, ""),
        reason=fields.text("reason"),
        rows=fields.texts("rows", empty=True),
    )
    fields.close()
    return expected


# Running them


def run(fixture: Fixture, now: float) -> list[Result]:
    results = []
    for case in fixture.cases:
        verdict = judge(case.request, case.caller, fixture.policies, None, now)
        results.append(Result(fixture.file, case, verdict, tuple(_misses(case.expected, verdict))))
    return results


def _misses(expected: Expected, verdict: Verdict) -> Iterator[str]:
    pairs = (
        ("verdict", expected.verdict, verdict.action.word),
        ("policy", expected.policy, verdict.policy),
        ("rule", expected.rule, verdict.rule),
        ("risk", expected.risk, verdict.risk.level.word),
    )
    for word, wanted, came in pairs:
        if wanted and wanted != came:
            yield f"{word}: expected {visible(wanted, 200)}, got {visible(came, 200) or 'none'}"
    if expected.reason and expected.reason not in verdict.reason:
        yield f'reason: expected "{visible(expected.reason, 400)}" in it, got "{visible(verdict.reason, 1000)}"'
    if expected.rows is not None and not _has(verdict.risk.rows, expected.rows):
        yield f"rows: expected {_listed(expected.rows)}, got {_listed(verdict.risk.rows)}"


def _has(rows: Sequence[str], wanted: Sequence[str]) -> bool:
    return set(wanted) <= set(rows) if wanted else not rows


def _listed(rows: Sequence[str]) -> str:
    return visible(", ".join(sorted(rows)), 400) or "none"
