"""A cluster made by kind, for machines with Docker."""

import shutil

from hack.cluster.commands import run
from hack.cluster.errors import ClusterError
from hack.cluster.layout import Layout
from hack.cluster.model import Log


def create_kind(layout: Layout, name: str, log: Log) -> str:
    """Write the kubeconfig of the kind cluster `name`; the name comes back only if it was created here."""
    _check_tools()
    listed = run(["kind", "get", "clusters"], doing="listing kind clusters", remedy="check that Docker runs")
    exists = name in listed.split()
    layout.state.mkdir(parents=True, exist_ok=True)
    kubeconfig = str(layout.state / "kind.kubeconfig")
    if exists:
        words = ["kind", "export", "kubeconfig", "--name", name, "--kubeconfig", kubeconfig]
    else:
        log(f"creating the kind cluster {name} (1 to 3 minutes)")
        words = ["kind", "create", "cluster", "--name", name, "--kubeconfig", kubeconfig, "--wait", "120s"]
    run(
        words, doing=f"making the kind cluster {name}", remedy=f"try `{' '.join(words)}` by hand", seconds=600
    )
    return "" if exists else name


def delete_kind(name: str, log: Log) -> None:
    log(f"deleting the kind cluster {name} (about 10 s)")
    words = ["kind", "delete", "cluster", "--name", name]
    run(words, doing=f"deleting the kind cluster {name}", remedy=f"try `{' '.join(words)}` by hand")


def _check_tools() -> None:
    if not shutil.which("kind"):
        raise ClusterError("--kind needs the program kind on PATH: install it, or use --kube KUBECONFIG")
    run(
        ["docker", "info"],
        doing="asking Docker whether it runs",
        remedy="start Docker, or leave out --kind for a cluster without it",
        seconds=60,
    )
