"""A container image for tests made of busybox: a shell, tar and the other applets, accounts and /tmp."""

import hashlib
import io
import json
import tarfile
from pathlib import Path

from hack.cluster.commands import run

FOLDERS = (
    "bin",
    "etc",
    "root",
    "home",
    "usr",
    "usr/bin",
    "usr/sbin",
    "sbin",
    "var",
    "var/log",
    "proc",
    "sys",
    "dev",
)
ACCOUNTS = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/home:/bin/false\n"
GROUPS = "root:x:0:\nnobody:x:65534:\n"
ENTRY = {
    "Cmd": ["sleep", "2147483647"],
    "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
}


def write_image(busybox: Path, target: Path, *, reference: str, architecture: str) -> None:
    """A docker-archive with one layer. The same busybox gives the same image."""
    applets = run(
        [str(busybox), "--list"], doing="listing busybox's applets", remedy="install busybox-static"
    ).split()
    layer = _layer(busybox.read_bytes(), applets)
    config = {
        "architecture": architecture,
        "os": "linux",
        "config": ENTRY,
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest()]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [reference], "Layers": ["layer.tar"]}]
    with tarfile.open(target, "w") as archive:
        _add_file(archive, "layer.tar", layer)
        _add_file(archive, "config.json", json.dumps(config).encode())
        _add_file(archive, "manifest.json", json.dumps(manifest).encode())


def _layer(busybox: bytes, applets: list[str]) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as layer:
        for folder in FOLDERS:
            _add_folder(layer, folder, 0o755)
        _add_folder(layer, "tmp", 0o1777)
        _add_file(layer, "bin/busybox", busybox, mode=0o755)
        for applet in applets:
            if applet != "busybox":
                _add_link(layer, f"bin/{applet}", "/bin/busybox")
        _add_link(layer, "usr/bin/env", "/bin/busybox")
        _add_file(layer, "etc/passwd", ACCOUNTS.encode())
        _add_file(layer, "etc/group", GROUPS.encode())
    return content.getvalue()


def _add_folder(archive: tarfile.TarFile, name: str, mode: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode = tarfile.DIRTYPE, mode
    archive.addfile(entry)


def _add_link(archive: tarfile.TarFile, name: str, target: str) -> None:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = tarfile.SYMTYPE, target
    archive.addfile(entry)


def _add_file(archive: tarfile.TarFile, name: str, content: bytes, mode: int = 0o644) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), mode
    archive.addfile(entry, io.BytesIO(content))
