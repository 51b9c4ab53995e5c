"""How programs and people write a name and its value side by side, other than with a sign between them: markup, lists of
pairs, headers in configuration, errors of the API; and what is a secret by its form alone.
"""

from __future__ import annotations

import re
from typing import NamedTuple

PRIVATE_KEY = "private-key"
PASSWORD_HASH = "password-hash"
MARKUP = "markup"
PAIR = "name-value"
FIELD = "field-error"
DIRECTIVE = "directive"

_PRIVATE_KEY = re.compile(
    r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----[\s\S]*?"
    r"(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----|\Z)"
)
_ELEMENT = re.compile(r"<(?P<key>[A-Za-z_][\w:.\-]*+)(?:\s[^<>]*+)?>(?P<value>[^<]++)</")
_CDATA = re.compile(r"<(?P<key>[A-Za-z_][\w:.\-]*+)(?:\s[^<>]*+)?>\s*+<!\[CDATA\[(?P<value>[\s\S]*?)\]\]>")
_ATTRIBUTES = re.compile(
    r"""\b(?:name|key|id)\s*=\s*["'](?P<key>[^"'<>]{1,200})["'][^<>]{0,200}?\bvalue\s*=\s*["'](?P<value>[^"'<>]*)["']"""
)
_ATTRIBUTES_BACK = re.compile(
    r"""\bvalue\s*=\s*["'](?P<value>[^"'<>]*)["'][^<>]{0,200}?\b(?:name|key)\s*=\s*["'](?P<key>[^"'<>]{1,200})["']"""
)
_ELEMENTS = re.compile(
    r"<name>\s*(?P<key>[^<\s]{1,200})\s*</name>\s*(?:<\w+>[^<]*</\w+>\s*)?<value>(?P<value>[^<]*)</value>"
)
_PAIRED = re.compile(
    r"""(?i)\b(?:name|key)\\*["']?\s*[:=]\s*\\*["']?(?P<key>[\w.\-]{1,200})\\*["']?\s*,?\s*(?:-\s+)?
        \\*["']?value\\*["']?\s*[:=]\s*(?P<value>\\*"(?:[^"\\]|\\[^"])*|'[^'\n]*|[^\s"',}][^\r\n,}]*)""",
    re.VERBOSE,
)
_NETRC = re.compile(
    r"(?:^|\s)(?:machine|default)\s[^\n]{0,200}?(?:\n[ \t]*\w+ \S+){0,4}?\s*\b(?:password|passwd)\s+(?P<value>\S+)"
)
_DIRECTIVE = re.compile(
    r"(?m)^[ \t]*(?:requirepass|masterauth|ldap_bind_pw|bindpw|rootpw|olcRootPW|passwd?|password|userPassword::?"
    r"|auth_pass"
    r"|sasl_passwd|tls-key-file-pass|secret|snmp-server community|enable secret)[ \t]+(?P<value>[^\s=:#][^\r\n]*)"
)
_HEADER = re.compile(
    r"(?i)\b(?:proxy_set_header|grpc_set_header|add_header|more_set_headers|set_header"
    r"|(?:Request)?Header (?:always )?set)\s+"
    r"[\"']?(?P<key>[\w\-]{1,128})[\"']?:?\s+(?P<value>\"[^\"\n]+|'[^'\n]+|[^\s;\"'][^;\n]*)"
)
_FIELD = re.compile(
    r"(?P<key>[A-Za-z][\w\-]{0,128})[\"'\])]{0,3}: (?:Invalid|Unsupported|Duplicate|Forbidden) value: "
    r"(?P<value>\"(?:[^\"\\]|\\.)*|[^\s\":][^\s:]*)"
)
"""As the API server says it: `data[password]: Invalid value: "x"`."""
_HASH = re.compile(
    r"(?<![\w$])\$(?:apr1|[1256y]|2[abxy]|argon2id?|scrypt|pbkdf2[\w\-]*)\$[\w./$,=+\-]{8,}"
    r"|\{(?:S?SHA\d{0,3}|S?MD5|CRYPT)\}[\w./+=$]{8,}"
)


class Notation(NamedTuple):
    """sign: stands in every text that holds one; "" for none. pattern: with the groups `value`, and `key` where a name
    decides. rule: how it is called.
    """

    sign: str
    pattern: re.Pattern[str]
    rule: str


NAMED = (
    Notation("<", _ELEMENT, MARKUP),
    Notation("<", _CDATA, MARKUP),
    Notation("<", _ATTRIBUTES, MARKUP),
    Notation("<", _ATTRIBUTES_BACK, MARKUP),
    Notation("<", _ELEMENTS, MARKUP),
    Notation("alue", _PAIRED, PAIR),
    Notation(" value: ", _FIELD, FIELD),
    Notation("eader", _HEADER, DIRECTIVE),
)
"""A secret where the name says so."""

ALWAYS = (
    Notation("PRIVATE KEY", _PRIVATE_KEY, PRIVATE_KEY),
    Notation("$", _HASH, PASSWORD_HASH),
    Notation("{", _HASH, PASSWORD_HASH),
)
"""A secret by its form."""

OF_LINES = (Notation("", _DIRECTIVE, DIRECTIVE), Notation("", _NETRC, DIRECTIVE))
"""In lines of configuration: a secret, unless it is harmless or a sentence goes on."""
