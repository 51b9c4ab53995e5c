from __future__ import annotations

import base64
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaperone.core.masking import layers
from chaperone.core.masking.layers import (
    TooLargeError,
    as_text,
    decoded,
    gunzip,
    gzipped,
    strictly_decoded,
    unpacked,
)
from tests.core.masking.engine import b64


def test_layer_by_layer() -> None:
    assert list(unpacked(b64(b64("password=hunter2-and-more")))) == [
        b64("password=hunter2-and-more"),
        "password=hunter2-and-more",
    ]


def test_gzip_inside_is_opened() -> None:
    packed = gzipped(b"password=hunter2")
    assert list(unpacked(b64(packed))) == [packed, "password=hunter2"]


def test_bytes_that_are_no_gzip_end_it() -> None:
    assert list(unpacked(b64(b"\xff\xfe binary, and Nothing else"))) == [b"\xff\xfe binary, and Nothing else"]


def test_no_more_than_a_few_layers() -> None:
    text = "Hello world, this is text"
    for _ in range(9):
        text = b64(text)
    assert len(list(unpacked(text))) == layers.MAX_LAYERS


@pytest.mark.parametrize(
    "text",
    [
        "hello",
        "kube-api-access-x7d9s-and-more",
        "ab12" * 16,
        "with space Between",
        "AAAA+BBBB-CCCC_DDDD",
        "A" * 17,
        "no.dots.AllowedHere.ever",
    ],
)
def test_what_is_no_base64(text: str) -> None:
    assert decoded(text) is None


def test_all_alphabets_and_lines() -> None:
    raw = bytes(range(256))
    standard, safe = base64.b64encode(raw).decode(), base64.urlsafe_b64encode(raw).decode()
    wrapped = "\n".join(standard[at : at + 64] for at in range(0, len(standard), 64)) + "\n"
    for text in (standard, safe, safe.rstrip("="), wrapped):
        assert decoded(text) == raw


def test_strictly() -> None:
    assert strictly_decoded("YWI=") == b"ab"
    assert strictly_decoded("YWI") is None
    assert strictly_decoded("not base64!") is None
    assert strictly_decoded("é") is None


@given(st.binary(max_size=2000))
def test_gzip_comes_back_and_is_stable(raw: bytes) -> None:
    assert gunzip(gzipped(raw)) == raw
    assert gzipped(raw) == gzipped(raw)


def test_damaged_gzip_is_none() -> None:
    assert gunzip(b"no gzip") is None
    assert gunzip(gzipped(b"x" * 1000)[:-9]) is None


def test_a_bomb_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "MAX_UNPACKED", 1000)
    assert gunzip(gzipped(b"x" * 1000)) == b"x" * 1000
    with pytest.raises(TooLargeError):
        gunzip(gzipped(b"x" * 2000))
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    with pytest.raises(TooLargeError):
        list(unpacked(b64(packer.compress(bytes(10**6)) + packer.flush())))


def test_text_or_bytes() -> None:
    assert as_text(b"abc") == "abc"
    assert as_text(b"\xff") == b"\xff"
