"""spec.masking: what is hidden from these agents. Nothing here masks; it reads what the policy says, and refuses what
would hide everything, or show it without saying so."""

from __future__ import annotations

import re

import re2

from chaperone.core.legible import visible
from chaperone.core.policy.fields import Fields
from chaperone.core.policy.terms import Exemption, Masking

MASKING_PROFILES = ("Standard", "Strict", "Off")
MAX_KEYS = 128
MAX_KEY = 128
MAX_PATTERNS = 64
MAX_PATTERN = 1024
MAX_EXEMPTIONS = 64

ORDINARY = ("default", "v1", "Pod", "8080", "true", "web", "/healthz", "kube-system", "IfNotPresent", "100m")
"""Texts that stand in every cluster: a pattern that finds something in two of them says nothing of secrets."""

_KEY = re.compile(r"[^*?]*[A-Za-z0-9][^*?]*")
_KIND = re.compile(r"[A-Za-z0-9]{1,63}", re.ASCII)
_GROUP = re.compile(r"[-a-z0-9.]{0,253}", re.ASCII)
_MEMORY = 1 << 20  # bytes; what one pattern may take in RE2, far above what a format of credentials needs
_PATH = re.compile(r"[A-Za-z0-9_$-]+(?:[.\[].*)?", re.ASCII)
_SECRETS = frozenset({"secret", "secrets"})
_ANY_KEY_OF_A_SECRET = ("data.q0", "data.9zz", "stringData.q0", "stringData.9zz")


def read_masking(spec: Fields) -> Masking:
    fields = spec.child("masking")
    masking = Masking(
        profile=fields.choice("profile", MASKING_PROFILES, "Standard"),
        keys=_texts(fields, "keys", MAX_KEYS, MAX_KEY),
        patterns=_texts(fields, "patterns", MAX_PATTERNS, MAX_PATTERN),
        exempt=_exemptions(fields),
        reason=fields.text("reason").strip(),
    )
    fields.close()
    _check_reason(fields, masking)
    _check_keys(fields, masking.keys)
    _check_patterns(fields, masking.patterns)
    return masking


def _texts(fields: Fields, key: str, most: int, longest: int) -> tuple[str, ...]:
    texts = fields.texts(key, empty=True) or ()
    if len(texts) > most:
        fields.fault(key, f"must be a list of at most {most} items")
    for index, text in enumerate(texts):
        if len(text) > longest:
            fields.fault(f"{key}[{index}]", f"is longer than {longest} characters")
    return texts


def _check_reason(fields: Fields, masking: Masking) -> None:
    if masking.is_off and not masking.reason:
        what = "is required with profile Off: say why these agents may see every secret they can read"
        fields.fault("reason", what)


def _check_keys(fields: Fields, keys: tuple[str, ...]) -> None:
    for index, key in enumerate(keys):
        if not _KEY.fullmatch(key):
            what = "is not a name of a key: it needs a letter or digit, and wildcards are not known here"
            fields.fault(f"keys[{index}]", f'"{visible(key, 80)}" {what}')


# Patterns


def _check_patterns(fields: Fields, patterns: tuple[str, ...]) -> None:
    for index, pattern in enumerate(patterns):
        fault = pattern_fault(pattern) if len(pattern) <= MAX_PATTERN else ""
        if fault:
            fields.fault(f"patterns[{index}]", fault)


def pattern_fault(pattern: str) -> str:
    """What is wrong with a pattern; "" when it can be used."""
    options = re2.Options()
    options.log_errors, options.max_mem = False, _MEMORY
    try:
        compiled = re2.compile(pattern, options)
    except (re2.error, UnicodeError) as error:
        return f"is not a regular expression of RE2: {_told(error)}"
    if compiled.groups > 1:
        return "has more than one group; the secret is the one group, or all of it where there is none: write (?:…)"
    if compiled.search(""):
        return "matches the empty text, so it would mask everything"
    hits = [text for text in ORDINARY if compiled.search(text)]
    if len(hits) > 1:
        return f'finds a secret in "{hits[0]}" and in "{hits[1]}": it would mask ordinary text; narrow it'
    return ""


def _told(error: Exception) -> str:
    words = error.args[0] if error.args else ""
    return visible(words.decode(errors="replace") if isinstance(words, bytes) else str(error), 200)


# Exemptions


def _exemptions(fields: Fields) -> tuple[Exemption, ...]:
    found = [_exemption(child) for child in fields.children("exempt")]
    if len(found) > MAX_EXEMPTIONS:
        fields.fault("exempt", f"must be a list of at most {MAX_EXEMPTIONS} items")
    return tuple(entry for entry in found if entry is not None)


def _exemption(fields: Fields) -> Exemption | None:
    """None where there is a fault."""
    before = len(fields.faults)
    for key in ("kind", "path", "reason"):
        fields.require(key)
    what = "a path: begin with a field, as in data.LOG_LEVEL or spec.containers[web].args[*]"
    exemption = Exemption(
        kind=fields.name(
            "kind", _KIND, "one kind, such as ConfigMap, or its plural; wildcards are not known here"
        ),
        path=fields.name("path", _PATH, what),
        reason=fields.text("reason").strip(),
        api_group=fields.text("apiGroup", empty=True),
        namespaces=fields.texts("namespaces"),
    )
    fields.close()
    if not _GROUP.fullmatch(exemption.api_group):
        fields.fault("apiGroup", f'"{visible(exemption.api_group, 80)}" is not an API group')
    if fields.has("reason") and not exemption.reason:
        fields.fault("reason", "must say why this place holds no secret")
    if _shows_any_secret(exemption):
        fields.fault("path", "would show whatever these Secrets hold: name the key, such as data.region")
    return exemption if len(fields.faults) == before else None


def _shows_any_secret(exemption: Exemption) -> bool:
    if exemption.api_group or exemption.kind.lower() not in _SECRETS or not exemption.path:
        return False
    return any(exemption.covers(path) for path in _ANY_KEY_OF_A_SECRET)
