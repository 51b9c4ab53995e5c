"""Unpacking Debian packages into the cache.

Nothing is installed: no service starts, no file of the machine changes. apt gets its own folders for lists
and downloads, and reads which servers to use from the machine's configuration.
"""

import shutil
import subprocess
from pathlib import Path

from hack.cluster.commands import run
from hack.cluster.model import Log

RUNTIME_PACKAGES = (
    "etcd-server",
    "containerd",
    "runc",
    "libseccomp2",
    "containernetworking-plugins",
    "busybox-static",
)


def apt_options(folder: Path) -> list[str]:
    """Options that keep apt's lists, cache and locks in `folder`, so that it needs no root."""
    for name in ("lists/partial", "archives/partial"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    settings = {
        "Dir::State::lists": folder / "lists",
        "Dir::Cache": folder,
        "Dir::Cache::archives": folder / "archives",
        "APT::Sandbox::User": "root",
        "Debug::NoLocking": "1",
        "APT::Get::List-Cleanup": "0",
    }
    return [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]


def update(options: list[str], log: Log) -> None:
    """Fetch the package lists. A server that fails is reported, not fatal: the download decides."""
    log("reading package lists (a few seconds)")
    done = subprocess.run(
        ["apt-get", "-q", *options, "update"], check=False, capture_output=True, text=True, timeout=300
    )
    if done.returncode:
        log("apt-get update: " + " / ".join(done.stderr.strip().splitlines()[-2:]))


def unpack_packages(packages: tuple[str, ...], folder: Path, options: list[str], log: Log) -> None:
    """Download the packages and unpack them below `folder`. Raises ClusterError naming them if it cannot."""
    names = ", ".join(packages)
    downloads = folder / ".downloads"
    downloads.mkdir(parents=True)
    log(f"downloading {names}")
    run(
        ["apt-get", "-q", *options, "download", *packages],
        doing=f"downloading {names}",
        remedy="check the network and the apt sources, or install them with apt-get",
        folder=downloads,
    )
    for deb in sorted(downloads.glob("*.deb")):
        run(
            ["dpkg", "-x", str(deb), str(folder)],
            doing=f"unpacking {deb.name}",
            remedy="free some disk space",
        )
    shutil.rmtree(downloads)


def fill_with_runtime(folder: Path, log: Log) -> None:
    """etcd, containerd, runc, CNI plugins and busybox below `folder`, as on a Debian machine."""
    options = apt_options(folder.parent / "apt")
    update(options, log)
    unpack_packages(RUNTIME_PACKAGES, folder, options, log)
