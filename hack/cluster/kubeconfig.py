"""Making kubeconfigs, and cutting a user's down to its current context with every file inlined."""

import base64
from pathlib import Path
from typing import Any

import yaml

from hack.cluster.certificates import KeyPair
from hack.cluster.errors import ClusterError

CLUSTER_FILES = {"certificate-authority": "certificate-authority-data"}
USER_FILES = {"client-certificate": "client-certificate-data", "client-key": "client-key-data"}


def client_kubeconfig(server: str, ca: bytes, pair: KeyPair, *, name: str, user: str) -> dict[str, Any]:
    """A kubeconfig with one context called `name`, everything inline."""
    cluster = {"server": server, "certificate-authority-data": _base64(ca)}
    secret = {"client-certificate-data": _base64(pair.certificate), "client-key-data": _base64(pair.key)}
    return _one_context(name, cluster, f"{name}-{user}", secret, {})


def load_flattened(path: Path) -> dict[str, Any]:
    """The file's current context only. Raises ClusterError naming the file and what it lacks."""
    try:
        config = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ClusterError(
            f"cannot read kubeconfig {path}: {error}; give the path of a valid kubeconfig"
        ) from error
    if not isinstance(config, dict):
        raise ClusterError(
            f"{path} is not a kubeconfig; give the file that kubectl uses, such as ~/.kube/config"
        )
    return flatten(config, path)


def flatten(config: dict[str, Any], path: Path) -> dict[str, Any]:
    """Only the current context, its files inlined; relative paths start at the kubeconfig's folder."""
    name = config.get("current-context") or ""
    if not name:
        raise ClusterError(
            f"kubeconfig {path} has no current-context: set one with kubectl config use-context"
        )
    context = _named(config, "contexts", "context", name, path)
    cluster = _named(config, "clusters", "cluster", context.get("cluster", ""), path)
    user = _named(config, "users", "user", context.get("user", ""), path)
    extra = {key: context[key] for key in ("namespace",) if key in context}
    return _one_context(
        name, _inlined(cluster, CLUSTER_FILES, path), context["user"], _inlined_user(user, path), extra
    )


def only_cluster(config: dict[str, Any]) -> dict[str, Any]:
    """The cluster entry (server, CA) of a flattened kubeconfig."""
    cluster: dict[str, Any] = config["clusters"][0]["cluster"]
    return cluster


def only_user(config: dict[str, Any]) -> dict[str, Any]:
    """The credentials entry of a flattened kubeconfig."""
    user: dict[str, Any] = config["users"][0]["user"]
    return user


def _one_context(
    name: str, cluster: dict[str, Any], user_name: str, user: dict[str, Any], extra: dict[str, Any]
) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": user_name, "user": user}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": user_name, **extra}}],
        "current-context": name,
    }


def _named(config: dict[str, Any], group: str, key: str, name: str, path: Path) -> dict[str, Any]:
    for entry in config.get(group) or []:
        if entry.get("name") == name:
            return dict(entry.get(key) or {})
    raise ClusterError(
        f"kubeconfig {path} names the {key} {name!r} but {group} has no such entry: correct the file"
    )


def _inlined_user(user: dict[str, Any], path: Path) -> dict[str, Any]:
    inlined = _inlined(user, USER_FILES, path)
    if "tokenFile" in inlined and not inlined.get("token"):
        inlined["token"] = _read(path, inlined["tokenFile"]).decode().strip()
    inlined.pop("tokenFile", None)
    command = (inlined.get("exec") or {}).get("command", "")
    if "/" in command:
        inlined["exec"] = {**inlined["exec"], "command": str(_absolute(path, command))}
    return inlined


def _inlined(entry: dict[str, Any], files: dict[str, str], path: Path) -> dict[str, Any]:
    result = {key: value for key, value in entry.items() if key not in files}
    for key, data_key in files.items():
        if entry.get(key) and not entry.get(data_key):
            result[data_key] = _base64(_read(path, entry[key]))
    return result


def _read(kubeconfig: Path, name: str) -> bytes:
    file = _absolute(kubeconfig, name)
    try:
        return file.read_bytes()
    except OSError as error:
        raise ClusterError(
            f"kubeconfig {kubeconfig} refers to the unreadable {file}: {error.strerror}; correct the path"
        ) from error


def _absolute(kubeconfig: Path, name: str) -> Path:
    return (kubeconfig.resolve().parent / name).resolve()


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()
