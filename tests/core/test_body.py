"""Request bodies: what everybody reads alike is decoded, all else is refused with a code."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaperone.core.body import MAX_BODY, MAX_DEPTH, MAX_YAML, Decoded, Media, Undecodable, decode, media_type
from chaperone.core.legible import is_visible

PATCH_JSON = "application/json-patch+json"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"
PROTOBUF = "application/vnd.kubernetes.protobuf"

READ: list[tuple[str, bytes, str, str, Any]] = [
    ("JSON", b'{"kind":"Pod"}', "application/json", "create", {"kind": "Pod"}),
    ("JSON with white space and a line end", b' {"a" : [1, 2] }\n', "application/json", "create", {"a": [1, 2]}),
    ("JSON as Go escapes it", b'{"a":"\\u003cb\\u003e"}\n', "application/json", "update", {"a": "<b>"}),
    ("no content type means JSON", b'{"a":1}', "", "create", {"a": 1}),
    ("parameters and case of the content type", b'{"a":1}', "Application/JSON ; Charset=UTF-8", "create", {"a": 1}),
    ("another parameter", b'{"a":1}', "application/json;v=v1", "create", {"a": 1}),
    ("integers of any size stay exact", b'{"a":123456789012345678901234567890}', "", "create", {"a": 123456789012345678901234567890}),
    ("the largest integers of the machine", b'{"a":[18446744073709551615,-9223372036854775808]}', "", "create",
     {"a": [18446744073709551615, -9223372036854775808]}),
    ("delete options", b'{"propagationPolicy":"Background"}', "application/json", "delete", {"propagationPolicy": "Background"}),
    ("a merge patch", b'{"a":null}', MERGE, "patch", {"a": None}),
    ("a strategic merge patch", b'{"$patch":"delete"}', STRATEGIC, "patch", {"$patch": "delete"}),
    ("a JSON patch", b'[{"op":"remove","path":"/a"}]', PATCH_JSON + "; charset=utf-8", "patch", [{"op": "remove", "path": "/a"}]),
    ("apply, as kubectl sends it", b'{"kind":"Pod","a":"3e5"}', APPLY, "patch", {"kind": "Pod", "a": "3e5"}),
    ("apply in YAML", b"kind: Pod\nspec:\n  containers:\n  - name: a\n    args: ['yes', \"010\", -c, nginx:1.2, 10.0.0.1, 100m, 8080:80]\n",
     APPLY, "patch", {"kind": "Pod", "spec": {"containers": [
         {"name": "a", "args": ["yes", "010", "-c", "nginx:1.2", "10.0.0.1", "100m", "8080:80"]}]}}),
    ("YAML scalars", b"---\na: 1\nb: -2\nc: 0.5\nd: true\ne: False\nf: null\ng: ~\nh:\ni: |\n  x: y\n", "application/yaml", "create",
     {"a": 1, "b": -2, "c": 0.5, "d": True, "e": False, "f": None, "g": None, "h": None, "i": "x: y\n"}),
    ("YAML in flow style", b"{a: [b, {c: d}]}", "text/yaml", "create", {"a": ["b", {"c": "d"}]}),
    ("nesting up to the limit", b'{"a":' * (MAX_DEPTH - 1) + b"{}" + b"}" * (MAX_DEPTH - 1), "", "create", ...),
    ("many brackets that are not deep", b'{"a":[' + b"[]," * 300 + b'{"b":"c"}]}', "", "create", {"a": [[]] * 300 + [{"b": "c"}]}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("body", "content_type", "verb", "value"), [row[1:] for row in READ], ids=[row[0] for row in READ]
)
def test_reads(body: bytes, content_type: str, verb: str, value: Any) -> None:
    result = decode(body, content_type, verb)
    assert isinstance(result, Decoded), result
    assert result.value == (json.loads(body) if value is ... else value)


REFUSED: list[tuple[str, bytes, str, str, int]] = [
    ("duplicate keys", b'{"a":1,"a":1}', "", "create", 400),
    ("duplicate keys far inside", b'{"x":[{"y":{"a":1,"b":2,"a":3}}]}', "", "create", 400),
    ("duplicate keys, one of them escaped", b'{"a":1,"\\u0061":2}', "", "create", 400),
    ("NaN", b'{"a":NaN}', "", "create", 400),
    ("Infinity", b'{"a":-Infinity}', "", "create", 400),
    ("a number beyond all bounds", b'{"a":1e999}', "", "create", 400),
    ("a lone surrogate", b'{"a":"\\ud800"}', "", "create", 400),
    ("not UTF-8", b'{"a":"\xff"}', "", "create", 400),
    ("a byte order mark", b'\xef\xbb\xbf{"a":1}', "", "create", 400),
    ("a trailing comma", b'{"a":1,}', "", "create", 400),
    ("a comment", b'{"a":1}//x', "", "create", 400),
    ("two values", b'{"a":1}{"b":2}', "", "create", 400),
    ("cut off", b'{"a":', "", "create", 400),
    ("only white space", b" ", "", "create", 400),
    ("a list is no object", b"[]", "", "create", 400),
    ("a string is no object", b'"x"', "", "create", 400),
    ("a string full of brackets is no object", b'"' + b"[" * 300 + b'"', "", "create", 400),
    ("a JSON patch is a list", b"{}", PATCH_JSON, "patch", 400),
    ("a merge patch is an object", b"[]", MERGE, "patch", 400),
    ("one level too deep", b'{"a":' * MAX_DEPTH + b"{}" + b"}" * MAX_DEPTH, "", "create", 400),
    ("very deep", b"[" * 5000 + b"]" * 5000, "", "create", 400),
    ("deep without duplicates but with spaces", b'{"a": ' * 1010 + b"1" + b"}" * 1010, "", "create", 400),
    ("too long", b'{"a":"' + b"x" * MAX_BODY + b'"}', "", "create", 413),
    ("YAML that is called JSON", b"kind: Pod", "application/json", "create", 400),
    ("protobuf that is called JSON", b"k8s\x00\x0a", "application/json", "create", 400),
    ("JSON that is called protobuf", b'{"a":1}', PROTOBUF, "create", 400),
    ("JSON that is called CBOR", b'{"a":1}', "application/cbor", "create", 400),
    ("a form", b"a=b", "application/x-www-form-urlencoded", "create", 415),
    ("an unknown type", b"{}", "text/plain", "create", 415),
    ("a malformed type", b"{}", "\x1b;", "create", 415),
    ("another charset", b"{}", "application/json; charset=utf-16", "create", 415),
    ("a patch that does not say what it is", b"{}", "", "patch", 415),
    ("a patch that says JSON", b"{}", "application/json", "patch", 415),
    ("a create that says merge patch", b"{}", MERGE, "create", 415),
    ("YAML with duplicate keys", b"a: 1\na: 2\n", APPLY, "patch", 400),
    ("JSON with duplicate keys that is called YAML", b'{"a":1,"a":2}', APPLY, "patch", 400),
    ("YAML that unfolds", b"a: &x [1]\nb: *x\n", APPLY, "patch", 400),
    ("a YAML alias without an anchor", b"a: *x\n", APPLY, "patch", 400),
    ("a YAML tag", b"a: !!python/name:os.system x\n", APPLY, "patch", 400),
    ("a YAML tag of a string", b"a: !!str 1\n", APPLY, "patch", 400),
    ("a YAML tag of a mapping", b"a: !x {}\n", APPLY, "patch", 400),
    ("two YAML documents", b"a: 1\n---\na: 2\n", APPLY, "patch", 400),
    ("a YAML key that is a number", b"1: x\n", APPLY, "patch", 400),
    ("a YAML key that is nothing", b": x\n", APPLY, "patch", 400),
    ("a YAML key that is a list", b"[a]: x\n", APPLY, "patch", 400),
    ("a YAML merge key", b"<<: {a: 1}\n", APPLY, "patch", 400),
    ("broken YAML", b"a: [\n", APPLY, "patch", 400),
    ("YAML that is not UTF-8", b"a: \xff\n", APPLY, "patch", 400),
    ("YAML of nothing", b"# x\n", APPLY, "patch", 400),
    ("YAML that is too deep", b"a: " + b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1), APPLY, "patch", 400),
    ("YAML that is too long", b"a: " + b"x" * MAX_YAML, APPLY, "patch", 413),
    ("JSON numbers that YAML reads differently", b'{"a":1e3}', APPLY, "patch", 400),
    ("JSON integers that YAML reads differently", b'{"a":12345678901234567890}', APPLY, "patch", 400),
]  # fmt: skip


@pytest.mark.parametrize(
    ("body", "content_type", "verb", "code"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED]
)
def test_pa11_refuses(body: bytes, content_type: str, verb: str, code: int) -> None:
    result = decode(body, content_type, verb)
    assert isinstance(result, Undecodable), result
    assert (result.code, result.opaque) == (code, False)
    assert is_visible(result.reason)


@pytest.mark.parametrize(
    "scalar",
    ["yes", "No", "y", "ON", "off", "TrUe", "nULL", "010", "0x1F", "0o17", "0b1", "1_000", "+1", "1e3", "1.", ".5", "12:30", "1:30.5",
     ".inf", "-.INF", ".NaN", "2026-01-31", "2026-1-31 10:00:00", "=", "9999999999999999999"],
)  # fmt: skip
def test_yaml_that_two_readers_read_differently_is_refused(scalar: str) -> None:
    result = decode(f"a: {scalar}\n".encode(), APPLY, "patch")
    assert isinstance(result, Undecodable)
    assert "quote it" in result.reason
    quoted = decode(f"a: '{scalar}'\n".encode(), APPLY, "patch")
    assert quoted == Decoded({"a": scalar}, Media.APPLY)


@pytest.mark.parametrize(
    ("body", "content_type", "verb"),
    [
        (b"k8s\x00\x0a", PROTOBUF, "create"),
        (b"\xd9\xd9\xf7\xa0", "application/cbor", "update"),
        (b"\xd9\xd9\xf7\xa0", "application/apply-patch+cbor", "patch"),
    ],
)
def test_what_only_the_api_server_reads_is_opaque(body: bytes, content_type: str, verb: str) -> None:
    result = decode(body, content_type, verb)
    assert isinstance(result, Undecodable)
    assert (result.code, result.opaque) == (415, True)


def test_no_body_is_none_whatever_its_type() -> None:
    assert decode(b"", "text/plain", "delete") == Decoded(None)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("", ("", "")),
        ("a/b", ("a/b", "")),
        ('A/B; x=y; CHARSET="UTF-8"', ("a/b", "utf-8")),
        ("a/b;charset", ("a/b", "")),
    ],
)
def test_media_types(value: str, expected: tuple[str, str]) -> None:
    assert media_type(value) == expected


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=5), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip
OBJECT = st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), JSON, max_size=5)


@given(OBJECT, st.booleans(), st.sampled_from([None, 2]))
def test_json_says_the_same_however_it_is_written(
    value: dict[str, Any], ascii_only: bool, indent: int | None
) -> None:
    assert decode(json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode()) == Decoded(value)


@given(OBJECT.filter(bool), st.data())
def test_a_repeated_key_is_found_wherever_it_stands(value: dict[str, Any], data: st.DataObject) -> None:
    key = data.draw(st.sampled_from(sorted(value)))
    twice = "{" + ",".join(f"{json.dumps(name)}:{json.dumps(value[name])}" for name in [*value, key]) + "}"
    assert isinstance(decode(f'{{"a":[{twice}]}}'.encode()), Undecodable)


@given(
    st.binary(max_size=80),
    st.sampled_from(["", "application/json", APPLY, PATCH_JSON, PROTOBUF, "application/yaml"]),
    st.sampled_from(["create", "patch", "delete"]),
)
def test_no_body_makes_decode_raise(body: bytes, content_type: str, verb: str) -> None:
    assert isinstance(decode(body, content_type, verb), Decoded | Undecodable)


@given(st.text(max_size=60))
def test_no_yaml_makes_decode_raise(text: str) -> None:
    result = decode(text.encode(errors="replace"), APPLY, "patch")
    if isinstance(result, Undecodable):
        assert is_visible(result.reason)
