"""Where the binaries of a stack come from.

KUBEBUILDER_ASSETS, then the cache, then an archive beside the checkout, then a build from Debian's source.
"""

import platform
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hack.cluster import archive, build, debian
from hack.cluster.cache import cache_folder, filled_once
from hack.cluster.commands import run
from hack.cluster.errors import ClusterError
from hack.cluster.model import Log

VERSION = "v1.20.2"
KUBERNETES = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet")
RUNTIME = ("etcd", "containerd", "containerd-shim-runc-v2", "ctr", "runc", "busybox")
CNI = ("ptp", "host-local", "loopback")
PROGRAM_FOLDERS = ("usr/bin", "usr/sbin", "bin", "sbin", "usr/lib/cni")
SYSTEM_FOLDERS = ("/usr/local/bin", "/usr/bin", "/usr/sbin", "/bin", "/sbin", "/usr/lib/cni", "/opt/cni/bin")
REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Binaries:
    """Paths by program name; what is missing has no entry. `libraries` goes to LD_LIBRARY_PATH."""

    programs: Mapping[str, Path]
    version: str
    libraries: Path | None = None

    def __getitem__(self, name: str) -> str:
        return str(self.programs[name])

    def missing(self, *names: str) -> list[str]:
        return [name for name in names if name not in self.programs]

    def older_than(self, minor: int) -> bool:
        """Whether the server is older than 1.`minor`."""
        return minor_version(self.version) < minor


def find_binaries(environ: Mapping[str, str], log: Log, *, shared: Path | None = None) -> Binaries:
    """The first source that has an API server. Raises ClusterError when none does, naming what to set."""
    cache = cache_folder(environ)
    assets = environ.get("KUBEBUILDER_ASSETS")
    if assets:
        return _with_version(_from_assets(Path(assets)), None)
    folder = kubernetes_folder(cache, shared or REPOSITORY.parent / "shared" / "kube", log)
    programs = _programs(folder, KUBERNETES)
    runtime, libraries = _runtime(cache, log)
    return _with_version({**runtime, **programs}, libraries)


def kubernetes_folder(cache: Path, shared: Path, log: Log) -> Path:
    """The cached folder of Kubernetes binaries, filled from the archive or by a build if it is not there."""
    folder = cache / f"kubernetes-{VERSION}-linux-{architecture()}"
    if (folder / "kube-apiserver").exists():
        return folder
    archives = sorted(shared.glob(f"kubernetes-{VERSION}-linux-{architecture()}.tar.xz"))

    def fill(partial: Path) -> None:
        if archives:
            log(f"unpacking {archives[0].name} into {cache} (about 10 s, once)")
            archive.unpack(archives[0], partial)
        else:
            build.build_kubernetes(partial, cache, VERSION, log)

    return filled_once(folder, fill)


def architecture() -> str:
    """Go's name of this machine's processor."""
    names = {"x86_64": "amd64", "aarch64": "arm64"}
    return names.get(platform.machine(), platform.machine())


def minor_version(version: str) -> int:
    """20 for v1.20.2. Raises ClusterError on anything else than a Kubernetes version."""
    found = re.match(r"v1\.(\d+)", version)
    if not found:
        raise ClusterError(
            f"{version!r} is no Kubernetes version: use binaries that print one, such as {VERSION}"
        )
    return int(found.group(1))


def _from_assets(folder: Path) -> dict[str, Path]:
    programs = _programs(folder, (*KUBERNETES, *RUNTIME, *CNI))
    lacking = [name for name in ("etcd", "kube-apiserver") if name not in programs]
    if lacking:
        raise ClusterError(
            f"KUBEBUILDER_ASSETS={folder} has no {' and no '.join(lacking)}: point it at a folder that "
            "setup-envtest made, or unset it"
        )
    return programs


def _runtime(cache: Path, log: Log) -> tuple[dict[str, Path], Path | None]:
    folder = cache / "runtime"
    if not folder.exists() and not shutil.which("apt-get"):
        return _installed(), None
    filled_once(folder, lambda partial: debian.fill_with_runtime(partial, log))
    seccomp = next(iter(folder.glob("usr/lib/*/libseccomp.so.2")), None)
    return _in_folders([folder / name for name in PROGRAM_FOLDERS]), seccomp.parent if seccomp else None


def _installed() -> dict[str, Path]:
    programs = _in_folders([Path(name) for name in SYSTEM_FOLDERS])
    if "etcd" not in programs:
        raise ClusterError(
            "etcd is not installed and there is no apt-get to fetch it: install etcd, or use --kube"
        )
    return programs


def _in_folders(folders: list[Path]) -> dict[str, Path]:
    found = [_programs(folder, (*RUNTIME, *CNI)) for folder in folders]
    return {name: path for programs in reversed(found) for name, path in programs.items()}


def _programs(folder: Path, names: tuple[str, ...]) -> dict[str, Path]:
    return {name: folder / name for name in names if (folder / name).is_file()}


def _with_version(programs: dict[str, Path], libraries: Path | None) -> Binaries:
    output = run(
        [str(programs["kube-apiserver"]), "--version"],
        doing="asking the API server's version",
        remedy="use binaries for this machine's processor",
        seconds=60,
    )
    return Binaries(programs, output.split()[-1], libraries)
