"""A user's kubeconfig, cut down to what its current context needs."""

import base64
from pathlib import Path
from typing import Any

import pytest
import yaml

from hack.cluster.errors import ClusterError
from hack.cluster.kubeconfig import flatten, load_flattened, only_cluster, only_user

CONFIG: dict[str, Any] = {
    "current-context": "dev",
    "clusters": [
        {"name": "c1", "cluster": {"server": "https://one", "certificate-authority": "ca.pem"}},
        {"name": "c2", "cluster": {"server": "https://two"}},
    ],
    "users": [
        {"name": "u1", "user": {"client-certificate": "me.pem", "client-key": "me.key"}},
        {"name": "u2", "user": {"token": "secret-of-another-cluster"}},
    ],
    "contexts": [
        {"name": "dev", "context": {"cluster": "c1", "user": "u1", "namespace": "team"}},
        {"name": "other", "context": {"cluster": "c2", "user": "u2"}},
    ],
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    for name in ("ca.pem", "me.pem", "me.key"):
        (tmp_path / name).write_text(f"content of {name}")
    (tmp_path / "config").write_text(yaml.safe_dump(CONFIG))
    return tmp_path / "config"


def test_only_the_current_context_is_copied_with_its_files_inlined(path: Path) -> None:
    flat = load_flattened(path)
    assert only_cluster(flat) == {
        "server": "https://one",
        "certificate-authority-data": base64.b64encode(b"content of ca.pem").decode(),
    }
    assert only_user(flat) == {
        "client-certificate-data": base64.b64encode(b"content of me.pem").decode(),
        "client-key-data": base64.b64encode(b"content of me.key").decode(),
    }
    assert flat["contexts"] == [
        {"name": "dev", "context": {"cluster": "dev", "user": "u1", "namespace": "team"}}
    ]
    assert "secret-of-another-cluster" not in yaml.safe_dump(flat)


def test_flattening_twice_changes_nothing(path: Path) -> None:
    flat = load_flattened(path)
    assert flatten(flat, path) == flat


def test_inline_data_wins_over_a_file(path: Path) -> None:
    config = {**CONFIG, "users": [{"name": "u1", "user": {"client-key": "gone", "client-key-data": "eA=="}}]}
    assert only_user(flatten(config, path)) == {"client-key-data": "eA=="}


def test_a_token_file_becomes_a_token_and_a_plugin_keeps_its_place(path: Path) -> None:
    (path.parent / "token").write_text("abc\n")
    user = {"tokenFile": "token", "exec": {"command": "./plugin", "args": ["x"]}}
    flat = only_user(flatten({**CONFIG, "users": [{"name": "u1", "user": user}]}, path))
    assert flat == {"token": "abc", "exec": {"command": str(path.parent / "plugin"), "args": ["x"]}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"current-context": ""}, "has no current-context"),
        ({"current-context": "gone"}, "names the context 'gone'"),
        ({"clusters": []}, "names the cluster 'c1'"),
        ({"users": None}, "names the user 'u1'"),
    ],
)
def test_what_is_missing_is_named(path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ClusterError, match=message):
        flatten({**CONFIG, **change}, path)


def test_a_missing_file_is_named(path: Path) -> None:
    (path.parent / "ca.pem").unlink()
    with pytest.raises(ClusterError, match=r"refers to the unreadable .*ca\.pem"):
        load_flattened(path)


@pytest.mark.parametrize("content", ["- a\n- b\n", "", "text", "{"])
def test_another_kind_of_file_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "config").write_text(content)
    with pytest.raises(ClusterError, match="kubeconfig"):
        load_flattened(tmp_path / "config")
