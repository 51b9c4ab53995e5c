"""What a value looks like, whatever its name: too ordinary to be a secret, a reference to one, or a token."""

from __future__ import annotations

import math
import re
from collections import Counter

from chaperone.core.masking.placeholder import is_placeholder

MIN_KNOWN = 8
"""Characters; a shorter value is not looked for anywhere else: it would be found everywhere."""

_SWITCHES = frozenset(
    {
        "",
        "true",
        "false",
        "yes",
        "no",
        "on",
        "off",
        "none",
        "null",
        "nil",
        "undefined",
        "unset",
        "~",
        "{}",
        "[]",
    }
    | {"enabled", "disabled", "never", "always", "auto", "n/a", "-"}
)
_SCHEMES = frozenset(
    {
        "basic",
        "bearer",
        "digest",
        "oauth",
        "oauth2",
        "oidc",
        "openid",
        "jwt",
        "ldap",
        "saml",
        "kerberos",
        "mtls",
        "tls",
    }
    | {
        "token",
        "password",
        "cookie",
        "header",
        "query",
        "env",
        "file",
        "vault",
        "opaque",
        "optional",
        "required",
    }
    | {
        "strict",
        "default",
        "simple",
        "anonymous",
        "rbac",
        "webhook",
        "alwaysallow",
        "node",
        "cert",
        "certificate",
    }
    | {
        "scram",
        "md5",
        "scram-sha-256",
        "scram-sha-512",
        "plain",
        "trust",
        "peer",
        "ident",
        "iam",
        "aws",
        "gcp",
    }
    | {
        "azure",
        "kubernetes",
        "secret",
        "client_secret_basic",
        "client_secret_post",
        "none",
        "external",
        "internal",
    }
)
"""Ways to authenticate: what a field named after a credential says when it holds none. Not of a password."""

_REFERENCE = re.compile(
    r"""(?: \$\([\w.\-/\ :]*\) | \$\{\{?[\w.\-/\ ]*\}?\} | \$[A-Z_][A-Z0-9_]{2,} | \{\{[^{}"'`]*\}\} | %[A-Z][A-Z0-9_]+%
      | %\([\w.]+\)s | <[a-zA-Z][\w .\-]*> | __[A-Z0-9_]+__ | @[A-Z0-9_]{3,}@ | [ :/@.,_=|-] )+""",
    re.VERBOSE,
)
"""Filled in by something else, later."""
_ELSEWHERE = re.compile(
    r"(?:vault|bao):[\w\-]+/[\w.\-/#?=&+ ]+"
    r"|(?:vault|ref\+\w+|op|awssm|awsps|ssm|gcpsm|azurekv|akv|secretsmanager|secret|env|awskms|gcpkms)://[\w.\-/#:?=&+ ]+"
    r"|arn:aws[\w\-]*:(?:secretsmanager|ssm|kms|iam|sts):[\w\-:/.*]+"
    r"|projects/[\w\-]+/(?:secrets|locations)/[\w\-/]+"
    r"|ENC\[[\w,:=/+\- ]*\]"
)
"""The address of a secret in a store, or a text that only its owner can decrypt."""
_COVERED = re.compile(
    r"\*+|x{3,}|X{3,}|\.{3,}|•+|[\[<(]?(?i:redacted|masked|hidden|filtered|omitted|removed)(?:, \w+)?[\]>)]?"
)
_PATH = re.compile(
    r"(?:file:(?=/)/{0,2}|~|\.{1,2})/[\w.@%:{}$()\-/]+"
    r"|/(?:var|etc|run|opt|home|usr|tmp|secrets?|mnt|data|root|app|srv|vault|certs?|tls|ssl|config|conf|keys|proc|dev"
    r"|workspace"
    r"|credentials?|kubernetes|etcd|pki|bitnami|tokens?|auth|oauth|api|v1|health)(?:/[\w.@%:{}$()\-]+)*/?"
    r"|[A-Za-z]:\\[\w.\\ \-]+"
)
_FILE_NAME = re.compile(
    r"[\w.\-]{1,64}\.(?:key|pem|crt|cer|cert|p12|jks|pfx|json|ya?ml|txt|conf"
    r"|cfg|ini|env|properties|token|keytab|gpg|asc|pub)"
)
_AMOUNT = re.compile(
    r"[+-]?\d{1,9}(?:\.\d{1,6})?(?:ns|us|µs|ms|s|m|h|d|w|y|%|Ki|Mi|Gi|Ti|k|M|G|T|Kb|KB|MB|GB)?"
    r"|(?:\d{1,6}(?:h|m|s|ms|d)){2,6}"
)
_NUMBER = re.compile(r"\d{1,9}")
_TIME = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?")
_NAME = re.compile(r"[a-z][a-z0-9]*(?:[-._][a-z0-9]+)*")
_WORDS = re.compile(r"[A-Za-z]{1,20}(?:[ ._\-][A-Za-z]{1,20}){0,8}")


def is_harmless(value: str, *, password: bool = False) -> bool:
    """Whether a value is none although its name says that it is a secret: empty, a switch, an amount, a path, a
    reference, a placeholder. password: it may be anything that a person types, so digits are no amount.
    """
    text = value.strip() if value[:1].isspace() or value[-1:].isspace() else value
    if len(text) <= 24 and text.lower() in _SWITCHES:
        return True
    if not password and ((len(text) <= 24 and text.lower() in _SCHEMES) or _AMOUNT.fullmatch(text)):
        return True
    if password and len(text) < 4 and _NUMBER.fullmatch(text):
        return True
    return is_placeholder(text) or _is_elsewhere(text)


def _is_elsewhere(text: str) -> bool:
    """Whether it says where a secret is, or will come from."""
    return len(text) <= 4096 and bool(
        is_reference(text)
        or _ELSEWHERE.fullmatch(text)
        or _COVERED.fullmatch(text)
        or _PATH.fullmatch(text)
        or _FILE_NAME.fullmatch(text)
        or _TIME.fullmatch(text)
    )


def is_reference(text: str) -> bool:
    """Whether it is filled in later: `$(NAME)`, `${NAME}`, `{{ .Values.name }}`, `<name>`."""
    return any(sign in text for sign in "$%{<_@") and _REFERENCE.fullmatch(text) is not None


def is_key_name(value: str) -> bool:
    """Whether it can be the name of a key in a Secret: what `passwordKey: redis-password` says."""
    return len(value) <= 63 and _NAME.fullmatch(value) is not None


def is_worth_knowing(value: str) -> bool:
    """Whether a masked value is looked for in other places: long enough, and not a word that stands everywhere."""
    if len(value) < MIN_KNOWN or is_placeholder(value):
        return False
    if len(value) < 16 and _WORDS.fullmatch(value):
        return False
    return len(set(value)) > 3 and not is_harmless(value)


# What the profile Strict looks at


_PLAIN = re.compile(
    r"""  [A-Za-z]{1,24}                                       # a word
      | v?\d{1,5}(?:\.\d{1,5}){1,3}(?:[-+][\w.]{1,24})?      # a version, an address
      | (?:\d{1,3}\.){3}\d{1,3}(?::\d{1,5}|/\d{1,2})?
      | [a-z][a-z0-9+.\-]*://[\w.\-\[\]]+(?::\d{1,5})?(?:/[\w.\-/]*)?
      | [\w\-]+(?:\.[\w\-]+)+(?::\d{1,5})?                   # a host
      | [A-Za-z]+(?:[-_.:,/ ][A-Za-z]+)*(?:[-_.:]\d{1,4})?   # words
      | [\d*/,\- ]{1,32}                                     # a schedule
      | [A-Z][a-z]+/[A-Z][A-Za-z_]+                          # a time zone
      | [a-z]{2}(?:[-_][A-Za-z]{2,4})?(?:\.[\w-]+)?          # a locale
      | [a-z]{2}-[a-z]+-\d[a-z]?                             # a region
      | (?:[\w.\-]+(?::\d+)?/)*[\w.\-]+(?::[\w.\-]+)?(?:@sha256:[0-9a-f]{64})?   # an image
    """,
    re.VERBOSE,
)
_TOKEN = re.compile(r"[A-Za-z0-9+/=_\-]{20,}")
_DIGEST = re.compile(
    r"(?:sha\d{1,3}[:\-])?(?:[0-9a-f]{32}|[0-9a-f]{40}|[0-9a-f]{56}|[0-9a-f]{64}|[0-9a-f]{96}|[0-9a-f]{128})"
)
_UUID = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")
MIN_ENTROPY = 3.5
"""Bits a character, of a text of 20 characters or more that chance has made."""


def is_plain(value: str) -> bool:
    """Whether it is plainly no secret, whatever its name: a word, a number, a host, a version, an image, a path."""
    if is_harmless(value):
        return True
    return len(value) <= 512 and _PLAIN.fullmatch(value) is not None and not is_opaque(value)


def is_opaque(text: str) -> bool:
    """Whether it holds a run of characters that chance has put together. Digests and UUIDs are none."""
    return any(_is_random(run) for run in _TOKEN.findall(text[:16384]))


def _is_random(run: str) -> bool:
    if _DIGEST.fullmatch(run) or _UUID.fullmatch(run):
        return False
    kinds = (any(map(str.isdigit, run)), any(map(str.islower, run)), any(map(str.isupper, run)))
    return sum(kinds) >= 2 and kinds[0] and entropy(run) >= MIN_ENTROPY


def entropy(text: str) -> float:
    """Shannon entropy in bits a character."""
    length = len(text)
    return -sum(count / length * math.log2(count / length) for count in Counter(text).values())
