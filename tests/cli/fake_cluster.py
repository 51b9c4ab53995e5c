"""An API server with ApprovalRequests, AgentPolicies and AgentSessions in memory, behind real HTTP.

Decisions go through `chaperone.core.guard`, as the webhook puts them, so the sentences of refusals are the real ones.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jsonpatch
import yaml

from chaperone.core.guard import Refused, stamp_review

Obj = dict[str, Any]
API = "/apis/chaperone.dev/v1alpha1"
APPROVALS = f"{API}/approvalrequests"
POLICIES = f"{API}/agentpolicies"
SESSIONS = f"{API}/agentsessions"


class FakeCluster:
    """approvals: by name. seen: (method, path, headers as pairs, body). refusals: path to a Status to answer with."""

    def __init__(self) -> None:
        self.approvals: dict[str, Obj] = {}
        self.policies: list[Obj] = []
        self.sessions: dict[str, Obj] = {}
        self.on_look: Callable[[], None] = lambda: None
        self.seen: list[tuple[str, str, list[tuple[str, str]], Any]] = []
        self.refusals: dict[str, tuple[int, str, str]] = {}
        self.stamps = True
        self.kubeconfig = Path()

    def answer(self, method: str, path: str, body: Any, user: str) -> tuple[int, Obj]:
        if path in self.refusals:
            code, reason, message = self.refusals[path]
            return code, {"kind": "Status", "code": code, "reason": reason, "message": message}
        if path.startswith(SESSIONS):
            return self._session(method, path, body, user)
        if method == "POST" and path == APPROVALS:
            return 201, self._create(body)
        if method == "GET" and path in (APPROVALS, POLICIES):
            items = list(self.approvals.values()) if path == APPROVALS else self.policies
            return 200, {"kind": "List", "metadata": {"resourceVersion": "1"}, "items": items}
        name = path.removeprefix(f"{APPROVALS}/").removesuffix("/status")
        found = self.approvals.get(name)
        if found is None:
            return _status(404, "NotFound", f'approvalrequests.chaperone.dev "{name}" not found')
        return (200, found) if method == "GET" else self._decide(name, found, body, user)

    def _session(self, method: str, path: str, body: Any, user: str) -> tuple[int, Obj]:
        """on_look: called before one is read, as gateways go on meanwhile."""
        if path == SESSIONS:
            return 200, {
                "kind": "List",
                "metadata": {"resourceVersion": "1"},
                "items": list(self.sessions.values()),
            }
        self.on_look()
        found = self.sessions.get(path.removeprefix(f"{SESSIONS}/"))
        if found is None:
            return _status(404, "NotFound", f"{path} not found")
        if method == "PATCH":
            found["spec"] = {**found["spec"], **body["spec"], "terminatedBy": user}
        return 200, found

    def _create(self, body: Obj) -> Obj:
        name = body["metadata"].get("name") or body["metadata"]["generateName"] + "x1"
        metadata = {**body["metadata"], "name": name, "uid": "u"}
        self.approvals[name] = {
            **body,
            "metadata": metadata,
            "status": {"phase": "Pending", "approvals": "0/1"},
        }
        return self.approvals[name]

    def _decide(self, name: str, old: Obj, patch: Obj, user: str) -> tuple[int, Obj]:
        new = {**old, "status": {**old["status"], **patch["status"]}}
        stamped = stamp_review(old, new, user, time.time(), subresource="status") if self.stamps else ()
        if isinstance(stamped, Refused):
            sentence = f'approvalrequest "{name}" {stamped.reason}'
            return _status(
                403, "Forbidden", f'admission webhook "stamp.chaperone.dev" denied the request: {sentence}'
            )
        self.approvals[name] = jsonpatch.apply_patch(new, list(stamped))
        return 200, self.approvals[name]


def _status(code: int, reason: str, message: str) -> tuple[int, Obj]:
    return code, {"kind": "Status", "code": code, "reason": reason, "message": message}


@contextmanager
def running(folder: Path) -> Iterator[FakeCluster]:
    """The cluster, with a kubeconfig of the user "bob" in the folder."""
    cluster = FakeCluster()

    class Handler(BaseHTTPRequestHandler):
        def reply(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            raw = self.rfile.read(length)
            body = json.loads(raw) if raw else None
            path = self.path.partition("?")[0]
            cluster.seen.append((self.command, self.path, list(self.headers.items()), body))
            code, answer = cluster.answer(
                self.command, path, body, self.headers.get("Impersonate-User") or "bob"
            )
            content = b"" if "watch=1" in self.path else json.dumps(answer).encode()
            self.send_response(code)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PATCH = reply  # noqa: N815

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    cluster.kubeconfig = folder / "kubeconfig"
    cluster.kubeconfig.write_text(yaml.safe_dump(_kubeconfig(f"http://127.0.0.1:{server.server_port}")))
    try:
        yield cluster
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _kubeconfig(server: str) -> Obj:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        "clusters": [{"name": "k", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": {"token": "bob-token"}}],
    }
