"""Notices from a real controller to a real receiver; what was told is written on the object, past the guard."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import yaml

from hack.stack import programs, up
from hack.stack.kubectl import Kubectl
from tests.e2e.agents import Agents
from tests.e2e.holding import decide, new_namespace
from tests.e2e.test_grants import asked, phase
from tests.e2e.waiting import until

pytestmark = pytest.mark.cluster
GROUP = "noted"


@pytest.fixture
def told(stack: up.Stack) -> Iterator[list[dict[str, Any]]]:
    """What a receiver gets, to which the controller is pointed for the time of one test."""
    received: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    config = stack.layout.config("controller")
    before = config.read_text()
    targets = config.with_name("targets.yaml")
    url = f"json://127.0.0.1:{server.server_address[1]}/hook"
    targets.write_text(yaml.safe_dump({"targets": [{"name": "hook", "url": url, "policies": [GROUP]}]}))
    config.write_text(yaml.safe_dump({**yaml.safe_load(before), "notifications": {"targets": str(targets)}}))
    programs.restart(stack.layout, stack.program("controller"))
    try:
        yield received
    finally:
        config.write_text(before)
        programs.restart(stack.layout, stack.program("controller"))
        server.shutdown()
        server.server_close()


def test_a_grant_is_told_from_beginning_to_end(
    stack: up.Stack, agents: Agents, admin: Kubectl, approver: Kubectl, told: list[dict[str, Any]]
) -> None:
    agents.govern(GROUP, masking={"profile": "Off", "reason": "a test"})
    namespace = new_namespace(admin, "noted")
    name = asked(
        agents.kubectl(GROUP), namespace, "15s"
    )  # that it began is not told any more once it has ended
    until("the first notice", lambda: told)
    assert told[0]["title"].startswith("Approval needed: ClusterRole edit in noted-")
    assert f"kubectl patch apreq {name} --subresource=status" in told[0]["message"]
    # A crash before it is written down tells it twice, as docs/notifications.md says.
    until("it to be written down", lambda: annotation(admin, name) == "pending")
    programs.restart(stack.layout, stack.program("controller"), kill=True)
    done = decide(approver, name, "Approved")
    assert done.returncode == 0, done.stderr
    until("the grant to end", lambda: phase(admin, name) == "Executed")
    until("what was told to be written down", lambda: annotation(admin, name).endswith("grant-ended"))
    assert annotation(admin, name) == "pending,approved,grant-started,grant-ended"
    titles = [notice["title"].partition(":")[0] for notice in told]
    assert titles == ["Approval needed", "Approved", "Access granted", "Access ended"]
    by_hand = approver.run("annotate", "apreq", name, "--overwrite", "chaperone.dev/notified=")
    assert by_hand.returncode == 1
    as_admin = admin.run("annotate", "apreq", name, "--overwrite", "chaperone.dev/notified=x")
    assert "only the controller changes" in as_admin.stderr


def annotation(admin: Kubectl, name: str) -> str:
    metadata = (admin.get("apreq", name) or {}).get("metadata", {})
    return str((metadata.get("annotations") or {}).get("chaperone.dev/notified", ""))
