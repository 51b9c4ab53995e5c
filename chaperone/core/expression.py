"""CEL expressions of policies: compiled once with every name checked, evaluated to true, false, or an error.

An expression sees only what this module names, each as a typed variable, so a misspelt field is a fault of the
policy and not a surprise at the gate. A fact that is not known is left out of the data: an expression that does
not need it still has a value, every other has none, which is an error and never false.

Runs Google's native implementation; its loops end by its own iteration budget, its regular expressions are RE2. It
cuts texts at a NUL, so nothing with one in it is ever shown to it: neither an expression nor a fact (`facts`).
One compiled expression may be evaluated by many threads at once (measured; evaluation keeps no state in it).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache
from typing import Any, NewType

import orjson
from cel_expr_python import cel
from cel_expr_python.ext import ext_optional, ext_strings

MAX_TEXT = 4096
"""Characters; the parser bounds its own depth (32), this bounds its work."""

_TEXTS = cel.Type.List(cel.Type.STRING)
_TEXT_LISTS = cel.Type.Map(cel.Type.STRING, _TEXTS)

_CALLER: Mapping[str, Any] = {
    "claims": cel.Type.Map(cel.Type.STRING, cel.Type.DYN),
    "caller.username": cel.Type.STRING,
    "caller.groups": _TEXTS,
    "caller.issuer": cel.Type.STRING,
    "caller.subject": cel.Type.STRING,
    "caller.run": cel.Type.STRING,
    "caller.agent": cel.Type.STRING,
    "caller.model": cel.Type.STRING,
    "caller.extra": _TEXT_LISTS,
}
_REQUEST: Mapping[str, Any] = {
    "request.verb": cel.Type.STRING,
    "request.group": cel.Type.STRING,
    "request.version": cel.Type.STRING,
    "request.resource": cel.Type.STRING,
    "request.subresource": cel.Type.STRING,
    "request.namespace": cel.Type.STRING,
    "request.name": cel.Type.STRING,
    "request.path": cel.Type.STRING,
    "request.dryRun": cel.Type.BOOL,
    "request.parameters": _TEXT_LISTS,
    "object": cel.Type.DYN,
    "oldObject": cel.Type.DYN,
}


class Scope(Enum):
    """Which variables an expression may read: who calls, or that and what is asked."""

    SUBJECT = "subject"
    RULE = "rule"

    @property
    def variables(self) -> Mapping[str, Any]:
        """Variable to CEL type."""
        return _CALLER if self is Scope.SUBJECT else {**_CALLER, **_REQUEST}


Facts = NewType("Facts", dict[str, object])
"""Variable to value, all of which the library shows to an expression as they are."""


def facts(values: Mapping[str, object]) -> Facts:
    """values: variable to plain JSON values (dict and list, not tuple). Leaves out, as not known, what the library
    would show other than it is: a text with a NUL anywhere in the value, and what is no JSON."""
    return Facts({name: value for name, value in values.items() if _is_sayable(value)})


def _is_sayable(value: object) -> bool:
    if value is None or isinstance(value, bool):
        return True
    if isinstance(value, str):
        return "\0" not in value
    try:
        written = orjson.dumps(value)
    except (orjson.JSONEncodeError, RecursionError):
        return False
    return b"\\u0000" not in written or not _holds_nul(value)


def _holds_nul(value: object) -> bool:
    """The slow, exact answer, where the written form hints at one (it may be a backslash, and no NUL)."""
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, dict):
        return any(_holds_nul(key) or _holds_nul(item) for key, item in value.items())
    return isinstance(value, list) and any(_holds_nul(item) for item in value)


@dataclass(frozen=True, slots=True)
class EvaluationError:
    """An expression without a value. reason: a phrase that quotes nothing of the data."""

    reason: str


@dataclass(frozen=True, slots=True)
class Expression:
    """A compiled expression; equal to another of the same text. reads: the variables it mentions."""

    text: str
    reads: frozenset[str]
    program: Any = field(repr=False, compare=False)

    def evaluate(self, known: Facts) -> bool | EvaluationError:
        """known: from `facts`, without what is not known."""
        try:
            result = self.program.eval(data=known)
            kind, value = result.type(), result.value()
        except RuntimeError as error:
            return EvaluationError(_evaluation_fault(str(error)))
        if kind == cel.Type.BOOL:
            return bool(value)
        if kind == cel.Type.ERROR:
            return EvaluationError(_evaluation_fault(str(value)))
        return EvaluationError("its value is neither true nor false")


def compile_expression(text: str, *, scope: Scope) -> Expression | str:
    """The compiled expression, or what is wrong with the text, as a phrase that follows its field path."""
    if len(text) > MAX_TEXT:
        return f"is {len(text)} characters long; the limit is {MAX_TEXT}: split the rule"
    if "\0" in text:
        return "holds a NUL, at which it would be cut"
    try:
        program = _environment(scope).compile(text)
    except RuntimeError as error:
        return _compilation_fault(str(error), scope)
    kind = program.return_type()
    if kind not in (cel.Type.BOOL, cel.Type.DYN):
        return f"must be true or false, but its value is of type {kind.name()}: compare it with something"
    return Expression(text, _reads(text, scope), program)


@lru_cache(maxsize=64)
def _environment(scope: Scope, without: str = "") -> Any:
    variables = {name: kind for name, kind in scope.variables.items() if name != without}
    extensions = [ext_strings.ExtStrings(), ext_optional.ExtOptional()]
    return cel.NewEnv(variables=variables, extensions=extensions)


def _reads(text: str, scope: Scope) -> frozenset[str]:
    """A variable is read when the text does not compile without it."""
    return frozenset(
        name
        for name in scope.variables
        if all(part in text for part in name.split(".")) and not _compiles_without(text, scope, name)
    )


def _compiles_without(text: str, scope: Scope, name: str) -> bool:
    try:
        _environment(scope, name).compile(text)
    except RuntimeError:
        return False
    return True


_PLACE = re.compile(r"<input>:(\d+):(\d+): ")
_UNDECLARED = re.compile(r"undeclared reference to '([^']*)'")


def _compilation_fault(message: str, scope: Scope) -> str:
    first = message.splitlines()[0].removeprefix("INVALID_ARGUMENT: ").removeprefix("ERROR: ")
    what = _PLACE.sub(lambda place: f"line {place[1]}, column {place[2]}: ", first, count=1)
    what = what.removesuffix(" (in container '')")
    if _UNDECLARED.search(first):
        what += f"; known are {', '.join(scope.variables)}"
    return f"does not compile: {what[:600]}"


def _evaluation_fault(message: str) -> str:
    """Its own words: the library's may quote a value of the object."""
    if message.startswith("NOT_FOUND"):
        return "a field that it reads is not there (guard it with has())"
    if message.startswith("UNKNOWN"):
        return "it needs something that is not known of this request"
    if "budget" in message:
        return "it takes too many steps"
    return "it cannot be evaluated on these values (a null, or another type than it expects)"
