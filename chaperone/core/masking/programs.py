"""Programs that take a secret behind one letter: `mysql -pSECRET`, `curl -u name:SECRET`, `sshpass -p SECRET`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from chaperone.core.masking.values import is_harmless

_FLAGS = {
    "p": "mysql|mysqldump|mysqladmin|mysqlimport|mysqlcheck|mysqlsh|mariadb|mariadb-dump|mariadb-admin|percona|xtrabackup"
    "|mongo|mongosh|mongodump|mongorestore|mongoexport|mongoimport|sshpass|docker|podman|nerdctl|buildah|skopeo|crane"
    "|oras|helm|az|cf|rabbitmqadmin|influx|expect|htpasswd|plink|pscp|xfreerdp|winexe|impacket",
    "P": "sqlcmd|osql|isql|bcp|zip|unzip|amqp-publish|mosquitto_pub|mosquitto_sub|tsql",
    "a": "redis-cli|valkey-cli|keydb-cli",
    "w": "ldapsearch|ldapadd|ldapmodify|ldapdelete|ldapwhoami|ldappasswd|kadmin|pg_basebackup|cypher-shell",
    "u": "curl|wget|http|https|xh|ab|siege|hey|mc",
    "U": "smbclient|rpcclient|net|curl",
    "k": "openssl|mcrypt",
}
_BY_PROGRAM: dict[str, str] = {}
for _flag, _programs in _FLAGS.items():
    for _program in _programs.split("|"):
        _BY_PROGRAM[_program] = _BY_PROGRAM.get(_program, "") + _flag

_PROGRAM = re.compile(
    r"(?<![\w.\-])(?:" + "|".join(sorted(map(re.escape, _BY_PROGRAM), key=len, reverse=True)) + r")(?![\w.])"
)
_SHORT = re.compile(
    r"(?<!\S)-(?P<flag>[pPawuUk])(?P<space>[ \t]*+)(?P<quote>\\*[\"']|)(?P<value>(?:[^\s\"'\\]|\\(?![\"']))++)"
)
_NOT_A_PASSWORD = re.compile(r"\d{1,5}(?:[:\-/]\d{1,5})*(?:/(?:tcp|udp))?|/.*|\./.*|-.*|[a-z]+://.*")
_PAIRED = frozenset("uU")
_SEPARATORS = {"u": ":", "U": "%"}
_PASSIN = re.compile(r"(?<!\S)(?:-pass(?:in|out)?[ \t]+)?(?:pass|password):(?P<value>[^\s\"']++)")


def programs_in(texts: Iterable[str]) -> str:
    """The letters that take a secret for any program that is named in these texts."""
    return "".join(
        {flag for text in texts for match in _PROGRAM.finditer(text) for flag in _BY_PROGRAM[match[0]]}
    )


def short_flags(text: str, make: Any, rule: str) -> Iterator[Any]:
    """The secrets behind one letter in a command line. make: makes a hit of (start, end, rule, name)."""
    if "-" not in text:
        return
    flags = programs_in([text])
    for match in _SHORT.finditer(text) if flags else ():
        if match["flag"] in flags and (
            secret := secret_part(match["flag"], match["value"], glued=not match["space"])
        ):
            start = match.start("value")
            yield make(start + secret[0], start + secret[1], rule, match["flag"])
    if "openssl" in text or "-pass" in text:
        for match in _PASSIN.finditer(text):
            yield make(*match.span("value"), rule, "pass")


def secret_part(flag: str, value: str, *, glued: bool) -> tuple[int, int] | None:
    """Where in the value of a one-letter flag the secret stands. glued: it stood right behind the letter."""
    if flag in _PAIRED:
        at = value.find(_SEPARATORS[flag])
        start = at + 1
        if at < 0 or start == len(value):
            return None
    else:
        start = 0
        if _NOT_A_PASSWORD.fullmatch(value) or (glued and flag != "p"):
            return None
    return None if is_harmless(value[start:], password=True) else (start, len(value))
