"""What the profile Strict masks beyond the standard one: values that are not plainly harmless, where secrets often stand.

- every literal value beside a name (environment variables, parameters, headers) that is no plain word, number, host,
  version, image or path (`strict-value`)
- values of ConfigMaps in one line that look as if made by chance (`strict-config`)
- annotations outside of the domains of Kubernetes and well-known tools, unless plain (`strict-annotation`)
- what looks as if made by chance beside a user name or a login (`strict-neighbour`)
Texts that are documents are taken apart even when no word in them says that they hold a secret.
"""

from __future__ import annotations

from typing import Any

from chaperone.core.masking.placeholder import holds_placeholder
from chaperone.core.masking.scope import Frame
from chaperone.core.masking.values import is_opaque, is_plain
from chaperone.core.masking.work import Work

_KNOWN_DOMAINS = (
    "kubernetes.io",
    "k8s.io",
    "helm.sh",
    "argoproj.io",
    "istio.io",
    "cert-manager.io",
    "prometheus.io",
)
_LOGINS = frozenset(
    {"username", "user", "login", "userName", "clientId", "client_id", "account", "accountName", "email"}
)
_LONGEST_VALUE = 4096


def mask_value(work: Work, node: dict[str, Any], frame: Frame) -> None:
    """The `value` beside a name."""
    if _is_open(node["value"]) and not is_plain(node["value"]):
        work.hide(node, "value", frame, "strict-value")


def mask_config(work: Work, data: dict[str, Any], frame: Frame) -> None:
    for key, value in data.items():
        if isinstance(value, str) and _is_one_line(value) and _is_open(value) and is_opaque(value):
            work.hide(data, key, frame, "strict-config")


def mask_annotation(work: Work, node: dict[str, Any], key: str, frame: Frame) -> bool:
    domain = key.rpartition("/")[0]
    if (
        any(domain == known or domain.endswith(f".{known}") for known in _KNOWN_DOMAINS)
        or domain == "checksum"
    ):
        return False
    return (
        "ublic" not in key
        and _is_open(node[key])
        and not is_plain(node[key])
        and work.hide(node, key, frame, "strict-annotation")
    )


def mask_neighbours(work: Work, node: dict[str, Any], frame: Frame) -> None:
    if _LOGINS.isdisjoint(node):
        return
    for key, value in node.items():
        if (
            isinstance(value, str)
            and key not in _LOGINS
            and work.judge(key).value == "plain"
            and _is_open(value)
            and is_opaque(value)
        ):
            work.hide(node, key, frame, "strict-neighbour")


def _is_open(value: str) -> bool:
    """Whether nothing in it was masked before: what is left of it is no secret then."""
    return not holds_placeholder(value)


def _is_one_line(value: str) -> bool:
    """And no document, which is taken apart."""
    return (
        "\n" not in value and len(value) <= _LONGEST_VALUE and not value.lstrip().startswith(("{", "[", "<"))
    )
