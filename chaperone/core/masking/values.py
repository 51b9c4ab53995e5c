"""What a value looks like, whatever its name: too ordinary to be a secret, a reference to one, or a token."""

from __future__ import annotations

import math
import re
from collections import Counter

from chaperone.core.masking.placeholder import is_placeholder
from chaperone.core.masking.vocabulary import listed

MIN_KNOWN = 8
"""Characters; a shorter value is not looked for anywhere else: it would be found everywhere."""

_SWITCHES = listed(
    """
    true false yes no on off none null nil undefined unset ~ {} [] enabled disabled never always auto n/a -
    """
)
_SCHEMES = listed(
    """
    basic bearer digest oauth oauth2 oidc openid jwt ldap saml kerberos mtls tls token password cookie header
    query env file vault opaque optional required strict default simple anonymous rbac webhook alwaysallow node
    cert certificate scram md5 scram-sha-256 scram-sha-512 plain trust peer ident iam aws gcp azure kubernetes
    secret client_secret_basic client_secret_post none external internal
    """
)
"""Ways to authenticate: what a field named after a credential says when it holds none. Not of a password."""

_REFERENCE = re.compile(
    r"""(?: \$\([\w.\-/\ :]*\) | \$\{\{?[\w.\-/\ ]*\}?\} | \$[A-Z_][A-Z0-9_]{2,} | \$__\w+\{[\w.\-/:]*\}
      | \{\{[^{}"'`]*\}\} | %[A-Z][A-Z0-9_]+%
      | %\([\w.]+\)s | <[a-zA-Z][\w .\-]*> | __[A-Z0-9_]+__ | @[A-Z0-9_]{3,}@ | [ :/@.,_=|-] )+""",
    re.VERBOSE,
)
"""Filled in by something else, later."""
_DOTTED = re.compile(r"\$[a-z][\w\-]*(?:[.:][\w\-]+)+")
"""The same, as some programs write it: `$oidc.keycloak.clientSecret`. A password may look like it."""
_ELSEWHERE = re.compile(
    r"(?:vault|bao):[\w\-]+/[\w.\-/#?=&+ ]+"
    r"|(?:vault|ref\+\w+|op|awssm|awsps|ssm|gcpsm|azurekv|akv|secretsmanager|secret|env|awskms|gcpkms)://[\w.\-/#:?=&+ ]+"
    r"|arn:aws[\w\-]*:(?:secretsmanager|ssm|kms|iam|sts):[\w\-:/.*]+"
    r"|projects/[\w\-]+/(?:secrets|locations)/[\w\-/]+"
    r"|ENC\[[\w,:=/+\- ]*\]"
)
"""The address of a secret in a store, or a text that only its owner can decrypt."""
_COVERED = re.compile(
    r"\[?\*+\]?|x{3,}|X{3,}|\.{3,}|•+|[\[<(]?(?i:redacted|masked|hidden|filtered|omitted|removed)(?:, \w+)?[\]>)]?"
)
_PATH = re.compile(
    r"(?:file:(?=/)/{0,2}|~|\.{1,2})/[\w.@%:{}$()\-/]+"
    r"|/(?:\.\w+|var|etc|run|opt|home|usr|tmp|secrets?|mnt|data|root|app|srv|vault|certs?|tls|ssl|config|conf|keys|proc|dev"
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
_OBJECT_NAME = re.compile(r"[a-z]{1,24}(?:[-.](?:[a-z]{1,24}|\d{1,4}))*")
_WORDS = re.compile(r"[A-Za-z]{1,20}(?:[ ._\-][A-Za-z]{1,20}){0,8}")


def is_harmless(value: str, *, password: bool = False) -> bool:
    """Whether a value is none although its name says that it is a secret: empty, a switch, an amount, a path, a
    reference, a placeholder. password: it may be anything that a person types, so digits are no amount.
    """
    text = value.strip() if value[:1].isspace() or value[-1:].isspace() else value
    if not text or (len(text) <= 24 and text.lower() in _SWITCHES):
        return True
    if not password and _is_no_secret(text):
        return True
    if password and len(text) < 4 and _NUMBER.fullmatch(text):
        return True
    return is_placeholder(text) or _is_elsewhere(text)


def _is_no_secret(text: str) -> bool:
    if len(text) <= 24 and (text.lower() in _SCHEMES or _AMOUNT.fullmatch(text)):
        return True
    return text[:1] == "$" and _DOTTED.fullmatch(text) is not None


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


_SECRET_NOUNS = frozenset(
    {"secret", "secrets", "token", "tokens", "credentials", "creds", "key", "keys", "auth", "tls", "cert"}
)


def is_object_name(value: str) -> bool:
    """Whether it reads like the name of an object, and not like chance: words, and small numbers, joined by dashes."""
    return len(value) <= 63 and _OBJECT_NAME.fullmatch(value) is not None


def names_a_secret(value: str) -> bool:
    """Whether it reads like the name of a Secret: `git-token`, `registry-credentials`."""
    return "-" in value and is_object_name(value) and value.rpartition("-")[2] in _SECRET_NOUNS


def is_key_name(value: str) -> bool:
    """Whether it can be the name of a key in a Secret: what `passwordKey: redis-password` says."""
    return len(value) <= 63 and _NAME.fullmatch(value) is not None


def is_worth_knowing(value: str) -> bool:
    """Whether a masked value is looked for in other places: long enough, and not a word that stands everywhere."""
    if len(value) < MIN_KNOWN or is_placeholder(value):
        return False
    if (len(value) < 16 and _WORDS.fullmatch(value)) or (len(value) <= 24 and is_object_name(value)):
        return False
    return len(set(value)) > 3 and not is_harmless(value)


# What the profile Strict looks at


_PLAIN = re.compile(
    r"""  [A-Za-z]{1,24}                                       # a word
      | v?\d{1,6}(?:\.\d{1,5}){0,3}(?:[-+][\w.]{1,24})?      # a number, a version
      | \d{9,20}                                             # an account
      | (?:\d{1,3}\.){3}\d{1,3}(?::\d{1,5}|/\d{1,2})?        # an address
      | [a-z][a-z0-9+.\-]*://[\w.\-\[\]]+(?::\d{1,5})?(?:/[\w.\-/]*)?
      | [\w\-*]+(?:\.[\w\-]+)*(?::\d{1,5})?                 # a name, a host
      | [A-Za-z]+(?:[-_.:,/ ][A-Za-z]+)*(?:[-_.:]\d{1,4})?   # words
      | [\d*/,\- ]{1,32}                                     # a schedule
      | \.{0,2}/?[\w.\-]+(?:/[\w.\-*]+)*/?                   # a path
      | (?:[\w.\-]+(?::\d+)?/)*[\w.\-]+(?::[\w.\-]+)?(?:@sha256:[0-9a-f]{64})?   # an image
      | (?:[\w'"(),.:;!?%/\-]{1,24}[ ]){2,}[\w'"(),.:;!?%/\-]{1,24}              # a sentence
    """,
    re.VERBOSE,
)
_BETWEEN = re.compile(r"[,|;\n=&]")
_PUBLIC = re.compile(
    r"-----BEGIN (?:CERTIFICATE|PUBLIC KEY|CERTIFICATE REQUEST)-----|LS0tLS1CRUdJTiBD|LS0tLS1CRUdJTiBQVUJM"
)
"""Certificates and public keys, plain and in base64."""
_TOKEN = re.compile(r"[A-Za-z0-9+/=_\-]{16,}")
_DIGEST = re.compile(
    r"(?:sha\d{1,3}[:\-])?(?:[0-9a-f]{32}|[0-9a-f]{40}|[0-9a-f]{56}|[0-9a-f]{64}|[0-9a-f]{96}|[0-9a-f]{128})"
)
_UUID = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")
_JOINT = re.compile(r"[-_/=]")
_SHORTEST_RANDOM = 16
_LONGEST_PLAIN = 1024
MIN_ENTROPY = 3.2
"""Bits a character, of a text of 16 characters or more that chance has made."""


def is_plain(value: str) -> bool:
    """Whether it is plainly no secret, whatever its name: a word, a number, a host, a version, an image, a path, a
    sentence, a certificate; or a list of such.
    """
    if is_harmless(value) or is_public(value):
        return True
    if len(value) > _LONGEST_PLAIN or "PRIVATE KEY" in value or is_opaque(value):
        return False
    return all(_PLAIN.fullmatch(part.strip()) for part in _BETWEEN.split(value) if part.strip())


def is_public(value: str) -> bool:
    """Whether it is a certificate or a public key."""
    return _PUBLIC.match(value) is not None and "PRIVATE" not in value


def is_opaque(text: str) -> bool:
    """Whether it holds a run of characters that chance has put together. Digests and UUIDs are none."""
    return not is_public(text) and any(_is_random(run) for run in _TOKEN.findall(text[:16384]))


def _is_random(run: str) -> bool:
    if _DIGEST.fullmatch(run) or _UUID.fullmatch(run):
        return False
    return any(_is_random_part(part) for part in _JOINT.split(run) if len(part) >= _SHORTEST_RANDOM)


def _is_random_part(part: str) -> bool:
    if _DIGEST.fullmatch(part):
        return False
    letters = any(map(str.isalpha, part))
    mixed = any(map(str.islower, part)) and any(map(str.isupper, part))
    return letters and (mixed or any(map(str.isdigit, part))) and entropy(part) >= MIN_ENTROPY


def entropy(text: str) -> float:
    """Shannon entropy in bits a character."""
    length = len(text)
    return -sum(count / length * math.log2(count / length) for count in Counter(text).values())
