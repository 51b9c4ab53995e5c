"""kubectl as the cluster's administrator: what the stack sets up, it sets up the way a platform engineer would."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hack.cluster.errors import ClusterError

KUBECTL = Path(sys.executable).parent / "kubectl"
Object = Mapping[str, Any]


@dataclass(frozen=True)
class Kubectl:
    """kubectl bound to one kubeconfig."""

    kubeconfig: Path

    def run(
        self, *arguments: str, stdin: str | bytes = "", timeout: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """Run it to its end; the caller looks at the exit code."""
        return subprocess.run(
            self.command(*arguments),
            check=False,
            input=stdin.decode() if isinstance(stdin, bytes) else stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            env=self.environment(),
        )

    def must(self, doing: str, *arguments: str, stdin: str = "") -> str:
        """Its standard output. Raises ClusterError saying what was being done."""
        done = self.run(*arguments, stdin=stdin)
        if done.returncode:
            raise ClusterError(
                f"{doing}: kubectl {' '.join(arguments[:3])} failed: {done.stderr.strip()[-800:]}"
            )
        return done.stdout

    def command(self, *arguments: str) -> list[str]:
        return [str(KUBECTL), *arguments]

    def environment(self) -> dict[str, str]:
        """Only what kubectl needs: no proxy and no other kubeconfig may come between."""
        kept = {key: os.environ[key] for key in ("PATH", "HOME", "LANG", "TERM") if key in os.environ}
        return {**kept, "KUBECONFIG": str(self.kubeconfig)}

    def apply(self, doing: str, objects: Iterable[Object], *, server_side: bool = True) -> None:
        """All objects in one call, without kubectl's own validation.

        server_side False: for objects with fields that an old server does not know and drops. Kubernetes 1.20 refuses
        these in a server-side apply.
        """
        items = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        way = ("--server-side", "--force-conflicts") if server_side else ()
        self.must(doing, "apply", *way, "--validate=false", "-f", "-", stdin=json.dumps(items))

    def get(self, *arguments: str) -> Any:
        """The object or list, decoded; None when it is not there."""
        done = self.run("get", *arguments, "-o", "json")
        return json.loads(done.stdout) if done.returncode == 0 and done.stdout else None
