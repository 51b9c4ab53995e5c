"""Settings of the admission webhook: `python -m webhook --config FILE`.

A renewed certificate, token or kubeconfig file is picked up without a restart; a change of the settings
file needs one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from chaperone.settings.loading import Seconds, Setting, SettingFault
from chaperone.settings.serving import TlsListenSettings

DNS_NAME = r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?"
USERNAME = r"[^\x00-\x1f\x7f]{1,512}"


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookListenSettings(TlsListenSettings):
    """Where the API server connects. Always TLS: an API server speaks nothing else to a webhook."""

    port: Annotated[int, Setting("TCP port", at_least=1, at_most=65535)] = 9443


@dataclass(frozen=True, slots=True, kw_only=True)
class KubernetesSettings:
    """How the API server is reached, and as whom."""

    kubeconfig: Annotated[
        Path | None,
        Setting("kubeconfig of our account; none: the pod's own service account", must_exist=True),
    ] = None
    context: Annotated[str, Setting("context in that kubeconfig; none: its current one")] = ""
    timeout: Annotated[float, Seconds("longest time for one call", at_least=0.1, at_most=25)] = 3.0
    relax_x509_strict: Annotated[
        bool,
        Setting("clear VERIFY_X509_STRICT, which refuses CAs without key identifiers; verification stays on"),
    ] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountSettings:
    """Usernames of our own programs, as the API server authenticates them. Only these move an approval on."""

    gateway: Annotated[
        str,
        Setting("the gateway's control account: it alone makes, claims and ends approvals", pattern=USERNAME),
    ] = "system:serviceaccount:kube-chaperone:chaperone-gateway"
    controller: Annotated[
        str,
        Setting(
            "the controller's account: it alone expires approvals and writes policies' status",
            pattern=USERNAME,
        ),
    ] = "system:serviceaccount:kube-chaperone:chaperone-controller"
    console: Annotated[
        str,
        Setting(
            "the console's account: it may pass on decisions of people who have logged in there; empty: there is none",
            pattern=r"[^\x00-\x1f\x7f]{0,512}",
        ),
    ] = "system:serviceaccount:kube-chaperone:chaperone-console"


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookSettings:
    """Everything the webhook is told. Sections in the file carry the names of these fields in camelCase."""

    listen: WebhookListenSettings
    guard_namespace: Annotated[
        str, Setting("namespace of kube-chaperone itself, guarded by the risk catalogue", pattern=DNS_NAME)
    ] = "kube-chaperone"
    cluster: Annotated[
        str,
        Setting("the name that the gateway has for this cluster", pattern=r"[\x21-\x7e]{0,253}"),
    ] = ""
    max_policy_age: Annotated[
        float,
        Seconds(
            "policies not confirmed by the API server for this long are not used: agents are refused",
            at_least=45,
        ),
    ] = 120.0
    body_bytes: Annotated[
        int, Setting("largest review that is read; it may hold the old and the new object", at_least=65_536)
    ] = 8_388_608
    workers: Annotated[
        int,
        Setting(
            "processes that answer reviews, each on a core of its own and with its own copy of policies and roles",
            at_least=1,
            at_most=64,
        ),
    ] = 1
    threads: Annotated[
        int, Setting("reviews that one worker answers at the same time", at_least=1, at_most=256)
    ] = 16
    drain: Annotated[
        float, Seconds("at shutdown, time for running reviews to end", at_least=0, at_most=60)
    ] = 10.0
    log_level: Annotated[
        str, Setting("debug, info, warning or error", choices=("debug", "info", "warning", "error"))
    ] = "info"
    kubernetes: KubernetesSettings = field(default_factory=KubernetesSettings)
    accounts: AccountSettings = field(default_factory=AccountSettings)

    def faults(self) -> Iterator[SettingFault]:
        """What only several settings together can show."""
        named = [
            account
            for account in (self.accounts.gateway, self.accounts.controller, self.accounts.console)
            if account
        ]
        if len(set(named)) != len(named):
            yield SettingFault(
                "accounts", "gateway, controller and console must be different accounts: their rights differ"
            )
