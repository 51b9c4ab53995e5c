"""Where things are inside a cluster's folder."""

import hashlib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Layout:
    """The paths below one cluster folder; everything but `kept` is thrown away at stop."""

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
    def record(self) -> Path:
        return self.directory / "cluster.json"

    @property
    def lock(self) -> Path:
        return self.directory / ".lock"

    @property
    def logs(self) -> Path:
        return self.directory / "logs"

    @property
    def pki(self) -> Path:
        return self.directory / "pki"

    @property
    def config(self) -> Path:
        return self.directory / "config"

    @property
    def etcd(self) -> Path:
        return self.directory / "etcd"

    @property
    def node(self) -> Path:
        return self.directory / "node"

    def log(self, component: str) -> Path:
        return self.logs / f"{component}.log"

    def kubeconfig(self, user: str) -> Path:
        return self.config / f"{user}.kubeconfig"

    @property
    def thrown_away(self) -> tuple[Path, ...]:
        """What `stop` deletes. Never the folder itself: it may hold things of the user."""
        return (self.pki, self.config, self.etcd, self.node, self.record, self.admin_kubeconfig, self.ca_file)


def layout_of(directory: Path) -> Layout:
    return Layout(directory.resolve())
