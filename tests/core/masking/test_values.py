from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaperone.core.masking.values import (
    entropy,
    is_harmless,
    is_key_name,
    is_object_name,
    is_opaque,
    is_plain,
    is_public,
    is_reference,
    is_worth_knowing,
    names_a_secret,
)
from tests.core.masking.engine import MINT

HARMLESS = [
    *(
        "",
        "true",
        "False",
        "none",
        "null",
        " on ",
        "disabled",
        "-",
        "$(VAR)",
        "${VAR}",
        "${{ secrets.X }}",
        "$DB_PASSWORD",
    ),
    *(
        "{{ .Values.password }}",
        "{{ .a }}-{{ .b | quote }}",
        "%DB_PASSWORD%",
        "%(password)s",
        "<password>",
        "$(cat /run/secrets/x)",
    ),
    *(
        "__PASSWORD__",
        "$(USER):$(PASSWORD)",
        "vault:secret/data/db#password",
        "ref+vault://secret/db#x",
        "op://vault/item/field",
    ),
    *(
        "arn:aws:secretsmanager:eu-west-1:123456789012:secret:db-AbCdEf",
        "projects/p/secrets/db/versions/1",
        "ENC[AES256_GCM,data:abc,type:str]",
    ),
    *(
        "****",
        "xxxxx",
        "[REDACTED]",
        "(hidden)",
        "(hidden, changed)",
        "/var/run/secrets/token",
        "/etc/ssl/private/key.pem",
        "./key",
        "~/.ssh/id",
    ),
    *(
        "file:///etc/token",
        "C:\\secrets\\key",
        "tls.key",
        "config.json",
        "2024-01-02T03:04:05Z",
        "$__file{/etc/secrets/x}",
    ),
    *(MINT.placeholder("u", "p", "v"), "[*]", "/.aws/credentials"),
]
SECRETS = [
    *(
        "hunter2",
        "changeme",
        "s3cr3t",
        "a b c",
        "P@ssw0rd!",
        "$2a$10$N9qo8uLOickgx2ZMRZoMye",
        "$ecret",
        "${VAR:-hunter2}",
    ),
    *(
        '{{ "hunter2" }}',
        "/wEPDwUKLTk",
        "Xk9/aB3+",
        "12345678901234567890",
        "env:hunter2",
        "http://u:p@h/",
        "<b>x</b>",
        "correct horse",
    ),
    *("x" * 5000, "$pass-word", "abc.def.ghi", "aaaa"),
]


@pytest.mark.parametrize("value", HARMLESS)
def test_harmless_under_any_name(value: str) -> None:
    assert is_harmless(value)
    assert is_harmless(value, password=True)


@pytest.mark.parametrize("value", SECRETS)
def test_not_harmless(value: str) -> None:
    assert not is_harmless(value)
    assert not is_harmless(value, password=True)


@pytest.mark.parametrize(
    "value",
    ["3600", "15m", "1h30m", "500Mi", "basic", "Bearer", "oidc", "80%", "$dex.github.clientSecret", "10.5"],
)
def test_amounts_and_schemes_are_harmless_but_not_as_a_password(value: str) -> None:
    assert is_harmless(value)
    assert not is_harmless(value, password=True)


def test_a_password_of_three_digits_is_an_amount() -> None:
    assert is_harmless("123", password=True)
    assert not is_harmless("1234", password=True)


def test_references() -> None:
    assert is_reference("$(A):$(B)")
    assert not is_reference("a:b")
    assert not is_reference("$(A)x1")


@pytest.mark.parametrize("value", ["password", "redis-password", "api_key", "tls.key"])
def test_names_of_keys(value: str) -> None:
    assert is_key_name(value)


@pytest.mark.parametrize("value", ["Password", "a b", "x" * 64, "", "-a", "a$"])
def test_what_is_no_name_of_a_key(value: str) -> None:
    assert not is_key_name(value)


def test_names_of_objects_read_like_words() -> None:
    assert is_object_name("alertmanager-main")
    assert is_object_name("web-2")
    assert not is_object_name("hunter2")
    assert not is_object_name("a" * 64)
    assert names_a_secret("git-token")
    assert not names_a_secret("token")
    assert not names_a_secret("git-main")


@pytest.mark.parametrize(
    "value",
    ["short", "production", "postgres-primary", "aaaaaaaaaaaa", "/var/lib/postgres/data", "eu west one"],
)
def test_too_ordinary_to_be_looked_for(value: str) -> None:
    assert not is_worth_knowing(value)


def test_worth_looking_for() -> None:
    assert is_worth_knowing("hunter2-hunter2")
    assert is_worth_knowing("correct horse battery staple")
    assert not is_worth_knowing(MINT.placeholder("u", "p", "v"))


PLAIN = [
    *(
        "info",
        "eu-west-1",
        "https://api.example.com/v1",
        "10.0.0.1:8080",
        "v1.2.3",
        "registry.example.com/a/b:1.2",
        "Europe/Berlin",
    ),
    *(
        "k8s,bgp",
        "a=1,b=2",
        "shop-prod|123456789012|shop|europe-west1",
        "*/5 * * * *",
        "/scratch",
        "de_DE.UTF-8",
        "8080",
        "*.example.com",
    ),
    *(
        "A client certificate is expiring in less than 7.0 days.",
        "-----BEGIN CERTIFICATE-----\nabc",
        "LS0tLS1CRUdJTiBDRVJU",
    ),
    *(
        "4.0.0=quay.io/strimzi/kafka:0.48.0-kafka-4.0.0\n",
        "sha256:" + "ab" * 32,
        "0f8fad5b-d9cb-469f-a165-70867728950e",
    ),
]


@pytest.mark.parametrize("value", PLAIN)
def test_plain_values(value: str) -> None:
    assert is_plain(value)


@pytest.mark.parametrize(
    "value",
    [
        "Zx9Kq2LmPw8Rt5Vn",
        "hunter2!",
        "a b$c",
        "y" * 2000,
        "dGhpcyBpcyBhIHNlY3JldCE",
        "-----BEGIN RSA PRIVATE KEY-----",
    ],
)
def test_values_that_are_not_plainly_harmless(value: str) -> None:
    assert not is_plain(value)


@pytest.mark.parametrize(
    "value",
    [
        "Zx9Kq2LmPw8Rt5VnBc4Y",
        "token Zx9Kq2LmPw8Rt5VnBc4Y here",
        "a8f3k2m9x7q1w5e4r6t0",
        "AbCdEfGhIjKlMnOpQrSt",
    ],
)
def test_chance_is_seen(value: str) -> None:
    assert is_opaque(value)


@pytest.mark.parametrize(
    "value",
    [
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ab12" * 16,
        "0f8fad5b-d9cb-469f-a165-70867728950e",
        "short1A",
        "a" * 40,
        "words-and-more-words-here",
        "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0t",
        "sha256-" + "0f" * 32,
        "etag-" + "0f" * 16,
    ],
)
def test_what_is_no_chance(value: str) -> None:
    assert not is_opaque(value)


def test_private_keys_are_not_public() -> None:
    assert is_public("-----BEGIN PUBLIC KEY-----\nabc")
    assert not is_public("-----BEGIN CERTIFICATE-----\nx\n-----BEGIN PRIVATE KEY-----")


def test_entropy() -> None:
    assert entropy("aaaa") == 0
    assert entropy("abcd") == 2


@given(st.text(max_size=200))
def test_every_text_can_be_judged(text: str) -> None:
    assert is_harmless(text) in (True, False)
    assert is_plain(text) in (True, False)
    assert is_worth_knowing(text) in (True, False)
