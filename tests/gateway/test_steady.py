"""The answer to a dry run in which an agent tries values says nothing by its numbers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from gateway import steady as module
from gateway.http.framing import Header
from gateway.http.upstream import UpstreamError
from gateway.steady import SteadyFilter, steady

LIVE = {"name": "web", "generation": 4, "resourceVersion": "7"}


class Plain:
    """Changes nothing."""

    live = True
    patience = 1.0
    counts: Mapping[str, int] = {"a-rule": 2}

    def ask(self, headers: list[Header]) -> list[Header]:
        return [*headers, (b"X-Asked", b"1")]

    def head(self, code: int, headers: list[Header]) -> list[Header]:
        return headers

    def data(self, piece: bytes) -> bytes:
        return piece

    def idle(self) -> bytes:
        return b"idle"

    def cut(self) -> bytes:
        return b"cut"

    def end(self) -> bytes:
        return b""

    def tell(self, *, whole: bool) -> list[Header]:
        return [(b"X-Told", b"%d" % whole)]


def answered(body: bytes, code: int = 200) -> bytes:
    changed = SteadyFilter(Plain(), LIVE)
    headers = changed.head(code, [(b"Content-Type", b"application/json")])
    assert headers == [(b"Content-Type", b"application/json")]
    pieces = [changed.data(body[at : at + 7]) for at in range(0, len(body), 7)]
    assert not any(pieces)
    return changed.end()


def test_the_numbers_are_those_of_the_live_object() -> None:
    metadata = {
        "name": "web",
        "generation": 5,
        "managedFields": [1],
        "resourceVersion": "8",
        "labels": {"a": "b"},
    }
    body = json.dumps({"kind": "Deployment", "metadata": metadata, "spec": {"x": 1}}).encode()
    expected: dict[str, Any] = {"name": "web", "labels": {"a": "b"}, "generation": 4, "resourceVersion": "7"}
    assert json.loads(answered(body)) == {"kind": "Deployment", "metadata": expected, "spec": {"x": 1}}


def test_an_error_goes_on_as_it_is() -> None:
    assert answered(b"no json", 422) == b"no json"


@pytest.mark.parametrize("body", [b"[]", b'{"kind":"Table"}', b'{"metadata":1}', b"{", b""])
def test_what_is_no_object_is_withheld(body: bytes) -> None:
    with pytest.raises((UpstreamError, ValueError)):
        answered(body)


def test_an_answer_without_end_is_withheld(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_BYTES", 20)
    with pytest.raises(UpstreamError):
        answered(b" " * 21)


def test_it_asks_for_an_object() -> None:
    changed = SteadyFilter(Plain(), LIVE)
    asked = changed.ask([(b"accept", b"application/json;as=Table"), (b"A", b"b")])
    assert asked == [(b"A", b"b"), (b"X-Asked", b"1"), (b"Accept", b"application/json")]


def test_nothing_of_it_goes_before_its_end() -> None:
    changed = SteadyFilter(Plain(), LIVE)
    assert (changed.live, changed.patience, changed.idle(), changed.cut()) == (False, 0.0, b"", b"")
    assert changed.counts == {"a-rule": 2}
    assert changed.tell(whole=True) == [(b"X-Told", b"1")]


def test_only_where_there_is_something_to_hide() -> None:
    plain = Plain()
    assert steady(plain, None) is plain
    assert steady(None, LIVE) is None
    assert isinstance(steady(plain, LIVE), SteadyFilter)
