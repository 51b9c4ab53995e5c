"""Binaries: where they are taken from, and what is refused."""

import hashlib
import io
import os
import tarfile
from pathlib import Path

import pytest

from hack.cluster import build
from hack.cluster.archive import unpack, verify
from hack.cluster.cache import cache_folder, filled_once
from hack.cluster.errors import ClusterError
from hack.cluster.sources import (
    VERSION,
    Binaries,
    architecture,
    find_binaries,
    kubernetes_folder,
    minor_version,
)

NAME = f"kubernetes-{VERSION}-linux-{architecture()}.tar.xz"


def _nothing(_: str) -> None:
    return None


def _program(path: Path, prints: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho {prints}\n")
    path.chmod(0o755)


def _archive(folder: Path, prints: str = f"Kubernetes {VERSION}") -> Path:
    """A packed API server that prints its version, and its SHA256SUMS."""
    content = f"#!/bin/sh\necho {prints}\n".encode()
    folder.mkdir(parents=True)
    with tarfile.open(folder / NAME, "w:xz") as packed:
        entry = tarfile.TarInfo("kube-apiserver")
        entry.size, entry.mode = len(content), 0o755
        packed.addfile(entry, io.BytesIO(content))
    digest = hashlib.sha256((folder / NAME).read_bytes()).hexdigest()
    (folder / "SHA256SUMS").write_text(f"{digest}  {NAME}\n")
    return folder / NAME


def test_the_cache_is_where_the_user_says() -> None:
    assert cache_folder({"XDG_CACHE_HOME": "/x", "HOME": "/h"}) == Path("/x/kube-chaperone")
    assert cache_folder({"HOME": "/h"}) == Path("/h/.cache/kube-chaperone")


def test_kubebuilder_assets_come_first(tmp_path: Path) -> None:
    assets = tmp_path / "assets"
    for name in ("etcd", "kube-apiserver"):
        _program(assets / name, "Kubernetes v1.34.1")
    _archive(tmp_path / "shared")
    environ = {"KUBEBUILDER_ASSETS": str(assets), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    found = find_binaries(environ, _nothing, shared=tmp_path / "shared")
    assert (found.version, found["etcd"]) == ("v1.34.1", str(assets / "etcd"))
    assert found.missing("kube-apiserver", "kubelet", "kube-scheduler") == ["kubelet", "kube-scheduler"]
    assert not (tmp_path / "cache").exists()


def test_assets_without_an_api_server_are_an_error_that_names_them(tmp_path: Path) -> None:
    _program(tmp_path / "etcd", "")
    with pytest.raises(ClusterError, match=f"KUBEBUILDER_ASSETS={tmp_path} has no kube-apiserver"):
        find_binaries({"KUBEBUILDER_ASSETS": str(tmp_path)}, _nothing)


def test_the_cache_comes_before_the_archive(tmp_path: Path) -> None:
    cached = tmp_path / f"kubernetes-{VERSION}-linux-{architecture()}"
    _program(cached / "kube-apiserver", "cached")
    _archive(tmp_path / "shared")
    folder = kubernetes_folder(tmp_path, tmp_path / "shared", _nothing)
    assert "cached" in (folder / "kube-apiserver").read_text()


def test_the_archive_comes_before_a_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "build_kubernetes", lambda *_: pytest.fail("built in spite of an archive"))
    _archive(tmp_path / "shared")
    folder = kubernetes_folder(tmp_path / "cache", tmp_path / "shared", _nothing)
    assert os.access(folder / "kube-apiserver", os.X_OK)


def test_without_an_archive_it_is_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def built(folder: Path, *_: object) -> None:
        _program(folder / "kube-apiserver", "built")

    monkeypatch.setattr(build, "build_kubernetes", built)
    folder = kubernetes_folder(tmp_path / "cache", tmp_path / "shared", _nothing)
    assert "built" in (folder / "kube-apiserver").read_text()


def test_an_archive_that_differs_from_its_sum_is_refused_and_not_cached(tmp_path: Path) -> None:
    packed = _archive(tmp_path / "shared")
    packed.write_bytes(packed.read_bytes() + b"x")
    with pytest.raises(ClusterError, match=r"has SHA-256 .* where SHA256SUMS says"):
        kubernetes_folder(tmp_path / "cache", tmp_path / "shared", _nothing)
    assert not list((tmp_path / "cache").glob("kubernetes*"))


def test_an_archive_without_a_sum_is_refused(tmp_path: Path) -> None:
    packed = _archive(tmp_path / "shared")
    (tmp_path / "shared" / "SHA256SUMS").write_text("00  other.tar.xz\n")
    with pytest.raises(ClusterError, match=f"does not list {NAME}"):
        verify(packed)
    (tmp_path / "shared" / "SHA256SUMS").unlink()
    with pytest.raises(ClusterError, match="has no SHA256SUMS"):
        verify(packed)


@pytest.mark.parametrize("name", ["../outside", "/outside", "..", "sub/../../outside"])
def test_an_archive_may_not_write_outside_its_folder(tmp_path: Path, name: str) -> None:
    packed = tmp_path / "evil.tar.xz"
    with tarfile.open(packed, "w:xz") as archive:
        archive.addfile(tarfile.TarInfo(name), io.BytesIO())
    (tmp_path / "SHA256SUMS").write_text(
        f"{hashlib.sha256(packed.read_bytes()).hexdigest()}  {packed.name}\n"
    )
    with pytest.raises(ClusterError, match="which is no program"):
        unpack(packed, tmp_path / "into")
    assert not (tmp_path / "outside").exists()


def test_a_half_filled_cache_folder_is_filled_again(tmp_path: Path) -> None:
    def fails(partial: Path) -> None:
        (partial / "half").touch()
        raise ClusterError("no more disk space")

    with pytest.raises(ClusterError):
        filled_once(tmp_path / "tool", fails)
    assert not (tmp_path / "tool").exists()
    filled_once(tmp_path / "tool", lambda partial: (partial / "whole").touch())
    filled_once(tmp_path / "tool", lambda _: pytest.fail("filled twice"))
    assert [path.name for path in (tmp_path / "tool").iterdir()] == ["whole"]


def test_versions() -> None:
    assert [minor_version(text) for text in ("v1.20.2", "v1.34.0-alpha.1")] == [20, 34]
    assert Binaries({}, "v1.20.2").older_than(24)
    assert not Binaries({}, "v1.24.0").older_than(24)
    with pytest.raises(ClusterError, match="no Kubernetes version"):
        minor_version("devel")
