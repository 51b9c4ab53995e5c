"""Short-lived tokens of a service account, minted through the TokenRequest API."""

from __future__ import annotations

from dataclasses import dataclass, field

from chaperone.kube.connection import Connection
from chaperone.kube.errors import UnreachableError


@dataclass(frozen=True, slots=True)
class MintedToken:
    """lifetime: seconds from its minting, as granted: measured by our own clock, no clock skew can stretch
    it."""

    token: str = field(repr=False)
    lifetime: float


async def mint_token(connection: Connection, namespace: str, name: str, lifetime: float) -> MintedToken:
    """A token for the API server itself (its default audience). lifetime: seconds, at least 600.

    Raises RefusedError (the account may not `create` `serviceaccounts/token`, or the service account is not
    there), UnreachableError.
    """
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
    answer = await connection.post(
        path,
        {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": int(lifetime)},
        },
    )
    token = (answer.get("status") or {}).get("token")
    granted = (answer.get("spec") or {}).get("expirationSeconds")
    if not (isinstance(token, str) and token and isinstance(granted, int) and granted > 0):
        raise UnreachableError(f"POST {path}: the answer holds no token, or no lifetime")
    return MintedToken(token, float(granted))
