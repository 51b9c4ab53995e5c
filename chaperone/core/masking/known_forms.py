"""The forms in which a value may turn up again: as it is, escaped, URL-encoded, hexadecimal, base64; and which values are
worth looking for."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from urllib.parse import quote, quote_plus

from chaperone.core.masking.keys import LONGEST, is_secret, judgement

MIN_LENGTH = 6
"""Bytes; a shorter value is part of too many others."""
MIN_FORM = 8
"""Characters of an encoded form."""
MIN_LINE = 12
"""Bytes of one line of a value with many."""
MIN_WORD = 8
"""Letters; a shorter word, and a shorter number, stands in too many texts."""

_LETTERS = re.compile(rb"[A-Za-z]+")
_DIGITS = re.compile(rb"[0-9.,:+-]+")
_LABEL = rb"[a-z0-9-]{1,63}"
_HOST = re.compile(
    rb"(?:[a-z]{2,10}://)?" + _LABEL + rb"(?:\." + _LABEL + rb")*\.[a-z]{2,24}(?::\d{1,5})?/?", re.IGNORECASE
)
_EMAIL = re.compile(rb"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})+")
_PATH = re.compile(rb"(?:/[\w.-]{1,64}){1,12}/?")
_PUBLIC_PEM = re.compile(
    rb"\s*(?:-----BEGIN (?:TRUSTED |X509 )?(?:CERTIFICATE|PUBLIC KEY)(?: REQUEST)?-----[^-]*-----END [A-Z0-9 ]+-----\s*)+"
)
_ONE_WORD = re.compile(rb"(?=\D*\d|[^a-z]*[a-z].*[A-Z]|[^A-Z]*[A-Z].*[a-z])[A-Za-z0-9+/_-]{12,}={0,2}")
"""As a line of a key: no word of a language, and no setting."""
_SETTING = re.compile(rb"(?:export\s+|-\s+)?[\"']?([\w.-]{1,200})[\"']?\s*[:=]\s*\S.*")
_PEM_LINE = re.compile(rb"-----(?:BEGIN|END) [A-Z0-9 ]+-----")
_COMMON = frozenset(
    b"""administrator anonymous cassandra changeit clickhouse cockroach coredns database default development
    disabled elastic elasticsearch enabled example external grafana identity internal kubernetes localhost
    mariadb master memcached metadata mongodb namespace nameserver postgres postgresql primary prod-eu prod-us
    production prometheus rabbitmq readonly readwrite registry replication replicator required secondary
    secretname service serviceaccount staging standard standby superuser testing unknown username us-east-1
    us-west-2 eu-west-1 eu-central-1 verify-ca verify-full sslmode application/json application/octet-stream
    text/plain utf-8 cluster.local kube-system kube-public""".split()
)
"""What stands in Secrets beside the secrets, and everywhere else too."""

_judge = judgement()


def is_telling(value: bytes) -> bool:
    """Whether a text that holds the value most likely holds it because of the secret."""
    if len(value) < MIN_LENGTH or value.lower() in _COMMON:
        return False
    if len(value) < MIN_WORD and (_LETTERS.fullmatch(value) or _DIGITS.fullmatch(value)):
        return False
    return not any(form.fullmatch(value) for form in (_HOST, _EMAIL, _PATH, _PUBLIC_PEM))


def forms(value: bytes) -> frozenset[bytes]:
    """Everything to look for, for one value."""
    found = {value}
    found.update(form for form in _encoded(value) if len(form) >= MIN_FORM)
    for line in _lines(value):
        found.add(line)
    return frozenset(found)


def _lines(value: bytes) -> Iterator[bytes]:
    """The lines of a value with many: a log shows it line by line. Of a file of settings only the lines that are secrets:
    `apiVersion: v1` and `LOG_LEVEL=info` stand in other places too."""
    if b"\n" in value:
        for line in map(bytes.strip, value.splitlines()):
            if (
                len(line) >= MIN_LINE
                and not _PEM_LINE.fullmatch(line)
                and is_telling(line)
                and _is_secret_line(line)
            ):
                yield line


def _is_secret_line(line: bytes) -> bool:
    if _ONE_WORD.fullmatch(line):
        return True
    setting = _SETTING.fullmatch(line)
    return setting is not None and is_secret(_judge(setting[1].decode(errors="replace")[-LONGEST:]))


def _encoded(value: bytes) -> Iterator[bytes]:
    yield from _escaped(value)
    yield value.hex().encode()
    yield value.hex().upper().encode()
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        for offset in range(3):
            yield _base64_core(encode(b"\0" * offset + value), offset, len(value))


def _escaped(value: bytes) -> Iterator[bytes]:
    """As a JSON string (of Go too) and as part of a URL (of several libraries)."""
    for encoded in (quote(value, safe=""), quote(value), quote(value, safe="!'()*~"), quote_plus(value)):
        yield encoded.encode()
        yield re.sub(r"%[0-9A-F]{2}", lambda match: match[0].lower(), encoded).encode()
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return
    for escaped in (json.dumps(text), json.dumps(text, ensure_ascii=False)):
        yield escaped[1:-1].encode()
        yield re.sub("[<>&]", lambda match: f"\\u{ord(match[0]):04x}", escaped[1:-1]).encode()


def _base64_core(encoded: bytes, offset: int, length: int) -> bytes:
    """The characters that do not depend on what stands before or behind the value."""
    return encoded[-(-offset * 8 // 6) : (offset + length) * 8 // 6]
