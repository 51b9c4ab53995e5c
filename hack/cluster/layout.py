"""Where things are inside a cluster's folder.

What `stop` deletes is in a folder of its own, so that a folder given by mistake loses nothing.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Layout:
    """The paths below one cluster folder. The folder itself may hold things of the user."""

    directory: Path

    @property
    def ident(self) -> str:
        """Eight hexadecimal digits that tell this folder's cgroups and processes from another's."""
        return hashlib.sha256(str(self.directory).encode()).hexdigest()[:8]

    @property
    def admin_kubeconfig(self) -> Path:
        return self.directory / "admin.kubeconfig"

    @property
    def ca_file(self) -> Path:
        return self.directory / "ca.crt"

    @property
    def audit_log(self) -> Path:
        return self.directory / "audit.log"

    @property
    def state(self) -> Path:
        """All that is ours alone. It is there from the start until the stop."""
        return self.directory / ".cluster"

    @property
    def record(self) -> Path:
        return self.state / "cluster.json"

    @property
    def lock(self) -> Path:
        return self.directory / ".cluster.lock"

    @property
    def logs(self) -> Path:
        return self.directory / "logs"

    @property
    def pki(self) -> Path:
        return self.state / "pki"

    @property
    def config(self) -> Path:
        return self.state / "config"

    @property
    def etcd(self) -> Path:
        return self.state / "etcd"

    @property
    def node(self) -> Path:
        return self.state / "node"

    def log(self, component: str) -> Path:
        return self.logs / f"{component}.log"

    def kubeconfig(self, user: str) -> Path:
        return self.config / f"{user}.kubeconfig"


def layout_of(directory: Path) -> Layout:
    return Layout(directory.resolve())
