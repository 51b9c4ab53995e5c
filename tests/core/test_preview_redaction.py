"""No secret is shown to those who decide: what is hidden, what stays, and that random secrets never come through."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaperone.core.preview_redaction import (
    CHANGED,
    HIDDEN,
    LAST_APPLIED,
    MOST_TEXT,
    hidden_values,
    looks_secret,
    marked,
    shown,
    shown_after,
)


def as_shown(obj: Any, **how: Any) -> Any:
    return shown(marked(obj, **how))


HIDES: dict[str, tuple[Any, Any]] = {
    # sentence: (object, as it is shown)
    "data of a Secret": (
        {"kind": "Secret", "type": "Opaque", "data": {"a": "YQ=="}},
        {"kind": "Secret", "type": "Opaque", "data": {"a": HIDDEN}},
    ),
    "stringData of a Secret in a template": (
        {"spec": {"kind": "Secret", "stringData": {"a": "x", "b": ""}}},
        {"spec": {"kind": "Secret", "stringData": {"a": HIDDEN, "b": ""}}},
    ),
    "binary data of a ConfigMap": ({"binaryData": {"a": "AA=="}}, {"binaryData": {"a": HIDDEN}}),
    "a variable's value, however it looks": (
        {"env": [{"name": "LEVEL", "value": "info"}]},
        {"env": [{"name": "LEVEL", "value": HIDDEN}]},
    ),
    "the value of a patch's operation": (
        [{"op": "add", "path": "/data/a", "value": {"b": "c", "n": 7}}],
        [{"op": "add", "path": "/data/a", "value": {"b": HIDDEN, "n": HIDDEN}}],
    ),
    "the configuration applied last": ({LAST_APPLIED: "{}"}, {LAST_APPLIED: HIDDEN}),
    "what is under a key like a credential": (
        {"dbPassword": "x", "api-key": 7, "tls.key": "k", "auth": {"user": "u", "on": True}},
        {"dbPassword": HIDDEN, "api-key": HIDDEN, "tls.key": HIDDEN, "auth": {"user": HIDDEN, "on": True}},
    ),
    "a secret that is no reference": ({"secret": {"value": "x"}}, {"secret": {"value": HIDDEN}}),
    "a list of secrets that are no references": ({"secrets": ["x"]}, {"secrets": [HIDDEN]}),
    "the word after a flag": (
        {"args": ["--password", "x", "-p", "y", "--port", "80"]},
        {"args": ["--password", HIDDEN, "-p", HIDDEN, "--port", "80"]},
    ),
    "a word glued to a flag": ({"args": ["-phunter", 7]}, {"args": [HIDDEN, 7]}),
    "a text that assigns one": ({"a": "PGPASSWORD=x psql"}, {"a": HIDDEN}),
    "a text that passes one": ({"a": "mysql --password x"}, {"a": HIDDEN}),
    "a nested document": ({"a": '{"token": "x"}'}, {"a": HIDDEN}),
    "a header": ({"a": "Authorization: Basic x"}, {"a": HIDDEN}),
    "userinfo in a URL": ({"image": "https://u:p@host/x"}, {"image": HIDDEN}),
    "a private key": ({"a": "-----BEGIN RSA PRIVATE KEY-----"}, {"a": HIDDEN}),
    "a name that assigns one": ({"name": "token=x"}, {"name": HIDDEN}),
    "a cloud's key": ({"a": "AKIAIOSFODNN7EXAMPLE"}, {"a": HIDDEN}),
    "a token between words": ({"a": "use ghp_abcdefghij0123456789KLMNOP here"}, {"a": HIDDEN}),
    "base64 with a slash": ({"a": "aGVsbG8/d29ybGQ/Zm9v/YmFyQmF6"}, {"a": HIDDEN}),
    "long lower-case letters": ({"a": "q" * 40}, {"a": HIDDEN}),
    "mixed case without digits": ({"a": "aBcDeFgHiJkLmNoPqRsTuVwX"}, {"a": HIDDEN}),
    "a UUID": ({"a": "8e1f1f57-1b7f-4d57-8a36-0a9c3a9d1c11"}, {"a": HIDDEN}),
    "a text too long to look through": ({"a": " " * (MOST_TEXT + 1)}, {"a": HIDDEN}),
    "a token in an image": ({"image": "host/x:ghp_abcdefghij0123456789KLMNOP"}, {"image": HIDDEN}),
}

STAYS: dict[str, Any] = {
    "a reference to a secret": {"valueFrom": {"secretKeyRef": {"name": "s", "key": "password"}}},
    "a volume of a secret": {
        "secret": {"secretName": "s", "items": [{"key": "k", "path": "p"}], "defaultMode": 420}
    },
    "pull secrets": {"imagePullSecrets": [{"name": "s"}]},
    "a projected token": {
        "serviceAccountToken": {"audience": "a", "expirationSeconds": 3600, "path": "token"}
    },
    "the name of a TLS secret": {"tls": [{"secretName": "s", "hosts": ["a.example"]}]},
    "switches": {"automountServiceAccountToken": False, "token": None},
    "an image with a digest": {"image": "registry.example/a/b:1.2@sha256:" + "0a" * 32},
    "an image with a commit": {"image": "registry.example/a/b:" + "0a" * 20},
    "names": {"metadata": {"name": "web-5d4f8c7b9d-x2x4q", "uid": "8e1f1f57-1b7f-4d57-8a36-0a9c3a9d1c11"}},
    "words joined by dashes": {"a": "a-long-name-of-a-thing-in-version-2-of-it"},
    "long words": {"a": "FallbackToLogsOnErrorAlways"},
    "a path": {"mountPath": "/var/run/config"},
    "rights to secrets": {"rules": [{"resources": ["secrets"], "verbs": ["get"]}]},
    "numbers and switches": {"replicas": 3, "paused": True, "x": None, "f": 1.5},
}


@pytest.mark.parametrize(("obj", "expected"), HIDES.values(), ids=HIDES)
def test_hidden(obj: Any, expected: Any) -> None:
    assert as_shown(obj) == expected


@pytest.mark.parametrize("obj", STAYS.values(), ids=STAYS)
def test_shown(obj: Any) -> None:
    assert as_shown(obj) == obj


def test_a_secret_is_one_whatever_it_says() -> None:
    assert as_shown({"kind": "Other", "data": {"a": "b"}}, secret=True)["data"] == {"a": HIDDEN}
    assert as_shown([{"a": "b"}], secret=True) == [{"a": "b"}]


def after(before: Any, now: Any) -> Any:
    return shown_after(marked(before), marked(now))


def test_a_hidden_value_says_whether_it_changed() -> None:
    before = {"password": "a", "token": "b", "dsn": "x"}
    assert after(before, {"password": "a", "token": "c", "cookie": "d"}) == {
        "password": HIDDEN,
        "token": CHANGED,
        "cookie": HIDDEN,
    }
    assert after({"password": {"a": "b"}}, {"password": "x"}) == {"password": CHANGED}
    assert after({"a": "b"}, {"a": {"password": "x"}}) == {"a": {"password": HIDDEN}}


def variables(**values: str) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in values.items()]


def test_items_are_compared_by_their_names() -> None:
    now = after(variables(A="1", B="2"), variables(C="0", B="2", A="9"))
    assert [item["value"] for item in now] == [HIDDEN, HIDDEN, CHANGED]


def test_items_without_names_are_compared_by_their_place() -> None:
    before, now = ["--password", "a"], ["--password", "b", "--token", "c"]
    assert after(before, now) == ["--password", CHANGED, "--token", HIDDEN]
    assert after("text", now) == ["--password", HIDDEN, "--token", HIDDEN]


def test_hidden_values_are_known_with_their_lines() -> None:
    assert hidden_values(marked({"password": "a\n b", "x": [{"token": 7}], "y": "z"})) == {
        "a\n b",
        "a",
        "b",
        "7",
    }


texts = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=12)
secrets = st.text(alphabet="abcXYZ012 -_./+=é\n", min_size=1, max_size=60).map(lambda text: f"S3cr{text}t!")


@given(keys=st.dictionaries(texts, secrets, max_size=4))
def test_no_value_of_a_secret_comes_through(keys: dict[str, str]) -> None:
    data = {key: base64.b64encode(value.encode()).decode() for key, value in keys.items()}
    applied = {"metadata": {"annotations": {LAST_APPLIED: json.dumps(keys)}}}
    text = json.dumps(
        as_shown({**applied, "kind": "Secret", "data": data, "stringData": keys}), ensure_ascii=False
    )
    assert not any(value in text or data[key] in text for key, value in keys.items())


@given(values=st.dictionaries(texts, secrets, max_size=4))
def test_no_value_of_a_variable_comes_through(values: dict[str, str]) -> None:
    pod = {
        "spec": {"containers": [{"env": [{"name": name, "value": value} for name, value in values.items()]}]}
    }
    text = json.dumps({"one": as_shown(pod), "two": after(pod, pod)}, ensure_ascii=False)
    assert not any(value in text for value in values.values())


@given(st.binary(min_size=24, max_size=64))
def test_random_tokens_look_secret(token: bytes) -> None:
    text = base64.b64encode(bytes(byte ^ (at * 37 + 91) % 256 for at, byte in enumerate(token))).decode()
    mixed = any(map(str.isupper, text)) and any(map(str.islower, text)) and any(map(str.isdigit, text))
    if mixed and not text.startswith("/"):
        assert looks_secret(text)
