"""An API server in a dictionary: enough of one for reconciliation, and honest about conflicts and missing
rights."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Mapping
from typing import Any

from chaperone.kube.errors import RefusedError, UnreachableError
from chaperone.kube.official import Listing, Obj

Refuse = Callable[[str, str], str]
"""(verb, path) → why it is refused, "" when it is not."""


class FakeCluster:
    """Objects by path. `refuse` plays RBAC and webhooks; `away` plays an API server that is gone."""

    def __init__(self, version: tuple[int, int] = (1, 30)) -> None:
        self.objects: dict[str, Obj] = {}
        self.version = version
        self.away = False
        self.refuse: Refuse = lambda _verb, _path: ""
        self.writes: list[tuple[str, str]] = []
        self._versions = itertools.count(1)

    def put(self, path: str, obj: Mapping[str, Any]) -> Obj:
        """Straight into the store, as if somebody else had done it."""
        stored = copy.deepcopy(dict(obj))
        metadata = stored.setdefault("metadata", {})
        metadata["resourceVersion"] = str(next(self._versions))
        metadata.setdefault("uid", f"uid-{path}")
        self.objects[path] = stored
        return stored

    def list(self, path: str, **query: str) -> Listing:
        self._allow("list", path)
        collection = path.rsplit("/", 1)[1]
        found = [obj for key, obj in self.objects.items() if key.split("/")[-2] == collection]
        field, _, name = query.get("fieldSelector", "").partition("=")
        if field:
            found = [obj for obj in found if obj["metadata"]["name"] == name]
        label = query.get("labelSelector", "")
        found = [obj for obj in found if not label or label in (obj["metadata"].get("labels") or {})]
        return Listing(tuple(copy.deepcopy(found)), "1")

    def find(self, path: str) -> Obj | None:
        self._allow("get", path)
        return copy.deepcopy(self.objects.get(path))

    def create(self, path: str, obj: Mapping[str, Any]) -> Obj:
        key = f"{path}/{obj['metadata']['name']}"
        self._allow("create", key)
        if key in self.objects:
            raise RefusedError(f"POST {path}", 409, "AlreadyExists", f"{key} already exists")
        self.writes.append(("create", key))
        return self.put(key, obj)

    def replace(self, path: str, obj: Mapping[str, Any]) -> Obj:
        self._allow("update", path)
        self._same_version(path, obj)
        self.writes.append(("update", path))
        return self.put(path, obj)

    def merge(self, path: str, patch: Mapping[str, Any]) -> Obj:
        key = path.removesuffix("/status")
        self._allow("patch", path)
        if key not in self.objects:
            raise RefusedError(f"PATCH {path}", 404, "NotFound", f"{key} not found")
        self._same_version(key, patch)
        self.writes.append(("patch", path))
        return self.put(key, _merged(self.objects[key], patch))

    def delete(self, path: str, *, uid: str = "", resource_version: str = "") -> None:
        self._allow("delete", path)
        live = self.objects.get(path)
        if live is None:
            return
        if uid and live["metadata"]["uid"] != uid:
            raise RefusedError(f"DELETE {path}", 409, "Conflict", "the uid differs")
        self.writes.append(("delete", path))
        del self.objects[path]

    def server_version(self) -> tuple[int, int]:
        return self.version

    def _allow(self, verb: str, path: str) -> None:
        if self.away:
            raise UnreachableError(f"cannot reach the API server for {verb} {path}")
        why = self.refuse(verb, path)
        if why:
            raise RefusedError(f"{verb} {path}", 403, "Forbidden", why)

    def _same_version(self, path: str, obj: Mapping[str, Any]) -> None:
        wanted = (obj.get("metadata") or {}).get("resourceVersion")
        if wanted and wanted != self.objects[path]["metadata"]["resourceVersion"]:
            raise RefusedError(f"PUT {path}", 409, "Conflict", "the object has been modified")


def _merged(target: Any, patch: Any) -> Any:
    if not isinstance(patch, Mapping):
        return copy.deepcopy(patch)
    result = dict(target) if isinstance(target, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = _merged(result.get(key), value)
    return result
