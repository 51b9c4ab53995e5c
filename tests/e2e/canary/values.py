"""Secrets made from a seed, of the shapes that real ones have: the same every time, and valid nowhere."""

from __future__ import annotations

import base64
import json
import random
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass

ALNUM = string.ascii_letters + string.digits
LOWER = string.ascii_lowercase + string.digits
HEX = "0123456789abcdef"
SYMBOLS = "!#%*+-.:=?@^_~"
MARKUP = "$&<>'`|"


@dataclass(frozen=True)
class Canary:
    """One secret. text: as it is planted. cores: the parts of it that nobody may see, each with 16 characters or more
    of randomness."""

    name: str
    place: str
    shape: str
    text: str
    cores: tuple[str, ...]


class Dice:
    """Random text from a seed."""

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed)

    def text(self, length: int, alphabet: str = ALNUM) -> str:
        return "".join(self._random.choices(alphabet, k=length))

    def password(self, alphabet: str) -> str:
        """20 characters, among them one of each sort, beginning with a letter."""
        middle = [self.text(1, string.ascii_uppercase), self.text(1, string.digits), self.text(2, alphabet)]
        return self.text(6) + "".join(middle) + self.text(10)


def _plain(text: str) -> tuple[str, tuple[str, ...]]:
    return text, (text,)


def _after(prefix: str, secret: str, suffix: str = "") -> tuple[str, tuple[str, ...]]:
    return f"{prefix}{secret}{suffix}", (secret,)


def _jwt(dice: Dice) -> tuple[str, tuple[str, ...]]:
    claims = {"iss": "https://login.example", "sub": dice.text(12), "jti": dice.text(24), "exp": 4102444800}
    head, body = (_base64url(json.dumps(part)) for part in ({"alg": "RS256", "kid": dice.text(20)}, claims))
    signature = dice.text(256, ALNUM + "-_")
    return f"{head}.{body}.{signature}", (body[-40:], signature)


def _base64url(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _pem(label: str) -> Callable[[Dice], tuple[str, tuple[str, ...]]]:
    def made(dice: Dice) -> tuple[str, tuple[str, ...]]:
        lines = ["MII" + dice.text(61, ALNUM + "+/"), *(dice.text(64, ALNUM + "+/") for _ in range(5))]
        lines.append(dice.text(38, ALNUM + "+/") + "==")
        text = "\n".join((f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", ""))
        return text, tuple(lines)

    return made


def _url(scheme: str, rest: str) -> Callable[[Dice], tuple[str, tuple[str, ...]]]:
    return lambda dice: _after(f"{scheme}://app:", dice.text(18), rest)


def _basic(dice: Dice) -> tuple[str, tuple[str, ...]]:
    password = dice.text(20)
    return "Basic " + base64.b64encode(f"robot:{password}".encode()).decode(), (password,)


SHAPES: Mapping[str, Callable[[Dice], tuple[str, tuple[str, ...]]]] = {
    "password": lambda dice: _plain(dice.password(SYMBOLS)),
    "awkward": lambda dice: _plain(dice.password(MARKUP)),
    "plain": lambda dice: _plain(dice.text(18)),
    "passphrase": lambda dice: _plain("-".join(dice.text(6, string.ascii_lowercase) for _ in range(4))),
    "hex": lambda dice: _plain(dice.text(64, HEX)),
    "uuid": lambda dice: _plain("-".join(dice.text(length, HEX) for length in (8, 4, 4, 4, 12))),
    "github": lambda dice: _after("ghp_", dice.text(36)),
    "github-fine": lambda dice: _after("github_pat_11", dice.text(20) + "_" + dice.text(59)),
    "gitlab": lambda dice: _after("glpat-", dice.text(20, ALNUM + "-_")),
    "slack": lambda dice: _after(
        f"xoxb-{dice.text(12, string.digits)}-{dice.text(12, string.digits)}-", dice.text(24)
    ),
    "stripe": lambda dice: _after("sk_live_", dice.text(32)),
    "aws": lambda dice: _plain(dice.text(40, ALNUM + "+/")),
    "google": lambda dice: _after("AIza", dice.text(35, ALNUM + "-_")),
    "npm": lambda dice: _after("npm_", dice.text(36)),
    "pypi": lambda dice: _after("pypi-AgEIcHlwaS5vcmc", dice.text(120, ALNUM + "-_")),
    "sendgrid": lambda dice: _after("SG.", dice.text(22, ALNUM + "-_") + "." + dice.text(43, ALNUM + "-_")),
    "digitalocean": lambda dice: _after("dop_v1_", dice.text(64, HEX)),
    "huggingface": lambda dice: _after("hf_", dice.text(34, string.ascii_letters)),
    "vault": lambda dice: _after("hvs.", dice.text(96, ALNUM + "-_")),
    "age": lambda dice: _after("AGE-SECRET-KEY-1", dice.text(58, "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L")),
    "jwt": _jwt,
    "pem": _pem("RSA PRIVATE KEY"),
    "pem-ec": _pem("EC PRIVATE KEY"),
    "pem-pkcs8": _pem("PRIVATE KEY"),
    "openssh": _pem("OPENSSH PRIVATE KEY"),
    "postgres": _url("postgresql", "@db.internal:5432/shop?sslmode=require"),
    "redis": _url("rediss", "@cache.internal:6380/0"),
    "mongodb": _url("mongodb+srv", "@cluster0.example.net/shop?retryWrites=true"),
    "amqp": _url("amqps", "@mq.internal:5671/%2f"),
    "https": _url("https", "@git.example/acme/web.git"),
    "basic": _basic,
    "bearer": lambda dice: _after("Bearer ", dice.text(40)),
}

TOKENS = (
    "github", "github-fine", "gitlab", "slack", "stripe", "google", "npm", "pypi", "sendgrid", "digitalocean",
    "huggingface", "vault", "jwt",
)  # fmt: skip
"""Shapes that are known wherever they stand."""
URLS = ("postgres", "redis", "mongodb", "amqp", "https")
KEYS = ("pem", "pem-ec", "pem-pkcs8", "openssh")
BY_NAME = ("password", "awkward", "plain", "passphrase", "hex", "uuid", "aws")
"""Shapes that only the name beside them gives away."""


class Field:
    """Where canaries are planted: remembers each with its place. seed: another one gives another set."""

    def __init__(self, seed: str) -> None:
        self._seed = seed
        self.canaries: list[Canary] = []

    def plant(self, place: str, shape: str = "password") -> str:
        """The text of a new canary of this shape, for this place ("ConfigMap dotenv")."""
        number = len(self.canaries)
        text, cores = SHAPES[shape](Dice(f"{self._seed}/{number}/{shape}"))
        self.canaries.append(Canary(f"c{number:03}", place, shape, text, cores))
        return text

    def adopt(self, place: str, shape: str, text: str, cores: tuple[str, ...]) -> None:
        """A secret that the cluster made itself, such as the token of a service account."""
        self.canaries.append(Canary(f"c{len(self.canaries):03}", place, shape, text, cores))

    @property
    def places(self) -> list[str]:
        return list(dict.fromkeys(canary.place for canary in self.canaries))
