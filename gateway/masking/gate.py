"""The fast look at raw JSON: most objects of a large list hold nothing that would be masked, and need not be decoded.

Only for kinds whose shape the API server fixes, under the standard profile without names or patterns of a policy's own,
and only where Hyperscan is. An object is cleared when nothing in its bytes could make the engine mask: no form of a
credential, no escapes outside of managed fields (so that every string stands there as it is), no name of
a secret where a value follows, no base64 of a text. Whatever may be one of these is left to the engine.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Sequence
from functools import lru_cache
from itertools import accumulate
from typing import Any

from chaperone.core.masking import Detector, Place, Terms
from chaperone.core.masking.keys import LONGEST, is_secret, judgement, secret_stems
from chaperone.core.masking.layers import TooLargeError, unpacked
from chaperone.core.masking.rule import Rule

try:
    import hyperscan
except ImportError:  # no wheel for this processor: everything is decoded
    HAS_HYPERSCAN = False
else:
    HAS_HYPERSCAN = True

GATED = frozenset(
    {
        ("", "endpoints"),
        ("", "namespaces"),
        ("", "nodes"),
        ("", "persistentvolumeclaims"),
        ("", "pods"),
        ("", "replicationcontrollers"),
        ("", "services"),
        ("apps", "daemonsets"),
        ("apps", "deployments"),
        ("apps", "replicasets"),
        ("apps", "statefulsets"),
        ("batch", "cronjobs"),
        ("batch", "jobs"),
        ("coordination.k8s.io", "leases"),
        ("discovery.k8s.io", "endpointslices"),
        ("networking.k8s.io", "ingresses"),
    }
)
"""(group, resource). Never Secrets, ConfigMaps, Events, custom resources."""
BY_NAME = frozenset({"assignment", "command-line-option", "environment-line"})
"""Rules that read the names of fields of JSON as well; what they find in texts, the expressions here find too."""

_STEMS = rf"(?:{secret_stems()}|conn(?:ection)?[_.-]?str)"
_VALUES = (b'"value"', b'"Value"', b'"default"')
_NAMED_ONLY = (b'"f:', b'"secret":{"secretName":', b'"serviceAccountToken":{"')
COLON, BRACE = b":{"
CLOSED_BY = dict(zip(b'"[{', b'"]}', strict=True))
_MANAGED_KEYS = (
    *("name", "containerPort", "type", "mountPath", "ip", "uid", "port", "protocol", "key", "topologyKey"),
    *("devicePath", "whenUnsatisfiable"),
)
"""What keys of managed fields in such objects are made of: nothing that is not in the object as well."""
_PACKED_CHARACTERS = r"[A-Za-z0-9+/_\- ]"
_IMAGE = b"sha256:"

SUSPECT, STEM, NAME, URL, PACKED = range(5)
"""What is done about a match: nothing is cleared; or it is looked at more closely."""


def _other_than(words: Sequence[str], end: str) -> str:
    """An expression for the beginning of whatever is none of these words with `end` behind it."""
    if words == ("",):
        return f"[^{end}]"
    firsts = dict.fromkeys(word[:1] for word in words)
    later = [
        first + _other_than(tuple(word[1:] for word in words if word[:1] == first), end)
        for first in firsts
        if first
    ]
    own = "".join(first or end for first in firsts)
    return f"(?:{'|'.join([f'[^{own}]', *later])})"


def _packed() -> str:
    """At least 16 characters with a capital among them: without one it is a name, or a digest."""
    early = [rf"[a-z0-9+/_\- ]{{{at}}}[A-Z]{_PACKED_CHARACTERS}{{{15 - at},}}" for at in range(1, 16)]
    early.append(f"[A-Z]{_PACKED_CHARACTERS}{{15,}}")
    late = rf"[a-z0-9+/_\- ]{{16,}}[A-Z]{_PACKED_CHARACTERS}*"
    return f'"(?:{"|".join([*early, late])})={{0,2}} *"[,\\]}}]'


_IN_NAME = r"[\w.\-/\[\]]*"
_EXPRESSIONS = (
    (STEM, rf"{_STEMS}(?:[^\"\\]*\":[\"\[{{]|{_IN_NAME}(?:(?:\\+\"|['`\])])*[ \t]*[:=]|[ \t]))"),
    (NAME, rf'"(?:name|key)":"[^"\\]*{_STEMS}[^"\\]*"'),
    (URL, r'://[^\s/"]*:[^\s"]*@'),
    (PACKED, _packed()),
    (SUSPECT, rf'["\s]-[\w.\-]*{_STEMS}[\w.\-]*"|<[\w:.\-]*{_STEMS}'),
    (SUSPECT, r'["\s]-[pPawuUk]|"-?-(?:user|proxy-user|userpass|auth)"'),
    (SUSPECT, r"@(?:tcp|udp|unix)\(|jdbc:oracle|(?:basic|negotiate)[ \t]"),
    (SUSPECT, r'"v:|"kind":"(?:Secret|ConfigMap)"'),
    (SUSPECT, r'"[ \t]|":[ \t]|[,{\[][ \t]+"|[\r\n\t][\x00-\xff]'),
    (SUSPECT, rf'"k:\{{\\"{_other_than(_MANAGED_KEYS, chr(92) * 2)}'),
)
"""A name of a secret before what may be its value: a string, a list or an object of JSON (STEM, looked at more closely),
or in a text; then names beside values, addresses with a password, base64, flags and tags; white space between the parts
of the JSON, which none of the others expects; and keys of managed fields that other objects do not have."""
_ESCAPES = ((SUSPECT, r'[{,:\[]"(?:[^kv"\\][^"\\]*|[kv](?:[^:"\\][^"\\]*)?)?\\'),)
"""An escape in a string that is no key of managed fields. Among the others it would cost twice as much as alone."""


def is_gated(place: Place, terms: Terms) -> bool:
    """Whether the gate may be asked about these objects."""
    ordinary = not (terms.is_strict or terms.keys or terms.patterns)
    return ordinary and not place.subresource and (place.group, place.resource) in GATED


def form_rules(rules: Sequence[Rule]) -> tuple[Rule, ...]:
    """The rules that the gate's detector is made of."""
    return tuple(rule for rule in rules if rule.name not in BY_NAME)


class Gate:
    """forms: a detector of `form_rules`. For one thread."""

    def __init__(self, forms: Detector) -> None:
        self._forms = forms
        self._raw = b""
        self._starts: list[int] = []
        self._found: set[int] = set()
        self._done = range(0)
        self._databases = [_compiled(part) for part in (_EXPRESSIONS, _ESCAPES)] if HAS_HYPERSCAN else []
        self._looks = {
            STEM: self._is_secret,
            NAME: self._has_value,
            URL: self._has_password,
            PACKED: self._is_packed,
        }

    def doubtful(self, items: Sequence[bytes]) -> Collection[int]:
        """Which of these objects may hold something that would be masked for its place or its form. What a run knows is
        not asked for."""
        if not HAS_HYPERSCAN:
            return range(len(items))
        found = self._by_place(items)
        if self._forms.hits(b"\n".join(items)):
            found.update(index for index, item in enumerate(items) if self._forms.hits(item))
        return found

    def _by_place(self, items: Sequence[bytes]) -> set[int]:
        self._raw = b",".join(items)
        self._starts = list(accumulate((len(item) + 1 for item in items[:-1]), initial=0))
        self._found, self._done = set(), range(0)
        try:
            for database in self._databases:
                database.scan(self._raw, self._matched)
        finally:
            self._raw = b""
        return self._found

    def _matched(self, kind: int, _start: int, end: int, _flags: int, _context: object) -> None:
        """One look is enough for an object that is found."""
        if end in self._done:
            return
        look = self._looks.get(kind)
        if look is None or look(end):
            index = bisect_right(self._starts, end - 1) - 1
            self._found.add(index)
            last = self._starts[index + 1] if index + 1 < len(self._starts) else len(self._raw) + 1
            self._done = range(self._starts[index] + 1, last)

    def _is_secret(self, end: int) -> bool:
        """end: behind the first byte of the value. An empty value is none; managed fields (`f:secret`) and the sources
        of volumes only name a secret."""
        raw = self._raw
        opened = raw[end - 1]
        if raw[end - 2] != COLON or opened not in CLOSED_BY:
            return True
        at = raw.rfind(b'"', 0, end - 3)
        if raw[end] == CLOSED_BY[opened] or not _names_a_secret(raw[at + 1 : end - 3]):
            return False
        return opened != BRACE or not raw.startswith(_NAMED_ONLY, at)

    def _has_value(self, end: int) -> bool:
        """The name of a secret, with its value in the same object."""
        raw = self._raw
        if not _names_a_secret(raw[raw.rfind(b'"', 0, end - 1) + 1 : end - 1]):
            return False
        neighbours = raw[raw.rfind(b"{", 0, end) : raw.find(b"}", end)]
        return any(key in neighbours for key in _VALUES)

    def _has_password(self, end: int) -> bool:
        """The address of an image has a digest there."""
        return not self._raw.startswith(_IMAGE, end)

    def _is_packed(self, end: int) -> bool:
        return _holds_text(self._raw[self._raw.rfind(b'"', 0, end - 2) + 1 : end - 2])


_judge = judgement()


@lru_cache(8192)
def _names_a_secret(name: bytes) -> bool:
    return is_secret(_judge(name[-LONGEST:].decode("utf-8", "replace")))


@lru_cache(4096)
def _holds_text(packed: bytes) -> bool:
    try:
        layers = list(unpacked(packed.decode()))
    except TooLargeError:
        return True
    return len(layers) > 1 or any(isinstance(layer, str) for layer in layers)


def _compiled(expressions: Sequence[tuple[int, str]]) -> Any:
    """A database of Hyperscan, whose matches have the kind of their expression."""
    database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
    database.compile(
        expressions=[expression.encode() for _, expression in expressions],
        ids=[kind for kind, _ in expressions],
        flags=[
            hyperscan.HS_FLAG_MULTILINE | (0 if kind == PACKED else hyperscan.HS_FLAG_CASELESS)
            for kind, _ in expressions
        ],
    )
    return database
