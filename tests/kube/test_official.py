"""The synchronous client against a small server of its own, and the cache against a scripted source."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from chaperone.kube.cache import Cache
from chaperone.kube.errors import EndpointError, RefusedError, UnreachableError
from chaperone.kube.official import (
    AGENT_POLICIES,
    NAMESPACES,
    SERVICE_ACCOUNTS,
    Api,
    Listing,
    Obj,
    WatchEvent,
    connect,
)


class Script:
    """What the server has seen, and what it answers by (method, path)."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []
        self.pairs: list[list[tuple[str, str]]] = []
        self.answers: dict[str, list[tuple[int, bytes]]] = {}


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
def api(script: Script, tmp_path: Path) -> Iterator[Api]:
    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            script.requests.append((self.command, self.path, dict(self.headers), self.rfile.read(length)))
            script.pairs.append(list(self.headers.items()))
            answers = script.answers[f"{self.command} {self.path.partition('?')[0]}"]
            code, content = answers.pop(0) if len(answers) > 1 else answers[0]
            self.send_response(code)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield connect(str(kubeconfig(tmp_path, f"http://127.0.0.1:{server.server_port}")), timeout=5.0)
    server.shutdown()
    server.server_close()
    thread.join()


def kubeconfig(folder: Path, server: str) -> Path:
    path = folder / "kubeconfig"
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        "clusters": [{"name": "k", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": {"token": "secret-token"}}],
    }
    path.write_text(yaml.safe_dump(document))
    return path


def status(code: int, reason: str) -> tuple[int, bytes]:
    return code, json.dumps(
        {"kind": "Status", "code": code, "reason": reason, "message": f"it is {reason}"}
    ).encode()


def test_paths_of_core_and_named_groups() -> None:
    assert NAMESPACES.path("dev") == "/api/v1/namespaces/dev"
    assert SERVICE_ACCOUNTS.path("ci", namespace="dev", subresource="token") == (
        "/api/v1/namespaces/dev/serviceaccounts/ci/token"
    )
    assert AGENT_POLICIES.path("a/../b") == "/apis/chaperone.dev/v1alpha1/agentpolicies/a%2F..%2Fb"


def test_the_credential_travels_and_bodies_are_json(api: Api, script: Script) -> None:
    script.answers["PATCH /x"] = [(200, b'{"kind":"X"}')]
    assert api.merge("/x", {"a": 1}) == {"kind": "X"}
    method, path, headers, body = script.requests[0]
    assert (method, path, json.loads(body)) == ("PATCH", "/x", {"a": 1})
    assert headers["authorization"] == "Bearer secret-token"
    assert headers["Content-Type"] == "application/merge-patch+json"


def test_a_list_is_read_to_its_end(api: Api, script: Script) -> None:
    first = {"metadata": {"continue": "tok", "resourceVersion": "5"}, "items": [{"metadata": {"name": "a"}}]}
    second = {"metadata": {"resourceVersion": "5"}, "items": [{"metadata": {"name": "b"}}]}
    script.answers["GET /x"] = [(200, json.dumps(first).encode()), (200, json.dumps(second).encode())]
    listing = api.list("/x", labelSelector="team=a b")
    assert [item["metadata"]["name"] for item in listing.items] == ["a", "b"]
    assert listing.resource_version == "5"
    assert "continue=tok" in script.requests[1][1]
    assert "labelSelector=team%3Da+b" in script.requests[1][1]


def test_a_missing_object_is_none_and_a_refusal_is_not(api: Api, script: Script) -> None:
    script.answers["GET /gone"] = [status(404, "NotFound")]
    script.answers["GET /forbidden"] = [status(403, "Forbidden")]
    assert api.find("/gone") is None
    with pytest.raises(RefusedError) as caught:
        api.find("/forbidden")
    assert (caught.value.code, caught.value.reason) == (403, "Forbidden")


def test_a_delete_says_which_object_it_means_and_gone_is_fine(api: Api, script: Script) -> None:
    script.answers["DELETE /x"] = [status(404, "NotFound")]
    api.delete("/x", uid="u-1", resource_version="9")
    assert json.loads(script.requests[0][3])["preconditions"] == {"uid": "u-1", "resourceVersion": "9"}


def test_no_write_is_ever_sent_twice(api: Api, script: Script) -> None:
    script.answers["DELETE /x"] = [status(503, "ServiceUnavailable")]
    with pytest.raises(RefusedError):
        api.delete("/x")
    assert len(script.requests) == 1


@pytest.mark.parametrize("answer", [b"", b"not json", b"[]", b'"text"'])
def test_an_unreadable_answer_is_no_answer(api: Api, script: Script, answer: bytes) -> None:
    script.answers["GET /x"] = [(200, answer)]
    with pytest.raises(UnreachableError):
        api.get("/x")


def test_a_redirect_is_not_followed(api: Api, script: Script) -> None:
    """The credential goes to the configured server only."""
    script.answers["GET /x"] = [(302, b"")]
    with pytest.raises(UnreachableError):
        api.get("/x")


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ({"major": "1", "minor": "20"}, (1, 20)),
        ({"major": "1", "minor": "28+"}, (1, 28)),
        ({"major": "1", "minor": "30-gke.1"}, (1, 30)),
        ({"major": "", "minor": "", "gitVersion": "v1.20.2"}, (1, 20)),
    ],
)
def test_versions_as_servers_tell_them(
    api: Api, script: Script, version: dict[str, str], expected: tuple[int, int]
) -> None:
    script.answers["GET /version"] = [(200, json.dumps(version).encode())]
    assert api.server_version() == expected


def test_a_server_without_a_version_is_not_guessed_at(api: Api, script: Script) -> None:
    script.answers["GET /version"] = [(200, b'{"kind":"Odd"}')]
    with pytest.raises(UnreachableError, match="version"):
        api.server_version()


def test_a_server_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    api = connect(str(kubeconfig(tmp_path, "http://127.0.0.1:1")), timeout=1.0)
    with pytest.raises(UnreachableError, match="cannot reach"):
        api.get("/x")


@pytest.mark.parametrize("content", ["", "[", "current-context: nowhere\n"])
def test_a_kubeconfig_that_cannot_be_used_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "broken"
    path.write_text(content)
    with pytest.raises(EndpointError, match="broken"):
        connect(str(path))


# The cache


def named(name: str, version: int) -> Obj:
    return {"metadata": {"name": name, "resourceVersion": str(version)}}


class Source:
    """Lists once, then plays its watches one after another; the last one stops the cache."""

    def __init__(self, *watches: list[WatchEvent] | Exception) -> None:
        self.watches = list(watches)
        self.asked: list[str] = []
        self.cache: Cache | None = None

    def list(self, path: str) -> Listing:
        assert path == "/things"
        return Listing((named("a", 1),), "1")

    def watch(self, path: str, resource_version: str) -> Iterator[WatchEvent]:
        self.asked.append(resource_version)
        if not self.watches:
            assert self.cache is not None
            self.cache.stop()
            return
        watch = self.watches.pop(0)
        if isinstance(watch, Exception):
            raise watch
        yield from watch


def followed(source: Source, clock: Any = lambda: 0.0) -> tuple[Cache, list[list[str]]]:
    seen: list[list[str]] = []
    cache = Cache(
        source, "/things", lambda objects: seen.append([obj["metadata"]["name"] for obj in objects]), clock
    )
    source.cache = cache
    return cache, seen


def test_the_cache_follows_every_change_and_continues_where_a_watch_ended() -> None:
    source = Source(
        [WatchEvent("ADDED", named("b", 2)), WatchEvent("MODIFIED", named("a", 3))],
        [
            WatchEvent("DELETED", named("b", 4)),
            WatchEvent("BOOKMARK", {"metadata": {"resourceVersion": "9"}}),
        ],
    )
    cache, seen = followed(source)
    cache.follow()
    assert seen == [["a"], ["a", "b"], ["a", "b"], ["a"]]
    assert source.asked == ["1", "3", "9"]


def test_lost_history_means_a_new_list() -> None:
    cache, seen = followed(Source([WatchEvent("ERROR", {"code": 410})]))
    cache.follow()
    assert seen == [["a"]]


def test_age_counts_from_the_last_word_of_the_server() -> None:
    now = [0.0]
    cache, _ = followed(Source(UnreachableError("cut")), lambda: now[0])
    assert cache.age() == float("inf")
    with pytest.raises(UnreachableError):
        cache.follow()
    assert cache.age() == 0.0
    now[0] = 100.0
    assert cache.age() == 100.0


def test_an_orderly_end_confirms_only_up_to_when_the_watch_was_asked_for() -> None:
    times = iter([0.0, 10.0, 50.0, 60.0])
    cache, _ = followed(Source([]), lambda: next(times))
    cache.follow()  # list asked at 0, first watch asked at 10, second at 50 (which stops the cache)
    assert cache.age() == 10.0


def test_a_state_that_was_not_taken_in_does_not_count_as_known() -> None:
    def broken(_objects: tuple[Obj, ...]) -> None:
        raise ValueError("cannot compile")

    cache = Cache(Source([]), "/things", broken)
    with pytest.raises(ValueError):
        cache.follow()
    assert cache.age() == float("inf")


def test_the_thread_lives_on_through_failures() -> None:
    done = threading.Event()
    source = Source(UnreachableError("cut"), RuntimeError("a bug"), [WatchEvent("ADDED", named("b", 2))])

    def changed(objects: tuple[Obj, ...]) -> None:
        if len(objects) == 2:
            done.set()

    cache = Cache(source, "/things", changed, pause=0.0)
    source.cache = cache
    cache.start()
    assert done.wait(10)
    cache.stop()


def test_headers_of_the_caller_travel_each_by_itself(script: Script, api: Api, tmp_path: Path) -> None:
    script.answers["GET /x"] = [(200, b"{}")]
    server = api._configuration.host
    headers = [("Impersonate-User", "ann"), ("Impersonate-Group", "a, b"), ("Impersonate-Group", "c")]
    connect(str(kubeconfig(tmp_path, server)), strict_ca=False, headers=headers).get("/x")
    seen = script.pairs[-1]
    assert [value for name, value in seen if name == "Impersonate-Group"] == ["a, b", "c"]
    assert ("Impersonate-User", "ann") in seen
    assert ("authorization", "Bearer secret-token") in seen
