"""What the programs on gunicorn have in common: a place to listen, always with TLS."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from chaperone.settings.loading import Setting


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsListenSettings:
    """A renewed certificate is picked up without a restart."""

    certificate: Annotated[
        Path, Setting("PEM file with the server certificate and its chain", must_exist=True)
    ]
    key: Annotated[Path, Setting("PEM file with the private key of the certificate", must_exist=True)]
    address: Annotated[str, Setting("address to listen on; 127.0.0.1 for this machine alone")] = "0.0.0.0"  # noqa: S104
    port: Annotated[int, Setting("TCP port", at_least=1, at_most=65535)]
    client_ca: Annotated[
        Path | None,
        Setting(
            "PEM file with the CA of client certificates that are then required; none: anybody may connect",
            must_exist=True,
        ),
    ] = None
