"""How long a client of a held request is kept, by what it says of itself."""

from __future__ import annotations

import pytest

from chaperone.core.request import Request, parse
from gateway.asking import Asking, Patience, falls_back, own_time, patience
from gateway.http.framing import Fault, Head, read_head
from gateway.http.limits import HttpLimits

POD = "/api/v1/namespaces/dev/pods/web"
KUBECTL = "kubectl/v1.37.1 (linux/amd64) kubernetes/f4e6b0d"
PYTHON = "OpenAPI-Generator/37.0.2/python"
V5 = ("v5.channel.k8s.io",)


def read(target: str = POD, method: str = "DELETE", upgrade: str = "") -> Request:
    request = parse(method, target, upgrade=upgrade)
    assert isinstance(request, Request)
    return request


@pytest.mark.parametrize(
    ("asking", "target", "expected"),
    [
        (Asking(user_agent=KUBECTL), POD, Patience(20)),
        (Asking(user_agent="Helm/4.1.4"), POD, Patience(20)),
        (Asking(user_agent=PYTHON), POD, Patience(50)),
        (Asking(), POD, Patience(50)),
        (Asking(hold="never", user_agent=KUBECTL), POD, Patience(0, final=True)),
        (Asking(user_agent=KUBECTL), f"{POD}?timeout=5s", Patience(4, final=True)),
        (Asking(user_agent=KUBECTL), f"{POD}?timeout=25s", Patience(20)),
        (Asking(user_agent=PYTHON), f"{POD}?timeout=25s", Patience(20, final=True)),
        (Asking(user_agent=KUBECTL), f"{POD}?timeout=soon", Patience(20)),
        (Asking(user_agent=KUBECTL), f"{POD}?timeout=0s", Patience(20)),
        (Asking(user_agent=KUBECTL), f"{POD}/exec?command=sh", Patience(50)),
        (Asking(user_agent=KUBECTL), f"{POD}/proxy/x?timeout=1s", Patience(50)),
    ],
)
def test_a_client_is_kept_as_long_as_it_can_be(asking: Asking, target: str, expected: Patience) -> None:
    assert patience(read(target, "POST"), asking, step=20, long_step=50) == expected


def test_a_time_of_its_own_is_no_matter_of_other_paths() -> None:
    assert own_time(read("/healthz?timeout=5s", "GET")) == 0.0


@pytest.mark.parametrize(
    ("subprotocols", "version", "upgrade", "expected"),
    [
        (V5, (1, 20), "websocket", True),
        (V5, (1, 29), "websocket", True),
        (V5, (1, 30), "websocket", False),
        (V5, (2, 0), "websocket", False),
        (("SPDY/3.1+portforward.k8s.io",), (1, 30), "websocket", True),
        (("SPDY/3.1+portforward.k8s.io",), (1, 31), "websocket", False),
        ((*V5, "v4.channel.k8s.io"), (1, 20), "websocket", False),
        ((), (1, 20), "websocket", False),
        (V5, None, "websocket", False),
        (V5, (1, 20), "spdy/3.1", False),
    ],
)
def test_what_the_server_would_refuse_is_not_held(
    subprotocols: tuple[str, ...], version: tuple[int, int] | None, upgrade: str, expected: bool
) -> None:
    request = read(f"{POD}/exec?command=sh", "GET" if upgrade == "websocket" else "POST", upgrade)
    assert falls_back(request, Asking(subprotocols=subprotocols), version) is expected


def head(*headers: tuple[bytes, bytes]) -> Head | Fault:
    return read_head(b"DELETE", POD.encode(), "1.1", [(b"Host", b"g"), *headers], HttpLimits())


def test_words_to_the_gateway_are_read_and_never_forwarded() -> None:
    found = head(
        (b"Chaperone-Hold", b" Never"), (b"chaperone-reason", "aufräumen".encode()), (b"Accept", b"*/*")
    )
    assert isinstance(found, Head)
    assert (found.hold, found.reason) == ("never", "aufräumen")
    assert found.forwarded == [(b"Accept", b"*/*")]


@pytest.mark.parametrize(
    "headers",
    [
        [(b"Chaperone-Hold", b"always")],
        [(b"Chaperone-Hold", b"never"), (b"Chaperone-Hold", b"never")],
        [(b"Chaperone-Reason", b"a"), (b"Chaperone-Reason", b"b")],
    ],
)
def test_words_that_are_not_understood_are_refused(headers: list[tuple[bytes, bytes]]) -> None:
    found = head(*headers)
    assert isinstance(found, Fault)
    assert found.code == 400


def test_a_reason_is_bounded_and_need_not_be_utf8() -> None:
    found = head((b"Chaperone-Reason", b"\xff" + b"x" * 5000))
    assert isinstance(found, Head)
    assert len(found.reason) == 1024
