from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaperone.core.masking import keys
from chaperone.core.masking.keys import (
    LONGEST,
    Naming,
    is_secret,
    judgement,
    may_name_object,
    normalised,
    secret_stems,
)

JUDGE = judgement()

SECRET = [
    "password",
    "PASSWORD",
    "passwd",
    "pwd",
    "pass",
    "passphrase",
    "passPhrase",
    "DB_PASSWORD",
    "dbPassword",
    "db-password",
    "db.password",
    "MYSQLPASSWORD",
    "mysql_root_password",
    "spring.datasource.password",
    "POSTGRES_PASS",
    "redisPass",
    "password_1",
    "PASSWORD2",
    "passwordHash",
    "adminPw",
    "userPassword",
    "ldap_bind_password",
    "storepass",
    "keyPass",
    "-storepass",
    "old_passwords",
    "secret",
    "SECRET",
    "clientSecret",
    "client_secret",
    "client-secret",
    "CLIENT_SECRET",
    "jwtSecret",
    "secret_id",
    "secretId",
    "secretValue",
    "token",
    "accessToken",
    "ACCESS_TOKEN",
    "authToken",
    "auth-token",
    "refresh_token",
    "idToken",
    "bearerToken",
    "tokenValue",
    "GITHUB_TOKEN",
    "_authToken",
    "apiKey",
    "api_key",
    "api-key",
    "API_KEY",
    "apikey",
    "X-Api-Key",
    "x-api-key",
    "accessKey",
    "access_key",
    "AWS_ACCESS_KEY_ID",
    "secretAccessKey",
    "AWS_SECRET_ACCESS_KEY",
    "accountKey",
    "storage_key",
    "privateKey",
    "private-key",
    "PRIVATE_KEY",
    "signingKey",
    "ENCRYPTION_KEY",
    "masterKey",
    "tls.key",
    "server.key",
    "id_rsa",
    "id_ed25519",
    "keystore.jks",
    "cert.p12",
    "client-key-data",
    "clientKey",
    "sshKey",
    "credential",
    "credentials",
    "awsCredentials",
    "creds",
    "dsn",
    "SENTRY_DSN",
    "connectionString",
    "connection_string",
    "ConnectionStrings__Default",
    "Authorization",
    "authorization",
    "Proxy-Authorization",
    "Cookie",
    "Set-Cookie",
    "REDIS_AUTH",
    "basicAuth",
    "auth",
    "psk",
    "wifiPsk",
    "jwt",
    "hmac",
    "webhookUrl",
    "SLACK_WEBHOOK_URL",
    ".dockerconfigjson",
    ".htpasswd",
    ".pgpass",
    ".netrc",
    "bearer",
    "keytab",
    "SAS",
    "licenseKey",
    "tokens",
    "apiKeys",
    "GITHUB_PAT",
    "otp",
    "requirepass",
    "secretData",
    "secretEnv",
]

PLAIN = [
    "image",
    "replicas",
    "key",
    "keys",
    "path",
    "author",
    "authority",
    "authored",
    "passthrough",
    "bypass",
    "compass",
    "tokenizer",
    "secretary",
    "secretName",
    "secretNames",
    "secretRef",
    "secretKeyRef",
    "secretNamespace",
    "passwordSecretRef",
    "existingSecret",
    "existingSecretName",
    "imagePullSecret",
    "imagePullSecrets",
    "automountServiceAccountToken",
    "tokenExpirationSeconds",
    "tokenPath",
    "tokenFile",
    "keyFile",
    "PASSWORD_FILE",
    "passwordPolicy",
    "passwordLength",
    "minPasswordLength",
    "maxTokens",
    "max_tokens",
    "tokenId",
    "password_id",
    "credentialId",
    "tokenUrl",
    "token_endpoint",
    "authUrl",
    "authMode",
    "AUTH_TYPE",
    "secretStore",
    "secretStoreRef",
    "secretClass",
    "secretProviderClass",
    "publicKey",
    "public_key",
    "ssh_public.key",
    "topologyKey",
    "partitionKey",
    "cacheKey",
    "labelKey",
    "rolloutHash",
    "secretHash",
    "configHash",
    "tokenReview",
    "TokenRequest",
    "tokenRequests",
    "sealedSecret",
    "externalSecretName",
    "secretManager",
    "passwordFromEnv",
    "userFromSecret",
    "tokenTTL",
    "token_expiry",
    "passwordEncoder_class",
    "certificate",
    "caBundleRef",
    "patch",
    "monkey",
    "keyboard",
    "turkey",
    "donkey",
    "42",
    "--",
    "_",
    "spec",
]


@pytest.mark.parametrize("name", SECRET)
def test_names_of_secrets(name: str) -> None:
    assert is_secret(JUDGE(name))


@pytest.mark.parametrize("name", [name for name in PLAIN if name != "passwordEncoder_class"])
def test_names_that_hold_none(name: str) -> None:
    assert not is_secret(JUDGE(name))


@pytest.mark.parametrize(
    ("name", "naming"),
    [
        ("password", Naming.PASSWORD),
        ("pin_password", Naming.PASSWORD),
        ("token", Naming.SECRET),
        ("passwords", Naming.SECRETS),
        ("tokens", Naming.SECRETS),
        ("secretData", Naming.SECRETS),
        ("uid", Naming.PUBLIC),
        ("resourceVersion", Naming.PUBLIC),
        ("caBundle", Naming.PUBLIC),
        ("name", Naming.NAME),
        ("secretName", Naming.NAME),
    ],
)
def test_kinds_of_names(name: str, naming: Naming) -> None:
    assert JUDGE(name) is naming


def test_further_names_in_every_spelling() -> None:
    judge = judgement(["kundenNummer", "pin"])
    for name in (
        "kundenNummer",
        "KUNDEN_NUMMER",
        "kunden-nummer",
        "x.kundennummer",
        "CARD_PIN",
        "pin",
        "pin2",
    ):
        assert judge(name) is Naming.PASSWORD, name
    for name in ("spinner", "kunden", "nummer"):
        assert judge(name) is Naming.PLAIN, name
    assert judgement(["secretName"])("secretName") is Naming.PASSWORD


def test_a_name_without_letters_adds_nothing() -> None:
    assert judgement(["--", ""]) is judgement()


def test_spellings_have_one_form() -> None:
    assert {normalised(name) for name in ("dbPassword", "DB_PASSWORD", "db-password", "db.password")} == {
        "dbpassword"
    }


@given(st.text(max_size=300))
def test_any_text_can_be_judged(name: str) -> None:
    assert JUDGE(name[-LONGEST:]) in Naming


@pytest.mark.parametrize(
    ("name", "may"),
    [
        ("secret", True),
        ("configSecret", True),
        ("tls-secret", True),
        ("secrets", True),
        ("clientSecret", False),
        ("jwtSecret", False),
        ("password", False),
        ("", False),
    ],
)
def test_what_may_be_the_name_of_a_secret(name: str, may: bool) -> None:
    assert may_name_object(name) is may


@pytest.mark.parametrize("name", SECRET)
def test_every_name_of_a_secret_has_a_stem(name: str) -> None:
    import re2

    assert re2.search(f"(?i){secret_stems()}", name)


def test_stems_of_further_names_allow_every_spelling() -> None:
    import re2

    for name in ("kundenNummer", "KUNDEN_NUMMER", "kunden-nummer"):
        assert re2.search(f"(?i){secret_stems(['kundenNummer'])}", name)


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "_MOST_REMEMBERED", 2)
    judge = judgement(["a name of this test alone"])
    names = ["token", "x" * 5000 + "_password", "image", "dsn", "x", "token"]
    assert [is_secret(judge(name)) for name in names] == [True, True, False, True, False, True]
