"""Settings of the controller: `python -m controller --config FILE`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from chaperone.settings.loading import Seconds, Setting, SettingFault
from chaperone.settings.webhook import DNS_NAME, KubernetesSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionSettings:
    """How long what has ended stays readable in the cluster."""

    approvals: Annotated[
        float,
        Seconds(
            "ended approvals are deleted this long after their expiresAt; 0 keeps them for ever", at_least=0
        ),
    ] = 2_592_000.0
    sessions: Annotated[
        float,
        Seconds(
            "ended sessions are deleted this long after they have ended; 0 keeps them for ever. A run that comes back "
            "after that counts from zero",
            at_least=0,
        ),
    ] = 604_800.0
    terminated_sessions: Annotated[
        float,
        Seconds(
            "terminated sessions are deleted this long after the termination; it has to be longer than any token of "
            "an agent lives, for then the run may come back",
            at_least=86_400,
        ),
    ] = 7_776_000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionSettings:
    """When the session of a run counts as over."""

    idle_after: Annotated[
        float,
        Seconds("without a request and without an open stream for so long a session is idle", at_least=1),
    ] = 600.0
    end_after: Annotated[
        float,
        Seconds(
            "and has ended. A run that comes back goes on in the same session; a caller whose token names no run "
            "gets a new one",
            at_least=1,
        ),
    ] = 3600.0
    most: Annotated[
        int,
        Setting("of more sessions than this, ended ones are deleted early, the oldest first", at_least=100),
    ] = 20_000

    def faults(self) -> Iterator[SettingFault]:
        """What only several settings together can show."""
        if self.end_after < self.idle_after:
            yield SettingFault("endAfter", "is less than idleAfter")


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagedSettings:
    """What the controller keeps in step with the identities that policies hand out. Switch off what is
    managed elsewhere."""

    bindings: Annotated[bool, Setting("bindings (and missing service accounts) for spec.access")] = True
    grants: Annotated[
        bool, Setting("bindings for approved requests for access, for as long as these last")
    ] = True
    impersonator: Annotated[bool, Setting("the roles that say whom the gateway may impersonate")] = True
    guard: Annotated[
        bool, Setting("the agent guard's matchConditions; never made again once somebody has deleted it")
    ] = True


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateSettings:
    """The webhook's certificate, where neither cert-manager nor files of your own bring it."""

    manage: Annotated[
        bool,
        Setting(
            "make and renew the webhook's certificate, and keep its authority in the webhook configurations; "
            "off: leave all of that alone"
        ),
    ] = False
    secret: Annotated[
        str, Setting("Secret in our namespace that holds it; the webhook mounts it", pattern=DNS_NAME)
    ] = "chaperone-webhook-tls"
    service: Annotated[
        str,
        Setting("Service by which API servers reach the webhook", pattern=r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?"),
    ] = "chaperone-webhook"
    lifetime: Annotated[float, Seconds("how long a certificate is valid", at_least=60)] = 7_776_000.0
    renew_before: Annotated[
        float, Seconds("a new one is made this long before the old one ends", at_least=1)
    ] = 2_592_000.0
    overlap: Annotated[
        float,
        Seconds(
            "how long old and new authority are both trusted before, and after, the new certificate is used: "
            "time for every API server and every replica of the webhook to follow",
            at_least=0,
        ),
    ] = 900.0

    def faults(self) -> Iterator[SettingFault]:
        """What only several settings together can show."""
        if not 2 * self.overlap <= self.renew_before < self.lifetime:
            yield SettingFault("renewBefore", "has to be at least two overlaps, and less than the lifetime")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeSettings:
    """Plain HTTP for the kubelet's liveness probe: /healthz."""

    address: Annotated[str, Setting("address to listen on; a kubelet's probe needs the pod's address")] = (
        "127.0.0.1"
    )
    port: Annotated[int, Setting("TCP port; 0: no probe", at_least=0, at_most=65535)] = 8081


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationSettings:
    """Who is told of approvals and grants, by chat, mail or webhook."""

    targets: Annotated[
        Path | None,
        Setting("YAML file (a mounted Secret) that lists whom to tell; none: nobody", must_exist=True),
    ] = None
    console_url: Annotated[
        str,
        Setting("where the web console is, for links in notices; none: no link", pattern=r"https?://[!-~]+"),
    ] = ""
    max_age: Annotated[
        float,
        Seconds(
            "what happened longer ago, or could not be delivered for this long, is no news any more",
            at_least=60,
        ),
    ] = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ControllerSettings:
    """Everything the controller is told. Sections in the file carry the names of these fields in
    camelCase."""

    guard_namespace: Annotated[
        str,
        Setting(
            "namespace of kube-chaperone itself: the home of the impersonator's account", pattern=DNS_NAME
        ),
    ] = "kube-chaperone"
    resync: Annotated[
        float,
        Seconds(
            "everything is listed and put right this often, beside every event", at_least=1, at_most=3600
        ),
    ] = 60.0
    stuck_after: Annotated[
        float,
        Seconds(
            "liveness fails when no resync has succeeded for this long while none is running", at_least=60
        ),
    ] = 600.0
    log_level: Annotated[
        str, Setting("debug, info, warning or error", choices=("debug", "info", "warning", "error"))
    ] = "info"
    kubernetes: KubernetesSettings = field(default_factory=KubernetesSettings)
    probe: ProbeSettings = field(default_factory=ProbeSettings)
    managed: ManagedSettings = field(default_factory=ManagedSettings)
    certificates: CertificateSettings = field(default_factory=CertificateSettings)
    retention: RetentionSettings = field(default_factory=RetentionSettings)
    sessions: SessionSettings = field(default_factory=SessionSettings)
    notifications: NotificationSettings = field(default_factory=NotificationSettings)

    def faults(self) -> Iterator[SettingFault]:
        """What only several settings together can show."""
        if self.stuck_after < 2 * self.resync:
            yield SettingFault(
                "stuckAfter", f"is {self.stuck_after:g}s; at least two resyncs must fit into it"
            )
