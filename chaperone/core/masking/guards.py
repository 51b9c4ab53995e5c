"""What a find must not be: a digest, a uid, a reference, a word of a sentence. Guards only ever take finds away."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from chaperone.core.masking.keys import Naming, judgement


class Candidate(NamedTuple):
    """before: the match in front of the secret, and a little of what precedes it. after: a little of what follows.

    keys: more names of secrets, as a policy has them.
    """

    before: bytes
    secret: bytes
    after: bytes
    keys: tuple[str, ...] = ()


_DIGEST = re.compile(
    rb"(?:[0-9a-f]{32}|[0-9a-f]{40}|[0-9a-f]{56}|[0-9a-f]{64}|[0-9a-f]{96}|[0-9a-f]{128})", re.IGNORECASE
)
_UUID = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
_SECRET_WORD = re.compile(rb"key|token|secret|passw|pwd|auth|cred|pat\b|api", re.IGNORECASE)
_PUBLIC_WORD = re.compile(
    rb"check_?sum|digest|sha-?\d|md5|hash|uid|revision|commit|etag|fingerprint|thumbprint|image|version|serial|public",
    re.IGNORECASE,
)
_NAME_BEFORE = re.compile(rb"[\w.@:/ \t'\"=>|?,-]*\Z")
_NO_ASSIGNMENT = re.compile(rb"(?:[/:@][\w.-]*|[\w.-]*[.-][\w.-]*):\Z")
"""A colon without a blank behind a path or a name with dashes: the tag of an image, a port, the name of an account."""
_DIGIT = re.compile(rb"\d")


def is_named_secret(found: Candidate) -> bool:
    """For "provider … = value": a value that is no word, and no digest or uid unless its name says that it is secret."""
    name = _NAME_BEFORE.search(found.before)
    words = name[0] if name else b""
    if _PUBLIC_WORD.search(words) or _NO_ASSIGNMENT.search(found.before):
        return False
    if _DIGEST.fullmatch(found.secret) or _UUID.fullmatch(found.secret):
        return _SECRET_WORD.search(words) is not None
    return _DIGIT.search(found.secret) is not None


def is_interleaved(found: Candidate) -> bool:
    """For a bootstrap token without a name in front: letters and digits change at least four times, beyond hex."""
    kinds = bytes(48 <= byte < 58 for byte in found.secret)
    changes = kinds.count(b"\0\1") + kinds.count(b"\1\0")
    return changes >= 4 and re.search(rb"[g-z]", found.secret[7:]) is not None


def is_opaque(found: Candidate) -> bool:
    """For tokens after a word such as Bearer: something that no sentence has in that place."""
    return _DIGIT.search(found.secret) is not None or len(found.secret) >= 40


_REFERENCE = re.compile(
    rb"""\$\$?\w*$ | \$[({] | \{[ ]?[\w.]*[ ]?\}?$ | \{\{ | <[^>]*>$ | %\w+%$ | %[a-z]$ | \*{3} | \#{3} | \*+$ | =+$ | x+$
    | \.{3} | \[?(?:redacted|masked|hidden|omitted|filtered|removed) | masked-[a-z2-7]{24}$ | ![a-z]{2,12}\b
    | [a-z][a-z0-9+.-]{1,20}://[^@]*$ | [a-z_][\w.]{1,60}\([^()]*\)?[;,]?$
    | (?:\.{0,2}|~)/(?:etc|var|run|usr|opt|tmp|home|root|mnt|data|proc|dev|app|srv|secrets|certs)/[\w./-]*$""",
    re.VERBOSE | re.IGNORECASE,
)
_PLAIN_VALUE = re.compile(
    rb"(?:true|false|yes|no|on|off|null|nil|none|undefined|empty|enabled|disabled|required|optional|unset|default|auto|always|never"
    rb"|string|str|bytes?|object|number|integer|int|bool(?:ean)?|array|map|text"
    rb"|-?\d{1,4}(?:\.\d+)?(?:ms|s|m|h|d|%|ki|mi|gi|kb|mb|gb|b)?)[.,:;!?)\]}]*",
    re.IGNORECASE,
)
_WORD = re.compile(rb"[A-Za-z][a-z]{0,14}[.,:;!?)]*")
_NEXT_WORD = re.compile(rb"[ \t]+[A-Za-z(]")
_SPACED = re.compile(rb"[:=][ \t]+\Z")


def is_value(found: Candidate) -> bool:
    """For what stands behind `password=`: no reference, no flag, no number of days, no next word of a sentence."""
    if _REFERENCE.match(found.secret) or _PLAIN_VALUE.fullmatch(found.secret):
        return False
    is_prose = (
        _WORD.fullmatch(found.secret) and _SPACED.search(found.before) and _NEXT_WORD.match(found.after)
    )
    return not is_prose


_LAST_NAME = re.compile(rb"([\w.-]+)[^\w.-]*\Z")
_NAME_LIKE = re.compile(rb"[a-z][a-z0-9]*(?:[-./:][a-z0-9]+)*")
_NO_PASSWORD = re.compile(r"\A(?:OLD)?PWD\Z|[_-]stdin\Z")
"""What a shell calls the working directory; an option that says where a password comes from."""
_CONSTANT = re.compile(r"[A-Z]+(?:_[A-Z]+)+")
MAX_NAME = 100
"""Characters of a name; what is longer is data that happens to end on `=`."""
_SECRET = frozenset({Naming.PASSWORD, Naming.SECRET, Naming.SECRETS})
_CHECKSUM = re.compile(rb"(?:check_?sum|digest|sha256)[/_.-][\w./-]*[\"']?\s*[:=]\s*[\"']?\Z", re.IGNORECASE)
"""`checksum/secret: …`, as charts write it to restart pods."""
_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?")


def name_before(found: Candidate) -> str:
    """The name that stands in front of `=` or `:`; empty where there is none."""
    match = _LAST_NAME.search(found.before)
    return match[1].decode("latin-1").lstrip("-.") if match else ""


def is_assigned_secret(found: Candidate) -> bool:
    """For `name=value` and `name: value`: where the name means a secret, and the value can be one."""
    name = name_before(found)
    is_no_name = len(name) > MAX_NAME or _NO_PASSWORD.search(name)
    naming = Naming.PLAIN if is_no_name else judgement(found.keys)(name)
    if naming is Naming.PASSWORD and _NUMBER.fullmatch(found.secret):
        return True
    if naming not in _SECRET or not is_value(found) or _NO_ASSIGNMENT.search(found.before):
        return False
    if _CHECKSUM.search(found.before) or _is_name_of_secret(found):
        return False
    return naming is not Naming.SECRETS or not _NAME_LIKE.fullmatch(found.secret)


def _is_name_of_secret(found: Candidate) -> bool:
    """`DB_PASSWORD=DB_PASSWORD`: the name of a variable, where a value will be."""
    text = found.secret.decode("latin-1")
    return _CONSTANT.fullmatch(text) is not None and judgement(found.keys)(text) in _SECRET


def is_option_value(found: Candidate) -> bool:
    """For `--name value`: not the next option, not what is said about a secret."""
    return not found.secret.startswith(b"-") and is_assigned_secret(found)


def is_no_reference(found: Candidate) -> bool:
    """For the password of a URL."""
    return not _REFERENCE.match(found.secret)


_PORT = re.compile(rb"\d{2,5}[/?#]")


def is_no_port(found: Candidate) -> bool:
    """For the password of a URL when it may hold a slash: `host:80/path@x` holds none."""
    return is_no_reference(found) and not _PORT.match(found.secret)


Guard = Callable[[Candidate], bool]

GUARDS: dict[str, Guard] = {
    "assignment": is_assigned_secret,
    "interleaved": is_interleaved,
    "named": is_named_secret,
    "no-port": is_no_port,
    "no-reference": is_no_reference,
    "opaque": is_opaque,
    "option": is_option_value,
    "value": is_value,
}
