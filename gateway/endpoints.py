"""Where the API server is, for the two credentials: from the settings, checked before anything starts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from chaperone.kube.endpoint import SERVICE_ACCOUNT, Endpoint, from_kubeconfig, in_cluster
from chaperone.kube.errors import EndpointError
from chaperone.settings.gateway import GatewaySettings
from gateway.http.pool_settings import UpstreamSettings
from gateway.server import ServerSettings, server_settings
from gateway.tls import UpstreamTrust, upstream_settings


@dataclass(frozen=True, slots=True)
class Endpoints:
    """upstream: where agents' requests go, without any credential. control: the gateway's own account there."""

    upstream: Endpoint
    control: Endpoint

    def serving(self, settings: GatewaySettings) -> ServerSettings:
        """Raises EndpointError, ValueError or ssl.SSLError when it cannot work."""
        files = [path for path in (settings.upstream.kubeconfig, self.upstream.ca_file) if path is not None]
        trust = UpstreamTrust(files, lambda: _again(settings))
        return server_settings(settings, self.towards_upstream(settings), trust)

    def towards_upstream(self, settings: GatewaySettings) -> UpstreamSettings:
        return upstream_settings(
            self.upstream.server,
            _ca_of(self.upstream),
            relax_x509_strict=settings.upstream.relax_x509_strict,
            first_byte_seconds=settings.limits.answer_time,
            most_idle=settings.limits.upstream_idle,
        )


def find(settings: GatewaySettings) -> Endpoints:
    """Raises EndpointError naming the file."""
    upstream, control = settings.upstream, settings.control
    if upstream.kubeconfig is not None:
        towards = from_kubeconfig(upstream.kubeconfig, upstream.context)
    else:
        ca = upstream.ca or SERVICE_ACCOUNT / "ca.crt"
        towards = Endpoint(server=upstream.server, source="upstream.server", ca_file=ca)
    own = (
        from_kubeconfig(control.kubeconfig, control.context)
        if control.kubeconfig is not None
        else replace(in_cluster(towards.server), ca_file=towards.ca_file, ca=towards.ca)
    )
    return Endpoints(_without_credential(towards), own)


def _again(settings: GatewaySettings) -> UpstreamSettings:
    """As the files are now. Raises ValueError or OSError."""
    try:
        return find(settings).towards_upstream(settings)
    except EndpointError as error:
        raise ValueError(str(error)) from error


def _without_credential(endpoint: Endpoint) -> Endpoint:
    """Only the server and its CA: the user of that kubeconfig must never reach the data path."""
    return Endpoint(server=endpoint.server, source=endpoint.source, ca_file=endpoint.ca_file, ca=endpoint.ca)


def _ca_of(endpoint: Endpoint) -> str | None:
    if endpoint.ca_file is None:
        return endpoint.ca or None
    try:
        return Path(endpoint.ca_file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as fault:
        raise EndpointError(f"CA {endpoint.ca_file} of {endpoint.source} cannot be read: {fault}") from fault
