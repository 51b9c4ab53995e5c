"""From a YAML file to a frozen dataclass of settings, or to the list of everything that is wrong with it.

A settings class is a frozen, keyword-only dataclass whose fields are annotated with `Setting` or `Seconds`; a
field without a default is required; sections are such dataclasses too. In the file the names are camelCase,
as Kubernetes writes them. Unknown keys are faults: a setting that silently has no effect is worse than a
program that does not start.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import KW_ONLY, dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Final, TypeVar

import yaml

T = TypeVar("T")

UNITS: Final[Mapping[str, float]] = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+")
PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")


@dataclass(frozen=True, slots=True)
class SettingFault:
    """One mistake: where (`listen.port`) and what, with the remedy."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class SettingsError(Exception):
    """The settings cannot be used. faults: all of them, in the order of the file's schema."""

    def __init__(self, source: str, faults: tuple[SettingFault, ...]) -> None:
        self.source = source
        self.faults = faults
        lines = "".join(f"\n  - {fault}" for fault in faults)
        super().__init__(f"{source}: {len(faults)} fault{'s' if len(faults) > 1 else ''}{lines}")


@dataclass(frozen=True, slots=True)
class Setting:
    """What is asked of one setting beside its type: `port: Annotated[int, Setting("TCP port", at_least=1)] =
    8443`.

    doc: for people: meaning, unit, how to switch off. must_exist: a Path, when given, must be readable at
    start.
    """

    doc: str
    _: KW_ONLY
    at_least: float | None = None
    at_most: float | None = None
    choices: tuple[str, ...] = ()
    pattern: str = ""
    must_exist: bool = False


@dataclass(frozen=True, slots=True)
class Seconds(Setting):
    """A duration: seconds in Python; the file says 90, "90s" or "1m30s"."""


def load_file(kind: type[T], path: Path) -> T:
    """Settings of class `kind` from a YAML file. Raises SettingsError with every fault.

    A class may define `faults(self) -> Iterator[SettingFault]` (paths relative to it) for what only several of
    its fields together can show.
    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as fault:
        raise SettingsError(str(path), (SettingFault("", f"cannot be read: {fault}"),)) from fault
    return load(kind, document, source=str(path))


def load(kind: type[T], document: object, *, source: str = "settings") -> T:
    """As `load_file`, from a decoded document. An empty document is one without settings."""
    reader = _Reader()
    value = reader.read_section(kind, {} if document is None else document, "")
    if reader.faults:
        raise SettingsError(source, tuple(reader.faults))
    return typing.cast("T", value)


def describe(kind: type[Any], prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """(path, default, doc) of every setting, sections flattened: for the documentation and its test."""
    hints = typing.get_type_hints(kind, include_extras=True)
    for field in dataclasses.fields(kind):
        path = prefix + camel(field.name)
        nested, terms = _taken_apart(hints[field.name])
        if dataclasses.is_dataclass(nested):
            yield from describe(typing.cast("type[Any]", nested), path + ".")
        else:
            yield path, _shown_default(field, terms), terms.doc


def camel(name: str) -> str:
    """snake_case as the file writes it: x509 and the like stay readable."""
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


def seconds(value: object) -> float | None:
    """A duration in seconds, or None when it is not one."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, str) and DURATION.fullmatch(value):
        return sum(float(number) * UNITS[unit] for number, unit in PART.findall(value))
    return None


class _Reader:
    """Reads on after a fault, so that all of them are known at once."""

    def __init__(self) -> None:
        self.faults: list[SettingFault] = []

    def fault(self, path: str, message: str) -> Any:
        """Always None, in the place of the value that could not be read."""
        self.faults.append(SettingFault(path, message))
        return None

    def read_section(self, kind: type[Any], document: object, path: str) -> Any:
        if not isinstance(document, Mapping):
            return self.fault(path, f"a mapping is expected, not {_kind_of(document)}")
        fields = {camel(field.name): field for field in dataclasses.fields(kind)}
        for key in document:
            if key not in fields:
                self._unknown(_join(path, str(key)), str(key), list(fields))
        values = self._read_fields(kind, fields, document, path)
        if values is None:
            return None
        section = kind(**values)
        for found in section.faults() if hasattr(section, "faults") else ():
            self.fault(_join(path, found.path) if found.path else path, found.message)
        return section

    def _read_fields(
        self,
        kind: type[Any],
        fields: Mapping[str, dataclasses.Field[Any]],
        document: Mapping[Any, Any],
        path: str,
    ) -> dict[str, Any] | None:
        hints = typing.get_type_hints(kind, include_extras=True)
        values: dict[str, Any] = {}
        before = len(self.faults)
        for key, field in fields.items():
            where = _join(path, key)
            if document.get(key) is not None:
                values[field.name] = self._read(hints[field.name], document[key], where)
            elif dataclasses.is_dataclass(_taken_apart(hints[field.name])[0]):
                values[field.name] = self._read(hints[field.name], {}, where)
            elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
                self.fault(where, f"is required: {_taken_apart(hints[field.name])[1].doc}")
        return values if len(self.faults) == before else None

    def _read(self, hint: Any, value: object, path: str) -> Any:
        kind, terms = _taken_apart(hint)
        if dataclasses.is_dataclass(kind):
            return self.read_section(typing.cast("type[Any]", kind), value, path)
        if typing.get_origin(kind) is tuple:
            return self._read_list(value, path, terms)
        if isinstance(kind, type) and issubclass(kind, Enum):
            return self._read_enum(kind, value, path)
        if isinstance(terms, Seconds):
            return self._within(seconds(value), 'a duration such as "90s" or "2m"', value, path, terms)
        if kind is bool:
            return value if isinstance(value, bool) else self._wrong("true or false", value, path)
        if kind is int:
            return self._within(
                value if isinstance(value, int) and not isinstance(value, bool) else None,
                "a whole number",
                value,
                path,
                terms,
            )
        if kind is float:
            number = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
            return self._within(number, "a number", value, path, terms)
        if kind is Path:
            return self._read_path(value, path, terms)
        return self._read_text(value, path, terms)

    def _read_list(self, value: object, path: str, terms: Setting) -> Any:
        if not isinstance(value, list):
            return self._wrong("a list of texts", value, path)
        return tuple(self._read_text(item, f"{path}[{i}]", terms) or "" for i, item in enumerate(value))

    def _read_enum(self, kind: type[Enum], value: object, path: str) -> Any:
        for member in kind:
            if member.value == value:
                return member
        return self._wrong("one of " + ", ".join(str(member.value) for member in kind), value, path)

    def _read_path(self, value: object, path: str, terms: Setting) -> Any:
        text = self._read_text(value, path, terms)
        if text is None:
            return None
        if terms.must_exist:
            try:
                with Path(text).open("rb"):
                    pass
            except OSError as fault:
                return self.fault(path, f"{text} cannot be read: {fault.strerror}")
        return Path(text)

    def _read_text(self, value: object, path: str, terms: Setting) -> Any:
        if not isinstance(value, str):
            return self._wrong("a text", value, path)
        if terms.choices and value not in terms.choices:
            return self._wrong("one of " + ", ".join(terms.choices), value, path)
        if terms.pattern and not re.fullmatch(terms.pattern, value):
            return self._wrong(f"a text of the form {terms.pattern}", value, path)
        return value

    def _within(self, number: float | None, wanted: str, value: object, path: str, terms: Setting) -> Any:
        if number is None:
            return self._wrong(wanted, value, path)
        if terms.at_least is not None and not number >= terms.at_least:
            return self.fault(path, f"is {value}; at least {terms.at_least:g} is needed")
        if terms.at_most is not None and not number <= terms.at_most:
            return self.fault(path, f"is {value}; at most {terms.at_most:g} is allowed")
        return number

    def _wrong(self, wanted: str, value: object, path: str) -> Any:
        shown = repr(value)[:60] if isinstance(value, str | int | float | bool) else _kind_of(value)
        return self.fault(path, f"is {shown}; {wanted} is expected")

    def _unknown(self, path: str, key: str, known: list[str]) -> None:
        close = difflib.get_close_matches(key, known, n=1)
        hint = f"did you mean {close[0]}?" if close else "known here: " + ", ".join(known)
        self.fault(path, f"is not a setting; {hint}")


def _taken_apart(hint: Any) -> tuple[Any, Setting]:
    """The plain type (without `| None`) and what is asked of it."""
    terms = Setting("")
    if typing.get_origin(hint) is typing.Annotated:
        hint, *notes = typing.get_args(hint)
        terms = next((note for note in notes if isinstance(note, Setting)), terms)
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        hint = next(kind for kind in typing.get_args(hint) if kind is not type(None))
    return hint, terms


def _shown_default(field: dataclasses.Field[Any], terms: Setting) -> str:
    if field.default is dataclasses.MISSING:
        return "required"
    if field.default is None or field.default in ("", ()):
        return "none"
    if isinstance(field.default, Enum):
        return str(field.default.value)
    return f"{field.default:g}s" if isinstance(terms, Seconds) else str(field.default)


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _kind_of(value: object) -> str:
    names = {dict: "a mapping", list: "a list", type(None): "nothing"}
    return names.get(type(value), type(value).__name__)
