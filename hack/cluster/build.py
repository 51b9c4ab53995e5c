"""Building Kubernetes from Debian's source package, where no ready binaries are to be had.

All happens in the cache: compiler and tools are unpacked there, not installed, and need no root.
"""

import os
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path

from hack.cluster.aptsources import source_entries
from hack.cluster.commands import run
from hack.cluster.debian import apt_options, unpack_packages, update
from hack.cluster.errors import ClusterError
from hack.cluster.model import Log
from hack.cluster.progress import Step, run_steps

RELEASE = "bookworm"
PROGRAMS = {"kube-apiserver": 530, "kube-controller-manager": 130, "kube-scheduler": 60, "kubelet": 60}
GENERATE_SECONDS = 165
TOOLS = (
    "golang-1.19-go",
    "golang-1.19-src",
    "golang-github-modern-go-reflect2-dev",
    "make",
    "patch",
    "rsync",
    "libpopt0",
    "libxxhash0",
    "jq",
    "libjq1",
    "libonig5",
)
REFLECT2 = "github.com/modern-go/reflect2"
REMEDY = "set KUBEBUILDER_ASSETS to ready binaries, or use --kube KUBECONFIG"


@dataclass(frozen=True)
class Workshop:
    """The folders of one build."""

    folder: Path

    @property
    def tools(self) -> Path:
        return self.folder / "tools"

    @property
    def tree(self) -> Path:
        return self.folder / "kubernetes"

    @property
    def gopath(self) -> Path:
        return self.folder / "gopath"

    @property
    def env(self) -> dict[str, str]:
        """What the compiler and the makefiles see."""
        libraries = sorted({str(path.parent) for path in self.tools.glob("usr/lib/*/*.so*")})
        go = self.tools / "usr" / "lib" / "go-1.19"
        return {
            "PATH": f"{go}/bin:{self.tools}/usr/bin:{os.environ.get('PATH', os.defpath)}",
            "LD_LIBRARY_PATH": ":".join(libraries),
            "GOROOT": str(go),
            "GOPATH": str(self.gopath),
            "GOCACHE": str(self.folder / "go-cache"),
            "GO111MODULE": "off",
            "GOFLAGS": "",
            "CGO_ENABLED": "0",
        }


def build_kubernetes(folder: Path, cache: Path, version: str, log: Log) -> None:
    """Put the four programs into `folder`. Raises ClusterError naming the step that failed.

    What was compiled stays in the cache until all is done, so that a second try goes on from there.
    """
    _check_release()
    cores = os.cpu_count() or 1
    minutes = (GENERATE_SECONDS + sum(PROGRAMS.values())) / cores / 60
    log(f"building Kubernetes {version} from Debian's source package: about {minutes:.0f} minutes, once")
    workshop = Workshop(cache / "build")
    if not (workshop.folder / ".fetched").exists():
        _fetch(workshop, log)
    run_steps(
        "building Kubernetes", _steps(workshop, folder, version, cores), log, workshop.folder / "build.log"
    )
    shutil.rmtree(workshop.folder)


def _check_release() -> None:
    release = platform.freedesktop_os_release().get("VERSION_CODENAME", "unknown")
    if release != RELEASE or not shutil.which("apt-get"):
        raise ClusterError(
            f"Kubernetes is built from Debian {RELEASE}'s source only, this is {release}: {REMEDY}"
        )


def _fetch(workshop: Workshop, log: Log) -> None:
    shutil.rmtree(workshop.folder, ignore_errors=True)
    options = _apt(workshop)
    update(options, log)
    unpack_packages(TOOLS, workshop.tools, options, log)
    log("downloading the sources of Kubernetes")
    downloads = workshop.folder / "source"
    downloads.mkdir()
    run(
        ["apt-get", "-q", *options, "source", "--download-only", "kubernetes"],
        doing="downloading Debian's source package of kubernetes",
        remedy=REMEDY,
        seconds=900,
        folder=downloads,
    )
    log("unpacking and patching them (about 20 s)")
    _unpack_source(downloads, workshop)
    _replace_reflect2(workshop)
    (workshop.gopath / "src" / "k8s.io").mkdir(parents=True)
    (workshop.gopath / "src" / "k8s.io" / "kubernetes").symlink_to(workshop.tree)
    (workshop.folder / ".fetched").touch()


def _apt(workshop: Workshop) -> list[str]:
    """The machine's apt options with a source list of our own, which also has the source packages."""
    options = apt_options(workshop.folder / "apt")
    sources = workshop.folder / "apt" / "own.sources"
    sources.write_text(source_entries(Path("/etc/apt"), RELEASE))
    return [*options, "-o", f"Dir::Etc::sourcelist={sources}", "-o", "Dir::Etc::sourceparts=/dev/null"]


def _unpack_source(downloads: Path, workshop: Workshop) -> None:
    """What dpkg-source does with the format `3.0 (quilt)`."""
    workshop.tree.mkdir()
    for pattern in ("*.orig.tar.*", "*.debian.tar.*"):
        for archive in sorted(path for path in downloads.glob(pattern) if path.suffix != ".asc"):
            _extract(archive, workshop.tree)
    patches = workshop.tree / "debian" / "patches"
    series = patches / "series"
    for line in series.read_text().splitlines() if series.exists() else []:
        if name := line.split("#")[0].strip():
            run(
                ["patch", "--batch", "-p1", "-i", str(patches / name)],
                doing=f"applying the patch {name}",
                remedy=REMEDY,
                env=workshop.env,
                folder=workshop.tree,
            )


def _extract(archive: Path, tree: Path) -> None:
    """The upstream archive has one top folder, which is left out; Debian's has `debian/`, which stays."""
    strip = [] if ".debian.tar" in archive.name else ["--strip-components=1"]
    run(
        ["tar", "-xf", str(archive), "-C", str(tree), *strip],
        doing=f"unpacking {archive.name}",
        remedy=REMEDY,
    )


def _replace_reflect2(workshop: Workshop) -> None:
    """The vendored 1.0.1 crashes with Go 1.18 and newer at the first custom resource; 1.0.2 does not."""
    ours = workshop.tree / "vendor" / REFLECT2
    shutil.rmtree(ours)
    shutil.copytree(workshop.tools / "usr" / "share" / "gocode" / "src" / REFLECT2, ours)


def _steps(workshop: Workshop, folder: Path, version: str, cores: int) -> list[Step]:
    root = workshop.gopath / "src" / "k8s.io" / "kubernetes"
    generate = Step(
        "generated_files", ["make", "generated_files"], GENERATE_SECONDS / cores, root, workshop.env
    )
    return [
        generate,
        *(
            Step(name, _go_build(name, folder, version), seconds / cores, root, workshop.env)
            for name, seconds in PROGRAMS.items()
        ),
    ]


def _go_build(name: str, folder: Path, version: str) -> list[str]:
    """`providerless` leaves the clouds out."""
    _, major, minor = version.replace("v", ".").split(".")[:3]
    stamps = {"gitVersion": version, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    vendored = "k8s.io/kubernetes/vendor/k8s.io"
    packages = (f"{vendored}/component-base/version", f"{vendored}/client-go/pkg/version")
    stamped = [f"-X {package}.{key}={value}" for package in packages for key, value in stamps.items()]
    flags = " ".join(["-s", "-w", *stamped])
    target = f"k8s.io/kubernetes/cmd/{name}"
    return ["go", "build", "-tags", "providerless", "-ldflags", flags, "-o", str(folder / name), target]
