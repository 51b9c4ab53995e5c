"""The change that a request makes, for people to read: a unified diff of canonical YAML without noise and secrets.

Canonical: keys sorted, one value a line, long texts as blocks. Everything in it comes from strangers, so every line is
made legible. Its size and its cost are bounded: comparing grows with the square of the lines.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from chaperone.core.legible import visible
from chaperone.core.preview_redaction import marked, shown, shown_after

MOST_BYTES = 16 * 1024
"""Of one diff, in UTF-8."""
MOST_LINES = 2000
"""Of one object that is compared."""
MOST_VALUES = 8000
"""Keys and items in an object that is written at all; a long text counts as many."""
TEXT_A_VALUE = 100
"""Characters that count as one of them."""
MOST_LINE = 400
"""Characters of one line."""
CUT = "… the rest is left out\n"

_NOISE = frozenset({"managedFields", "resourceVersion", "generation", "creationTimestamp", "uid", "selfLink"})


@dataclass(frozen=True, slots=True)
class Difference:
    """text: "" when nothing changes. truncated: something was left out."""

    text: str = ""
    truncated: bool = False


def difference(
    before: Mapping[str, Any] | None,
    after: Mapping[str, Any] | None,
    *,
    secret: bool = False,
    status: bool = False,
    masked: bool = False,
) -> Difference:
    """From `before` to `after`; None: there is none. secret: they are Secrets, whatever they say of themselves.
    status: the request writes the status, so it is shown. masked: they come from a record, with placeholders in the place
    of secrets: nothing more is hidden."""
    old, new = (_steady(obj, keep_status=status) for obj in (before, after))
    if _size(old) > MOST_VALUES or _size(new) > MOST_VALUES:
        return Difference("(the object is too large to be shown)\n", truncated=True)
    old_tree, new_tree = (old, new) if masked else (marked(old, secret=secret), marked(new, secret=secret))
    was = _lines(shown(old_tree)) if before is not None else []
    now = (
        _lines(shown_after(old_tree, new_tree) if before is not None else shown(new_tree))
        if after is not None
        else []
    )
    compared = difflib.unified_diff(
        was[:MOST_LINES],
        now[:MOST_LINES],
        ("before" if masked else "live") if was else "nothing",
        ("after" if masked else "result") if now else "nothing",
        lineterm="",
    )
    cut = max(len(was), len(now)) > MOST_LINES
    return _bounded(compared, cut=cut)


def _steady(obj: Mapping[str, Any] | None, *, keep_status: bool) -> dict[str, Any]:
    """Without what the API server keeps for itself and what changes by itself."""
    if obj is None:
        return {}
    kept = {key: value for key, value in obj.items() if keep_status or key != "status"}
    metadata = kept.get("metadata")
    if isinstance(metadata, Mapping):
        kept["metadata"] = {key: value for key, value in metadata.items() if key not in _NOISE}
    return kept


def _size(value: Any) -> int:
    """Keys and items at every depth, long texts by their length."""
    total, level = 0, [value]
    while level and total <= MOST_VALUES:
        total += sum([1 + len(item) // TEXT_A_VALUE if isinstance(item, str) else 1 for item in level])
        level = [child for parent in level for child in _children(parent)]
    return total


def _children(parent: Any) -> Iterable[Any]:
    if isinstance(parent, Mapping):
        return parent.values()
    return parent if isinstance(parent, list) else ()


class _Dumper(yaml.CSafeDumper):
    """Without anchors, and with texts of several lines as blocks."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text_node(dumper: yaml.CSafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text_node)


def _lines(obj: Any) -> list[str]:
    text = yaml.dump(obj, Dumper=_Dumper, sort_keys=True, allow_unicode=True, width=1 << 20)
    return [visible(line, MOST_LINE) for line in text.split("\n")[:-1]]


def _bounded(lines: Iterator[str], *, cut: bool) -> Difference:
    kept: list[str] = []
    left = MOST_BYTES - len(CUT.encode())
    for line in lines:
        left -= len(line.encode("utf-8", "replace")) + 1
        if left < 0:
            return Difference("".join(kept) + CUT, truncated=True)
        kept.append(line + "\n")
    return Difference("".join(kept) + (CUT if cut else ""), truncated=cut)
