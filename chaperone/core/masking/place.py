"""Where a document comes from, and where in it a value stands."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, NamedTuple

Path = tuple[str | int, ...]
"""The way to a string in a JSON document: keys and list indexes. It ends at the string, also when what is masked is
only a part of it."""

_PLAIN_KEY = re.compile(r'[^.\[\]*"\s]+')
NAME_KEYS = ("name", "key")
"""What names an item of a list."""


@dataclass(frozen=True, slots=True)
class Place:
    """What the URL says of an answer. name: "" for a list. kind: where it is known although the objects carry none.

    The kind and the names in a document win, but never to its advantage: an object from the URL of Secrets is a
    Secret, whatever it calls itself.
    """

    group: str = ""
    resource: str = ""
    namespace: str = ""
    name: str = ""
    kind: str = ""
    subresource: str = ""


NOWHERE = Place()


class SecretPlace(NamedTuple):
    """One value that was masked.

    placeholder: in its plain form, also where it stands base64-encoded. value: what it stands for: the text, decoded
    where the API says bytes (Secret data, binaryData, client-key-data); bytes where that is not UTF-8. path: the way
    to the JSON string that holds it. path_class: the same as text, with list indexes replaced by the item's name and
    with the way inside a nested document. rule: what found it. encoded: the placeholder stands there as base64.
    """

    placeholder: str
    value: str | bytes
    path: Path
    path_class: str
    rule: str
    encoded: bool = False


def item_name(item: Any) -> str:
    """What names an item of a list in a path class; "" where it has no name."""
    if isinstance(item, dict):
        for key in NAME_KEYS:
            name = item.get(key)
            if isinstance(name, str):
                return name
    return ""


def path_class(document: Any, path: Path) -> str:
    """The path as `spec.containers[web].env[PASSWORD].value`: stable when a list is put into another order.

    Exemptions are compared with it, as they are written in policies (docs/masking.md).
    """
    text = ""
    for step in path:
        text += item_step(document[step]) if isinstance(step, int) else key_step(step)
        document = document[step]
    return text.removeprefix(".")


def key_step(key: str) -> str:
    """One step down by a key: ".key", or ["the.key"]."""
    return f".{key}" if _PLAIN_KEY.fullmatch(key) else f"[{json.dumps(key)}]"


def item_step(item: Any) -> str:
    """One step down into a list: "[name]"."""
    return f"[{item_name(item)}]"
