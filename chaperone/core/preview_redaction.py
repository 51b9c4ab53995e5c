"""What may be shown of an object to the people who decide: a conservative redaction, pure, without configuration.

It hides too much rather than too little, for what it returns is stored in an ApprovalRequest and sent to chats: every
value of a Secret, every `value` that stands beside a `name` (environment variables), whatever is under a key or in a
text that looks like a credential, and every long token that no person would have written. Keys, object names and
references to secrets stay. What a key means is judged as the masking of answers judges it; no policy and no exemption
counts here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chaperone.core.masking.keys import is_secret, judgement

HIDDEN = "(hidden)"
CHANGED = "(hidden, changed)"
MOST_TEXT = 32 * 1024
"""Characters of one text that are looked through; a longer one is hidden without a look."""
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"

_NOT_WORD = re.compile(r"[^a-z0-9]")
_judge = judgement()
_REFERENCE_FIELDS = frozenset(
    {"name", "namespace", "secretName", "key", "path", "mode", "defaultMode", "optional", "items", "kind"}
    | {"apiVersion", "uid", "audience", "expirationSeconds", "driver"}
)
"""What a reference to a secret says: where it is, not what it is."""
_REFERENCES = frozenset({"secret", "secrets", "imagepullsecrets", "serviceaccounttoken", "tokenrequests"})
_IDENTIFIERS = frozenset(
    {"name", "namespace", "generateName", "uid", "kind", "apiVersion", "nodeName", "serviceAccountName"}
    | {"storageClassName", "volumeName", "claimName", "containerID", "imageID"}
)
"""Keys of what is public and may look like a token."""

_WORDS = (
    r"pass(?:word|wd|phrase|code)?|pwd|secret|token|api[-_.]?key|access[-_.]?key|private[-_.]?key|signing[-_.]?key"
    r"|credentials?|bearer|authorization|cookie|dsn"
)
_CREDENTIAL_TEXT = re.compile(
    r"-----BEGIN"
    r"|://[^/\s:@]{0,256}:[^/\s@]{1,256}@"
    rf"|(?:{_WORDS})[\w.\-]{{0,64}}[\"'\]]{{0,2}}\s{{0,8}}(?:[:=>]|\s-)\s{{0,8}}\S"
    rf"|(?<![\w\-])--?[\w\-]{{0,32}}(?:{_WORDS})[\w\-]{{0,32}}\s{{1,8}}\S"
    r"|(?:^|\s)-[pu]\s{0,8}[^\s\-]"
    r"|(?:bearer|basic)\s{1,8}\S",
    re.IGNORECASE,
)
_CREDENTIAL_FLAG = re.compile(
    rf"-{{1,2}}[\w\-]{{0,64}}(?:{_WORDS}|key|auth)[\w\-]{{0,64}}|-[pPuUk]", re.IGNORECASE
)
_GLUED_FLAG = re.compile(r"-p[^\s\-=]")
_UUID = re.compile(r"(?i)(?<![0-9a-z])[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?![0-9a-z])")
_RUN = re.compile(r"[A-Za-z0-9_+=~%\-]{20,}")
_BASE64 = re.compile(r"[A-Za-z0-9+][A-Za-z0-9+/\s]{23,}={0,2}\s*")
_IMAGE_VERSION = re.compile(r"@sha256:[0-9a-f]{64}$|:[0-9a-f]{7,64}$")
_SEGMENT = re.compile(r"[_+=~%\-]")


@dataclass(frozen=True, slots=True)
class Hidden:
    """A leaf that must not be shown."""

    value: Any


def marked(obj: Any, *, secret: bool = False) -> Any:
    """A copy in which every leaf that must not be shown is Hidden. secret: the object is a Secret, whatever it says."""
    if secret and isinstance(obj, Mapping):
        obj = {**obj, "kind": "Secret"}
    return _marked(obj, "", hide=False)


def shown(tree: Any) -> Any:
    """A marked tree as it may be shown."""
    return _resolved(tree, _MISSING)


def shown_after(before: Any, after: Any) -> Any:
    """A marked tree as it may be shown beside the one before: what is hidden says whether it changed."""
    return _resolved(after, before)


def hidden_values(tree: Any) -> frozenset[str]:
    """Every text that is hidden in a marked tree, and its lines."""
    return frozenset(text for leaf in _hidden(tree) for text in _pieces(leaf.value))


def looks_secret(text: str) -> bool:
    """Whether a text holds what looks like a credential, or a token that no person would have written."""
    return len(text) > MOST_TEXT or bool(_CREDENTIAL_TEXT.search(text)) or _is_opaque(text)


def names_credential(key: str) -> bool:
    """Whether a key says that its value is a credential."""
    return is_secret(_judge(key))


# Marking


def _marked(value: Any, key: str, *, hide: bool) -> Any:
    if isinstance(value, Mapping):
        return {
            name: _marked(child, str(name), hide=hide or _hides(value, str(name)))
            for name, child in value.items()
        }
    if isinstance(value, list):
        return [_marked(child, key, hide=hide or _is_argument(value, at)) for at, child in enumerate(value)]
    if value is None or isinstance(value, bool) or value == "":
        return value
    if hide or (isinstance(value, str) and _is_secret_text(value, key)):
        return Hidden(value)
    return value


def _hides(parent: Mapping[str, Any], name: str) -> bool:
    """Whether everything below this key of this object is hidden."""
    if name == "value":  # of an environment variable and the like, or of an operation of a JSON Patch
        return isinstance(parent.get("name"), str) or isinstance(parent.get("path"), str)
    if name in ("data", "stringData", "binaryData") and (
        parent.get("kind") == "Secret" or name == "binaryData"
    ):
        return True
    if name == LAST_APPLIED:
        return True
    child = parent[name]
    if isinstance(child, Mapping | list) and _is_reference(name, child):
        return False
    return names_credential(name)


def _is_reference(name: str, child: Any) -> bool:
    """Whether it only says where a secret is."""
    plain = _NOT_WORD.sub("", name.lower())
    if plain not in _REFERENCES and not plain.endswith(("ref", "refs")):
        return False
    return all(
        isinstance(item, Mapping) and _refers(item)
        for item in (child if isinstance(child, list) else [child])
    )


def _refers(item: Mapping[str, Any]) -> bool:
    nested = item.get("items")
    parts = nested if isinstance(nested, list) else []
    return set(item) <= _REFERENCE_FIELDS and all(
        isinstance(part, Mapping) and set(part) <= _REFERENCE_FIELDS for part in parts
    )


def _is_argument(words: Sequence[Any], at: int) -> bool:
    """Whether a word of a command is the value of the flag before it, or is glued to a short one."""
    word, before = words[at], words[at - 1] if at else None
    if isinstance(word, str) and _GLUED_FLAG.match(word):
        return True
    return isinstance(word, str) and isinstance(before, str) and bool(_CREDENTIAL_FLAG.fullmatch(before))


def _is_secret_text(text: str, key: str) -> bool:
    if key == "image" and len(text) <= 1024:
        return bool(_CREDENTIAL_TEXT.search(text)) or _is_opaque(_IMAGE_VERSION.sub("", text))
    if key in _IDENTIFIERS and len(text) <= 253:
        return bool(_CREDENTIAL_TEXT.search(text))
    return looks_secret(text)


def _is_opaque(text: str) -> bool:
    if len(text) < 20:
        return False
    if _BASE64.fullmatch(text) and _is_mixed(text):
        return True
    return bool(_UUID.search(text)) or any(_is_token(run) for run in _RUN.findall(text))


def _is_token(run: str) -> bool:
    """Letters and digits as chance puts them; not words, nor words joined by dashes."""
    if _is_mixed(run):
        return True
    return any(len(part) >= 20 and _is_random(part) for part in _SEGMENT.split(run))


def _is_mixed(text: str) -> bool:
    upper, lower = sum(map(str.isupper, text)), sum(map(str.islower, text))
    digits = sum(map(str.isdigit, text))
    return bool(upper and lower and digits) or min(upper, lower) * 4 >= len(text)


def _is_random(part: str) -> bool:
    return len(part) >= 32 or any(map(str.isdigit, part))


# Showing

_MISSING = object()


def _resolved(tree: Any, before: Any) -> Any:
    if isinstance(tree, Hidden):
        unchanged = before is _MISSING or (isinstance(before, Hidden) and before.value == tree.value)
        return HIDDEN if unchanged else CHANGED
    if isinstance(tree, dict):
        was = before if isinstance(before, dict) else {}
        return {key: _resolved(child, was.get(key, _MISSING)) for key, child in tree.items()}
    if isinstance(tree, list):
        return [_resolved(child, was) for child, was in zip(tree, _partners(tree, before), strict=True)]
    return tree


def _partners(items: list[Any], before: Any) -> list[Any]:
    """What stood before in the place of each item: by its name where all have one, else by its position."""
    old = before if isinstance(before, list) else []
    names, old_names = _names(items), _names(old)
    if names and old_names:
        known = dict(zip(old_names, old, strict=True))
        return [known.get(name, _MISSING) for name in names]
    return [old[at] if at < len(old) else _MISSING for at in range(len(items))]


def _names(items: list[Any]) -> list[str]:
    """Their names, [] unless each has one of its own."""
    names = [item.get("name") for item in items if isinstance(item, dict)]
    distinct = [name for name in names if isinstance(name, str)]
    return distinct if len(set(distinct)) == len(items) else []


def _hidden(tree: Any) -> Iterator[Hidden]:
    if isinstance(tree, Hidden):
        yield tree
    elif isinstance(tree, dict | list):
        for child in tree.values() if isinstance(tree, dict) else tree:
            yield from _hidden(child)


def _pieces(value: Any) -> Iterator[str]:
    text = value if isinstance(value, str) else str(value)
    yield text
    yield from (line.strip() for line in text.splitlines()[:200])
