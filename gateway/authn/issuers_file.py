"""The issuers file on disk: YAML or JSON, read strictly, with the TLS trust of every issuer made ready."""

from __future__ import annotations

import ssl
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from chaperone.core.authentication import AuthenticationConfiguration, Issuer, read_configuration
from chaperone.core.policy import Fault


class ConfigurationError(Exception):
    """The file cannot be used; every fault that was found."""

    def __init__(self, source: str, faults: Sequence[Fault]) -> None:
        listed = "; ".join(f"{fault.path or 'the document'} {fault.message}" for fault in faults)
        super().__init__(f"{source}: {listed}")
        self.source = source
        self.faults = tuple(faults)


@dataclass(frozen=True, slots=True)
class IssuersFile:
    """tls: the client context for each issuer's servers, by issuer URL."""

    configuration: AuthenticationConfiguration
    tls: Mapping[str, ssl.SSLContext]


def read_issuers(raw: bytes, source: str) -> IssuersFile:
    """source: the file's name, for messages. Raises ConfigurationError with all faults at once."""
    value = _decode(raw, source)
    result = read_configuration(value)
    faults = [*(result if isinstance(result, tuple) else ()), *_certificate_faults(value)]
    if faults or isinstance(result, tuple):
        raise ConfigurationError(source, faults)
    return IssuersFile(result, {issuer.url: trust(issuer) for issuer in result.issuers})


def trust(issuer: Issuer) -> ssl.SSLContext:
    """A verifying context: the issuer's own authority, or the system's when it names none."""
    context = ssl.create_default_context(cadata=issuer.certificate_authority or None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _certificate_faults(value: object) -> list[Fault]:
    entries = value.get("jwt") if isinstance(value, dict) else None
    faults = []
    for index, entry in enumerate(entries if isinstance(entries, list) else ()):
        issuer = entry.get("issuer") if isinstance(entry, dict) else None
        pem = issuer.get("certificateAuthority") if isinstance(issuer, dict) else None
        if isinstance(pem, str) and pem and not _is_authority(pem):
            path = f"jwt[{index}].issuer.certificateAuthority"
            faults.append(
                Fault(path, "must be PEM with at least one certificate (the text, not a file name)")
            )
    return faults


def _is_authority(pem: str) -> bool:
    try:
        return bool(ssl.create_default_context(cadata=pem).cert_store_stats()["x509"])
    except (ssl.SSLError, ValueError):
        return False


def _decode(raw: bytes, source: str) -> object:
    try:
        return yaml.load(raw, Loader=_Loader)  # noqa: S506 - a SafeLoader that refuses doubled keys
    except yaml.MarkedYAMLError as error:
        # Only the place and the problem: the text of a YAML error quotes the file.
        line = f" in line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConfigurationError(source, [Fault("", f"is not YAML or JSON{line}: {error.problem}")]) from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError):
        raise ConfigurationError(source, [Fault("", "is not YAML or JSON")]) from None


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice: one of the two would silently not count."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        keys = [child.value for child, _ in node.value if child.tag != "tag:yaml.org,2002:merge"]
        if doubled := next((key for index, key in enumerate(keys) if key in keys[:index]), None):
            raise yaml.MarkedYAMLError(problem=f"{doubled!r} stands twice", problem_mark=node.start_mark)
        return super().construct_mapping(node, deep)
