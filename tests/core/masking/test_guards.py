"""What only looks like a secret is left as it is."""

from __future__ import annotations

import pytest

from chaperone.core.masking.guards import Candidate, is_assigned_secret, is_named_secret, is_value

SHA1 = b"da39a3ee5e6b4b0d3255bfef95601890afd80709"
UUID = b"123e4567-e89b-12d3-a456-426614174000"


@pytest.mark.parametrize(
    ("before", "secret", "is_secret"),
    [
        (b"cloudflare_api_token=", SHA1, True),
        (b"cloudflare: ", SHA1, False),
        (b"cloudflare-checksum: ", SHA1, False),
        (b"cloudflare key sha256: ", SHA1, False),
        (b"image: registry/cloudflare:", SHA1, False),
        (b"scaleway secret key = ", UUID, True),
        (b"scaleway: ", UUID, False),
        (b"adafruit = ", b"a-long-name-without-any-number-x", False),
        (b"adafruit = ", b"a1b2c3d4e5f6g7h8a1b2c3d4e5f6g7h8", True),
    ],
)
def test_digests_and_uids_need_a_name_that_says_secret(before: bytes, secret: bytes, is_secret: bool) -> None:
    assert is_named_secret(Candidate(before, secret, b"")) is is_secret


@pytest.mark.parametrize(
    ("before", "secret", "after", "is_secret"),
    [
        (b"password=", b"hunter2", b"", True),
        (b"password: ", b"must", b" be long", False),
        (b"password: ", b"hunter", b"", True),
        (b"password=", b"${PASSWORD}", b"", False),
        (b"password=", b"{{ .Values.password }}", b"", False),
        (b"password=", b"<redacted>", b"", False),
        (b"password=", b"********", b"", False),
        (b"password=", b"/run/secrets/password", b"", False),
        (b"password=", b"/Ab3+/9zzQ==", b"", True),
        (b"password=", b"TRUE", b"", False),
        (b"password=", b"30m", b"", False),
    ],
)
def test_a_value_is_no_reference_no_flag_and_no_word_of_a_sentence(
    before: bytes, secret: bytes, after: bytes, is_secret: bool
) -> None:
    assert is_value(Candidate(before, secret, after)) is is_secret


@pytest.mark.parametrize(
    ("before", "secret", "keys", "is_secret"),
    [
        (b"password=", b"123456", (), True),
        (b"token: ", b"12", (), False),
        (b"tokens: ", b"registry-one", (), False),
        (b"tokens: ", b"n0t+A/t0ken", (), True),
        (b"pin=", b"zz99", (), False),
        (b"cardPin=", b"zz99", ("pin",), True),
        (b"PWD=", b"/somewhere", (), False),
        (b"--password-stdin ", b"registry", (), False),
        (b"=", b"hunter2", (), False),
    ],
)
def test_the_name_decides(before: bytes, secret: bytes, keys: tuple[str, ...], is_secret: bool) -> None:
    assert is_assigned_secret(Candidate(before, secret, b"", keys)) is is_secret
