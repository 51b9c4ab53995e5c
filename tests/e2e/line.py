"""One keep-alive connection to an API server or a gateway, with the credential of a kubeconfig: many requests, quickly."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from hack.cluster.kubeconfig import load_flattened, only_cluster, only_user

JSON = "application/json"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
STEPS = "application/json-patch+json"
APPLY = "application/apply-patch+yaml"


@dataclass(frozen=True)
class Said:
    code: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        return json.loads(self.body)

    @property
    def message(self) -> str:
        return str(self.document.get("message", ""))


class Line:
    """Reconnects once when the server has closed it."""

    def __init__(self, kubeconfig: Path) -> None:
        config = load_flattened(kubeconfig)
        cluster, user = only_cluster(config), only_user(config)
        self._url = urlsplit(cluster["server"])
        self._tls = ssl.create_default_context(
            cadata=base64.b64decode(cluster["certificate-authority-data"]).decode()
        )
        self._headers = {"Authorization": f"Bearer {user['token']}"} if "token" in user else {}
        if "client-certificate-data" in user:
            with tempfile.NamedTemporaryFile() as pem:
                for part in ("client-certificate-data", "client-key-data"):
                    pem.write(base64.b64decode(user[part]) + b"\n")
                pem.flush()
                self._tls.load_cert_chain(pem.name)
        self._connection: http.client.HTTPSConnection | None = None

    def send(
        self, method: str, path: str, body: Any = None, content_type: str = JSON, **headers: str
    ) -> Said:
        """body: bytes as they are, anything else as JSON."""
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        said = {**self._headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
        if data is not None:
            said["Content-Type"] = content_type
        try:
            return self._ask(method, path, data, said)
        except (http.client.HTTPException, ConnectionError):
            self._connection = None
            return self._ask(method, path, data, said)

    def must(self, method: str, path: str, body: Any = None, content_type: str = JSON) -> Any:
        """The document of an answer that has to be a success."""
        said = self.send(method, path, body, content_type)
        assert said.code < 300, (
            f"{method} {path} was answered {said.code}: {said.body.decode(errors='replace')[:2000]}"
        )
        return said.document

    def _ask(self, method: str, path: str, data: bytes | None, headers: Mapping[str, str]) -> Said:
        if self._connection is None:
            self._connection = http.client.HTTPSConnection(
                self._url.hostname or "", self._url.port, context=self._tls, timeout=60
            )
        self._connection.request(method, path, data, dict(headers))
        answer = self._connection.getresponse()
        return Said(answer.status, dict(answer.headers), answer.read())
