"""What is remembered of a started cluster in its folder: enough to find it again, and to end it."""

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

from hack.cluster.layout import Layout
from hack.cluster.model import Cluster
from hack.cluster.processes import Process


@dataclass(frozen=True)
class Record:
    """`complete` once the cluster was ready. `kind_cluster` names one that kind created for this folder."""

    server: str
    version: str
    asked_node: bool = False
    has_node: bool = False
    external: bool = False
    why_no_node: str = ""
    complete: bool = False
    kind_cluster: str = ""
    processes: dict[str, Process] = field(default_factory=dict)

    def cluster(self, layout: Layout) -> Cluster:
        return Cluster(
            directory=layout.directory,
            admin_kubeconfig=layout.admin_kubeconfig,
            ca_file=layout.ca_file,
            server=self.server,
            version=self.version,
            has_node=self.has_node,
            external=self.external,
            why_no_node=self.why_no_node,
        )


def save(record: Record, path: Path) -> None:
    """Write it whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(asdict(record), indent=1))
    os.replace(partial, path)  # noqa: PTH105 - the atomic one


def load(path: Path) -> Record | None:
    """None when there is none, or it was cut off by a crash: the folder is then treated as dirty."""
    try:
        fields = json.loads(path.read_text())
        processes = {name: Process(**process) for name, process in fields.pop("processes").items()}
        return Record(**fields, processes=processes)
    except (OSError, ValueError, TypeError, KeyError):
        return None
