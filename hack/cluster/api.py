"""A few requests to the API server, as its administrator, and waiting for it to answer."""

import http.client
import json
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from hack.cluster.errors import ClusterError
from hack.cluster.model import Log

POLL_SECONDS = 0.1
SPEAK_SECONDS = 5.0


@dataclass(frozen=True)
class Api:
    """An API server reached with a client certificate."""

    server: str
    ca: Path
    certificate: Path
    key: Path

    def request(self, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, bytes]:
        """Status and body; status 0 when the server could not be reached."""
        address = urlsplit(self.server)
        connection = http.client.HTTPSConnection(
            address.hostname or "", address.port, context=self._context(), timeout=5
        )
        content = json.dumps(body) if body is not None else None
        try:
            connection.request(method, path, content, {"Content-Type": "application/json"})
            response = connection.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException):
            return 0, b""
        finally:
            connection.close()

    def ok(self, path: str) -> bool:
        return self.request("GET", path)[0] == 200

    def get(self, path: str) -> dict[str, Any] | None:
        """The object at the path, or None when it is not there or not readable yet."""
        status, body = self.request("GET", path)
        return json.loads(body) if status == 200 else None

    def _context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.ca))
        context.load_cert_chain(str(self.certificate), str(self.key))
        return context


def wait_for(
    what: str, check: Callable[[], bool], *, alive: Callable[[], None], log: Log, seconds: float = 90
) -> None:
    """Poll until `check` is true. `alive` raises when a component has died meanwhile."""
    began = time.monotonic()
    spoken = began
    while not check():
        alive()
        now = time.monotonic()
        if now - began > seconds:
            raise ClusterError(
                f"{what} took more than {seconds:.0f} s: see the logs, or try again on a calmer machine"
            )
        if now - spoken > SPEAK_SECONDS:
            spoken = now
            log(f"waiting for {what}: {now - began:.0f} s, at most {seconds:.0f} s")
        time.sleep(POLL_SECONDS)


def has_default_account(api: Api, *, needs_token: bool) -> bool:
    """Whether pods can be made in `default`. Before 1.24 that takes a token secret, too."""
    account = api.get("/api/v1/namespaces/default/serviceaccounts/default")
    return account is not None and (bool(account.get("secrets")) or not needs_token)


def is_node_ready(api: Api, name: str = "localhost") -> bool:
    return is_ready(api.get(f"/api/v1/nodes/{name}") or {})


def is_ready(node: dict[str, Any]) -> bool:
    """Whether a Node object says so."""
    conditions = node.get("status", {}).get("conditions", [])
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)
