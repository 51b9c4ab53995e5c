"""Settings of the gateway: `python -m gateway --config FILE`.

Durations are seconds in Python, and numbers or texts such as "90s", "2m" in the file. A renewed certificate,
token or kubeconfig file is picked up without a restart; a change of the settings file itself needs one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from chaperone.settings.loading import Seconds, Setting, SettingFault
from chaperone.settings.recordings import place_fault

LOOPBACK = ("127.0.0.1", "::1", "localhost")
DNS_NAME = r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?"


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenSettings:
    """Where agents connect."""

    address: Annotated[str, Setting("address to listen on; 127.0.0.1 for this machine alone")] = "0.0.0.0"  # noqa: S104
    port: Annotated[int, Setting("TCP port; 0 lets the system choose", at_least=0, at_most=65535)] = 8443
    certificate: Annotated[
        Path | None,
        Setting("PEM file with the server certificate and its chain; none: plain HTTP", must_exist=True),
    ] = None
    key: Annotated[
        Path | None, Setting("PEM file with the private key of the certificate", must_exist=True)
    ] = None
    allow_plain_http: Annotated[
        bool,
        Setting("serve without TLS on an address that is not loopback (only behind something that ends TLS)"),
    ] = False

    def faults(self) -> Iterator[SettingFault]:
        """TLS is whole, and only left out where tokens do not travel."""
        if bool(self.certificate) != bool(self.key):
            yield SettingFault("", "certificate and key are given together or not at all")
        elif not (self.certificate or self.allow_plain_http or self.address in LOOPBACK):
            yield SettingFault(
                "certificate", f"is needed to listen on {self.address}: tokens must not travel in clear"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamSettings:
    """The API server that requests go to. Of a kubeconfig only the server and its CA are used, never its
    user."""

    server: Annotated[str, Setting("https:// address of the API server")] = "https://kubernetes.default.svc"
    ca: Annotated[
        Path | None,
        Setting("PEM file with its CA; none: the pod's own service account ca.crt", must_exist=True),
    ] = None
    kubeconfig: Annotated[
        Path | None, Setting("take server and CA from this file instead of server and ca", must_exist=True)
    ] = None
    context: Annotated[str, Setting("context in that kubeconfig; none: its current one")] = ""
    relax_x509_strict: Annotated[
        bool,
        Setting("clear VERIFY_X509_STRICT, which refuses CAs without key identifiers; verification stays on"),
    ] = False

    def faults(self) -> Iterator[SettingFault]:
        """The address can be verified."""
        if not self.kubeconfig and not self.server.startswith("https://"):
            yield SettingFault("server", "must be an https:// address")


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlSettings:
    """The credential that reads policies, writes approvals and mints the data-path token. Never used for
    agents."""

    kubeconfig: Annotated[
        Path | None,
        Setting("kubeconfig of that account; none: the pod's own service account", must_exist=True),
    ] = None
    context: Annotated[str, Setting("context in that kubeconfig; none: its current one")] = ""
    timeout: Annotated[float, Seconds("longest time for one call", at_least=0.1, at_most=60)] = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DataPathSettings:
    """The account that carries agents' requests. It may impersonate and nothing else."""

    namespace: Annotated[
        str, Setting("namespace of its service account; the token is minted and renewed", pattern=DNS_NAME)
    ] = ""
    name: Annotated[str, Setting("name of its service account", pattern=DNS_NAME)] = ""
    token_lifetime: Annotated[float, Seconds("asked for each minted token", at_least=600, at_most=86400)] = (
        3600.0
    )
    token_file: Annotated[
        Path | None,
        Setting(
            "use the token in this file instead of minting one; read again when it changes", must_exist=True
        ),
    ] = None

    def faults(self) -> Iterator[SettingFault]:
        """Exactly one source of the token."""
        if not self.token_file and not (self.namespace and self.name):
            yield SettingFault("", "give namespace and name of a service account, or a tokenFile")
        if self.token_file and (self.namespace or self.name):
            yield SettingFault("", "give a service account or a tokenFile, not both")


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditSettings:
    """Where audit records go: to a store that can be searched, or as JSON lines to a file or standard output. With
    several workers each has its own file: "audit.jsonl" becomes "audit-0.jsonl", "audit-1.jsonl" and so on. After a
    rotation send SIGHUP."""

    store: Annotated[
        str,
        Setting(
            "database: sqlite:///FILE or postgresql://USER@HOST/DATABASE (password: passfile=FILE in its query, or "
            "PGPASSWORD); none: JSON lines"
        ),
    ] = ""
    path: Annotated[
        str,
        Setting(
            'without a store: file for JSON lines, or "-" for standard output (not durable: no fdatasync)'
        ),
    ] = "-"
    writer: Annotated[
        str,
        Setting(
            "name of this gateway's hash chain, the same after a restart and nobody else's; the worker's number is"
            " added; none: from host name and port",
            pattern=r"([a-z0-9][a-z0-9._-]{0,99})?",
        ),
    ] = ""
    signing_key: Annotated[
        Path | None,
        Setting(
            "PEM file with the Ed25519 key that signs checkpoints, made when missing; none: audit.key beside an SQLite "
            "store or a JSON lines file"
        ),
    ] = None
    checkpoint_every: Annotated[
        float, Seconds("a record is covered by a signed checkpoint after this long", at_least=1)
    ] = 60.0
    checkpoint_records: Annotated[
        int, Setting("a checkpoint is signed after so many records at the latest", at_least=1)
    ] = 1000
    retention: Annotated[
        float,
        Seconds("records of a store that are older are pruned, but for runs under legal hold; 0: never"),
    ] = 0.0
    queue: Annotated[
        int, Setting("records of reads that may wait for the writer", at_least=1, at_most=10_000_000)
    ] = 10_000
    wait: Annotated[
        float, Seconds("longest wait for a record to be durable; then the request is refused", at_least=0.01)
    ] = 5.0

    def faults(self) -> Iterator[SettingFault]:
        """One place for the records, and a key that outlives the process where one is needed."""
        if self.store and self.path != "-":
            yield SettingFault("", "give a store or a path, not both")
        if self.store and not self.store.startswith(("sqlite:///", "postgresql://")):
            yield SettingFault("store", "must begin with sqlite:/// or postgresql://")
        if self.store.startswith("postgresql://") and self.signing_key is None:
            yield SettingFault(
                "signingKey", "is needed with a PostgreSQL store: a file that outlives this process"
            )
        if self.retention and not self.store:
            yield SettingFault("retention", "needs a store; files are rotated by whoever rotates them")
        if 0 < self.retention < 3600:
            yield SettingFault("retention", "must be at least 1h, or 0 to keep everything")


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthSettings:
    """Plain HTTP for probes and metrics: /healthz, /readyz, /metrics."""

    address: Annotated[str, Setting("address to listen on; a kubelet's probe needs the pod's address")] = (
        "127.0.0.1"
    )
    port: Annotated[int, Setting("TCP port; 0 lets the system choose", at_least=0, at_most=65535)] = 9443
    enabled: Annotated[bool, Setting("false: no probes, no metrics")] = True


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldSettings:
    """How requests wait for people. How long in all is each policy's own `approval.holdFor`."""

    step: Annotated[
        float,
        Seconds(
            "longest single wait of a client that comes again by itself (kubectl, helm); below load balancers' limits",
            at_least=0,
            at_most=55,
        ),
    ] = 20.0
    connect_step: Annotated[
        float,
        Seconds(
            "the same for all other clients, and for exec and the like, which no client sends again by itself",
            at_least=0,
            at_most=600,
        ),
    ] = 50.0
    abandoned_after: Annotated[
        float,
        Seconds(
            "an approval claimed by a gateway that has not been heard of for this long becomes Unknown",
            at_least=60,
        ),
    ] = 120.0
    waiting: Annotated[
        int, Setting("requests that may wait in one worker at a time; more are answered 503", at_least=1)
    ] = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitSettings:
    """Bounds of one worker. What exceeds them is refused with a Status."""

    header_bytes: Annotated[int, Setting("one header block", at_least=1024, at_most=1_048_576)] = 65_536
    header_count: Annotated[int, Setting("headers of one request", at_least=60, at_most=1000)] = 100
    target_bytes: Annotated[int, Setting("path and query", at_least=256, at_most=65_536)] = 16_384
    body_bytes: Annotated[
        int, Setting("body of one request; the API server's own limit is 3 MiB", at_least=1024)
    ] = 3_145_728
    connections: Annotated[int, Setting("client connections of one worker", at_least=1)] = 10_000
    upstream_idle: Annotated[int, Setting("idle connections kept to the API server", at_least=0)] = 64
    header_time: Annotated[float, Seconds("for a client to send its headers", at_least=0.1)] = 15.0
    idle_time: Annotated[float, Seconds("an idle client connection is kept", at_least=1)] = 300.0
    answer_time: Annotated[
        float, Seconds("for the API server to begin its answer; it gives up itself after 60s", at_least=1)
    ] = 65.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingSettings:
    """Where exec, attach and port-forward are recorded. Whose streams are recorded is said in policies."""

    path: Annotated[
        str,
        Setting(
            "folder for recordings, by day, or an object store: s3://BUCKET/PREFIX, gs://…, az://… (credentials from "
            'the environment); "": none, and what policy requires to be recorded is denied',
        ),
    ] = "recordings"
    limit: Annotated[
        int,
        Setting(
            "bytes of one recording; what must be recorded ends there, other streams go on; 0: no limit",
            at_least=0,
        ),
    ] = 268_435_456
    wait: Annotated[
        float, Seconds("longest time for the store to take something; then it counts as failed", at_least=0.1)
    ] = 10.0
    retention: Annotated[
        float,
        Seconds(
            "recordings that were sealed longer ago are removed, but for runs under legal hold; the audit record of the "
            "removal stays as long as that of the stream; 0: never"
        ),
    ] = 0.0

    def faults(self) -> Iterator[SettingFault]:
        """A place that can be used, and time for somebody to hold what is there."""
        if fault := place_fault(self.path):
            yield SettingFault("path", fault)
        if self.retention and not self.path:
            yield SettingFault("retention", "needs a path")
        if 0 < self.retention < 3600:
            yield SettingFault("retention", "must be at least 1h, or 0 to keep everything")


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskingSettings:
    """How secrets are masked in answers. What is masked, and for whom, is said in policies."""

    key_file: Annotated[
        Path | None,
        Setting(
            "file with the key of the placeholders, at least 32 bytes (`openssl rand -hex 32`), the same for all "
            "replicas; none: a new one at each start, so what was read before cannot be written back",
            must_exist=True,
        ),
    ] = None
    cache_dir: Annotated[
        Path | None,
        Setting(
            "folder where compiled patterns are kept, which only this account may write; none: one below the system's "
            "temporary folder"
        ),
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggingSettings:
    """The program's own log: JSON lines on standard error, never a token or a body."""

    level: Annotated[
        str, Setting("debug, info, warning or error", choices=("debug", "info", "warning", "error"))
    ] = "info"


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewaySettings:
    """Everything the gateway is told. Sections in the file carry the names of these fields in camelCase."""

    cluster: Annotated[
        str,
        Setting("a name for this cluster, part of every approval's digest", pattern=r"[\x21-\x7e]{1,253}"),
    ]
    authentication: Annotated[Path, Setting("YAML file with the `jwt:` list of issuers", must_exist=True)]
    guard_namespace: Annotated[
        str, Setting("namespace of kube-chaperone itself, guarded by the risk catalogue", pattern=DNS_NAME)
    ] = "kube-chaperone"
    workers: Annotated[int, Setting("processes that share the port", at_least=1, at_most=64)] = 1
    max_policy_age: Annotated[
        float,
        Seconds(
            "policies, and which runs were terminated: what was not confirmed by the API server for this long is not "
            "used: 503",
            at_least=60,
        ),
    ] = 300.0
    drain: Annotated[
        float, Seconds("at shutdown, time for running requests to end", at_least=0, at_most=3600)
    ] = 30.0
    run_folder: Annotated[
        Path | None, Setting("folder for the workers' metrics and readiness; none: a temporary one")
    ] = None
    listen: ListenSettings = field(default_factory=ListenSettings)
    upstream: UpstreamSettings = field(default_factory=UpstreamSettings)
    control: ControlSettings = field(default_factory=ControlSettings)
    data_path: DataPathSettings = field(default_factory=DataPathSettings)
    audit: AuditSettings = field(default_factory=AuditSettings)
    health: HealthSettings = field(default_factory=HealthSettings)
    holds: HoldSettings = field(default_factory=HoldSettings)
    limits: LimitSettings = field(default_factory=LimitSettings)
    recordings: RecordingSettings = field(default_factory=RecordingSettings)
    masking: MaskingSettings = field(default_factory=MaskingSettings)
    logging: LoggingSettings = field(default_factory=LoggingSettings)

    def faults(self) -> Iterator[SettingFault]:
        """What only several settings together can show."""
        if self.workers > 1 and self.listen.port == 0:
            yield SettingFault("listen.port", "must be given when several workers share it")
        if self.recordings.retention and not self.audit.store:
            yield SettingFault(
                "recordings.retention", "needs audit.store: holds and removals are on record there"
            )
