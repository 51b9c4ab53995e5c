"""Which upgrade a request asks for, read strictly.

The API server takes a request for an upgrade when any `Connection` value contains the letters "upgrade"
(k8s.io/apimachinery, httpstream.IsUpgradeRequest). Whatever that loose reading would call an upgrade, and this
strict one would not, is refused: the two must never differ about the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence

METHODS = {b"websocket": "GET", b"spdy/3.1": "POST"}
"""The protocols that Kubernetes serves, each with the one method its clients use."""


class UpgradeError(ValueError):
    """The request half asks for an upgrade. The message is for the client."""


def asked_upgrade(method: str, connection: Sequence[bytes], upgrade: Sequence[bytes]) -> str:
    """ "", "websocket" or "spdy/3.1". connection, upgrade: the values of these headers, a line each.

    Raises UpgradeError for anything in between.
    """
    if not upgrade and not any(b"upgrade" in value.lower() for value in connection):
        return ""
    named = [token.strip(b" \t").lower() for value in connection for token in value.split(b",")]
    if b"upgrade" not in named or len(upgrade) != 1:
        raise UpgradeError("an upgrade needs `Connection: Upgrade` and exactly one Upgrade header")
    protocol = upgrade[0].strip(b" \t").lower()
    if protocol not in METHODS:
        raise UpgradeError("the only protocols to upgrade to are websocket and SPDY/3.1")
    if METHODS[protocol] != method:
        raise UpgradeError(f"{protocol.decode()} starts with {METHODS[protocol]}")
    return protocol.decode()
