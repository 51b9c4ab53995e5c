"""What an approval is bound to in the cluster: one live object, or all objects of a collection, in one state."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson


@dataclass(frozen=True, slots=True)
class Target:
    """The live object as observed when the request was held. uid "" when there is none (create, collections).

    version: its metadata.generation as "g<N>"; where a kind keeps no generation, "s<64 hex>" (see `target_of`) when it
    has a status, else "r<resourceVersion>".
    """

    uid: str = ""
    version: str = ""


NO_TARGET = Target()
"""Of a request that makes something new, or names nothing."""


def target_spec(target: Target) -> dict[str, Any]:
    """As spec.target. Without a uid where there is none: Kubernetes 1.20 takes an empty text in a custom resource for
    null."""
    spec: dict[str, Any] = {"uid": target.uid} if target.uid else {}
    kind, version = target.version[:1], target.version[1:]
    if kind == "g":
        spec["generation"] = int(version)
    elif kind == "s":
        spec["stateSHA256"] = version
    elif version:
        spec["resourceVersion"] = version
    return spec


def target_of(obj: Mapping[str, Any]) -> Target | None:
    """A live object as a target; None when it has no uid or no version.

    The status of a pod or a namespace changes by itself and must not void an approval: where there is a status and no
    generation, the version is the SHA-256 of everything else. Objects without a status (Secrets among them, whose
    content no hash may hint at) go by resourceVersion.
    """
    metadata = obj.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    uid, generation = metadata.get("uid"), metadata.get("generation")
    if generation:
        version = f"g{generation}"
    elif "status" in obj:
        version = f"s{_state(obj, metadata)}"
    else:
        version = f"r{metadata.get('resourceVersion') or ''}"
    return Target(uid, version) if isinstance(uid, str) and uid and len(version) > 1 else None


def collection_of(objects: Sequence[Mapping[str, Any]]) -> Target | None:
    """All objects that a deletecollection would take, as a target: another object, one less, or a changed one voids the
    approval. None when one of them is no target by itself."""
    targets = [target_of(obj) for obj in objects]
    each = sorted(f"{target.uid} {target.version}" for target in targets if target is not None)
    if len(each) < len(targets):
        return None
    return Target("", f"s{hashlib.sha256(orjson.dumps(each)).hexdigest()}")


def _state(obj: Mapping[str, Any], metadata: Mapping[str, Any]) -> str:
    steady = {
        key: value for key, value in metadata.items() if key not in ("resourceVersion", "managedFields")
    }
    kept = {key: value for key, value in obj.items() if key != "status"} | {"metadata": steady}
    return hashlib.sha256(orjson.dumps(kept, option=orjson.OPT_SORT_KEYS)).hexdigest()
