"""Tokens as strangers write them: where a credential may stand, and the one way to read a JWT."""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaperone.core.token import (
    BEARER_PROTOCOL,
    MAX_TOKEN_BYTES,
    Refused,
    Token,
    Unverified,
    check_claims,
    decode_segment,
    extract_token,
    read_object,
    read_token,
)


def encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def bearer(token: str) -> str:
    return BEARER_PROTOCOL + encode(token.encode())


V5 = "v5.channel.k8s.io"

ACCEPTED = [
    ("one header", ["Bearer abc"], None, False, Token("abc")),
    ("scheme in any case", ["bEaReR abc"], None, False, Token("abc")),
    ("space around the value", [" Bearer abc\t"], None, False, Token("abc")),
    (
        "header on a WebSocket",
        ["Bearer abc"],
        f"{V5}, v4.channel.k8s.io",
        True,
        Token("abc", (V5, "v4.channel.k8s.io")),
    ),
    (
        "kubectl's port-forward, whose subprotocol is no token of HTTP",
        ["Bearer abc"],
        "SPDY/3.1+portforward.k8s.io",
        True,
        Token("abc", ("SPDY/3.1+portforward.k8s.io",)),
    ),
    ("ID-13 one bearer subprotocol", [], f"{bearer('abc')}, {V5}", True, Token("abc", (V5,))),
    ("ID-13 in any order", [], f"{V5},{bearer('abc')}", True, Token("abc", (V5,))),
]


@pytest.mark.parametrize(
    ("values", "protocols", "websocket", "expected"),
    [case[1:] for case in ACCEPTED],
    ids=[case[0] for case in ACCEPTED],
)
def test_one_credential_is_found(
    values: list[str], protocols: str | None, websocket: bool, expected: Token
) -> None:
    assert extract_token(values, protocols, websocket) == expected


REFUSED = [
    ("ID-01 no credential", [], None, False, 401),
    ("ID-01 none on a WebSocket", [], V5, True, 401),
    ("ID-09 nothing after the scheme", ["Bearer "], None, False, 401),
    ("ID-09 the scheme alone", ["Bearer"], None, False, 401),
    ("empty header", [""], None, False, 401),
    ("two spaces", ["Bearer  abc"], None, False, 401),
    ("three words", ["Bearer abc def"], None, False, 401),
    ("a tab", ["Bearer\tabc"], None, False, 401),
    ("another scheme", ["Basic abc"], None, False, 401),
    ("two credentials in one header", ["Bearer abc,Bearer def"], None, False, 401),
    ("padding inside", ["Bearer a=b"], None, False, 401),
    ("non-ASCII", ["Bearer äbc"], None, False, 401),
    ("a NUL", ["Bearer a\0b"], None, False, 401),
    ("a line break", ["Bearer abc\n"], None, False, 401),
    ("too long", ["Bearer " + "a" * (MAX_TOKEN_BYTES + 1)], None, False, 401),
    ("ID-11 two headers, the first valid", ["Bearer abc", "nonsense"], None, False, 400),
    ("ID-11 two headers, the second valid", ["", "Bearer abc"], None, False, 400),
    ("ID-11 the same twice", ["Bearer abc", "Bearer abc"], None, False, 400),
    ("ID-14 two bearer subprotocols", [], f"{bearer('a')}, {bearer('b')}, {V5}", True, 401),
    ("ID-14 the same twice", [], f"{bearer('a')}, {bearer('a')}, {V5}", True, 401),
    ("header and subprotocol", ["Bearer abc"], f"{bearer('abc')}, {V5}", True, 401),
    ("no other subprotocol", [], bearer("abc"), True, 401),
    ("outside of a WebSocket", [], f"{bearer('abc')}, {V5}", False, 401),
    ("beside a header, outside of a WebSocket", ["Bearer abc"], f"{bearer('abc')}, {V5}", False, 401),
    ("in another case", [], f"{bearer('abc').replace('bearer', 'Bearer')}, {V5}", True, 401),
    ("an empty token", [], f"{BEARER_PROTOCOL}, {V5}", True, 401),
    ("not base64url", [], f"{BEARER_PROTOCOL}a+b, {V5}", True, 401),
    ("not a character", [], f"{BEARER_PROTOCOL}{encode(bytes([255, 254]))}, {V5}", True, 401),
    ("a line break inside", [], f"{BEARER_PROTOCOL}{encode(b'abc' + bytes([10]))}, {V5}", True, 401),
    ("a subprotocol too long", [], f"{bearer('a' * MAX_TOKEN_BYTES * 2)}, {V5}", True, 401),
    ("an empty entry", ["Bearer abc"], f"{V5},,v4", True, 400),
    ("a space in an entry", ["Bearer abc"], "a b", True, 400),
]


@pytest.mark.parametrize(
    ("values", "protocols", "websocket", "code"),
    [case[1:] for case in REFUSED],
    ids=[case[0] for case in REFUSED],
)
def test_anything_else_is_refused(
    values: list[str], protocols: str | None, websocket: bool, code: int
) -> None:
    refused = extract_token(values, protocols, websocket)
    assert isinstance(refused, Refused)
    assert refused.code == code
    assert "abc" not in refused.audit_reason + refused.public_message


def test_a_token_never_shows_in_its_repr() -> None:
    assert "sesame" not in repr(extract_token(["Bearer sesame"], None, False))
    token = jwt({"alg": "RS256"}, {"iss": "i", "sub": "sesame"})
    assert "sesame" not in repr(read_token(token))
    assert encode(b"sig") not in repr(read_token(token))


def jwt(
    header: Mapping[str, Any] | bytes, claims: Mapping[str, Any] | bytes, signature: bytes = b"sig"
) -> str:
    parts = (part if isinstance(part, bytes) else json.dumps(part).encode() for part in (header, claims))
    return ".".join((*map(encode, parts), encode(signature)))


def test_a_well_formed_token_is_decoded() -> None:
    token = jwt({"alg": "ES256", "kid": "k", "typ": "JWT"}, {"iss": "https://i", "n": [1, {"x": None}]})
    decoded = read_token(token)
    assert isinstance(decoded, Unverified)
    assert (decoded.algorithm, decoded.key_id, decoded.issuer) == ("ES256", "k", "https://i")
    assert decoded.claims["n"] == [1, {"x": None}]
    assert decoded.signing_input == token.rpartition(".")[0].encode()
    assert decoded.signature == b"sig"


@pytest.mark.parametrize("kind", ["JWT", "jwt", "at+jwt", "application/at+jwt", "JOSE"])
def test_expected_types_pass(kind: str) -> None:
    assert isinstance(read_token(jwt({"alg": "RS256", "typ": kind}, {"iss": "i"})), Unverified)


def test_key_sources_in_the_header_are_ignored() -> None:  # ID-15
    header = {
        "alg": "RS256",
        "kid": "../../keys",
        "jku": "https://evil",
        "x5u": "https://evil",
        "jwk": {},
        "x5c": [],
    }
    decoded = read_token(jwt(header, {"iss": "i"}))
    assert isinstance(decoded, Unverified)
    assert decoded.key_id == "../../keys"


GOOD = {"alg": "RS256", "typ": "JWT", "kid": "k"}
CLAIMS = {"iss": "i"}
WHOLE = jwt(GOOD, CLAIMS)
DEEP = b'{"iss":"i","x":' + b"[" * 40 + b"]" * 40 + b"}"
MALFORMED = [
    ("ID-02 nothing", ""),
    ("ID-02 no JWT", "abc"),
    ("two parts", WHOLE.rpartition(".")[0]),
    ("four parts", WHOLE + ".abc"),
    ("five parts, as of an encrypted one", "a.b.c.d.e"),
    ("ID-06 no signature", WHOLE.rpartition(".")[0] + "."),
    ("padding", WHOLE + "="),
    ("standard alphabet", WHOLE[:-1] + "+"),
    ("a line break", WHOLE + "\n"),
    ("non-ASCII digits", WHOLE[:-1] + "٣"),
    ("loose bits at the end", jwt(GOOD, CLAIMS, b"a")[:-1] + "R"),
    ("an impossible length", jwt(GOOD, CLAIMS) + "a"),
    ("too long", jwt(GOOD, {"iss": "i", "x": "a" * MAX_TOKEN_BYTES})),
    ("header is a list", jwt(b"[]", CLAIMS)),
    ("claims are a list", jwt(GOOD, b"[]")),
    ("claims are no JSON", jwt(GOOD, b"{'iss':1}")),
    ("a byte order mark", jwt(GOOD, b'\xef\xbb\xbf{"iss":"i"}')),
    ("not UTF-8", jwt(GOOD, b'{"iss":"i","x":"\xff"}')),
    ("UTF-16", jwt(GOOD, '{"iss":"i"}'.encode("utf-16"))),
    ("a doubled claim", jwt(GOOD, b'{"iss":"i","iss":"j"}')),
    ("a doubled claim within", jwt(GOOD, b'{"iss":"i","x":{"a":1,"a":2}}')),
    ("a doubled header field", jwt(b'{"alg":"RS256","alg":"none"}', CLAIMS)),
    ("a doubled claim in escapes", jwt(GOOD, b'{"iss":"i","i\\u0073s":"j"}')),
    ("half a character", jwt(GOOD, b'{"iss":"i","x":"\\ud800"}')),
    ("half a character in a key", jwt(GOOD, b'{"iss":"i","\\udc00":1}')),
    ("NaN", jwt(GOOD, b'{"iss":"i","exp":NaN}')),
    ("Infinity", jwt(GOOD, b'{"iss":"i","exp":-Infinity}')),
    ("a float beyond range", jwt(GOOD, b'{"iss":"i","exp":1e999}')),
    ("an integer beyond 64 bits", jwt(GOOD, b'{"iss":"i","exp":9223372036854775808}')),
    ("an integer without end", jwt(GOOD, b'{"iss":"i","exp":' + b"9" * 5000 + b"}")),
    ("nested deeply", jwt(GOOD, DEEP)),
    ("nested beyond the stack", jwt(GOOD, b'{"x":' + b"[" * 8000 + b"]" * 100 + b"}")),
    ("two documents", jwt(GOOD, b'{"iss":"i"}{}')),
    ("no algorithm", jwt({"kid": "k"}, CLAIMS)),
    ("algorithm is a list", jwt({"alg": ["RS256"]}, CLAIMS)),
    ("critical extension", jwt({**GOOD, "crit": ["b64"], "b64": False}, CLAIMS)),
    ("critical but empty", jwt({**GOOD, "crit": []}, CLAIMS)),
    ("another type", jwt({**GOOD, "typ": "logout+jwt"}, CLAIMS)),
    ("type is null", jwt({**GOOD, "typ": None}, CLAIMS)),
    ("key id is a number", jwt({**GOOD, "kid": 1}, CLAIMS)),
    ("key id is null", jwt({**GOOD, "kid": None}, CLAIMS)),
    ("key id is long", jwt({**GOOD, "kid": "k" * 300}, CLAIMS)),
    ("no issuer", jwt(GOOD, {})),
    ("issuer is a list", jwt(GOOD, {"iss": ["i"]})),
]


def test_a_finite_float_is_a_number() -> None:
    found = read_token(jwt(GOOD, b'{"iss":"i","exp":1.5e9}'))
    assert not isinstance(found, Refused)
    assert found.claims["exp"] == 1.5e9


@pytest.mark.parametrize("token", [case[1] for case in MALFORMED], ids=[case[0] for case in MALFORMED])
def test_what_can_be_read_in_two_ways_is_refused(token: str) -> None:
    refused = read_token(token)
    assert isinstance(refused, Refused)
    assert refused.code == 401


@given(st.text())
def test_no_text_makes_the_reader_raise(text: str) -> None:
    assert isinstance(read_token(text), Refused | Unverified)
    extract_token([text], text, True)


@given(st.binary(min_size=1))
def test_base64url_has_one_spelling(raw: bytes) -> None:
    assert decode_segment(encode(raw)) == raw


@given(st.text(alphabet="ABCDwxyz0189-_", min_size=1, max_size=9))
def test_what_decodes_encodes_back(text: str) -> None:
    try:
        raw = decode_segment(text)
    except ValueError:
        return
    assert encode(raw) == text


@given(st.binary())
def test_objects_are_read_or_refused(raw: bytes) -> None:
    with contextlib.suppress(ValueError):
        assert isinstance(read_object(raw), dict)


NOW = 1_800_000_000.0
SOUND: dict[str, Any] = {"iss": "https://i", "aud": "us", "exp": NOW + 60, "iat": NOW - 60, "nbf": NOW - 60}


def checked(**claims: Any) -> Refused | None:
    merged = {name: value for name, value in (SOUND | claims).items() if value is not ...}
    return check_claims(merged, issuer="https://i", audiences=frozenset({"us", "we"}), leeway=30, now=NOW)


@pytest.mark.parametrize(
    "claims",
    [
        {},
        {"aud": ["others", "we"]},
        {"iat": ..., "nbf": ...},
        {"exp": NOW - 29},
        {"nbf": NOW + 30, "iat": NOW + 30},
        {"exp": NOW + 0.5},
    ],
    ids=str,
)
def test_claims_in_order_pass(claims: dict[str, Any]) -> None:
    assert checked(**claims) is None


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://i/"},  # ID-03
        {"iss": "https://I"},
        {"iss": ...},
        {"aud": ...},  # ID-04
        {"aud": "them"},
        {"aud": "US"},
        {"aud": []},
        {"aud": {"us": 1}},
        {"aud": ["us", 1]},
        {"aud": ["us", ["us"]]},
        {"aud": None},
        {"aud": ["x"] * 100 + ["us"]},
        {"exp": NOW - 31},  # ID-05
        {"exp": NOW - 30},
        {"exp": ...},
        {"exp": None},
        {"exp": True},
        {"exp": "1900000000"},
        {"exp": -1},
        {"exp": 1e15},
        {"nbf": NOW + 31},
        {"nbf": "0"},
        {"nbf": False},
        {"nbf": None},
        {"iat": NOW + 31},
        {"iat": []},
        {"iat": 2**62},
    ],
    ids=str,
)
def test_claims_out_of_order_are_refused(claims: dict[str, Any]) -> None:
    refused = checked(**claims)
    assert refused is not None
    assert refused.code == 401
