"""What a request takes along, in lines for people: what is owned, what runs, what is stored, which budgets break. Pure.

Objects come as the API server sent them; whatever is not as it should be in them is left out, never raised for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from chaperone.core.preview_selectors import selects

Obj = Mapping[str, Any]

FIRST_NAMES = 5
MOST_CLAIMS = 12


def part(obj: Any, *path: str) -> Any:
    """What stands at a path in an object, None when nothing does."""
    for key in path:
        if not isinstance(obj, Mapping):
            return None
        obj = obj.get(key)
    return obj


def text(obj: Any, *path: str) -> str:
    value = part(obj, *path)
    return value if isinstance(value, str) else ""


def number(obj: Any, *path: str) -> int | None:
    value = part(obj, *path)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def name(obj: Obj) -> str:
    """namespace/name, or the name alone."""
    namespace = text(obj, "metadata", "namespace")
    return f"{namespace}/{text(obj, 'metadata', 'name')}" if namespace else text(obj, "metadata", "name")


def counted(kind: str, objects: Sequence[Obj], total: int, what: str, *, named: bool = True) -> list[str]:
    """One line: how many, and the first names. named False: the count alone."""
    if not total:
        return []
    names = [text(obj, "metadata", "name") for obj in objects[:FIRST_NAMES]] if named else []
    rest = f", … {total - len(names)} more" if names and total > len(names) else ""
    return [f"{kind}: {total} {what}{': ' if names else ''}{', '.join(names)}{rest}"]


def is_owned(obj: Obj, owners: Iterable[str]) -> bool:
    """Whether one of these uids is among its owners."""
    references = part(obj, "metadata", "ownerReferences")
    known = set(owners)
    return isinstance(references, list) and any(text(entry, "uid") in known for entry in references)


def owned(uid: str, found: Mapping[str, Sequence[Obj]]) -> dict[str, list[Obj]]:
    """Of the objects found, by kind, those that belong to the owner: directly, or through one that does."""
    everything = [obj for objects in found.values() for obj in objects]
    direct = {text(obj, "metadata", "uid") for obj in everything if is_owned(obj, [uid])} - {""}
    return {
        kind: [obj for obj in objects if is_owned(obj, {uid, *direct})] for kind, objects in found.items()
    }


def controller(pod: Obj) -> list[str]:
    """Who makes a new one in place of a pod that goes."""
    references = part(pod, "metadata", "ownerReferences")
    for entry in references if isinstance(references, list) else []:
        if part(entry, "controller") is True:
            kind = f"{text(entry, 'kind')} {text(entry, 'name')}"
            return [f"pods {name(pod)}: belongs to {kind}, which starts another one in its place"]
    return [f"pods {name(pod)}: belongs to nothing that would start it again"]


def budgets(found: Sequence[Obj], pods: Sequence[Obj], going: int, *, empty_selects: bool) -> list[str]:
    """The disruption budgets that are asked for more than they allow. going: how many of the pods go, whichever these
    are. empty_selects: as in policy/v1; the older version's empty selector selects nothing."""
    lines = []
    for budget in found:
        selector = part(budget, "spec", "selector")
        covered = [pod for pod in pods if selects(selector, _labels(pod), empty_selects=empty_selects)]
        hit = min(len(covered), going)
        allowed = number(budget, "status", "disruptionsAllowed") or 0
        if hit > allowed:
            lines.append(
                f"poddisruptionbudgets {name(budget)}: would be broken: {hit} of its pods would go, "
                f"and it allows {allowed} now"
            )
    return lines


def claims(found: Sequence[Obj], volumes: Mapping[str, Obj]) -> list[str]:
    """What becomes of the data of claims that go. volumes: the known PersistentVolumes by name."""
    lines = [_claim(claim, volumes) for claim in found[:MOST_CLAIMS]]
    rest = len(found) - len(lines)
    return [*lines, f"persistentvolumeclaims: … {rest} more"] if rest > 0 else lines


def claim_names(pods: Iterable[Obj]) -> list[str]:
    """The PersistentVolumeClaims that these pods use, as namespace/name, each once."""
    used: dict[str, None] = {}
    for pod in pods:
        volumes = part(pod, "spec", "volumes")
        for volume in volumes if isinstance(volumes, list) else []:
            if claim := text(volume, "persistentVolumeClaim", "claimName"):
                used[f"{text(pod, 'metadata', 'namespace')}/{claim}"] = None
    return list(used)


def volume(obj: Obj) -> str:
    """What becomes of the data of a PersistentVolume when its claim goes."""
    policy = text(obj, "spec", "persistentVolumeReclaimPolicy")
    fates = {"Delete": "is deleted with its data", "Retain": "is kept with its data", "Recycle": "is wiped"}
    return f"{fates.get(policy, 'has an unknown fate')} (reclaim policy {policy or 'unknown'})"


def listed(kind: str, objects: Sequence[Obj], total: int) -> list[str]:
    """The objects of a collection: how many, then each."""
    lines = [f"{kind} {name(obj)}" for obj in objects]
    return [f"{kind}: {total} would be deleted", *lines] if lines else [f"{kind}: nothing is selected now"]


def replicas(obj: Any) -> int | None:
    """How many pods it wants, None where it does not say."""
    return number(obj, "spec", "replicas")


def _claim(claim: Obj, volumes: Mapping[str, Obj]) -> str:
    bound = text(claim, "spec", "volumeName")
    if not bound:
        return f"persistentvolumeclaims {name(claim)}: goes; it is bound to no volume"
    fate = volume(volumes[bound]) if bound in volumes else "has a fate that is not visible to the agent"
    return f"persistentvolumeclaims {name(claim)}: goes; its volume {bound} {fate}"


def _labels(obj: Obj) -> Obj:
    labels = part(obj, "metadata", "labels")
    return labels if isinstance(labels, Mapping) else {}
