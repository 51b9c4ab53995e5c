"""What the name of a field says of its value: that it is a secret, that it is none, or nothing.

A name is read word by word, however it is spelt: `dbPassword`, `DB_PASSWORD`, `db-password`, `db.password`. What it ends
on decides: `passwordFile` and `tokenExpirationSeconds` only speak about a secret.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from enum import Enum
from functools import lru_cache

from chaperone.core.masking.vocabulary import listed

LONGEST = 200
"""Characters of a name that are read: its end, where the meaning is."""
_MOST_REMEMBERED = 16384


class Naming(Enum):
    """What a name says of its value.

    PASSWORD: a secret that may consist of digits alone. SECRET: a secret. SECRETS: what is below holds secrets, under
    names of their own. PUBLIC: written by the system, never a secret: not looked at. NAME: the name of something: not
    masked, for it is how the thing is found. PLAIN: nothing.
    """

    PLAIN = "plain"
    PASSWORD = "password"
    SECRET = "secret"
    SECRETS = "secrets"
    PUBLIC = "public"
    NAME = "name"


def is_secret(naming: Naming) -> bool:
    """Whether a name says that its value, or what is below it, is a secret."""
    return naming is Naming.SECRET or naming is Naming.PASSWORD or naming is Naming.SECRETS


Judgement = Callable[[str], Naming]

_PUBLIC = listed(
    """
    uid resourceVersion continue creationTimestamp deletionTimestamp apiVersion kind fieldsType caBundle
    encryptedData containerID imageID lastTransitionTime lastProbeTime lastUpdateTime lastHeartbeatTime
    startedAt finishedAt startTime firstTimestamp lastTimestamp eventTime renewTime acquireTime selfLink
    systemUUID machineID bootID certificate-authority-data client-certificate-data podCIDR hostIP podIP
    clusterIP
    """
)
_NAMES = frozenset(
    {"name", "namespace", "generateName", "nodeName", "serviceAccountName", "serviceAccount", "secretName"}
    | {"claimName", "volumeName", "storageClassName", "hostname", "configMapName", "priorityClassName"}
    | {"schedulerName", "runtimeClassName", "ingressClassName", "clusterName", "generatedName"}
)

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")

_PASSWORD = re.compile(
    r"passw|passphrase|passcode|pwd\Z|(?:^|db|user|root|admin|store|key|my|sql|pg|redis)pass\Z"
)
_STRONG = re.compile(
    r"secret(?!ar)|token(?!i[sz])|credential|apikey|accesskey|privatekey|privkey|connectionstring|connstr"
    r"|sharedkey|accountkey|masterkey|licen[sc]ekey|signingkey|encryptionkey|decryptionkey|bearer|keytab"
    r"|dockerconfig|dockercfg|htpasswd|pgpass|netrc|idrsa|ided(?:25519)?\Z|idecdsa|iddsa|webhookurl|requirepass|restuserkey"
)
_WORDS = frozenset(
    {"pass", "pwd", "psk", "dsn", "jwt", "cred", "creds", "passkey", "hmac", "otp", "apitoken", "pat"}
)
_LAST_WORDS = frozenset(
    {"auth", "auths", "authorization", "cookie", "cookies", "keytab", "sas", "pw", "kubeconfigdata"}
)
_KEY_OF = listed(
    """
    api access private priv secret signing sign encryption encrypt decryption crypt master license licence ssh
    shared account storage service auth app application client server tls ssl ca consumer deploy session cookie
    gpg pgp write read admin rsa dsa ecdsa ed25519 hmac subscription ingestion instrumentation registration
    recovery fernet aes des jwt jwk symmetric security webhook integration bootstrap authkey wireguard preshared
    cipher
    """
)
"""Before `key`, these make it a secret one."""
_FILES = (".key", ".p12", ".pfx", ".jks", ".keystore", ".kdb", ".kdbx", ".ppk", ".keytab")

_ABOUT = listed(
    """
    name names ref refs reference references selector path paths file files filename filepath dir directory
    folder mount mounts mountpath location url urls uri endpoint endpoints host hostname server address addr
    port service services namespace namespaces region domain bucket database username user users login email
    role roles group groups policy policies type types kind kinds length size count limit limits expiry
    expiration expires expire ttl timeout seconds minutes hours days age duration interval period lifetime
    validity enabled enable disabled disable required allowed format algorithm algorithms alg class provider
    providers issuer issuers audience audiences method methods mode version encoding label labels annotation
    annotations prefix suffix header headers field column checksum hash digest fingerprint status state revision
    store stores backend backends engine manager controller operator template templates rotation generator
    validator reviewer review reviews requests request options config configuration settings resources resource
    objects object permissions scope scopes strategy rules rule usage usages description message reason help
    hint title example regex pattern index position number num cost rounds iterations strength complexity helper
    helpers exists exist present missing changed updated created date time timestamp at limiter bytes bits chars
    characters budget window rate quota second minute hour
    """
)
"""A name that ends on one of these speaks about a secret, it does not hold it."""
_BEFORE_ID = frozenset({"token", "credential", "credentials", "password"})
_REFERENCES = re.compile(
    r"existingsecrets?\Z|pullsecrets?\Z|secretstore|secretclass|secretprovider|secretmanager\Z|externalsecret"
    r"|from(?:env|secret|file|configmap|vault)s?\Z|sealedsecret\Z|automountserviceaccounttoken|secretbackend|secretsbackend|publickeys?\Z|tokenreview|tokenrequests?\Z"
)
_NEVERTHELESS = re.compile(r"passw(?:or)?d?hash\Z|webhookurl\Z")
"""Secrets, although what they end on says otherwise."""
_COUNTS = frozenset({"max", "min", "num", "total", "count", "avg", "n"})
_PLURAL = frozenset({"passwords", "tokens", "secrets", "passphrases", "apikeys", "keys", "pats", "cookies"})
_FORMS = frozenset(
    {"value", "text", "string", "base64", "b64", "pem", "plain", "plaintext", "raw", "encoded", "content"}
)
"""What a name may end on beside its meaning."""
_OF_SECRETS = frozenset({"data", "env", "values", "vars", "variables", "map", "strings"})


def normalised(name: str) -> str:
    """Its letters and digits in lower case: what all spellings of a name have in common."""
    return "".join(character for character in name.lower() if character.isalnum())


class _Remembered(dict[str, Naming]):
    """What was judged before: the names of an API are few, and each stands there a thousand times."""

    def __init__(self, more: frozenset[str]) -> None:
        super().__init__()
        self._more = more

    def __missing__(self, name: str) -> Naming:
        naming = _judge(name[-LONGEST:], self._more)
        if len(self) >= _MOST_REMEMBERED:
            self.clear()
        if len(name) <= LONGEST:
            self[name] = naming
        return naming


def judgement(more: Iterable[str] = ()) -> Judgement:
    """The judge of names. more: names of secrets beyond the built-in ones."""
    return _judgement(frozenset(filter(None, map(normalised, more))))


@lru_cache(maxsize=64)
def _judgement(more: frozenset[str]) -> Judgement:
    return _Remembered(more).__getitem__


def _judge(name: str, more: frozenset[str]) -> Naming:
    if more and _is_one_of(name, more):
        return Naming.PASSWORD
    if name in _PUBLIC:
        return Naming.PUBLIC
    if name in _NAMES:
        return Naming.NAME
    words = [word.lower() for word in _WORD.findall(name)]
    while len(words) > 1 and words[-1].isdigit():
        words.pop()
    if not words:
        return Naming.PLAIN
    if name.lower().endswith(_FILES) and not _is_public_key(words):
        return Naming.SECRET
    return _read(words)


def _is_one_of(name: str, more: frozenset[str]) -> bool:
    """The whole name, or whole words of it: `pin` is in `CARD_PIN`, not in `spinner`."""
    words = [word.lower() for word in _WORD.findall(name)]
    plain = normalised(name)
    return plain in more or any(
        "".join(words[start:end]) in more
        for start in range(len(words))
        for end in range(start + 1, min(len(words), start + 6) + 1)
    )


def _read(words: list[str]) -> Naming:
    if len(words) > 1 and words[-1] in _OF_SECRETS and words[-2] != "from" and is_secret(_read(words[:-1])):
        return Naming.SECRETS
    naming = _read_whole(words)
    return _read(words[:-1]) if naming is Naming.PLAIN and len(words) > 1 and words[-1] in _FORMS else naming


def _read_whole(words: list[str]) -> Naming:
    joined = "".join(words)
    if _NEVERTHELESS.search(joined):
        return Naming.PASSWORD
    if _speaks_about(words, joined):
        return Naming.PLAIN
    if _PASSWORD.search(joined) or words[-1] == "pass":
        return Naming.SECRETS if words[-1] == "passwords" else Naming.PASSWORD
    if not _names_secret(words, joined):
        return Naming.PLAIN
    return Naming.SECRETS if words[-1] in _PLURAL else Naming.SECRET


def _speaks_about(words: list[str], joined: str) -> bool:
    last = words[-1]
    if last in _ABOUT or words[0] in _COUNTS or _REFERENCES.search(joined):
        return True
    return last == "id" and len(words) > 1 and words[-2] in _BEFORE_ID


def _names_secret(words: list[str], joined: str) -> bool:
    if _STRONG.search(joined) or words[-1] in _LAST_WORDS or not _WORDS.isdisjoint(words):
        return True
    return words[-1] in ("key", "keys") and len(words) > 1 and words[-2] in _KEY_OF


def _is_public_key(words: list[str]) -> bool:
    return "public" in words or "pub" in words


_REAL = listed(
    """
    client app application jwt auth shared api consumer webhook signing session cookie hmac oauth oauth2 access
    token bot state user admin master encryption device
    """
)


def may_name_object(name: str) -> bool:
    """Whether a field of a typed object that is called a secret may hold the name of a Secret: `secret`,
    `configSecret`, `tlsSecret`; not `clientSecret`.
    """
    words = [word.lower() for word in _WORD.findall(name[-LONGEST:])]
    return words[-1:] in (["secret"], ["secrets"]) and (len(words) == 1 or words[-2] not in _REAL)


def secret_stems(more: Iterable[str] = ()) -> str:
    """An expression (RE2, case ignored) that is found in every name that is judged a secret, and in many more."""
    stems = "pass|pwd|secret|token|cred|key|auth|connection|connstr|bearer|dockerc|netrc|id_?-?(?:rsa|ed25|ecd|dsa)"
    stems += r"|web_?-?hook|psk|dsn|jwt|hmac|otp|[_.\-]pat\b|\bpat\b|cookie|[_.\-]sas\b|\bsas\b|pw\b|p12|pfx|jks|kdb|ppk"
    added = [_spelt(name) for name in map(normalised, more) if name]
    return "|".join([stems, *added])


def _spelt(name: str) -> str:
    """A normalised name, whatever stands between its letters."""
    return "[^[:alnum:]]{0,2}".join(map(re.escape, name))
