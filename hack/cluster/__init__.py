"""A real Kubernetes cluster on any Linux machine, for tests and for trying things out.

    cluster = start(Path("build/cluster"))      # or: python -m hack.cluster up --dir build/cluster
    ... cluster.admin_kubeconfig ...
    stop(cluster.directory)

Every start gives an empty cluster, every stop leaves nothing behind but the logs.
"""

from hack.cluster.errors import ClusterError
from hack.cluster.lifecycle import start, status, stop
from hack.cluster.model import Cluster

__all__ = ["Cluster", "ClusterError", "start", "status", "stop"]
