"""CEL over the claims of a token, in the dialect of Kubernetes' structured authentication configuration.

An expression is compiled once, when the configuration is read. An evaluation that fails is an error and
never a value: whoever asks must refuse. Loops end by the library's own iteration budget.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from cel_expr_python import cel
from cel_expr_python.ext import ext_optional, ext_strings

MAX_SOURCE = 4096


class CelError(ValueError):
    """An expression that does not compile, or that has no value for these claims."""


@dataclass(frozen=True, slots=True)
class Expression:
    """A compiled expression over one variable; equal to another of the same source."""

    source: str
    variable: str
    program: Any = field(repr=False, compare=False)

    def evaluate(self, value: object) -> object:
        """The result as plain Python values. Raises CelError without any part of the input."""
        try:
            result = self.program.eval(data={self.variable: value})
            if result.type() == cel.Type.ERROR:
                raise CelError("has no value for this token")
            return result.plain_value()
        except RuntimeError:
            raise CelError("cannot be evaluated for this token") from None


def compile_expression(source: str, variable: str, *, boolean: bool = False) -> Expression:
    """variable: `claims` or `user`. boolean: it has to yield true or false. Raises CelError with the place."""
    if len(source) > MAX_SOURCE:
        raise CelError(f"must be at most {MAX_SOURCE} characters long")
    try:
        program = _environment(variable).compile(source)
    except RuntimeError as error:
        raise CelError(f"is not an expression over `{variable}`: {_first_line(error)}") from None
    if boolean and program.return_type() not in (cel.Type.BOOL, cel.Type.DYN):
        raise CelError(f"must be true or false, but is {program.return_type().name()}")
    return Expression(source, variable, program)


@lru_cache(maxsize=4)
def _environment(variable: str) -> Any:
    return cel.NewEnv(
        variables={variable: cel.Type.Map(cel.Type.STRING, cel.Type.DYN)},
        extensions=[ext_strings.ExtStrings(), ext_optional.ExtOptional()],
    )


def _first_line(error: RuntimeError) -> str:
    return str(error).splitlines()[0].removeprefix("INVALID_ARGUMENT: ").removeprefix("ERROR: ")
