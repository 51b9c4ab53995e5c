"""A headless Chromium for the tests of the console: the machine's own, or Debian's packages unpacked into the cache.

Nothing is installed: what the machine lacks of libraries and fonts comes along in the same folder.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from hack.cluster import debian
from hack.cluster.cache import cache_folder, filled_once
from hack.cluster.commands import run

NAMES = ("chromium", "chromium-browser", "google-chrome")
PACKAGES = ("chromium", "fonts-dejavu-core", "fontconfig-config")
REMEDY = "check the network and the apt sources, or install chromium"


@dataclass(frozen=True)
class Browser:
    """The program, and the environment that it needs to find what came with it."""

    program: Path
    environment: Mapping[str, str]


def find_browser(environ: Mapping[str, str], log: Callable[[str], None]) -> Browser:
    """Raises ClusterError naming what to install when there is none and none can be fetched."""
    for name in NAMES:
        if (path := shutil.which(name)) is not None:
            return Browser(Path(path), {})
    folder = filled_once(cache_folder(environ) / "chromium-fonts", lambda partial: _fill(partial, log))
    libraries = sorted({str(path.parent) for path in (folder / "usr" / "lib").rglob("*.so*")})
    return Browser(
        folder / "usr/lib/chromium/chromium",
        {"LD_LIBRARY_PATH": ":".join(libraries), "FONTCONFIG_FILE": str(folder / "fonts.conf")},
    )


def _fill(folder: Path, log: Callable[[str], None]) -> None:
    """What apt would install now, without installing it."""
    log("fetching a headless Chromium for the console's tests (about 100 MB, 1 to 2 min, once)")
    options = debian.apt_options(cache_folder(os.environ) / "apt")
    debian.update(options, log)
    archives = folder / "archives"
    (archives / "partial").mkdir(parents=True)
    run(
        [
            *("apt-get", "-q", "-y", *options, "-o", f"Dir::Cache::archives={archives}"),
            *("install", "--download-only", "--no-install-recommends", *PACKAGES),
        ],
        doing="downloading Chromium",
        remedy=REMEDY,
        folder=folder,
    )
    for package in sorted(archives.glob("*.deb")):
        run(
            ["dpkg", "-x", str(package), str(folder)],
            doing=f"unpacking {package.name}",
            remedy="free some disk space",
        )
    shutil.rmtree(archives)
    (folder / "fonts.conf").write_text(
        '<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd"><fontconfig>'
        '<dir prefix="relative">usr/share/fonts</dir><dir>/usr/share/fonts</dir>'
        "<alias><family>monospace</family><prefer><family>DejaVu Sans Mono</family></prefer></alias>"
        '<cachedir prefix="xdg">fontconfig</cachedir></fontconfig>\n'
    )
