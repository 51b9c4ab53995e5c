"""The walk through one object: by shape, not by a list of kinds, so that a pod is a pod wherever it stands.

Every string is masked at once (its name says that it is a secret), noted for the search by form, or left alone (what
the system wrote, names). Texts that are documents are taken apart and walked too.
"""

from __future__ import annotations

import base64
import re
from typing import Any

from chaperone.core.masking import strict
from chaperone.core.masking.arguments import mask_arguments
from chaperone.core.masking.json_text import read_json
from chaperone.core.masking.keys import Naming, is_secret, may_name_object
from chaperone.core.masking.layers import as_text, may_be_packed, strictly_decoded
from chaperone.core.masking.managed_fields import note_managed_fields
from chaperone.core.masking.nested import Nested
from chaperone.core.masking.packed import Opener, holds_secret
from chaperone.core.masking.scope import Frame
from chaperone.core.masking.secret_data import close_map, is_release_map, mask_release, mask_secret, open_map
from chaperone.core.masking.values import is_harmless, is_key_name, is_object_name, names_a_secret
from chaperone.core.masking.vocabulary import listed
from chaperone.core.masking.work import COMMAND, LINES, Inner, Work
from chaperone.core.masking.yaml_text import looks_like_yaml, read_yaml

KEY_NAME = "key-name"
PAIR = "name-value"
PACKED = "packed"
MANIFEST = "secret-manifest"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"

SHORTEST = 16
"""Characters; what is shorter is only searched for words and forms."""
PLAIN = Naming.PLAIN
_OPENING = frozenset("{[ \t")
_SHORTEST_PACKED = 24
_SECRET_MANIFEST = re.compile(r"(?:^|[\s{,])[\"']?kind[\"']?\s*:\s*[\"']?Secret[\"']?\s*(?:$|[,}\n])")
_VALUE_KEYS = ("value", "Value", "default")
_CONTENT_KEYS = frozenset(
    {"value", "values", "literal", "plaintext", "plainText", "inline", "raw", "content"}
)
"""Below a name that says secret, these hold it; the others speak about it."""
_ABOUT_SECRETS = listed(
    """
    name namespace key path kind apiVersion group version type mode audience provider secretName optional
    username user email description source algorithm encoding size rotationPolicy issuer id uid region role
    registry server host url
    """
)
_BYTES_KEYS = frozenset({"client-key-data"})
_ELSEWHERE = frozenset({"remoteRef", "objectName", "secretPath", "remoteKey"})
"""Beside one of these, `secretKey` is the name of a key."""
_PUBLIC_DOMAINS = ("checksum", "vault.hashicorp.com", "reloader.stakater.com", "secret.reloader.stakater.com")


class Walk:
    """Walks objects and notes in `work` what has to be done. depth: texts inside of texts."""

    def __init__(self, work: Work, opener: Opener) -> None:
        self.work = work
        self.opener = opener
        """Masks what is packed (base64) for itself: a function from a text to whether something was masked in it."""
        self.depth = 0
        self.is_typed = True
        self.opened: set[str] = set()
        """Packed texts that are walked inside."""
        self._judge = work.judge
        self._leaves = work.leaves
        self.is_strict = work.terms.is_strict
        self._below = {
            "labels": self._labels,
            "matchLabels": self._labels,
            "nodeSelector": self._labels,
            "annotations": self._annotations,
            "binaryData": self._binary_data,
            "openAPIV3Schema": self._schema,
            "encryptedData": _nothing,
        }

    # Objects and lists

    def object_(self, node: dict[str, Any], frame: Frame) -> None:
        """An object of any kind, or a part of one."""
        judge, leaves = self._judge, self._leaves
        if "value" in node or "kind" in node or "Value" in node or "default" in node or self.is_strict:
            self._as_a_whole(node, frame)
        for key, value in node.items():
            kind = value.__class__
            if kind is str:
                naming = judge(key)
                if naming is not PLAIN:
                    self._named(node, key, frame, naming)
                elif len(value) < SHORTEST:
                    leaves.append((node, key, frame, LINES))
                else:
                    self.text(node, key, frame)
            elif kind is dict:
                if judge(key) is PLAIN and key not in self._below:
                    self.object_(value, (frame, key))
                else:
                    self._child(key, value, (frame, key))
            elif kind is list and value:
                if value[0].__class__ is dict and key != "managedFields":
                    self.list_(value, (frame, key))
                else:
                    self._child_list(node, key, value, (frame, key))

    def _as_a_whole(self, node: dict[str, Any], frame: Frame) -> None:
        """What several fields say together."""
        self._pair(node, frame)
        if "kind" in node:
            self._by_kind(node, frame)
        if self.is_strict:
            strict.mask_neighbours(self.work, node, frame)

    def _child(self, key: str, value: dict[str, Any], frame: Frame) -> None:
        """An object below a name that says something of it."""
        special = self._below.get(key)
        naming = self._judge(key)
        if special is not None:
            special(value, frame)
        elif naming is Naming.SECRETS:
            self._secrets(value, frame)
        elif is_secret(naming):
            self._holder(value, frame)
        else:
            self.object_(value, frame)

    def _child_list(self, node: dict[str, Any], key: str, value: list[Any], frame: Frame) -> None:
        if key == "managedFields":
            note_managed_fields(self.work, value, frame)
        elif value[0].__class__ is str:
            naming = self.work.judge(key)
            if is_secret(naming) and (naming is not Naming.SECRETS or not _are_names(key, value)):
                self._secret_list(value, frame, naming)
            else:
                mask_arguments(self.work, value, frame, node.get("command") if key == "args" else None)
                self._texts(value, frame)
        else:
            self.list_(value, frame)

    def list_(self, items: list[Any], frame: Frame) -> None:
        for index, item in enumerate(items):
            kind = item.__class__
            if kind is dict:
                self.object_(item, (frame, index))
            elif kind is list:
                self.list_(item, (frame, index))
            elif kind is str:
                self.text(items, index, frame)

    def _texts(self, items: list[Any], frame: Frame) -> None:
        """The words of a command, or a list of anything else."""
        for index, item in enumerate(items):
            if item.__class__ is str:
                self.text(items, index, frame, COMMAND)
            elif item.__class__ is dict:
                self.object_(item, (frame, index))

    # Strings

    def text(self, container: Any, key: str | int, frame: Frame, reading: int = LINES) -> None:
        """A string whose name says nothing: a document to be taken apart, or one to be searched."""
        text: str = container[key]
        if len(text) < SHORTEST:
            self._leaves.append((container, key, frame, reading))
            return
        nested = self._taken_apart(text) if text[0] in _OPENING or "\n" in text else None
        if nested is not None:
            self._inside(nested, container, key, frame)
        elif not self._hides_whole(container, key, frame, text):
            self._leaves.append((container, key, frame, reading))

    def _hides_whole(self, container: Any, key: str | int, frame: Frame, text: str) -> bool:
        if len(text) >= _SHORTEST_PACKED and may_be_packed(text):
            return self._hides_packed(container, key, frame)
        return "Secret" in text and self._hides_manifest(container, key, frame)

    def _hides_packed(self, container: Any, key: str | int, frame: Frame) -> bool:
        text: str = container[key]
        if text in self.opened:
            return True
        if not holds_secret(text, self.opener):
            return False
        raw = strictly_decoded(text)
        if raw is None or base64.b64encode(raw).decode() != text:
            return self.work.hide(container, key, frame, PACKED)
        return self.work.hide(container, key, frame, PACKED, value=as_text(raw), as_bytes=True)

    def _hides_manifest(self, container: Any, key: str | int, frame: Frame) -> bool:
        """The manifest of a Secret that could not be taken apart; one that is to be filled in yet says nothing."""
        text: str = container[key]
        if "{{" in text or not _SECRET_MANIFEST.search(text):
            return False
        return self.work.hide(container, key, frame, MANIFEST)

    def _taken_apart(self, text: str) -> Nested | None:
        start = text[:1] if not text[:1].isspace() else text.lstrip()[:1]
        if start in ("{", "["):
            if "\\u" in text or self.is_strict or self.work.phrases.may_be_inside(text):
                return read_json(text) or (read_yaml(text) if "\n" in text else None)
        elif "\n" in text and ":" in text and (self.is_strict or self.work.phrases.may_be_inside(text)):
            return read_yaml(text) if looks_like_yaml(text) else None
        return None

    def _inside(
        self, nested: Nested, container: Any, key: str | int, frame: Frame, *, typed: bool = False
    ) -> None:
        """typed: what is inside is an object of the API, too."""
        is_free = nested.read is read_yaml
        self.work.inner.append(Inner(self.depth, nested, container, key, frame, is_free))
        was_typed, self.is_typed = self.is_typed, self.is_typed and typed
        self.depth += 1
        self.list_(nested.roots, ((frame, key), nested))
        self.depth -= 1
        self.is_typed = was_typed

    def _named(self, node: dict[str, Any], key: str, frame: Frame, naming: Naming) -> None:
        if naming is Naming.PUBLIC:
            return
        if naming is Naming.NAME:
            self.work.names.append(node[key])
        elif node[key]:
            self._secret(node, key, frame, naming)

    def _secret(self, node: dict[str, Any], key: str, frame: Frame, naming: Naming) -> None:
        value: str = node[key]
        if (
            is_harmless(value, password=naming is Naming.PASSWORD)
            or _names_a_key(node, key, value)
            or (naming is not Naming.PASSWORD and self._names_an_object(key, value))
            or not self.work.hide(node, key, frame, KEY_NAME, as_bytes=key in _BYTES_KEYS)
        ):
            self._leaves.append((node, key, frame, LINES))

    def _names_an_object(self, key: str, value: str) -> bool:
        """Only in objects of the API: in texts and free forms, a secret that is a word is one all the same."""
        return names_a_secret(value) or (self.is_typed and may_name_object(key) and is_object_name(value))

    # What a name above says of everything below

    def _secrets(self, node: dict[str, Any], frame: Frame) -> None:
        """Below a name such as `passwords`: every string that does not only speak about secrets."""
        for key, value in node.items():
            if value.__class__ is not str or not value or key in _ABOUT_SECRETS:
                continue
            if not is_harmless(value) and not _names_a_key(node, key, value):
                self.work.hide(node, key, frame, KEY_NAME)
        self.object_(node, frame)

    def _holder(self, node: dict[str, Any], frame: Frame) -> None:
        """Below a name such as `password` or `auth`: what stands for the value itself."""
        for key, value in node.items():
            if key in _CONTENT_KEYS and value.__class__ is str and not is_harmless(value):
                self.work.hide(node, key, frame, KEY_NAME)
        self.object_(node, frame)

    def _secret_list(self, items: list[Any], frame: Frame, naming: Naming) -> None:
        for index, item in enumerate(items):
            if item.__class__ is str and not is_harmless(item, password=naming is Naming.PASSWORD):
                self.work.hide(items, index, frame, KEY_NAME)
        self._texts(items, frame)

    def _pair(self, node: dict[str, Any], frame: Frame) -> None:
        """A name and a value beside each other, as in every list of environment variables, parameters and headers."""
        name = node.get("name") or node.get("key") or node.get("Name")
        if name.__class__ is not str:
            return
        naming = self._judge(name)
        for key in _VALUE_KEYS:
            value = node.get(key)
            if value.__class__ is not str or not value:
                continue
            if is_secret(naming) and not _is_excused(naming, value):
                self.work.hide(node, key, frame, PAIR)
            elif self.is_strict and key == "value":
                strict.mask_value(self.work, node, frame)

    # By kind and by shape

    def _by_kind(self, node: dict[str, Any], frame: Frame) -> None:
        kind = node.get("kind")
        if kind == "Secret":
            self.secret(node, frame)
        elif kind == "ConfigMap":
            self.config_map(node, frame)
        elif (
            kind == "Status"
            and isinstance(node.get("details"), dict)
            and isinstance(node["details"].get("name"), str)
        ):
            self.text(node["details"], "name", (frame, "details"))

    def config_map(self, node: dict[str, Any], frame: Frame) -> None:
        """What a ConfigMap has beyond other objects."""
        data = node.get("data")
        if isinstance(data, dict):
            self.work.keys += data
            if is_release_map(node):
                mask_release(self, data, (frame, "data"), open_map, close_map)
            if self.is_strict:
                strict.mask_config(self.work, data, (frame, "data"))

    def secret(self, node: dict[str, Any], frame: Frame) -> None:
        """Every value of a Secret."""
        mask_secret(self, node, frame)

    def _labels(self, node: dict[str, Any], frame: Frame) -> None:
        self.work.keys += node
        self.work.names += [value for value in node.values() if value.__class__ is str]

    def _binary_data(self, node: dict[str, Any], frame: Frame) -> None:
        for key, value in node.items():
            if value.__class__ is not str or not value:
                continue
            naming = self.work.judge(key)
            if is_secret(naming) or holds_secret(value, self.opener):
                self.work.hide(node, key, frame, KEY_NAME, as_bytes=True)

    def _schema(self, node: dict[str, Any], frame: Frame) -> None:
        """A schema speaks about fields: their names say nothing of what stands below them."""
        stack: list[tuple[Any, Frame]] = [(node, frame)]
        while stack:
            parent, above = stack.pop()
            for key, value in parent.items() if parent.__class__ is dict else enumerate(parent):
                if value.__class__ is str:
                    self.work.wordless.append((parent, key, above, LINES))
                elif value.__class__ is dict or value.__class__ is list:
                    stack.append((value, (above, key)))

    def _annotations(self, node: dict[str, Any], frame: Frame) -> None:
        self.work.keys += node
        for key, value in node.items():
            if value.__class__ is not str or not value:
                continue
            if key == LAST_APPLIED:
                self._last_applied(node, key, frame)
                continue
            domain, _, name = key.rpartition("/")
            naming = Naming.PLAIN if domain in _PUBLIC_DOMAINS else self.work.judge(name)
            if is_secret(naming) and not _refers(name, value):
                self._secret(node, key, frame, naming)
            elif not (self.is_strict and strict.mask_annotation(self.work, node, key, frame)):
                self.text(node, key, frame)

    def _last_applied(self, node: dict[str, Any], key: str, frame: Frame) -> None:
        nested = read_json(node[key])
        if nested is None or not isinstance(nested.roots[0], dict):
            self.work.hide(node, key, frame, "last-applied")
        else:
            self._inside(nested, node, key, frame, typed=True)


def _nothing(_node: dict[str, Any], _frame: Frame) -> None:
    """What only its owner can read."""


def _are_names(key: str, items: list[Any]) -> bool:
    return key.lower().endswith("secrets") and all(
        isinstance(item, str) and is_key_name(item) for item in items
    )


def _is_excused(naming: Naming, value: str) -> bool:
    if is_harmless(value, password=naming is Naming.PASSWORD):
        return True
    return naming is not Naming.PASSWORD and names_a_secret(value)


def _names_a_key(node: dict[str, Any], key: str, value: str) -> bool:
    """Whether the value is the name of a key in a Secret: `secretKey` of an ExternalSecret, `passwordKey` of a chart."""
    if not key.lower().endswith("key") or not is_key_name(value):
        return False
    if key == "secretKey":
        return not _ELSEWHERE.isdisjoint(node)
    return "password" in key.lower() or "token" in key.lower() or "username" in key.lower()


def _refers(name: str, value: str) -> bool:
    """Whether an annotation that ends on "secret" names one: `auth-tls-secret: namespace/name`."""
    return name.endswith("secret") and all(is_key_name(part) for part in value.split("/", 1))
