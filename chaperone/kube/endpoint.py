"""Where an API server is and how one account proves itself there: from a kubeconfig, or from a pod's own
files.

Nothing is guessed: what this program does not support (plugins that run commands, servers that are not
verified) is named, with what to do instead.
"""

from __future__ import annotations

import base64
import binascii
import ssl
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from chaperone.kube.errors import EndpointError
from chaperone.kube.watched_file import Stamp, WatchedFile

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
IN_CLUSTER_SERVER = "https://kubernetes.default.svc"
LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One API server and one credential. PEM material is either in a file (followed when renewed) or inline.

    source: what to name in errors. Nothing secret is shown by repr.
    """

    server: str
    source: str
    ca_file: Path | None = None
    ca: str = field(default="", repr=False)
    token_file: Path | None = None
    token: str = field(default="", repr=False)
    certificate_file: Path | None = None
    key_file: Path | None = None
    certificate: bytes = field(default=b"", repr=False)
    key: bytes = field(default=b"", repr=False)

    def __post_init__(self) -> None:
        parts = urlsplit(self.server)
        if parts.scheme == "http" and parts.hostname in LOOPBACK:
            return
        if parts.scheme != "https" or not parts.hostname:
            raise EndpointError(f"{self.source}: server {self.server!r} is not an https:// address")

    @property
    def is_tls(self) -> bool:
        return self.server.startswith("https:")

    def stamps(self) -> tuple[Stamp | None, ...]:
        """Changes whenever a file that the TLS context is made of was renewed. A missing file counts as
        None."""
        return tuple(_stamp(path) for path in (self.ca_file, self.certificate_file, self.key_file))

    def tls(self, *, relax_x509_strict: bool = False) -> ssl.SSLContext:
        """A verifying client context. relax_x509_strict clears VERIFY_X509_STRICT and nothing else: Python
        3.13 and later refuse cluster CAs without key identifiers or key usage. Raises EndpointError."""
        try:
            context = ssl.create_default_context(cafile=self.ca_file, cadata=self.ca or None)
            if relax_x509_strict:
                context.verify_flags &= ~ssl.VERIFY_X509_STRICT
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            context.set_alpn_protocols(["http/1.1"])
            self._present(context)
        except (OSError, ValueError) as fault:
            raise EndpointError(f"{self.source}: CA or client certificate cannot be used: {fault}") from fault
        return context

    def _present(self, context: ssl.SSLContext) -> None:
        if self.certificate_file and self.key_file:
            context.load_cert_chain(self.certificate_file, self.key_file)
        elif self.certificate and self.key:
            # The ssl module only reads certificates from files; this one lives for the length of the call,
            # mode 0600.
            with tempfile.NamedTemporaryFile(prefix="chaperone-") as pem:
                pem.write(self.certificate + b"\n" + self.key)
                pem.flush()
                context.load_cert_chain(pem.name)


class Bearer:
    """The bearer token of an endpoint, read again when its file changes."""

    __slots__ = ("_endpoint", "_file")

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._file = WatchedFile(endpoint.token_file) if endpoint.token_file else None

    def token(self) -> str:
        """ "" when the endpoint uses none. Raises EndpointError when it cannot be read or is empty."""
        if self._file is None:
            return self._endpoint.token
        try:
            token = self._file.read().decode("ascii").strip()
        except (OSError, UnicodeDecodeError) as fault:
            raise EndpointError(f"token file {self._file.path} cannot be read: {fault}") from fault
        if not token:
            raise EndpointError(f"token file {self._file.path} is empty; is the projected volume mounted?")
        return token


def in_cluster(server: str = IN_CLUSTER_SERVER, folder: Path = SERVICE_ACCOUNT) -> Endpoint:
    """The account of the pod we run in. Raises EndpointError when its files are not there."""
    for name in ("ca.crt", "token"):
        if not (folder / name).is_file():
            raise EndpointError(
                f"{folder / name} is not there: outside a cluster name a kubeconfig; inside, let the pod "
                "mount its service account token"
            )
    return Endpoint(
        server=server,
        source=f"service account in {folder}",
        ca_file=folder / "ca.crt",
        token_file=folder / "token",
    )


def from_kubeconfig(path: Path, context: str = "") -> Endpoint:
    """The named (or current) context of a kubeconfig. Raises EndpointError naming the file and the entry."""
    config = _load(path)
    context = context or str(config.get("current-context") or "")
    if not context:
        raise EndpointError(f"{path}: no current-context; set one or name a context")
    chosen = _entry(path, config, "contexts", "context", context)
    cluster = _entry(path, config, "clusters", "cluster", str(chosen.get("cluster", "")))
    user = _entry(path, config, "users", "user", str(chosen.get("user", "")))
    _refuse_unsupported(path, cluster, user)
    return Endpoint(
        server=str(cluster.get("server", "")).rstrip("/"),
        source=f"kubeconfig {path}, context {context}",
        ca_file=_beside(path, cluster.get("certificate-authority")),
        ca=_decoded(path, cluster, "certificate-authority-data").decode(),
        token_file=_beside(path, user.get("tokenFile")),
        token=str(user.get("token") or ""),
        certificate_file=_beside(path, user.get("client-certificate")),
        key_file=_beside(path, user.get("client-key")),
        certificate=_decoded(path, user, "client-certificate-data"),
        key=_decoded(path, user, "client-key-data"),
    )


def _load(path: Path) -> Mapping[str, Any]:
    try:
        config = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as fault:
        # A YAML error quotes the line it failed at, and that line may hold a token.
        why = fault if isinstance(fault, OSError) else "it is not YAML"
        raise EndpointError(f"kubeconfig {path} cannot be read: {why}") from None
    if not isinstance(config, dict):
        raise EndpointError(f"kubeconfig {path} is not a kubeconfig: a mapping is expected")
    return config


def _entry(path: Path, config: Mapping[str, Any], section: str, key: str, name: str) -> Mapping[str, Any]:
    for entry in config.get(section) or ():
        if isinstance(entry, dict) and entry.get("name") == name and isinstance(entry.get(key), dict):
            return dict(entry[key])
    raise EndpointError(f"{path}: {section} has no entry named {name!r}")


def _refuse_unsupported(path: Path, cluster: Mapping[str, Any], user: Mapping[str, Any]) -> None:
    if cluster.get("insecure-skip-tls-verify"):
        raise EndpointError(
            f"{path}: insecure-skip-tls-verify is refused; give certificate-authority instead"
        )
    for key in ("exec", "auth-provider"):
        if key in user:
            raise EndpointError(
                f"{path}: user entries with {key!r} are not supported by a server; "
                "use a service account's tokenFile or a client certificate"
            )
    if "username" in user:
        raise EndpointError(
            f"{path}: basic authentication left Kubernetes in 1.19; use a token or certificate"
        )


def _decoded(path: Path, entry: Mapping[str, Any], key: str) -> bytes:
    try:
        return base64.b64decode(str(entry.get(key) or ""), validate=True)
    except binascii.Error as fault:
        raise EndpointError(f"{path}: {key} is not base64") from fault


def _beside(path: Path, value: object) -> Path | None:
    """Paths inside a kubeconfig are relative to it."""
    return path.parent / str(value) if value else None


def _stamp(path: Path | None) -> Stamp | None:
    if path is None:
        return None
    try:
        return WatchedFile(path).stamp()
    except OSError:
        return None
