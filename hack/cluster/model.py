"""What a started cluster is, to the code that uses it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

Log = Callable[[str], None]


@dataclass(frozen=True)
class Cluster:
    """A reachable cluster. `external` ones were not started here and outlive `stop`."""

    directory: Path
    admin_kubeconfig: Path
    ca_file: Path
    server: str
    version: str
    has_node: bool
    external: bool
    why_no_node: str
