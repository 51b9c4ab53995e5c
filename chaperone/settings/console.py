"""Settings of the web console: `python -m console --config FILE`.

A renewed certificate, token or kubeconfig file is picked up without a restart; a change of the settings file needs one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from chaperone.settings.loading import Seconds, Setting, SettingFault
from chaperone.settings.recordings import place_fault
from chaperone.settings.serving import TlsListenSettings
from chaperone.settings.webhook import DNS_NAME, KubernetesSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleListenSettings(TlsListenSettings):
    """Where people's browsers connect. Always TLS: the session cookie travels on no other connection."""

    port: Annotated[int, Setting("TCP port", at_least=1, at_most=65535)] = 8444


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginSettings:
    """The OpenID Connect client with which people log in."""

    issuer: Annotated[
        Path,
        Setting(
            "YAML file with a `jwt:` list of one issuer; its claimMappings give people the names that RBAC knows",
            must_exist=True,
        ),
    ]
    client_id: Annotated[str, Setting("the console's client id at the issuer", pattern=r"[\x21-\x7e]{1,255}")]
    client_secret: Annotated[
        Path | None,
        Setting("file with the client's secret; none: a public client, by PKCE alone", must_exist=True),
    ] = None
    scopes: Annotated[str, Setting("scopes that are asked for, separated by spaces")] = (
        "openid profile email groups"
    )
    longest: Annotated[float, Seconds("a login ends after this long", at_least=60, at_most=86400)] = 28800.0
    idle: Annotated[
        float, Seconds("a login that is not used ends after this long", at_least=60, at_most=86400)
    ] = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordSettings:
    """Where the gateways keep their records; the console reads them only."""

    store: Annotated[
        str, Setting("URL of the audit store, as in the gateway's audit.store; empty: there is none")
    ] = ""
    recordings: Annotated[
        str, Setting("folder or URL of the recordings, as in the gateway's settings; empty: there are none")
    ] = ""

    def faults(self) -> Iterator[SettingFault]:
        """A place that can be read."""
        if fault := place_fault(self.recordings):
            yield SettingFault("recordings", fault)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleSettings:
    """Everything the console is told. Sections in the file carry the names of these fields in camelCase."""

    listen: ConsoleListenSettings
    url: Annotated[str, Setting("https:// address under which people's browsers reach the console")]
    login: LoginSettings
    cookie_key: Annotated[
        Path,
        Setting(
            "file with at least 32 random bytes that sign the session cookies; the same for all replicas",
            must_exist=True,
        ),
    ]
    cluster: Annotated[
        str, Setting("a name for this cluster, shown on every page", pattern=r"[\x21-\x7e]{0,253}")
    ] = ""
    guard_namespace: Annotated[str, Setting("namespace of kube-chaperone itself", pattern=DNS_NAME)] = (
        "kube-chaperone"
    )
    workers: Annotated[int, Setting("processes that answer", at_least=1, at_most=64)] = 1
    threads: Annotated[
        int, Setting("requests that one worker answers at the same time", at_least=1, at_most=256)
    ] = 16
    drain: Annotated[
        float, Seconds("at shutdown, time for running requests to end", at_least=0, at_most=60)
    ] = 5.0
    log_level: Annotated[
        str, Setting("debug, info, warning or error", choices=("debug", "info", "warning", "error"))
    ] = "info"
    kubernetes: KubernetesSettings = field(default_factory=KubernetesSettings)
    records: RecordSettings = field(default_factory=RecordSettings)

    def faults(self) -> Iterator[SettingFault]:
        """What a login could not survive."""
        parts = urlsplit(self.url)
        if parts.scheme != "https" or not parts.hostname or parts.path not in ("", "/") or parts.query:
            yield SettingFault("url", "must be https:// and a host, without a path")
        if len(self.cookie_key.read_bytes()) < 32:
            yield SettingFault(
                "cookieKey", "holds less than 32 bytes: make it with `head -c 32 /dev/urandom`"
            )
        if "openid" not in self.login.scopes.split():
            yield SettingFault("login.scopes", "must name openid, or the issuer gives no ID token")
