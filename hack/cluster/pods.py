"""Manifests of pods that run on a stack's own node."""

from typing import Any

from hack.cluster.node import IMAGE

FOR_EVER = ("sleep", "2147483647")


def pod(
    name: str,
    namespace: str = "default",
    command: tuple[str, ...] | list[str] = FOR_EVER,
    *,
    labels: dict[str, str] | None = None,
    tty: bool = False,
    stdin: bool = False,
    service_account_token: bool = False,
) -> dict[str, Any]:
    """A pod on the host's network that tolerates every taint, needs no registry and ends at once."""
    container = {
        "name": "main",
        "image": IMAGE,
        "imagePullPolicy": "Never",
        "command": list(command),
        "stdin": stdin,
        "tty": tty,
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": labels or {"app": name}},
        "spec": {
            "hostNetwork": True,
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": service_account_token,
            "tolerations": [{"operator": "Exists"}],
            "containers": [container],
        },
    }
