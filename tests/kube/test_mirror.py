"""A mirror tells the truth, or how old its truth is: through 410, cut and broken watches, outages and
overflow."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from typing import Any

from chaperone.kube.mirror import Mirror, MirrorTerms, Object, Resource
from tests.kube.fake_api import FakeApi

THINGS = Resource("example.dev", "v1", "things")
QUICK = MirrorTerms(page=2, watch_seconds=1, silence=1.0, backoff_first=0.01, backoff_most=0.05)


def thing(name: str, size: int = 1) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"size": size}}


async def until(claim: Callable[[], bool], seconds: float = 10.0) -> None:
    async with asyncio.timeout(seconds):
        while not claim():  # noqa: ASYNC110  the claim is about a server elsewhere, nothing signals it
            await asyncio.sleep(0.005)


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 30))


@asynccontextmanager
async def mirrored(
    api: FakeApi,
    *,
    terms: MirrorTerms = QUICK,
    on_change: Callable[[str, Object | None], None] | None = None,
    keep: Callable[[Object], Object] | None = None,
) -> AsyncIterator[Mirror]:
    async with api.connect() as connection, asyncio.TaskGroup() as group:
        mirror = Mirror(
            connection,
            THINGS,
            clock=time.monotonic,
            jitter=lambda: 0.5,
            on_change=on_change,
            keep=keep,
            terms=terms,
        )
        task = group.create_task(mirror.run())
        try:
            yield mirror
        finally:
            task.cancel()


def test_it_reads_every_page_and_follows_changes() -> None:
    async def scenario() -> None:
        told: list[tuple[str, bool]] = []
        async with FakeApi().serve() as api:
            for name in "abcde":
                api.put(THINGS.path, thing(name))
            async with mirrored(
                api, on_change=lambda key, obj: told.append((key, obj is not None))
            ) as mirror:
                assert not mirror.ready
                assert mirror.age == float("inf")
                await mirror.wait_ready()
                assert sorted(mirror.objects) == list("abcde")
                assert sorted(told) == [(name, True) for name in "abcde"]
                api.put(THINGS.path, thing("a", 2))
                api.remove(THINGS.path, "b")
                await until(lambda: "b" not in mirror.objects and mirror.objects["a"]["spec"]["size"] == 2)
                assert told[5:] == [("a", True), ("b", False)]

    run(scenario)


def test_namespaced_objects_of_one_name_are_two() -> None:
    async def scenario() -> None:
        async with FakeApi().serve() as api:
            for namespace in ("x", "y"):
                api.put(THINGS.path, {"metadata": {"name": "a", "namespace": namespace}})
            async with mirrored(api) as mirror:
                await mirror.wait_ready()
                assert sorted(mirror.objects) == ["x/a", "y/a"]

    run(scenario)


def test_after_410_it_lists_again_and_tells_only_what_changed() -> None:
    async def scenario() -> None:
        told: list[str] = []
        async with FakeApi().serve() as api:
            for name in "abc":
                api.put(THINGS.path, thing(name))
            async with mirrored(api, on_change=lambda key, _obj: told.append(key)) as mirror:
                await mirror.wait_ready()
                told.clear()
                api.bookmarks = False
                api.expire_watches = 1
                api.end_watches()
                await until(lambda: api.expire_watches == 0)
                api.put(THINGS.path, thing("a", 2))
                api.remove(THINGS.path, "c")
                await until(lambda: sorted(mirror.objects) == ["a", "b"])
                await until(lambda: mirror.objects["a"]["spec"]["size"] == 2)
                assert sorted(told) == ["a", "c"]

    run(scenario)


def test_a_page_token_that_expires_starts_the_list_over() -> None:
    async def scenario() -> None:
        async with FakeApi(page_expires=True).serve() as api:
            for name in "abcde":
                api.put(THINGS.path, thing(name))
            async with mirrored(api) as mirror:
                await mirror.wait_ready()
                assert sorted(mirror.objects) == list("abcde")

    run(scenario)


def test_broken_watch_lines_are_never_believed_and_never_end_it() -> None:
    """Each line starts one watch; whatever it is, the mirror comes to the right state afterwards."""
    lines = [
        b"not json\n",
        b"[1, 2]\n",
        b"{}\n",
        b'{"type":"ADDED"}\n',
        b'{"type":"ADDED","object":{"metadata":{"resourceVersion":"999999"}}}\n',
        b'{"type":"ADDED","object":{"metadata":{"name":"ghost"}}}\n',
        b'{"type":"EXPLODED","object":{"metadata":{"name":"ghost","resourceVersion":"999999"}}}\n',
        b'{"type":"ERROR","object":"x"}\n',
        b"\xff\xfe\n",
        b"\n\n",
    ]

    async def scenario() -> None:
        async with FakeApi(broken_lines=list(lines)).serve() as api:
            api.put(THINGS.path, thing("a"))
            async with mirrored(api) as mirror:
                await mirror.wait_ready()
                await until(lambda: not api.broken_lines)
                api.put(THINGS.path, thing("b"))
                await until(lambda: sorted(mirror.objects) == ["a", "b"])

    run(scenario)


def test_an_outage_keeps_what_was_read_and_lets_it_age() -> None:
    async def scenario() -> None:
        async with FakeApi().serve() as api:
            api.put(THINGS.path, thing("a"))
            async with mirrored(api) as mirror:
                await mirror.wait_ready()
                api.down = True
                await until(lambda: mirror.failure != "")
                before = mirror.age
                await until(lambda: mirror.age > before + 0.1)
                assert list(mirror.objects) == ["a"]
                assert "503" in mirror.failure
                api.put(THINGS.path, thing("b"))
                api.down = False
                await until(lambda: "b" in mirror.objects)
                await until(lambda: mirror.failure == "" and mirror.age < 0.5)

    run(scenario)


def test_cut_connections_are_survived() -> None:
    async def scenario() -> None:
        async with FakeApi().serve() as api, mirrored(api) as mirror:
            await mirror.wait_ready()
            api.cut = True
            await until(lambda: mirror.failure != "")
            api.put(THINGS.path, thing("a"))
            api.cut = False
            await until(lambda: "a" in mirror.objects)

    run(scenario)


def test_bookmarks_keep_a_quiet_mirror_young() -> None:
    async def scenario() -> None:
        async with FakeApi().serve() as api, mirrored(api) as mirror:
            await mirror.wait_ready()
            for _ in range(10):
                await asyncio.sleep(0.05)
                assert mirror.age < 1.0

    run(scenario)


def test_a_watch_that_is_always_ended_at_once_is_no_proof_of_life() -> None:
    """A proxy that answers 200 and nothing must not make old policies look confirmed."""

    async def scenario() -> None:
        async with FakeApi(bookmarks=False).serve() as api, mirrored(api) as mirror:
            await mirror.wait_ready()

            async def interrupt() -> None:
                while True:
                    api.end_watches()
                    await asyncio.sleep(0.01)

            async with asyncio.TaskGroup() as group:
                task = group.create_task(interrupt())
                await until(lambda: mirror.age > 0.5)
                assert "ended early" in mirror.failure
                task.cancel()

    run(scenario)


def test_too_many_objects_are_refused_aloud() -> None:
    async def scenario() -> None:
        async with FakeApi().serve() as api:
            for number in range(12):
                api.put(THINGS.path, thing(f"t{number}"))
            small = MirrorTerms(page=5, max_objects=10, backoff_first=0.01, backoff_most=0.01)
            async with mirrored(api, terms=small) as mirror:
                await until(lambda: "more than 10 objects" in mirror.failure)
                assert not mirror.ready

    run(scenario)


def test_what_may_not_be_read_is_never_ready_and_says_why() -> None:
    async def scenario() -> None:
        async with FakeApi(forbidden={"things"}).serve() as api, mirrored(api) as mirror:
            await until(lambda: "403" in mirror.failure)
            assert not mirror.ready

    run(scenario)


def test_objects_are_made_smaller_before_they_are_kept() -> None:
    def keep(obj: Object) -> Mapping[str, Any]:
        return {"metadata": obj["metadata"]}

    async def scenario() -> None:
        async with FakeApi().serve() as api:
            api.put(THINGS.path, thing("a"))
            async with mirrored(api, keep=keep) as mirror:
                await mirror.wait_ready()
                api.put(THINGS.path, thing("b"))
                await until(lambda: len(mirror.objects) == 2)
                assert all("spec" not in obj for obj in mirror.objects.values())

    run(scenario)
