"""Raw HTTP requests to a gateway or an API server, with every header and byte as a test wants it."""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hack.stack import people
from hack.stack.kubectl import Kubectl
from hack.stack.layout import Layout

MERGE = "application/merge-patch+json"


@dataclass(frozen=True)
class Reply:
    code: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        return json.loads(self.body)

    @property
    def approval(self) -> str:
        """The ApprovalRequest that a refusal names; "" when it names none."""
        causes = self.document.get("details", {}).get("causes", [])
        return next((each["field"] for each in causes if each["reason"].startswith("Approval")), "")


@dataclass(frozen=True)
class Wire:
    """An agent on the wire. headers: sent with everything."""

    url: str
    token: str = field(repr=False)
    tls: ssl.SSLContext = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)

    def send(
        self, method: str, path: str, body: bytes | str = b"", content_type: str = "", **headers: str
    ) -> Reply:
        data = body.encode() if isinstance(body, str) else body
        request = urllib.request.Request(self.url + path, data=data or None, method=method)
        said = {name.replace("_", "-"): value for name, value in headers.items()}
        for name, value in {"Authorization": f"Bearer {self.token}", **self.headers, **said}.items():
            request.add_header(name, value)
        if content_type:
            request.add_header("Content-Type", content_type)
        try:
            with urllib.request.urlopen(request, context=self.tls, timeout=120) as answer:
                return Reply(answer.status, dict(answer.headers), answer.read())
        except urllib.error.HTTPError as error:
            return Reply(error.code, dict(error.headers), error.read())


def wire(layout: Layout, agent: Kubectl, url: str, **headers: str) -> Wire:
    """The agent of this kubeconfig, at a gateway's URL."""
    tls = ssl.create_default_context(cafile=str(layout.ca_file))
    said = {name.replace("_", "-"): value for name, value in headers.items()}
    return Wire(url, people.token_of(agent.kubeconfig), tls, said)
