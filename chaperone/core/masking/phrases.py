"""Secrets in plain text, told by the words around them: `password=x`, `--token x`, `Authorization: Bearer x`, a URL with
a password, `<password>x</password>`, a private key, `Name:"PASSWORD", Value:"x"`.

For lines of configuration, commands, and messages. What a name means is decided by `chaperone.core.masking.keys`; the
expressions here only find where a name and a value stand. All of them are linear: their repeats are possessive.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from functools import lru_cache
from itertools import accumulate
from typing import Any, NamedTuple

import re2

from chaperone.core.masking.keys import Judgement, Naming, is_secret, secret_stems
from chaperone.core.masking.layers import strictly_decoded
from chaperone.core.masking.notations import ALWAYS, NAMED, OF_LINES
from chaperone.core.masking.programs import short_flags
from chaperone.core.masking.values import is_harmless


class Hit(NamedTuple):
    """The secret part of a text, [start, end), what found it, under which name it stood ("" for none), and what stands
    for it already, where it is a known value."""

    start: int
    end: int
    rule: str
    key: str = ""
    placeholder: str = ""


URL = "url-userinfo"
ASSIGNMENT = "assignment"
ARGUMENT = "argument"
HEADER = "header"

_ASSIGNED = re.compile(
    r"""(?<![\w.\-])-{0,2}(?P<key>[A-Za-z_][\w.\-/]*+(?:\[[\w.\-]*+\])*+)(?P<close>\\*+["'`]?)\]?[ \t]*+
        (?P<sign>=>|:=|==?(?!=)|:(?!//))[ \t]*+""",
    re.VERBOSE,
)
_WORD_BEFORE = re.compile(r"([A-Za-z]+)[ \t]\Z")
_SECOND_WORDS = frozenset({"key", "string", "phrase", "code", "word", "secret", "token"})
_OPENING = re.compile(r"""(?P<slashes>\\*)(?P<quote>'"'"'|'\\''|\'\'\'|"{3}|["'`])""")
"""Of a quoted value; the longer ones are how a shell says a quote inside of quotes."""
_INLINE = re.compile(
    r"""(?:\$\([^()\n]*\) | \$\{[^{}\n]*\} | \{\{[^{}\n]*\}\} | [^\s"'`<,;&\\)}\]] | \\.
        | [)}\]](?![\s,;)}\]"'`]|\Z) | ,(?!\s|\Z|[\w.\-]+[=:])
        | ;(?!\s|\Z|[\w .\-]+=)
        | &(?![&\s]|\Z|[\w.\-]+=) | ["'`](?![\s,;:)}\]>]|\Z))++""",
    re.VERBOSE,
)
_LINE_START = re.compile(
    r"[ \t]*(?:(?:#|//|;|--|!)[ \t]*)?(?:- +)*(?:export[ \t]+|set[ \t]+|ENV[ \t]+|ARG[ \t]+)?[\"']?"
)
_LINE = re.compile(r"([ \t]*)([^\r\n]*)(?:\r?\n|\Z)")
_LONGEST_START = 64
"""Characters of a line before a name that still begins it."""
_COMMENT = re.compile(r"[ \t]+#.*")
_BLOCK = re.compile(r"[|>][-+0-9]*[ \t]*(?:\r?\n|\Z)")
_PROSE = re.compile(r"[A-Za-z][a-z]*(?:n't)?[.,:;!?]?(?=[ \t]+\S)")
_CONTINUED = re.compile(r"\\\r?\n[^\r\n]*")

_FLAG = re.compile(
    r"(?<!\S)[\"'`]?--?(?P<key>[A-Za-z][\w.\-]*+)[ \t]++(?P<value>[\"'`][^\"'`\n]++|[^\s\"'`\-][^\s\"'`]*+)"
)
_NO_VALUES = frozenset(
    {
        "flag",
        "option",
        "is",
        "was",
        "or",
        "and",
        "to",
        "must",
        "for",
        "in",
        "with",
        "argument",
        "the",
        "a",
        "not",
    }
)

_URL = re.compile(r"://[^\s/?#:@\"'<>]*+:(?P<password>[^\s/?#\"'<>]*)@")
_ODD_URL = re.compile(
    r"://[^\s/?#:@\"'<>]++:(?!\d{1,5}[/?#])(?P<password>[^\s\"'<>@/?#]*+[/?#][^\s\"'<>@]*+)@"
)
_LOGIN = re.compile(
    r"(?<![\w/.\-@:+%])[\w.+%\-]++:(?P<password>[^\s/@:\"'<>]++)@(?!sha\d+:)[\w\-]++(?:\.[\w\-]++)++(?=[:/\s\"']|\Z)"
)
"""Without a scheme: only where what follows is a host with a dot in it."""
_DSN = re.compile(r"(?<![\w/.\-])[\w.\-]++:(?P<password>[^\s@/\"']++(?:@[^\s@/\"'(]++)*?)@(?:tcp|udp|unix)\(")
_THIN = re.compile(r"jdbc:oracle:\w+:[^\s/@\"']++/(?P<password>[^\s@\"']++)@")

_SCHEME = re.compile(
    r"(?i)(?<![\w.\-])(?P<scheme>bearer|basic|token|apikey|negotiate)[ \t]++(?P<value>[A-Za-z0-9+/=_.~\-]{6,}+)"
)
_HEADER_SCHEME = re.compile(r"(?i)(?:bearer|basic|token|apikey|negotiate|digest|aws4-hmac-sha256|key)[ \t]+")
_HEADERS = frozenset({"authorization", "proxyauthorization", "cookie", "setcookie"})
_HEADER_END = re.compile(r"[^\r\n\"'`]*")


class Phrases:
    """Finds them with one judge of names; `Phrases.of` keeps one for each set of further names."""

    def __init__(self, judge: Judgement, more: tuple[str, ...]) -> None:
        stems = secret_stems(more)
        self._judge = judge
        self.may_be_inside = re2.compile(rf"(?i){stems}|:[^\s]*@|[\s\"']-[puaw]", _options()).search
        """Whether a text can hold any of it, or a document that does: fast, and often True for nothing."""
        self._gate = re2.compile(
            rf"(?i)(?:{stems})[\w.\-/\[\]]*[\"'`\\\]]*[ \t]*[:=]"
            rf"|-[\w.\-]*(?:{stems})[\w.\-]*[ \t]"
            rf"|<[\w:.\-]*(?:{stems})"
            rf"|\b(?:name|key)[\"'\\]*[\s>]*[:=>]\s*[\"'\\]*[\w.\-]*(?:{stems})"
            r"|:[^\s]*@[\w\-]*[.:/(]|://[^\s/]*:[^\s]*@|jdbc:oracle|(?:bearer|basic|token|apikey|negotiate)[ \t]"
            r"|private key|(?:^|\s)-[puaw]|\bpassw(?:or)?d[ \t]|requirepass|masterauth|bindpw|rootpw|auth_pass|secret "
            rf"|header[ \t][^\n]*(?:{stems})|(?:{stems})[\w\-]*[\"'\])]*: \w+ value: "
            r"|\$(?:apr1|[1256y]|2[abxy]|argon2|scrypt|pbkdf2)|\{s?(?:sha|md5|crypt)",
            _options(),
        )

    def candidates(self, texts: list[str]) -> Iterator[int]:
        """The indexes of the texts that are worth a call of `find`: one fast search over all of them together."""
        joined = "\n".join(texts)
        if self._gate.search(joined) is None:
            return
        starts = [0, *accumulate(len(text) + 1 for text in texts)]
        done = -1
        for match in self._gate.finditer(joined):
            first = bisect_right(starts, match.start()) - 1
            last = bisect_right(starts, match.end() - 1) - 1
            yield from range(max(first, done + 1), last + 1)
            done = max(done, last)

    def find(self, text: str, *, lines: bool = True) -> list[Hit]:
        """Every secret in a text. lines: a value may go on to the end of its line (configuration, not a command)."""
        hits = [*self._assignments(text, lines=lines), *self._flags(text), *_urls(text), *_schemes(text)]
        hits += [*short_flags(text, Hit, ARGUMENT)]
        for sign, pattern, rule in NAMED:
            if sign in text:
                hits += self._named(pattern, text, rule)
        for sign, pattern, rule in ALWAYS:
            if sign in text:
                hits += [Hit(match.start(), match.end(), rule) for match in pattern.finditer(text)]
        if lines:
            hits += _directives(text)
        return hits

    def _named(self, pattern: re.Pattern[str], text: str, rule: str) -> Iterator[Hit]:
        for match in pattern.finditer(text):
            naming = self._judge(match["key"])
            if is_secret(naming):
                start, end = match.span("value")
                value = match["value"]
                start += len(value) - len(value.lstrip("\\\"' \t\r\n"))
                yield from _unless_harmless(text, start, end, naming, rule=rule, key=match["key"])

    # Assignments

    def _assignments(self, text: str, *, lines: bool) -> Iterator[Hit]:
        position = 0
        while match := _ASSIGNED.search(text, position):
            position = match.end()
            key = self._key(text, match)
            naming = self._judge(key)
            if not is_secret(naming):
                continue
            rule = HEADER if _plain(key) in _HEADERS else ASSIGNMENT
            start, end = self._value(text, match, header=rule == HEADER, lines=lines)
            if (
                match["sign"] == ":"
                and rule != HEADER
                and not match["close"]
                and _is_prose(text, match, start, end)
            ):
                continue
            for hit in _unless_harmless(text, start, end, naming, rule=rule, key=key):
                position = max(position, hit.end)
                yield hit

    def _key(self, text: str, match: re.Match[str]) -> str:
        """The name, with the word before it where it needs one: "api key: x"."""
        key = match["key"]
        if key.lower() in _SECOND_WORDS:
            before = _WORD_BEFORE.search(text[max(0, match.start() - 40) : match.start()])
            if before:
                return f"{before[1]} {key}"
        return key

    def _value(self, text: str, match: re.Match[str], *, header: bool, lines: bool) -> tuple[int, int]:
        at = match.end()
        opening = _OPENING.match(text, at)
        if opening and not (match["sign"] == ":" and text[at : at + 1] == "`"):
            return _quoted(text, opening)
        if header:
            scheme = _HEADER_SCHEME.match(text, at)
            return scheme.end() if scheme else at, _end(_HEADER_END, text, at)
        if lines and _begins_line(text, match.start()):
            return _rest_of_line(text, match)
        return at, _end(_INLINE, text, at)

    # Flags

    def _flags(self, text: str) -> Iterator[Hit]:
        for match in _FLAG.finditer(text):
            naming = self._judge(match["key"])
            if is_secret(naming) and match["value"].lower().strip("\"'`.,") not in _NO_VALUES:
                start, end = match.span("value")
                start += len(match["value"]) - len(match["value"].lstrip("\"'`"))
                yield from _unless_harmless(text, start, end, naming, rule=ARGUMENT, key=match["key"])


@lru_cache(maxsize=64)
def phrases(judge: Judgement, more: tuple[str, ...]) -> Phrases:
    """The finder for one judge of names. more: the names that it knows beyond the built-in ones."""
    return Phrases(judge, more)


def _options() -> Any:
    options = re2.Options()
    options.max_mem = 32 << 20
    options.never_capture = True
    return options


def _plain(key: str) -> str:
    return key.lower().replace("-", "").replace("_", "")


def _end(pattern: re.Pattern[str], text: str, at: int) -> int:
    found = pattern.match(text, at)
    return found.end() if found else at


def _unless_harmless(
    text: str, start: int, end: int, naming: Naming, *, rule: str, key: str
) -> Iterator[Hit]:
    value = text[start:end]
    end -= len(value) - len(value.rstrip())
    if end > start and not is_harmless(text[start:end], password=naming is Naming.PASSWORD):
        yield Hit(start, end, rule, key)


def _quoted(text: str, opening: re.Match[str]) -> tuple[int, int]:
    """Between quotes: up to the same quote behind as many backslashes, or to the end of the text."""
    close = opening[0]
    at = start = opening.end()
    while (found := text.find(close, at)) >= 0:
        before = text[max(start, found - 16) : found]
        slashes = len(before) - len(before.rstrip("\\"))
        if slashes % 2 == 0 or opening["slashes"]:
            return start, found
        at = found + 1
    line = text.find("\n", start)
    return start, line if line >= 0 and opening["quote"] == "`" else len(text)


def _begins_line(text: str, at: int) -> bool:
    start = text.rfind("\n", max(0, at - _LONGEST_START), at) + 1
    return (start > 0 or at <= _LONGEST_START) and _LINE_START.fullmatch(text, start, at) is not None


def _line_end(text: str, start: int) -> int:
    end = text.find("\n", start)
    end = len(text) if end < 0 else end
    return end - 1 if end > start and text[end - 1] == "\r" else end


def _rest_of_line(text: str, match: re.Match[str]) -> tuple[int, int]:
    start = match.end()
    block = _BLOCK.match(text, start) if match["sign"] == ":" else None
    if block:
        return _block(text, match.start(), block.end())
    end = _line_end(text, start)
    while end > start and text[end - 1] == "\\" and (more := _CONTINUED.match(text, end - 1)):
        end = more.end()
    comment = _COMMENT.search(text, start, end)
    if comment:
        end = comment.start()
    while end > start and text[end - 1] in ",; \t":
        end -= 1
    return start, end


def _block(text: str, key_at: int, start: int) -> tuple[int, int]:
    """The lines below a key that are indented more than it, without the last line end."""
    line = text.rfind("\n", 0, key_at) + 1
    indent = len(text[line:key_at]) - len(text[line:key_at].lstrip(" "))
    end = start
    for found in _LINE.finditer(text, start):
        if found[2] and len(found[1]) <= indent:
            break
        if found[2]:
            end = found.end(2)
    first = text[start:end]
    return start + len(first) - len(first.lstrip()), end


def _is_prose(text: str, match: re.Match[str], start: int, end: int) -> bool:
    """Whether what follows a colon is a sentence that goes on: "failed to read token: permission denied by…"."""
    if text[match.start() - 1 : match.start()] in ('"', "'"):
        return False
    return end > start and _PROSE.match(text, match.end(), _line_end(text, start)) is not None


def _urls(text: str) -> Iterator[Hit]:
    if "@" not in text:
        return
    for pattern in (_URL, _ODD_URL, _LOGIN, _DSN, _THIN):
        for match in pattern.finditer(text):
            start, end = match.span("password")
            yield from _unless_harmless(text, start, end, Naming.PASSWORD, rule=URL, key="")


def _schemes(text: str) -> Iterator[Hit]:
    for match in _SCHEME.finditer(text):
        if _is_credential(match["scheme"].lower(), match["value"]):
            yield Hit(*match.span("value"), HEADER)


def _is_credential(scheme: str, value: str) -> bool:
    """Whether what stands behind the name of a scheme is more than the next word of a sentence."""
    if scheme == "basic":
        raw = strictly_decoded(value + "=" * (-len(value) % 4))
        return raw is not None and b":" in raw
    return len(value) >= 12 and any(map(str.isdigit, value)) and not is_harmless(value)


def _directives(text: str) -> Iterator[Hit]:
    for _, pattern, rule in OF_LINES:
        for match in pattern.finditer(text):
            if not is_harmless(match["value"], password=True) and not _PROSE.match(match["value"]):
                yield Hit(*match.span("value"), rule)
