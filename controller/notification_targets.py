"""Whom to tell: the list in a file that is mounted from a Secret, read again when it changes.

A target's URL holds its secret (apprise's notation). It is never logged and never part of a fault or a representation:
targets are known by their names.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apprise
import yaml

from chaperone.core.notice import EVENTS, Event, Interest, Notice
from chaperone.core.policy.globs import globs
from chaperone.core.verdict import RiskLevel
from chaperone.kube.watched_file import WatchedFile

log = logging.getLogger(__name__)

MOST_TARGETS = 32
FIELDS = frozenset({"name", "url", "events", "policies", "risks"})
RISKS = frozenset(level.word for level in RiskLevel)
SILENT = logging.CRITICAL + 1


class TargetsError(Exception):
    """The file cannot be used; says every fault, and no URL."""


@dataclass(frozen=True, slots=True)
class Target:
    """One place to tell. service: an apprise object made of its URL."""

    name: str
    interest: Interest
    service: apprise.Apprise = field(repr=False, compare=False)

    def send(self, notice: Notice) -> bool:
        """True when the service has taken it. Blocks for as long as the service's own timeouts; raises nothing."""
        try:
            return bool(
                self.service.notify(
                    title=notice.title, body=notice.body, body_format=apprise.NotifyFormat.TEXT
                )
            )
        except Exception as error:  # noqa: BLE001 - a plug-in of a service may raise anything, and may quote its URL
            log.warning("telling %s failed with %s", self.name, type(error).__name__)
            return False


class TargetFile:
    """The targets as the file has them now."""

    def __init__(self, path: Path | None) -> None:
        """Raises TargetsError when the file cannot be used."""
        silence()
        self._file = None if path is None else WatchedFile(path)
        self._content = b""
        self._targets: tuple[Target, ...] = ()
        if self._file is not None:
            self._load(self._file)

    def targets(self) -> tuple[Target, ...]:
        """A file that has become unusable is said once, and the last good list stays."""
        if self._file is None:
            return ()
        try:
            self._load(self._file)
        except TargetsError as error:
            log.error("the list of whom to tell stays as it was: %s", error)  # noqa: TRY400 - no URL in a trace
        return self._targets

    def _load(self, file: WatchedFile) -> None:
        try:
            content = file.read()
        except OSError as error:
            raise TargetsError(f"{file.path} cannot be read: {error.strerror or error}") from error
        if content != self._content:
            self._content = content
            self._targets = read_targets(content, str(file.path))
            log.info("notices go to %s", ", ".join(target.name for target in self._targets) or "nobody")


def silence() -> None:
    """Below us, libraries log URLs and paths, which hold secrets."""
    for name in ("apprise", "urllib3", "requests"):
        logging.getLogger(name).setLevel(SILENT)


def read_targets(content: bytes, source: str) -> tuple[Target, ...]:
    """The list `targets` of a YAML document. Raises TargetsError."""
    try:
        document = yaml.safe_load(content)
    except (yaml.YAMLError, UnicodeDecodeError):
        raise TargetsError(f"{source} is not YAML") from None  # the cause quotes the file
    items = document.get("targets") if isinstance(document, Mapping) else None
    if not isinstance(items, list) or len(items) > MOST_TARGETS:
        raise TargetsError(f"{source}: targets: a list of at most {MOST_TARGETS} is expected")
    faults: list[str] = []
    found = [_target(item, f"targets[{index}]", faults) for index, item in enumerate(items)]
    names = [target.name for target in found if target is not None]
    faults += [
        f"targets: the name {name!r} stands there twice" for name in sorted({*names}) if names.count(name) > 1
    ]
    if faults:
        raise TargetsError(f"{source}: " + "; ".join(faults))
    return tuple(target for target in found if target is not None)


def _target(item: object, path: str, faults: list[str]) -> Target | None:
    before = len(faults)
    if not isinstance(item, Mapping):
        faults.append(f"{path}: a mapping is expected")
        return None
    stray = sorted(str(key) for key in item if key not in FIELDS)
    faults += [f"{path}.{key[:40]}: is not known; known are {', '.join(sorted(FIELDS))}" for key in stray]
    name = item.get("name")
    if not isinstance(name, str) or not name.isprintable() or not 0 < len(name) <= 63:
        faults.append(f"{path}.name: a text of 1 to 63 characters is expected")
    interest = Interest(
        events=frozenset(Event(word) for word in _words(item, "events", frozenset(EVENTS), path, faults)),
        policies=globs(policies) if (policies := _words(item, "policies", None, path, faults)) else None,
        risks=frozenset(_words(item, "risks", RISKS, path, faults)),
    )
    service = apprise.Apprise()
    url = item.get("url")
    if not isinstance(url, str) or not service.add(url):
        faults.append(f"{path}.url: is not a URL that apprise can use")
    return Target(str(name), interest, service) if len(faults) == before else None


def _words(
    item: Mapping[str, Any], key: str, known: frozenset[str] | None, path: str, faults: list[str]
) -> tuple[str, ...]:
    """A list of words; none when it is left out. known None: any text will do."""
    value = item.get(key)
    if value is None:
        return ()
    if not isinstance(value, list) or not value or not all(isinstance(word, str) and word for word in value):
        faults.append(f"{path}.{key}: a list of texts is expected; leave it out for all")
        return ()
    unknown = sorted(set(value) - known) if known is not None else []
    faults += [f"{path}.{key}: {word[:40]!r} is none of {', '.join(sorted(known or ()))}" for word in unknown]
    return () if unknown else tuple(value)
