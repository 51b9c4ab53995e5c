"""Connections prove themselves with what the files say now, trust one CA, and name what went wrong without secrets."""

from __future__ import annotations

import asyncio
import base64
import random
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from chaperone.kube.connection import Connection
from chaperone.kube.endpoint import Endpoint, from_kubeconfig, in_cluster
from chaperone.kube.errors import EndpointError, RefusedError, UnreachableError
from chaperone.kube.lines import split_lines
from tests.kube.fake_api import FakeApi

Handler = Callable[[web.Request], Coroutine[Any, Any, web.StreamResponse]]


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 30))


@asynccontextmanager
async def serving(handler: Handler, **settings: Any) -> AsyncIterator[Connection]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    endpoint = Endpoint(
        server=f"http://127.0.0.1:{runner.addresses[0][1]}", source="test", token="secret-token"
    )
    try:
        async with Connection(endpoint, **settings) as connection:
            yield connection
    finally:
        await runner.cleanup()


def test_what_the_server_refuses_is_told_with_its_reason_and_a_remedy() -> None:
    async def scenario() -> None:
        async with FakeApi(forbidden={"things"}).serve() as api, api.connect() as connection:
            with pytest.raises(
                RefusedError, match=r"GET /apis/e/v1/things: 403: Forbidden.*ClusterRole"
            ) as caught:
                await connection.get("/apis/e/v1/things")
            assert (caught.value.code, caught.value.temporary) == (403, False)
            with pytest.raises(RefusedError) as caught:
                await connection.get("/apis/e/v1/others/none")
            assert caught.value.not_found

    run(scenario)


def test_an_absent_server_is_unreachable_and_named() -> None:
    async def scenario() -> None:
        endpoint = Endpoint(server="http://127.0.0.1:9", source="test", token="secret-token")
        async with Connection(endpoint, timeout=2) as connection:
            with pytest.raises(UnreachableError, match=r"no answer from http://127\.0\.0\.1:9") as caught:
                await connection.get("/api")
            assert "secret-token" not in str(caught.value)

    run(scenario)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"null"])
def test_an_answer_that_is_no_object_is_not_believed(body: bytes) -> None:
    async def scenario() -> None:
        async def handler(_request: web.Request) -> web.Response:
            return web.Response(body=body)

        async with serving(handler) as connection:
            with pytest.raises(UnreachableError, match="is this an API server"):
                await connection.get("/api")

    run(scenario)


def test_a_redirect_is_an_error_and_the_token_stays_here() -> None:
    """CVE-2022-3172: what answers for the API server must not send the credential elsewhere."""

    async def scenario() -> None:
        seen: list[str] = []

        async def handler(request: web.Request) -> web.Response:
            seen.append(request.path)
            raise web.HTTPFound("/stolen")

        async with serving(handler) as connection:
            with pytest.raises(RefusedError) as caught:
                await connection.get("/api")
            assert caught.value.code == 302
            assert seen == ["/api"]

    run(scenario)


def test_an_answer_without_end_is_cut() -> None:
    async def scenario() -> None:
        async def handler(request: web.Request) -> web.StreamResponse:
            answer = web.StreamResponse()
            await answer.prepare(request)
            try:
                while True:
                    await answer.write(b"x" * 65_536)
            except ConnectionError:
                return answer

        async with serving(handler, max_answer=1_000_000) as connection:
            with pytest.raises(UnreachableError, match="larger than"):
                await connection.get("/api")
            with pytest.raises(UnreachableError, match="longer than"):
                async for _ in connection.watch("/api", silence=5):
                    pass

    run(scenario)


def test_a_server_that_says_nothing_is_given_up() -> None:
    async def scenario() -> None:
        async def handler(request: web.Request) -> web.StreamResponse:
            if request.path == "/watch":
                answer = web.StreamResponse()
                await answer.prepare(request)
                await answer.write(b'{"type":"A"}\n')
            await asyncio.sleep(20)
            return web.Response()

        async with serving(handler, timeout=0.1) as connection:
            with pytest.raises(UnreachableError):
                await connection.get("/api")
            events = connection.watch("/watch", silence=0.2)
            assert await anext(events) == {"type": "A"}
            with pytest.raises(UnreachableError):
                await anext(events)

    run(scenario)


def test_the_token_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    async def scenario() -> None:
        seen: list[str] = []

        async def handler(request: web.Request) -> web.Response:
            seen.append(request.headers["Authorization"])
            return web.json_response({})

        path = tmp_path / "token"
        path.write_text("one\n")
        async with serving(handler) as model:
            endpoint = Endpoint(server=model.endpoint.server, source="test", token_file=path)
            async with Connection(endpoint) as connection:
                await connection.get("/api")
                (tmp_path / "new").write_text("other")
                (tmp_path / "new").replace(path)
                await connection.get("/api")
                assert seen == ["Bearer one", "Bearer other"]
                path.write_text("")
                with pytest.raises(EndpointError, match=str(path)):
                    await connection.get("/api")
                path.unlink()
                with pytest.raises(EndpointError, match=str(path)):
                    await connection.get("/api")
                assert len(seen) == 2

    run(scenario)


KUBECONFIG = """
current-context: here
contexts:
- name: here
  context: {cluster: c, user: u}
- name: plugin
  context: {cluster: c, user: plugin}
- name: unverified
  context: {cluster: unverified, user: u}
- name: plain
  context: {cluster: plain, user: u}
- name: lost
  context: {cluster: none, user: u}
clusters:
- name: c
  cluster: {server: "https://10.0.0.1:6443/", certificate-authority: ca.pem}
- name: unverified
  cluster: {server: "https://10.0.0.1", insecure-skip-tls-verify: true}
- name: plain
  cluster: {server: "http://10.0.0.1"}
users:
- name: u
  user: {token: secret-token}
- name: plugin
  user: {exec: {command: rm}}
"""


def test_a_kubeconfig_is_read_and_keeps_its_secret(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text(KUBECONFIG)
    endpoint = from_kubeconfig(path)
    assert endpoint.server == "https://10.0.0.1:6443"
    assert endpoint.ca_file == tmp_path / "ca.pem"
    assert endpoint.token == "secret-token"
    assert "secret-token" not in repr(endpoint)


@pytest.mark.parametrize(
    ("context", "words"),
    [
        ("plugin", "'exec' are not supported.*tokenFile"),
        ("unverified", "insecure-skip-tls-verify is refused.*certificate-authority"),
        ("plain", "not an https:// address"),
        ("lost", "clusters has no entry named 'none'"),
        ("nowhere", "contexts has no entry named 'nowhere'"),
    ],
)
def test_a_kubeconfig_that_cannot_be_used_says_why(tmp_path: Path, context: str, words: str) -> None:
    path = tmp_path / "config"
    path.write_text(KUBECONFIG)
    with pytest.raises(EndpointError, match=words):
        from_kubeconfig(path, context)


@pytest.mark.parametrize("contents", ["", "[]", "a: {b", "token: secret-token: x", "{}"])
def test_a_kubeconfig_that_is_none_is_named_and_not_quoted(tmp_path: Path, contents: str) -> None:
    path = tmp_path / "config"
    path.write_text(contents)
    with pytest.raises(EndpointError, match=str(path)) as caught:
        from_kubeconfig(path)
    assert "secret-token" not in str(caught.value)


def test_outside_a_cluster_the_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(EndpointError, match=r"ca\.crt is not there.*kubeconfig"):
        in_cluster(folder=tmp_path)


def test_bad_pem_material_is_an_endpoint_fault(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    for endpoint in (
        Endpoint(server="https://10.0.0.1", source="test", ca_file=tmp_path / "ca.pem"),
        Endpoint(server="https://10.0.0.1", source="test", ca_file=tmp_path / "none.pem"),
        Endpoint(server="https://10.0.0.1", source="test", certificate=b"x", key=base64.b64encode(b"y")),
    ):
        with pytest.raises(EndpointError, match="test: CA or client certificate"):
            endpoint.tls()


def test_relaxing_clears_one_flag_and_nothing_else() -> None:
    endpoint = Endpoint(server="https://10.0.0.1", source="test")
    strict, relaxed = endpoint.tls(), endpoint.tls(relax_x509_strict=True)
    assert not relaxed.verify_flags & ssl.VERIFY_X509_STRICT
    assert relaxed.verify_flags == strict.verify_flags & ~ssl.VERIFY_X509_STRICT
    assert relaxed.verify_mode is ssl.CERT_REQUIRED
    assert relaxed.check_hostname


async def _pieces(pieces: list[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


def lines_of(pieces: list[bytes], limit: int = 100) -> list[bytes]:
    async def collect() -> list[bytes]:
        return [line async for line in split_lines(_pieces(pieces), limit)]

    return asyncio.run(collect())


def test_lines_are_the_same_however_the_stream_is_cut() -> None:
    stream = b'{"a":1}\n\n  {"b":2}\r\n' + b"x" * 100 + b"\n"
    expected = [b'{"a":1}', b'{"b":2}', b"x" * 100]
    choice = random.Random(4)
    for _ in range(200):
        cuts = sorted(choice.sample(range(len(stream) + 1), choice.randint(0, 12)))
        pieces = [stream[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
        assert lines_of(pieces) == expected
    assert lines_of([stream[i : i + 1] for i in range(len(stream))]) == expected


@pytest.mark.parametrize(
    "pieces", [[b"a\nb"], [b"x" * 101], [b"x" * 101 + b"\n"], [b"x" * 60, b"x" * 60, b"\n"]]
)
def test_a_cut_or_endless_line_is_refused(pieces: list[bytes]) -> None:
    with pytest.raises(ValueError, match="line"):
        lines_of(pieces)
