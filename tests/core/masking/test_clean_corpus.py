"""What clusters are full of and what is no secret: digests, uids, checksums, certificates, names. Not one may be found."""

from __future__ import annotations

import base64
from collections.abc import Callable
from random import Random
from uuid import UUID

import pytest

from chaperone.core.masking import rules
from chaperone.core.masking.hyperscan_engine import HyperscanDetector, compile_rules
from chaperone.core.masking.placeholder import Mint
from chaperone.core.masking.stream import TextStream
from chaperone.core.masking.text_finder import TextFinder

SAMPLES = 400

WORDS = [
    "web",
    "api",
    "redis",
    "cloudflare",
    "datadog",
    "agent",
    "auth",
    "token",
    "secret",
    "sync",
    "operator",
    "vault",
    "github",
    "runner",
    "sentry",
    "kafka",
    "confluent",
    "box",
    "key",
    "manager",
    "codecov",
    "sonar",
    "telegram",
    "twilio",
    "algolia",
    "heroku",
    "password",
    "credential",
    "reviewer",
    "snyk",
    "jwt",
    "oauth2-proxy",
    "pat",
]
PROVIDERS = [
    "cloudflare",
    "datadog",
    "sentry",
    "confluent",
    "codecov",
    "algolia",
    "heroku",
    "snyk",
    "scaleway",
    "sendbird",
    "vultr",
    "zendesk",
    "twitter",
]
SAFE = "bcdfghjklmnpqrstvwxz2456789"
HEX = "0123456789abcdef"
ALNUM = "abcdefghijklmnopqrstuvwxyz0123456789"

Make = Callable[[Random], str]


def some(random: Random, alphabet: str, length: int) -> str:
    return "".join(random.choices(alphabet, k=length))


def name(random: Random) -> str:
    return "-".join(random.choices(WORDS, k=random.randint(1, 4)))


def uid(random: Random) -> str:
    return str(UUID(int=random.getrandbits(128), version=4))


def digest(random: Random) -> str:
    return some(random, HEX, random.choice([32, 40, 64, 128]))


def pem(random: Random, kind: str) -> str:
    lines = [base64.b64encode(random.randbytes(48)).decode() for _ in range(12)]
    return "\n".join([f"-----BEGIN {kind}-----", *lines, f"-----END {kind}-----", ""])


def in_base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


MAKERS: dict[str, Make] = {
    "sha256 digest": lambda r: f"sha256:{some(r, HEX, 64)}",
    "bare digest": digest,
    "uid": uid,
    "container id": lambda r: f"containerd://{some(r, HEX, 64)}",
    "image by tag": lambda r: (
        f"registry.example.com/{name(r)}/{name(r)}:{r.choice(['v1.2.3', 'latest', some(r, HEX, 40), '1.2-' + some(r, HEX, 8)])}"
    ),
    "image by digest": lambda r: f"docker-pullable://{name(r)}/{name(r)}@sha256:{some(r, HEX, 64)}",
    "name of a pod": lambda r: f"{name(r)}-{some(r, SAFE, 10)}-{some(r, SAFE, 5)}",
    "name of a token Secret": lambda r: f"{name(r)}-token-{some(r, SAFE, 5)}",
    "name of an event": lambda r: f"{name(r)}-{some(r, SAFE, 5)}.{some(r, HEX, 16)}",
    "name of a short event": lambda r: f"{some(r, ALNUM, 6)}.{some(r, HEX, 16)}",
    "name of a node": lambda r: f"ip-10-0-{r.randint(0, 255)}-{r.randint(0, 255)}.ec2.internal",
    "service account": lambda r: f"system:serviceaccount:{name(r)}:{name(r)}",
    "holder of a lease": lambda r: f"{name(r)}_{uid(r)}",
    "resource version": lambda r: str(r.getrandbits(40)),
    "continue token": lambda r: in_base64(
        f'{{"v":"meta.k8s.io/v1","rv":{r.getrandbits(30)},"start":"{name(r)}\\u0000"}}'
    ),
    "certificate": lambda r: pem(r, "CERTIFICATE"),
    "public key": lambda r: pem(r, "PUBLIC KEY"),
    "bundle of certificates": lambda r: in_base64(pem(r, "CERTIFICATE")),
    "signing request": lambda r: in_base64(pem(r, "CERTIFICATE REQUEST")),
    "sealed secret": lambda r: "AgB" + base64.b64encode(r.randbytes(300)).decode(),
    "any bytes": lambda r: base64.b64encode(r.randbytes(r.randint(8, 120))).decode(),
    "checksum of a chart": lambda r: f"checksum/{name(r)}: {some(r, HEX, 64)}",
    "digest of a provider": lambda r: f"{r.choice(PROVIDERS)}: {digest(r)}",
    "commit of a provider": lambda r: f"{r.choice(PROVIDERS)}={some(r, HEX, 40)}",
    "uid of a provider": lambda r: f"{r.choice(PROVIDERS)} = {uid(r)}",
    "URL": lambda r: f"https://{name(r)}.{name(r)}.svc.cluster.local:8443/{name(r)}?v={some(r, HEX, 8)}",
    "commit": lambda r: f"https://github.com/{name(r)}/{name(r)}/commit/{some(r, HEX, 40)}",
    "fingerprint": lambda r: ":".join(some(r, HEX, 2) for _ in range(32)),
    "role": lambda r: f"arn:aws:iam::{r.randint(10**11, 10**12 - 1)}:role/{name(r)}",
    "provider id": lambda r: f"aws:///us-east-1a/i-{some(r, HEX, 17)}",
    "ssh public key": lambda r: (
        f"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{base64.b64encode(r.randbytes(32)).decode()[:43]} me@host"
    ),
    "time": lambda r: f"2026-11-23T07:00:00.{r.randint(0, 10**9 - 1):09}Z",
}


@pytest.fixture(scope="module")
def detector() -> HyperscanDetector:
    return HyperscanDetector(rules.built_in(), compile_rules(rules.built_in()))


@pytest.mark.parametrize("kind", MAKERS)
def test_it_is_no_secret_as_a_value(detector: HyperscanDetector, kind: str) -> None:
    random = Random(kind)
    texts = [MAKERS[kind](random) for _ in range(SAMPLES)]
    assert [(texts[index], span) for index, span in detector.scan(texts)] == []


@pytest.mark.parametrize("kind", MAKERS)
def test_it_is_no_secret_in_a_log(detector: HyperscanDetector, kind: str) -> None:
    random = Random(kind)
    texts = [f'level=info msg="seen" object={MAKERS[kind](random)} n=1\n' for _ in range(SAMPLES // 4)]
    stream = TextStream(TextFinder(detector, Mint(b"0123456789abcdef")))
    log = "".join(texts).encode()
    assert stream.feed(log) + stream.flush() == log
