"""The digest ignores key order, parameter order, the client's timeout and an exec's transport, and nothing
else.
"""

from __future__ import annotations

import json
import random
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaperone.core.approval import Target
from chaperone.core.digest import approval_name, body_sha256, canonical_json, request_digest
from chaperone.core.identity import Caller
from chaperone.core.request import Request, parse

CALLER = Caller(
    issuer="https://issuer.example", subject="repo:acme/shop:main", username="repo:acme/shop", run="run-7"
)
PODS = "/api/v1/namespaces/shop/pods"
TARGET = Target("u", "g1")
EXEC = PODS + "/web-0/exec"
PROXY = "/api/v1/namespaces/shop/services/web/proxy/x"


def read(method: str, target: str, body: bytes = b"", **kwargs: str) -> Request:
    request = parse(method, target, **kwargs)
    assert isinstance(request, Request)
    return replace(request, body=body)


def digest(request: Request, caller: Caller = CALLER, target: Target = TARGET, **changes: Any) -> str:
    values: dict[str, Any] = {"policy": "coders", "policy_generation": 4, "cluster": "c-1", **changes}
    return request_digest(request, caller, target, **values)


POST = read(
    "POST", PODS + "?fieldManager=x&dryRun=All", b'{"a":{"b":1,"c":[1,2]}}', content_type="application/json"
)

SAME = [
    ("the order of keys", POST, replace(POST, body=b' {"a": {"c": [1, 2], "b": 1}}\n')),
    ("how a string is escaped", replace(POST, body=b'{"a":"<"}'), replace(POST, body=b'{"a":"\\u003c"}')),
    ("the order of parameters", POST, read("POST", PODS + "?dryRun=All&fieldManager=x", POST.body, content_type="application/json")),
    ("how a parameter is encoded", read("GET", PODS + "?a=b+c"), read("GET", PODS + "?a=b%20%63")),
    ("the client's timeout", POST, read("POST", PODS + "?fieldManager=x&timeout=5s&dryRun=All", POST.body, content_type="application/json")),
    ("a charset that is the default", POST, replace(POST, content_type="Application/JSON; charset=UTF-8")),
    ("a content type that is meant anyway", POST, replace(POST, content_type="")),
    ("a content type of nothing", read("DELETE", PODS + "/x"), read("DELETE", PODS + "/x", content_type="application/json")),
    ("exec by GET and by POST", read("GET", EXEC + "?command=a&command=b&tty=1", upgrade="websocket"),
     read("POST", EXEC + "?tty=1&command=a&command=b", upgrade="spdy/3.1")),
    ("the values behind placeholders", replace(POST, as_sent=b'{"a":"masked-1"}'), replace(POST, body=b'{"a":"x"}', as_sent=b'{"a": "masked-1"}')),
    ("a trailing slash", read("DELETE", PODS + "/x/"), read("DELETE", PODS + "/x")),
]  # fmt: skip


@pytest.mark.parametrize(("one", "other"), [row[1:] for row in SAME], ids=[row[0] for row in SAME])
def test_what_does_not_decide_does_not_count(one: Request, other: Request) -> None:
    assert digest(one) == digest(other)


OTHERS: list[tuple[str, Request, Request]] = [
    ("AP-02 another value in the body", POST, replace(POST, body=b'{"a":{"b":2,"c":[1,2]}}')),
    ("AP-02 another order in a list", POST, replace(POST, body=b'{"a":{"b":1,"c":[2,1]}}')),
    ("AP-02 a number and its text", replace(POST, body=b'{"a":1}'), replace(POST, body=b'{"a":"1"}')),
    ("AP-02 an integer and a boolean", replace(POST, body=b'{"a":1}'), replace(POST, body=b'{"a":true}')),
    ("AP-02 integers that a float cannot tell apart", replace(POST, body=b'{"a":9007199254740992}'), replace(POST, body=b'{"a":9007199254740993}')),
    ("AP-02 huge integers", replace(POST, body=b'{"a":36893488147419103232}'), replace(POST, body=b'{"a":36893488147419103233}')),
    ("AP-02 a key that stands twice", replace(POST, body=b'{"a":1,"b":2,"a":1}'), replace(POST, body=b'{"a":1,"b":2}')),
    ("AP-02 no body", POST, replace(POST, body=b"")),
    ("AP-02 another parameter", POST, read("POST", PODS + "?fieldManager=y&dryRun=All", POST.body)),
    ("AP-02 no parameter", POST, read("POST", PODS, POST.body)),
    ("AP-02 another content type", replace(POST, method="PATCH", verb="patch", content_type="application/merge-patch+json"),
     replace(POST, method="PATCH", verb="patch", content_type="application/strategic-merge-patch+json")),
    ("AP-02 another charset", POST, replace(POST, content_type="application/json;charset=utf-16")),
    ("another verb", read("PUT", PODS + "/x"), read("PATCH", PODS + "/x")),
    ("another path", read("DELETE", PODS + "/x"), read("DELETE", PODS + "/y")),
    ("another order of a command", read("GET", EXEC + "?command=a&command=b"), read("GET", EXEC + "?command=b&command=a")),
    ("another way through a proxy", read("GET", PROXY), read("DELETE", PROXY)),
    ("an upgrade through a proxy", read("GET", PROXY), read("GET", PROXY, upgrade="websocket")),
    ("another order of parameters behind a proxy", read("GET", PROXY + "?a=1&b=2"), read("GET", PROXY + "?b=2&a=1")),
    ("a timeout behind a proxy", read("GET", PROXY), read("GET", PROXY + "?timeout=5")),
    ("another order of keys behind a proxy", read("POST", PROXY, b'{"a":1,"b":2}'), read("POST", PROXY, b'{"b":2,"a":1}')),
    ("another spelling of the content type behind a proxy", read("POST", PROXY, b"x", content_type="a/b"), read("POST", PROXY, b"x", content_type="A/B")),
    ("the deprecated proxy prefix", read("GET", "/api/v1/proxy/namespaces/x/services/y"), read("POST", "/api/v1/proxy/namespaces/x/services/y")),
    ("white space in YAML", replace(POST, body=b"a: 1", content_type="application/yaml"), replace(POST, body=b"a:  1", content_type="application/yaml")),
    ("floats are hashed as they are written", replace(POST, body=b'{"a":1.0}'), replace(POST, body=b'{"a":1.00}')),
    ("bytes that are no JSON", replace(POST, body=b"x"), replace(POST, body=b"y")),
    ("JSON that is no object", replace(POST, body=b"1"), replace(POST, body=b" 1")),
]  # fmt: skip


@pytest.mark.parametrize(("one", "other"), [row[1:] for row in OTHERS], ids=[row[0] for row in OTHERS])
def test_what_decides_counts(one: Request, other: Request) -> None:
    assert digest(one) != digest(other)


def test_ap03_everything_around_the_request_counts() -> None:
    digests = [
        digest(POST),
        *(digest(POST, replace(CALLER, **change)) for change in _callers()),
        digest(POST, target=Target("v", "g1")),
        digest(POST, target=Target("u", "g2")),
        digest(POST, target=Target("u", "r1")),
        digest(POST, policy="others"),
        digest(POST, policy_generation=5),
        digest(POST, cluster="c-2"),
    ]
    assert len(set(digests)) == len(digests)
    assert digest(POST, replace(CALLER, groups=("x",), expires_at=5.0, claims={"a": 1})) == digests[0]


def _callers() -> list[dict[str, Any]]:
    return [{"issuer": "https://other.example"}, {"subject": "x"}, {"username": "x"}, {"run": "run-8"}]


def test_of_a_body_with_placeholders_the_placeholders_are_hashed() -> None:
    sent = b'{"data":{"password":"masked-1"}}'
    assert body_sha256(replace(POST, body=b'{"data":{"password":"hunter2"}}', as_sent=sent)) == body_sha256(
        replace(POST, body=sent)
    )


def test_the_digest_is_written_as_kubernetes_would() -> None:
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", digest(POST))
    assert body_sha256(replace(POST, body=b"")) == ""
    assert body_sha256(POST) == "78fd810474e10b94dddfc056b4e53041ae0dc0191ea2e8145be5d25587c304b4"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"b": 1, "a": [True, False, None]}, '{"a":[true,false,null],"b":1}'),
        ({"\u20ac": 1, "\r": 2, "\ufb33": 3, "1": 4, "\U0001f600": 5, "\x80": 6, "\u00f6": 7},
         '{"\\r":2,"1":4,"\x80":6,"\u00f6":7,"\u20ac":1,"\U0001f600":5,"\ufb33":3}'),
        ("\x00\x1f\b\t\n\f\r\"\\/\x7f\u2028é", '"\\u0000\\u001f\\b\\t\\n\\f\\r\\"\\\\/\x7f\u2028é"'),
        (2**70, "1180591620717411303424"),
        ({}, "{}"),
    ],
)  # fmt: skip
def test_canonical_json_is_rfc_8785(value: Any, text: str) -> None:
    assert canonical_json(value) == text.encode()


@pytest.mark.parametrize("value", [1.5, {"a": 0.0}, "\ud800", {"\ud800": 1}, b"x"])
def test_what_has_no_canonical_form_is_refused(value: Any) -> None:
    with pytest.raises(ValueError):
        canonical_json(value)


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=10,
)


def shuffled(value: Any, source: random.Random) -> Any:
    if isinstance(value, dict):
        members = [(key, shuffled(item, source)) for key, item in value.items()]
        source.shuffle(members)
        return dict(members)
    return [shuffled(item, source) for item in value] if isinstance(value, list) else value


@given(st.dictionaries(TEXT, JSON, max_size=4), st.randoms(use_true_random=False))
def test_the_digest_ignores_only_key_order(value: dict[str, Any], source: random.Random) -> None:
    one = replace(POST, body=json.dumps(value).encode())
    other = replace(POST, body=json.dumps(shuffled(value, source), indent=1, ensure_ascii=False).encode())
    assert digest(one) == digest(other)


@given(st.dictionaries(TEXT, JSON, max_size=3), st.dictionaries(TEXT, JSON, max_size=3))
def test_canonical_json_tells_values_apart(one: dict[str, Any], other: dict[str, Any]) -> None:
    equal = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert (canonical_json(one) == canonical_json(other)) is equal
    assert json.loads(canonical_json(one)) == one


@given(
    st.lists(st.tuples(st.sampled_from(["a", "b", "timeout"]), st.sampled_from("xyz")), max_size=5),
    st.randoms(use_true_random=False),
)
def test_the_digest_ignores_only_the_order_of_different_parameters(
    pairs: list[tuple[str, str]], source: random.Random
) -> None:
    first: dict[str, str] = {}
    pairs = [(key, first.setdefault(key, value)) for key, value in pairs]
    mixed = list(pairs)
    source.shuffle(mixed)
    one, other = ("&".join(f"{key}={value}" for key, value in order) for order in (pairs, mixed))
    without = "&".join(f"{key}={value}" for key, value in pairs if key != "timeout")
    assert (
        digest(read("GET", f"{PODS}?{one}"))
        == digest(read("GET", f"{PODS}?{other}"))
        == digest(read("GET", f"{PODS}?{without}"))
    )


@pytest.mark.parametrize(
    ("attempt", "name"),
    [(1, "apr-0123456789abcdef"), (2, "apr-0123456789abcdef-2"), (17, "apr-0123456789abcdef-17")],
)
def test_names_follow_from_the_digest(attempt: int, name: str) -> None:
    assert approval_name("sha256:0123456789abcdef" + "0" * 48, attempt) == name
    assert re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", name)
