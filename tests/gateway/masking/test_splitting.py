"""Lists are cut into the same items wherever their bytes are cut, and into nothing at all when they are no lists."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.masking import splitting
from gateway.masking.splitting import Splitter, SplittingError

TRICKY = [
    {"metadata": {"name": "a"}, "x": [{"metadata": {"a": 1}}, {"metadata": {"b": '}],"items":['}}]},
    {"metadata": {"name": 'quote " brace }, {'}, "spec": {"items": [{"metadata": {}}]}},
    {"metadata": {}, "text": '},{"metadata":{ ümlaut €'},
]


def typed(items: list[Any], **more: Any) -> dict[str, Any]:
    return {"kind": "PodList", "apiVersion": "v1", "metadata": {"continue": "x"}, "items": items, **more}


def cut(raw: bytes, size: int) -> tuple[bytes, list[Any], bytes]:
    splitter = Splitter()
    batches = [batch for at in range(0, len(raw), size) for batch in splitter.feed(raw[at : at + size])]
    batches += splitter.end()
    for batch in batches:
        assert json.loads(b"[" + batch.raw + b"]") == [json.loads(item) for item in batch.items]
    return (
        splitter.prologue,
        [json.loads(item) for batch in batches for item in batch.items],
        splitter.epilogue,
    )


@pytest.fixture(params=[16, 300, 65536])
def piece(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(splitting, "PIECE", request.param)
    size: int = request.param
    return size


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("count", [0, 1, 7, 400])
@pytest.mark.parametrize("behind", [False, True])
def test_a_list_falls_into_its_items(piece: int, indent: int | None, count: int, behind: bool) -> None:
    items = [TRICKY[n % 3] for n in range(count)]
    document = {"apiVersion": "g/v1", "items": items, "kind": "XList", "metadata": {"n": "]}"}}
    raw = json.dumps(document if behind else typed(items), indent=indent, ensure_ascii=False).encode()
    for size in (1, 7, 1000) if len(raw) < 3000 else (997, 70_000):
        prologue, found, epilogue = cut(raw, size)
        assert found == items
        assert raw.startswith(prologue)
        assert raw.endswith(epilogue)
        assert json.loads(prologue + epilogue) == {**(document if behind else typed(items)), "items": []}


def test_items_that_begin_in_different_ways(piece: int) -> None:
    items = [{"cells": [n], "a": [{}]} if n % 3 else {"object": {"b": "],["}, "n": n} for n in range(900)]
    raw = json.dumps({"kind": "Table", "rows": items}).encode()
    assert cut(raw, 1000)[1] == items


def test_one_item_larger_than_any_piece(piece: int) -> None:
    items = [{"metadata": {"name": "x" * 400_000, "more": [{"metadata": {"é": 1}}] * 2000}}, {"metadata": {}}]
    assert cut(json.dumps(typed(items)).encode(), 50_000)[1] == items


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.dictionaries(st.text(max_size=5), st.recursive(st.text() | st.integers(), st.lists), max_size=4)
    ),
    st.integers(1, 500),
    st.integers(1, 300),
)
def test_any_items_cut_anywhere(items: list[dict[str, Any]], size: int, piece: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(splitting, "PIECE", piece)
        raw = json.dumps(typed(items, tail=[{"a": "]"}])).encode()
        assert cut(raw, size)[1] == items


@pytest.mark.parametrize(
    "raw",
    [
        b'{"kind":"PodList","items":[{"metadata":{}}',
        b'{"kind":"PodList","items":[{"metadata":{}}]',
        b'{"kind":"PodList","items":[{"metadata":{}},]}',
        b'{"kind":"PodList","items":[{"metadata":{}} {"metadata":{}}]}',
        b'{"kind":"PodList","items":[{"metadata":{}}]}}',
        b'{"kind":"PodList","items":[{"metadata":{"a":}}]}',
        b'{"kind":"PodList","items":[{"metadata":{}}]} garbage',
    ],
)
def test_what_is_not_whole_is_an_error(piece: int, raw: bytes) -> None:
    with pytest.raises(SplittingError):
        cut(raw, 5)


def test_what_is_no_list_is_left_alone(piece: int) -> None:
    splitter = Splitter()
    raw = b'{"kind":"Pod","spec":{"items":[1]},"text":"\\"items\\":[","items":null}'
    assert splitter.feed(raw) + splitter.end() == []
    assert not splitter.is_list
    assert splitter.whole == raw


def test_too_large_an_item_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splitting, "MOST_ITEM", 300_000)
    raw = json.dumps(typed([{"metadata": {"name": "x" * 400_000}}])).encode()
    with pytest.raises(SplittingError, match="too large"):
        cut(raw, 50_000)
