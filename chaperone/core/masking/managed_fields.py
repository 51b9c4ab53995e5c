"""managedFields: names of fields, and in the keys `k:{…}` and `v:…` also values, which are masked in the keys."""

from __future__ import annotations

import json
import re
from typing import Any

import orjson

from chaperone.core.masking.scope import Frame
from chaperone.core.masking.work import LINES, Work

_VALUE_KEY = re.compile(r'"([kv]:(?:[^"\\]|\\.)*)"')
_ORDINARY = re.compile(
    r'k:\{(?:\\"(?:containerPort|protocol|port|type|uid|topologyKey|ip|whenUnsatisfiable|mountPath|devicePath)\\":[^}]*)\}'
)


class Keys:
    """The keys that hold values, as the only document of a text. roots: what `Boundary` asks for."""

    def __init__(self, keys: list[str]) -> None:
        self.roots: list[Any] = keys


def note_managed_fields(work: Work, entries: list[Any], frame: Frame) -> None:
    """Let the values in the keys be searched; they are written into the keys when everything is masked."""
    raw = orjson.dumps(entries).decode()
    found = {token for token in _VALUE_KEY.findall(raw) if not _ORDINARY.fullmatch(token)}
    if not found:
        return
    tokens = sorted(found)
    keys = Keys([json.loads(f'"{token}"') for token in tokens])
    for index in range(len(tokens)):
        work.leaves.append((keys.roots, index, (frame, keys), LINES))
    work.last.append(lambda: _write(entries, raw, tokens, keys.roots))


def _write(entries: list[Any], raw: str, tokens: list[str], keys: list[str]) -> None:
    written = raw
    for token, key in zip(tokens, keys, strict=True):
        written = written.replace(f'"{token}"', json.dumps(key, ensure_ascii=False))
    if written != raw:
        entries[:] = json.loads(written)
