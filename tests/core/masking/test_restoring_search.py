"""Placeholders are found, and replaced, in whatever they are wrapped; and where there is none, the fast look says so."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chaperone.core.masking import Mint
from chaperone.core.masking import restoring_search as search
from chaperone.core.masking.restoring_search import UnopenableError, may_hold, placeholders, rewrite, strings

PH = Mint(b"k" * 32).placeholder("uid", "data.password", "hunter2")
RAW = PH.encode()


def b64(raw: bytes) -> bytes:
    return base64.b64encode(raw)


def packed(raw: bytes) -> bytes:
    return gzip.compress(raw, mtime=0)


def in_lines(raw: bytes) -> bytes:
    text = b64(b"x" * 40 + raw)
    return b"\n".join(text[at : at + 64] for at in range(0, len(text), 64))


WRAP: dict[str, Callable[[bytes], bytes]] = {
    "alone": lambda it: it,
    "a part of a string": lambda it: b"postgres://app:" + it + b"@db/x",
    "twice": lambda it: it + b" " + it,
    "base64": b64,
    "base64, one byte later": lambda it: b64(b"x" + it),
    "base64, two bytes later": lambda it: b64(b"xy" + it),
    "base64 without its padding": lambda it: b64(it).rstrip(b"="),
    "base64 in base64": lambda it: b64(b"user:" + b64(it)),
    "base64 in base64 in a document": lambda it: b'{"auths":{"r":{"auth":"' + b64(b"u:" + it) + b'"}}}',
    "base64 behind other letters of base64": lambda it: b"path/" + b64(it) + b" and more",
    "base64 with a letter too much": lambda it: b64(b"xy" + it).rstrip(b"=") + b"AA" + b"A",
    "base64 in lines": in_lines,
    "gzip in base64": lambda it: b64(packed(b"a: " + it)),
    "a release of Helm": lambda it: b64(b64(packed(b'{"manifest":"password: ' + it + b'\\n"}'))),
    "behind what looks like gzip": lambda it: b64(b"\x1f\x8b\x08" + it),
    "behind gzip": lambda it: b64(packed(b"nothing") + it),
    "a JSON document": lambda it: json.dumps({"a": it.decode()}).encode(),
    "beside bytes that are no text": lambda it: b"\xff\xfe" + it + b"\x00",
}
VALUE = b"v" * len(RAW)


@pytest.mark.parametrize("name", WRAP)
def test_it_is_found_in(name: str) -> None:
    raw = WRAP[name](RAW)
    assert may_hold(raw)
    assert set(placeholders(raw)) == {PH}


@pytest.mark.parametrize("name", WRAP)
def test_it_is_replaced_in(name: str) -> None:
    changed = rewrite(WRAP[name](RAW), lambda _: VALUE)
    assert changed == WRAP[name](VALUE).replace(b"\n", b"") if "lines" in name else WRAP[name](VALUE)


def test_what_is_not_swapped_stays_the_same_object() -> None:
    for wrap in WRAP.values():
        raw = wrap(RAW)
        assert rewrite(raw, lambda _: None) is raw


def test_a_value_is_escaped_where_it_stands_in_a_json_document() -> None:
    text = json.dumps({"config": PH}).encode()
    assert json.loads(rewrite(text, lambda _: b'pa"ss\\word\n')) == {"config": 'pa"ss\\word\n'}
    assert rewrite(b"{" + RAW, lambda _: b'a"b') == b'{a"b'
    assert rewrite(text, lambda _: b"\xff") == text.replace(RAW, b"\xff")


CLEAN = {
    "nothing": b"",
    "a config map": b'{"kind":"ConfigMap","data":{"a":"b","text":"line\\nline\\r\\n/\\/"}}',
    "base64 of something else": b64(b"nothing to see here, only a text of some length"),
    "quotes that are escaped": json.dumps({"a": json.dumps({"b": "c" * 300})}).encode(),
}


@pytest.mark.parametrize("name", CLEAN)
def test_the_fast_look_says_no_to(name: str) -> None:
    assert not may_hold(CLEAN[name])
    assert placeholders(CLEAN[name]) == []


SPELLED = {
    "a letter spelled out": b'{"a":"\\u006dasked-' + RAW[7:] + b'"}',
    "base64 with escaped line ends": b'{"a":"' + b64(RAW)[:6] + b"\\n" + b64(RAW)[6:] + b'"}',
    "base64 with escaped returns": b'{"a":"' + b64(RAW)[:6] + b"\\r\\n" + b64(RAW)[6:] + b'"}',
}


@pytest.mark.parametrize("name", SPELLED)
def test_the_fast_look_is_not_deceived_by(name: str) -> None:
    assert may_hold(SPELLED[name])
    assert placeholders(json.loads(SPELLED[name])["a"]) == [PH]


def test_words_that_only_begin_alike_are_no_placeholders() -> None:
    for text in (
        "masked-",
        "masked-singer",
        PH[:-1],
        PH.upper(),
        "masked-" + "1" * 24,
        "H4sIgarbage",
        b64(b"masked-x").decode(),
    ):
        assert placeholders(text) == []
        assert rewrite(text.encode(), lambda _: b"x") == text.encode()


def test_what_is_packed_too_deep_or_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    deep = RAW
    for _ in range(4):
        deep = b64(packed(deep))
    with pytest.raises(UnopenableError):
        placeholders(deep)
    nested = RAW
    for _ in range(2):
        nested = b64(nested)
    with pytest.raises(UnopenableError):
        rewrite(nested, lambda _: b"x", 1)
    monkeypatch.setattr(search, "MOST_UNPACKED", 100)
    with pytest.raises(UnopenableError):
        placeholders(b64(packed(b"a" * 101)))


def test_gzip_that_is_cut_or_followed_by_more_is_not_written_anew() -> None:
    whole = packed(b"a: " + RAW + b" " + bytes(range(200)) * 3)
    for raw in (b64(whole[:-10]), b64(whole + b"more")):
        assert placeholders(raw) == [PH]
        with pytest.raises(UnopenableError):
            rewrite(raw, lambda _: b"hunter2")
    assert placeholders(b64(b"\x1f\x8b\x08 no gzip at all")) == []
    assert placeholders(b64(packed(b"nothing"))) == []


def test_every_string_of_a_document_is_walked_keys_as_well() -> None:
    document = {"a": ["b", {"c": 1, "d": None}], "e": "f"}
    assert list(strings(document)) == [
        (("a",), "a", True),
        (("a", 0), "b", False),
        (("a", 1, "c"), "c", True),
        (("a", 1, "d"), "d", True),
        (("e",), "e", True),
        (("e",), "f", False),
    ]


@settings(deadline=None)
@given(st.binary(max_size=40), st.binary(max_size=40), st.integers(1, 2))
def test_found_at_any_offset_in_base64(before: bytes, after: bytes, layers: int) -> None:
    raw = before + b" " + RAW + b" " + after
    for _ in range(layers):
        raw = b64(raw)
    assert may_hold(raw)
    assert placeholders(raw) == [PH]
    expected = before + b" v " + after
    for _ in range(layers):
        expected = b64(expected)
    assert rewrite(raw, lambda _: b"v") == expected


@settings(deadline=None)
@given(st.text(max_size=200))
def test_texts_without_a_placeholder_stay_as_they_are(text: str) -> None:
    raw = text.encode(errors="surrogatepass")
    assert rewrite(raw, lambda _: b"x") is raw
