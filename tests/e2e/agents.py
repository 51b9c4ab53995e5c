"""Making agents for tests: a policy that governs them, the identity it hands out, a kubeconfig through the gateway."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hack.stack import people, up
from hack.stack.kubectl import Kubectl
from tests.e2e.waiting import until


@dataclass(frozen=True)
class Agents:
    stack: up.Stack

    def govern(self, name: str, **spec: Any) -> None:
        """A policy for the group `name` with the identity agents/`name`; waits until it is Ready and bound."""
        policy = {
            "apiVersion": "chaperone.dev/v1alpha1",
            "kind": "AgentPolicy",
            "metadata": {"name": name},
            "spec": {
                "subjects": [{"groups": [name]}],
                "identity": {"serviceAccount": {"namespace": "agents", "name": name}},
                **spec,
            },
        }
        self.stack.admin.apply(f"applying the policy {name}", [policy])
        until(f"policy {name} to be ready", lambda: self.is_ready(name))
        until(f"the gateway to know the policy {name}", lambda: self._is_known(name))

    def is_ready(self, name: str) -> bool:
        found = self.stack.admin.get("agentpolicy", name) or {}
        status = found.get("status", {})
        ready = {condition["type"]: condition["status"] for condition in status.get("conditions", [])}
        current = status.get("observedGeneration") == found.get("metadata", {}).get("generation")
        return bool(
            current
            and ready
            and all(
                value == "True" for kind, value in ready.items() if kind not in ("Enforceable", "Masking")
            )
        )

    def kubectl(
        self, name: str, *, subject: str = "", run: str = "", arguments: tuple[str, ...] = ()
    ) -> Kubectl:
        """kubectl as an agent of the group `name`, through the gateway."""
        path = self.stack.layout.kubeconfig(f"agent-{name}-{subject}-{run}")
        people.write_agent(
            self.stack.layout,
            path,
            self.stack.gateway_url,
            subject=subject or f"{name}-agent",
            groups=[name],
            run=run or f"run-{name}",
            arguments=arguments,
        )
        return Kubectl(path)

    def _is_known(self, name: str) -> bool:
        """Bindings and the gateway's right to impersonate arrive a moment after the policy."""
        return self.kubectl(name).run("get", "--raw", "/version").returncode == 0
