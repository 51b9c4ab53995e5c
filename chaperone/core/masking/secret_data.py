"""Secrets, whole: every value of `data` and `stringData` but public certificates. And the releases of Helm, which are
opened, masked inside and packed again, so that `helm get`, `list`, `status` and `history` still read them.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import orjson

from chaperone.core.masking.layers import TooLargeError, as_text, gunzip, gzipped, strictly_decoded
from chaperone.core.masking.place import key_step
from chaperone.core.masking.scope import Frame, where
from chaperone.core.masking.work import Work

if TYPE_CHECKING:
    from chaperone.core.masking.walk import Walk

SECRET_DATA = "secret-data"
RELEASE = "release"
RELEASE_TYPE = "helm.sh/release.v1"
_CERTIFICATES = frozenset({"ca.crt", "tls.crt"})
_ONLY_CERTIFICATES = re.compile(
    r"(?:\s++|#[^\n]*+"
    r"|-----BEGIN (?:TRUSTED )?CERTIFICATE-----[A-Za-z0-9+/=\s]++-----END (?:TRUSTED )?CERTIFICATE-----)*+"
)


def mask_secret(walk: Walk, node: dict[str, Any], frame: Frame) -> None:
    """`data` and `stringData` of a Secret. Their keys, the type and the labels stay."""
    data, text = node.get("data"), node.get("stringData")
    if isinstance(data, dict):
        walk.work.keys += data
        if node.get("type") == RELEASE_TYPE:
            mask_release(walk, data, (frame, "data"), _open_secret, _close_secret)
        for key, value in data.items():
            if isinstance(value, str) and value and not (key == RELEASE and value in walk.opened):
                _mask_bytes(walk.work, data, key, (frame, "data"))
    if isinstance(text, dict):
        for key, value in text.items():
            if isinstance(value, str) and value and not _is_public(key, value):
                _mask_text(walk.work, text, key, (frame, "stringData"))


def _mask_bytes(work: Work, data: dict[str, Any], key: str, frame: Frame) -> None:
    raw = strictly_decoded(data[key])
    content = data[key] if raw is None else as_text(raw)
    if not (isinstance(content, str) and _is_public(key, content)):
        work.hide(data, key, frame, SECRET_DATA, value=content, as_bytes=True)


def _mask_text(work: Work, text: dict[str, Any], key: str, frame: Frame) -> None:
    """It is read back in `data`: there it has its place."""
    place = where(frame, key)
    own = f"stringData{key_step(key)}"
    named = place.path_class.removesuffix(own) + f"data{key_step(key)}"
    work.hide(text, key, frame, SECRET_DATA, place=place._replace(path_class=named))


def _is_public(key: str, content: str) -> bool:
    """Whether it is a certificate, and nothing but certificates."""
    return (
        key in _CERTIFICATES
        and "CERTIFICATE" in content
        and _ONLY_CERTIFICATES.fullmatch(content) is not None
    )


# Releases of Helm


class Release:
    """The document inside of a packed release. roots: what `Boundary` asks for."""

    def __init__(self, root: Any) -> None:
        self.roots: list[Any] = [root]


def mask_release(
    walk: Walk, data: dict[str, Any], frame: Frame, opens: Callable[[str], Any], closes: Callable[[Any], str]
) -> None:
    """Walk the release in `data`; it is packed again when everything is masked. What cannot be opened is left to the
    caller, who masks it whole.
    """
    text = data.get(RELEASE)
    if not isinstance(text, str) or walk.depth or (root := opens(text)) is None:
        return
    release, before = Release(root), orjson.dumps(root)
    walk.opened.add(text)
    walk.list_(release.roots, ((frame, RELEASE), release))

    def close() -> None:
        if orjson.dumps(root) != before:
            data[RELEASE] = closes(root)

    walk.work.last.append(close)


def is_release_map(node: dict[str, Any]) -> bool:
    """Whether a ConfigMap is one in which Helm keeps a release."""
    metadata = node.get("metadata")
    labels = metadata.get("labels") if isinstance(metadata, dict) else None
    return isinstance(labels, dict) and "helm" in (labels.get("owner"), labels.get("OWNER"))


def open_map(text: str) -> Any:
    """The release in a ConfigMap: base64 of gzip of JSON. None: it is none."""
    raw = strictly_decoded(text)
    return None if raw is None else _unzipped(raw)


def close_map(root: Any) -> str:
    return base64.b64encode(gzipped(orjson.dumps(root))).decode()


def _open_secret(text: str) -> Any:
    raw = strictly_decoded(text)
    inner = None if raw is None else as_text(raw)
    return open_map(inner) if isinstance(inner, str) else None


def _close_secret(root: Any) -> str:
    return base64.b64encode(close_map(root).encode()).decode()


def _unzipped(raw: bytes) -> Any:
    try:
        opened = gunzip(raw)
        root = None if opened is None else orjson.loads(opened)
    except (TooLargeError, ValueError):
        return None
    return root if isinstance(root, dict) and "chart" in root else None
