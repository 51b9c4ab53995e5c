"""A small API server for tests, on loopback: objects with resourceVersions, paged lists, watches, merge
patches with preconditions, the status subresource, TokenRequest; and switches that break it in the ways real
ones break.

It is a fake, not a mock: tests state what is in it and what it does, never which calls they expect.
"""

from __future__ import annotations

import asyncio
import copy
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web

from chaperone.kube.connection import Connection
from chaperone.kube.endpoint import Endpoint

STATUS_KINDS = ("approvalrequests", "agentpolicies", "agentsessions")
"""Resources with the status subresource on: the main resource ignores status, /status ignores all else."""

Key = tuple[str, str, str]
"""(group/version path, plural, "namespace/name")."""


class LostAnswer(Exception):  # noqa: N818  a test says what is lost
    """Raised by `after_write`: the write is done, and the connection is cut before it is answered."""


@dataclass
class FakeApi:
    """clock: the creationTimestamp of new objects. down: every call answers 503 (or is cut). Set them at any
    time."""

    clock: Callable[[], str] = lambda: "2026-01-01T00:00:00Z"
    down: bool = False
    cut: bool = False
    forbidden: set[str] = field(default_factory=set)
    """Plurals that this account may not touch."""
    broken_lines: list[bytes] = field(default_factory=list)
    """Sent once each, at the start of the next watches."""
    expire_watches: int = 0
    """So many of the next watches answer with an ERROR event, code 410."""
    bookmarks: bool = True
    page_expires: bool = False
    """The next `continue` token is answered 410."""
    token_lifetime: int = 3600
    calls: Counter[str] = field(default_factory=Counter)
    before_write: Callable[[str, str], None] | None = None
    """Called with method and path before a write is done; may raise web.HTTPException."""
    after_write: Callable[[str, str], None] | None = None
    """Called after a write is done, before it is answered; may raise: the answer is lost, the write is
    not."""

    def __post_init__(self) -> None:
        self._versions = itertools.count(100)
        self._uids = itertools.count(1)
        self.version = 100
        self.objects: dict[Key, dict[str, Any]] = {}
        self.log: list[tuple[int, str, Key, dict[str, Any]]] = []
        self.oldest = 0
        self._changed = asyncio.Event()
        self.url = ""

    # What tests say and ask.

    def put(self, path: str, obj: Mapping[str, Any]) -> dict[str, Any]:
        """Create or replace, as some other client would. path: the collection, such as /apis/g/v1/things."""
        key = self._key(path, obj["metadata"].get("namespace", ""), obj["metadata"]["name"])
        before = self.objects.get(key)
        new = copy.deepcopy(dict(obj))
        return self._store(key, new, "MODIFIED" if before else "ADDED", before)

    def remove(self, path: str, name: str, namespace: str = "") -> None:
        key = self._key(path, namespace, name)
        gone = self.objects.pop(key)
        self._bump(gone)
        self._event("DELETED", key, gone)

    def get(self, path: str, name: str, namespace: str = "") -> dict[str, Any] | None:
        return self.objects.get(self._key(path, namespace, name))

    def names(self, path: str) -> list[str]:
        prefix, plural = path.rsplit("/", 1)
        return [key[2] for key in self.objects if key[:2] == (prefix, plural)]

    def compact(self) -> None:
        """Forget all history: a watch from an earlier resourceVersion gets 410."""
        self.oldest = self.version
        self.log.clear()
        self._wake()

    def end_watches(self) -> None:
        self._generation_of_watches += 1
        self._wake()

    _generation_of_watches = 0

    # The server.

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[FakeApi]:
        app = web.Application(client_max_size=8 * 1024 * 1024)
        app.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = (runner.addresses and f"http://127.0.0.1:{runner.addresses[0][1]}") or ""
        try:
            yield self
        finally:
            self.end_watches()
            await runner.cleanup()

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Connection]:
        """A connection of ours to it."""
        async with Connection(
            Endpoint(server=self.url, source="fake", token="control"), timeout=5
        ) as connection:
            yield connection

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        try:
            return await self._serve(request)
        except LostAnswer:
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=500)

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        self.calls[f"{request.method} {request.path}"] += 1
        if self.cut and request.transport is not None:
            request.transport.abort()
            raise ConnectionResetError
        if self.down:
            return _status(503, "ServiceUnavailable", "etcd is away")
        parts = request.path.strip("/").split("/")
        root = 2 if parts[0] == "api" else 3
        prefix, rest = "/" + "/".join(parts[:root]), parts[root:]
        namespace = ""
        if len(rest) > 2 and rest[0] == "namespaces":
            namespace, rest = rest[1], rest[2:]
        if rest[0] in self.forbidden:
            return _status(403, "Forbidden", f"may not touch {rest[0]}")
        if rest[0] == "serviceaccounts" and rest[2:] == ["token"]:
            return await self._token(request, namespace, rest[1])
        if len(rest) == 1:
            return await self._collection(request, prefix, rest[0], namespace)
        return await self._object(request, self._key(f"{prefix}/{rest[0]}", namespace, rest[1]), rest[2:])

    async def _token(self, request: web.Request, namespace: str, name: str) -> web.Response:
        asked = orjson.loads(await request.read())
        assert asked["kind"] == "TokenRequest"
        count = self.calls[f"POST {request.path}"]
        return _json(
            {
                "kind": "TokenRequest",
                "spec": {"expirationSeconds": self.token_lifetime},
                "status": {
                    "token": f"token-{namespace}-{name}-{count}",
                    "expirationTimestamp": "2030-01-01T00:00:00Z",
                },
            },
            201,
        )

    async def _collection(
        self, request: web.Request, prefix: str, plural: str, namespace: str
    ) -> web.StreamResponse:
        if request.method == "POST":
            return self._create(prefix, plural, namespace, orjson.loads(await request.read()), request)
        if request.query.get("watch"):
            return await self._watch(request, prefix, plural)
        return self._list(request, prefix, plural)

    def _create(
        self, prefix: str, plural: str, namespace: str, obj: dict[str, Any], request: web.Request
    ) -> web.Response:
        key = self._key(f"{prefix}/{plural}", namespace, obj["metadata"]["name"])
        if self.before_write:
            self.before_write("POST", request.path)
        if key in self.objects:
            return _status(409, "AlreadyExists", f"{plural} {key[2]} already exists")
        if plural in STATUS_KINDS:
            obj.pop("status", None)
        stored = self._store(key, obj, "ADDED", None)
        if self.after_write:
            self.after_write("POST", request.path)
        return _json(stored, 201)

    def _list(self, request: web.Request, prefix: str, plural: str) -> web.Response:
        found = [obj for key, obj in sorted(self.objects.items()) if key[:2] == (prefix, plural)]
        start = int(request.query.get("continue") or 0)
        if start and self.page_expires:
            self.page_expires = False
            return _status(410, "Expired", "the continue token is too old")
        limit = int(request.query.get("limit") or 0) or len(found)
        page = found[start : start + limit]
        metadata: dict[str, Any] = {"resourceVersion": str(self.version)}
        if start + limit < len(found):
            metadata["continue"] = str(start + limit)
        return _json({"kind": "List", "metadata": metadata, "items": page})

    async def _watch(self, request: web.Request, prefix: str, plural: str) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Type": "application/json"})
        await answer.prepare(request)
        since = int(request.query.get("resourceVersion") or 0)
        generation = self._generation_of_watches
        if self.broken_lines:
            await answer.write(self.broken_lines.pop(0))
        if self.expire_watches > 0 or since < self.oldest:
            self.expire_watches = max(0, self.expire_watches - 1)
            await answer.write(_event("ERROR", _status_object(410, "Expired", "too old resource version")))
            return answer
        deadline = asyncio.get_running_loop().time() + float(request.query.get("timeoutSeconds") or 60)
        while generation == self._generation_of_watches:
            for version, kind, key, obj in [entry for entry in self.log if entry[0] > since]:
                since = version
                if key[:2] == (prefix, plural):
                    await answer.write(_event(kind, obj))
            if self.down or self.cut or since < self.oldest:
                break
            changed = self._changed
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0:
                break
            try:
                await asyncio.wait_for(changed.wait(), min(left, 0.05))
            except TimeoutError:
                if self.bookmarks and request.query.get("allowWatchBookmarks"):
                    mark = {"kind": "X", "metadata": {"resourceVersion": str(self.version)}}
                    await answer.write(_event("BOOKMARK", mark))
        if (self.down or self.cut) and request.transport is not None:
            request.transport.abort()
        return answer

    async def _object(self, request: web.Request, key: Key, subresource: list[str]) -> web.StreamResponse:
        current = self.objects.get(key)
        if current is None:
            return _status(404, "NotFound", f"{key[1]} {key[2]} not found")
        if request.method == "GET":
            return _json(current)
        if self.before_write:
            self.before_write(request.method, request.path)
        if request.method == "DELETE":
            self.remove(f"{key[0]}/{key[1]}", *reversed(key[2].rpartition("/")[::2]))
            return _json({"kind": "Status", "status": "Success"})
        patch = orjson.loads(await request.read())
        current = self.objects[key]
        asked = (patch.get("metadata") or {}).get("resourceVersion")
        if asked is not None and asked != current["metadata"]["resourceVersion"]:
            return _status(409, "Conflict", "the object has been modified")
        new = _merge(current, patch) if request.method == "PATCH" else patch
        if key[1] in STATUS_KINDS:
            kept, taken = (current, new) if subresource == ["status"] else (new, current)
            new = {**kept, "metadata": current["metadata"], "status": taken.get("status", {})}
        stored = self._store(key, copy.deepcopy(new), "MODIFIED", current)
        if self.after_write:
            self.after_write(request.method, request.path)
        return _json(stored)

    # The store.

    def _key(self, path: str, namespace: str, name: str) -> Key:
        prefix, plural = path.rsplit("/", 1)
        return prefix, plural, f"{namespace}/{name}" if namespace else name

    def _store(
        self, key: Key, obj: dict[str, Any], kind: str, before: Mapping[str, Any] | None
    ) -> dict[str, Any]:
        old = (before or {}).get("metadata", {})
        metadata = dict(obj.get("metadata") or {})
        metadata["uid"] = old.get("uid") or metadata.get("uid") or f"uid-{next(self._uids)}"
        metadata["creationTimestamp"] = (
            old.get("creationTimestamp") or metadata.get("creationTimestamp") or self.clock()
        )
        same_spec = before is not None and before.get("spec") == obj.get("spec")
        metadata["generation"] = int(old.get("generation") or 0) + (0 if same_spec else 1)
        obj["metadata"] = metadata
        self._bump(obj)
        self.objects[key] = obj
        self._event(kind, key, obj)
        return obj

    def _bump(self, obj: dict[str, Any]) -> None:
        self.version = next(self._versions) + 1
        obj["metadata"] = {**obj["metadata"], "resourceVersion": str(self.version)}

    def _event(self, kind: str, key: Key, obj: dict[str, Any]) -> None:
        self.log.append((self.version, kind, key, copy.deepcopy(obj)))
        self._wake()

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


def _merge(target: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merge(merged.get(key), value)
    return merged


def _json(obj: Mapping[str, Any], code: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(obj), status=code, content_type="application/json")


def _event(kind: str, obj: Mapping[str, Any]) -> bytes:
    return orjson.dumps({"type": kind, "object": obj}) + b"\n"


def _status_object(code: int, reason: str, message: str) -> dict[str, Any]:
    return {"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": message}


def _status(code: int, reason: str, message: str) -> web.Response:
    return _json(_status_object(code, reason, message), code)
