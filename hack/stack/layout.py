"""Where a stack keeps its files, below one folder."""

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NAMESPACE = "kube-chaperone"


@dataclass(frozen=True)
class Layout:
    """Names of files only; nothing is read here."""

    directory: Path

    @property
    def cluster(self) -> Path:
        return self.directory / "cluster"

    @property
    def admin_kubeconfig(self) -> Path:
        return self.directory / "admin.kubeconfig"

    @property
    def agent_kubeconfig(self) -> Path:
        return self.directory / "agent.kubeconfig"

    @property
    def approver_kubeconfig(self) -> Path:
        return self.directory / "approver.kubeconfig"

    @property
    def second_approver_kubeconfig(self) -> Path:
        return self.directory / "approver2.kubeconfig"

    @property
    def ca_file(self) -> Path:
        return self.directory / "gateway-ca.crt"

    @property
    def issuer(self) -> Path:
        return self.directory / "issuer"

    @property
    def recordings(self) -> Path:
        return self.directory / "recordings"

    @property
    def urls(self) -> Path:
        return self.directory / "urls.env"

    @property
    def ports(self) -> Path:
        return self.directory / "ports.json"

    @property
    def record(self) -> Path:
        return self.directory / "programs.json"

    @property
    def audit(self) -> Path:
        return self.directory / "audit"

    @property
    def audit_store(self) -> Path:
        return self.audit / "audit.db"

    @property
    def cookie_key(self) -> Path:
        return self.directory / "config" / "console-cookie.key"

    def pki(self, name: str) -> Path:
        return self.directory / "pki" / name

    def config(self, program: str) -> Path:
        return self.directory / "config" / f"{program}.yaml"

    def kubeconfig(self, program: str) -> Path:
        return self.directory / "config" / f"{program}.kubeconfig"

    def log(self, program: str) -> Path:
        return self.directory / "logs" / f"{program}.log"
