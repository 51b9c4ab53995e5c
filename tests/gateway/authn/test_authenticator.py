"""The authenticator as the gateway uses it: caching, rotation, outages, reloads, token reviews."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Any

import pytest

from chaperone.core.identity import Caller
from chaperone.core.reviewed import ISSUER
from chaperone.core.token import Refused
from chaperone.kube.errors import UnreachableError
from gateway.authn import Authenticator, ConfigurationError
from gateway.authn.keyset import COOLDOWN
from gateway.authn.review import PATH
from tests.gateway.authn.issuing import (
    NOW,
    UNREACHABLE,
    URL,
    Clock,
    Source,
    configuration,
    publish,
    published,
    running,
    serving,
    token,
    write,
)

OTHER = "https://other.example"


def run(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(scenario)


class World:
    """An authenticator with everything around it in hand."""

    def __init__(self, folder: Path, settings: dict[str, Any] | None = None, **options: Any) -> None:
        self.path = write(folder / "issuers.yaml", settings or configuration())
        self.clock, self.source = Clock(), Source()
        options.setdefault("fetcher", self.source.fetcher)
        self.authenticator = Authenticator(self.path, clock=self.clock, **options)

    async def caller(self, text: str) -> Caller:
        result = await self.authenticator.authenticate(text)
        assert isinstance(result, Caller), result
        return result

    async def code(self, text: str) -> int:
        result = await self.authenticator.authenticate(text)
        assert isinstance(result, Refused), result
        return result.code

    async def refresh(self) -> None:
        for keys in self.authenticator.key_sets():
            await keys.refresh()


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_a_verified_token_is_remembered(world: World) -> None:
    async def scenario() -> None:
        async with running(world.authenticator):
            assert world.authenticator.cached(token()) is None
            text = token()
            caller = await world.caller(text)
            assert world.authenticator.cached(text) is caller
            assert await world.caller(text) is caller
            assert world.authenticator.cached(text + "x") is None
            assert world.authenticator.cached(text[:-1]) is None

    run(scenario())


@pytest.mark.parametrize(("lifetime", "remembered"), [(3600, 300), (120, 120), (0.5, 0.5)])
def test_no_longer_than_it_lives(world: World, lifetime: float, remembered: float) -> None:
    async def scenario() -> None:
        async with running(world.authenticator):
            text = token(exp=NOW + lifetime)
            await world.caller(text)
            world.clock.now += remembered - 0.1
            assert world.authenticator.cached(text) is not None
            world.clock.now += 0.2
            assert world.authenticator.cached(text) is None

    run(scenario())


def test_within_the_leeway_it_is_verified_each_time(world: World) -> None:
    async def scenario() -> None:
        async with running(world.authenticator):
            text = token(exp=NOW - 5)
            await world.caller(text)
            assert world.authenticator.cached(text) is None
            world.clock.now += 30
            assert await world.code(text) == 401

    run(scenario())


def test_a_removed_key_ends_its_tokens_at_once(world: World) -> None:
    async def scenario() -> None:
        async with running(world.authenticator):
            text = token()
            await world.caller(text)
            world.source.keys = published("new")
            await world.refresh()
            assert world.authenticator.cached(text) is None
            assert await world.code(text) == 401
            await world.caller(token("new"))

    run(scenario())


def test_an_unchanged_key_set_ends_nothing(world: World) -> None:
    async def scenario() -> None:
        async with running(world.authenticator):
            text = token()
            caller = await world.caller(text)
            await world.refresh()
            assert world.authenticator.cached(text) is caller

    run(scenario())


def test_the_caches_are_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world.authenticator._cache, "_max_callers", 3)
    monkeypatch.setattr("gateway.authn.cache.MAX_REFUSALS", 5)

    async def scenario() -> None:
        async with running(world.authenticator):
            texts = [token(run=f"r-{number}") for number in range(4)]
            for text in texts[:3]:
                await world.caller(text)
            assert world.authenticator.cached(texts[0]) is not None  # used last, so the next one goes
            await world.caller(texts[3])
            assert [world.authenticator.cached(text) is not None for text in texts] == [
                True,
                False,
                True,
                True,
            ]
            for number in range(50):
                assert await world.code(f"bad{number}.x.y") == 401
            assert len(world.authenticator._cache._refusals) == 5
            assert world.authenticator.cached(texts[3]) is not None, "bad tokens push out no good ones"

    run(scenario())


def test_refusals_are_remembered_shortly(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with running(world.authenticator):
            early = token(nbf=NOW + 35)
            assert await world.code(early) == 401
            world.clock.now += 6
            assert await world.code(early) == 401
            world.clock.now += 5
            await world.caller(early)

    run(scenario())


def test_a_flood_of_unknown_keys_is_bounded(tmp_path: Path) -> None:  # ID-16
    world = World(tmp_path, max_waiting=10)

    async def scenario() -> None:
        async with running(world.authenticator):
            world.clock.now += COOLDOWN
            before = world.source.fetches
            world.source.gate = asyncio.Event()
            flood = [asyncio.ensure_future(world.code(token(kid=f"k{number}"))) for number in range(200)]
            done, waiting = await asyncio.wait(flood, timeout=0.2)
            assert len(waiting) == 10
            assert {task.result() for task in done} == {401}
            await world.caller(token())  # a known key is not in their way
            world.source.gate.set()
            assert set(await asyncio.gather(*flood)) == {401}
            assert world.source.fetches == before + 1
            assert {await world.code(token(kid=f"x{number}")) for number in range(50)} == {401}
            assert world.source.fetches == before + 1

    run(scenario())


def test_without_keys_the_answer_is_to_come_again(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.source.error = UNREACHABLE

    async def scenario() -> None:
        async with running(world.authenticator):
            text = token()
            assert await world.code(text) == 503
            assert [URL in fault for fault in world.authenticator.faults()] == [True]
            world.source.error = None
            await world.refresh()
            await world.caller(text)
            assert world.authenticator.faults() == ()

    run(scenario())


def test_an_issuer_that_reuses_a_key_id_is_caught_up_with(world: World) -> None:
    async def scenario() -> None:
        async with running(world.authenticator):
            world.source.keys = published("new").replace(b'"new"', b'"dev"')
            world.clock.now += COOLDOWN
            text = token("new", kid="dev")
            assert await world.code(text) == 401
            while world.source.fetches < 2:  # noqa: ASYNC110 - nothing to await
                await asyncio.sleep(0.001)
            world.clock.now += 11
            await world.caller(text)

    run(scenario())


# --- the file


def test_a_new_file_is_taken_over(world: World) -> None:
    async def scenario() -> None:
        async with running(world.authenticator):
            text = token()
            before = await world.caller(text)
            mappings = {"username": {"claim": "sub", "prefix": "new:"}}
            write(world.path, configuration(claimMappings=mappings))
            assert (await world.authenticator.reload()).changed
            assert world.authenticator.cached(text) is None
            after = await world.caller(text)
            assert (before.username, after.username) == ("coder", "new:coder")
            assert world.source.fetches == 1, "the issuer is the same, so are its keys"
            assert not (await world.authenticator.reload()).changed

    run(scenario())


def test_an_issuer_that_left_is_not_believed(world: World) -> None:
    async def scenario() -> None:
        async with running(world.authenticator):
            old, new = token(), token(iss=OTHER)
            await world.caller(old)
            assert await world.code(new) == 401
            write(world.path, configuration(OTHER))
            await world.authenticator.reload()
            assert await world.code(old) == 401
            await world.caller(new)
            assert len(world.authenticator._workers) == 1

    run(scenario())


@pytest.mark.parametrize(
    "contents",
    [
        "",
        "jwt: [",
        "nonsense",
        "\x00",
        json.dumps(configuration("http://issuer.example")),
        json.dumps(configuration(issuer={"certificateAuthority": "junk"})),
        "apiVersion: a\napiVersion: b\n",
        None,
    ],
    ids=["empty", "not YAML", "text", "NUL", "bad URL", "bad CA", "doubled", "gone"],
)
def test_a_bad_file_changes_nothing_and_says_so(
    world: World, contents: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        async with running(world.authenticator):
            text = token()
            caller = await world.caller(text)
            if contents is None:
                world.path.unlink()
            else:
                world.path.write_text(contents)
            result = await world.authenticator.reload()
            assert result.faults
            assert not result.changed
            assert world.authenticator.cached(text) is caller
            assert "stays in force" in caplog.text
            caplog.clear()
            assert (await world.authenticator.reload()).faults == result.faults
            assert caplog.text == "", "once is enough"
            write(world.path, configuration(leeway="1m"))
            assert (await world.authenticator.reload()).changed

    run(scenario())


def test_a_file_that_turns_bad_twice_is_reported_twice(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        good = world.path.read_text()
        for _ in range(2):
            caplog.clear()
            world.path.write_text("bad")
            assert (await world.authenticator.reload()).faults
            assert "stays in force" in caplog.text
            world.path.write_text(good)
            assert (await world.authenticator.reload()).faults == ()

    run(scenario())


def test_a_verification_in_flight_does_not_outlive_its_configuration(world: World) -> None:
    async def scenario() -> None:
        async with running(world.authenticator):
            world.clock.now += COOLDOWN
            world.source.gate = asyncio.Event()
            world.source.keys = published("dev", "new")
            text = token("new")
            waiting = asyncio.ensure_future(world.code(text))
            await asyncio.sleep(0.01)
            write(world.path, configuration(leeway="1m"))
            await world.authenticator.reload()
            world.source.gate.set()
            assert await waiting == 503
            assert world.authenticator.cached(text) is None
            await world.caller(text)

    run(scenario())


def test_a_first_file_must_be_good(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"jwt\[0\].issuer.url"):
        World(tmp_path, configuration("http://issuer.example"))
    with pytest.raises(ConfigurationError, match="certificateAuthority"):
        World(tmp_path, configuration(issuer={"certificateAuthority": "/etc/ca.crt"}))
    with pytest.raises(OSError, match="nowhere"):
        Authenticator(tmp_path / "nowhere")


def test_a_running_authenticator_follows_its_file(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.authn.authenticator.RELOAD_EVERY", 0.001)

    async def scenario() -> None:
        async with running(world.authenticator):
            world.path.write_text("bad")
            write(world.path, configuration(OTHER))
            async with asyncio.timeout(10):
                while world.source.fetches < 2:  # noqa: ASYNC110 - nothing to await
                    await asyncio.sleep(0.001)
            assert [keys.issuer for keys in world.authenticator.key_sets()] == [OTHER]
            await world.caller(token(iss=OTHER))

    run(scenario())


def test_it_can_be_started_again(world: World) -> None:
    async def scenario() -> None:
        for _ in range(2):
            async with running(world.authenticator):
                await world.caller(token())

    run(scenario())


# --- over the wire


def test_rotation_and_outage_with_a_real_issuer(tmp_path: Path) -> None:
    with serving(tmp_path) as (server, ca):
        publish(server.folder, "dev")
        settings = configuration(server.url, issuer={"certificateAuthority": ca})
        clock = Clock()
        authenticator = Authenticator(write(tmp_path / "issuers.yaml", settings), clock=clock)

        async def scenario() -> None:
            async with running(authenticator):
                first, second = token(iss=server.url), token("new", iss=server.url)
                assert isinstance(await authenticator.authenticate(first), Caller)
                publish(server.folder, "dev", "new")
                clock.now += COOLDOWN
                assert isinstance(await authenticator.authenticate(second), Caller), "rotated in"
                publish(server.folder, "new")
                clock.now += COOLDOWN
                assert isinstance(await authenticator.authenticate(token(iss=server.url, kid="x")), Refused)
                assert authenticator.cached(first) is None, "rotated out"
                assert isinstance(await authenticator.authenticate(first), Refused)
                asked = len(server.asked)
                server.script = lambda _path: (500, {}, b"")
                for keys in authenticator.key_sets():
                    await keys.refresh()
                clock.now += 301
                assert isinstance(await authenticator.authenticate(second), Caller), "stale keys live on"
                assert len(server.asked) == asked + 1

        run(scenario())


# --- token reviews

PERSON = {"username": "anna", "extra": {"authentication.kubernetes.io/pod-uid": ["u-1"]}}


class Api:
    """An API server that knows these tokens."""

    def __init__(self, **users: object) -> None:
        self.users: Mapping[str, object] = users
        self.asked: list[str] = []
        self.error: Exception | None = None
        self.gate: asyncio.Event | None = None

    async def call(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> dict[str, Any]:
        assert (method, path) == ("POST", PATH)
        assert timeout
        assert body is not None
        self.asked.append(body["spec"]["token"])
        if self.gate:
            await self.gate.wait()
        if self.error:
            raise self.error
        user = self.users.get(self.asked[-1])
        return {
            "status": {"authenticated": True, "user": user} if user else {"authenticated": False, "error": ""}
        }


def reviewing(folder: Path, api: Api, **settings: Any) -> World:
    return World(folder, configuration() | {"tokenReview": settings}, api=api)


def test_tokens_of_no_issuer_are_put_to_the_api_server(tmp_path: Path) -> None:
    api = Api(opaque=PERSON)
    world = reviewing(tmp_path, api)
    foreign = token(iss=OTHER)

    async def scenario() -> None:
        async with running(world.authenticator):
            caller = await world.caller("opaque")
            assert (caller.issuer, caller.username, caller.run) == (ISSUER, "anna", "u-1")
            assert world.authenticator.cached("opaque") is caller
            assert await world.code(foreign) == 401
            assert await world.code(foreign) == 401
            assert api.asked == ["opaque", foreign]
            world.clock.now += 61
            assert world.authenticator.cached("opaque") is None

    run(scenario())


def test_no_other_token_is_put_to_it(tmp_path: Path) -> None:  # ID-09, and rule 1: never "try the next"
    api = Api()
    world = reviewing(tmp_path, api)
    bad = [
        "",
        "a.b.c",
        token(exp=NOW - 60),
        token("stranger", kid="dev"),
        token(kid="x"),
        token(groups=["system:x"]),
    ]

    async def scenario() -> None:
        async with running(world.authenticator):
            assert {await world.code(text) for text in bad} == {401, 403}
            assert api.asked == []

    run(scenario())


def test_without_the_setting_nothing_is_reviewed(tmp_path: Path) -> None:
    api = Api(opaque=PERSON)
    world = World(tmp_path, api=api)

    async def scenario() -> None:
        async with running(world.authenticator):
            assert await world.code("opaque") == 401
            assert api.asked == []

    run(scenario())


def test_reviews_need_a_connection(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="tokenReview"):
        World(tmp_path, configuration() | {"tokenReview": {}})


@pytest.mark.parametrize("error", [UnreachableError("down"), TimeoutError(), OSError(), RuntimeError("odd")])
def test_an_error_of_the_api_server_is_never_a_yes(tmp_path: Path, error: Exception) -> None:
    api = Api(opaque=PERSON)
    world = reviewing(tmp_path, api)
    api.error = error

    async def scenario() -> None:
        async with running(world.authenticator):
            assert await world.code("opaque") == (401 if isinstance(error, RuntimeError) else 503)
            api.error = None
            await world.caller("opaque")

    run(scenario())


def test_one_token_is_reviewed_once_at_a_time(tmp_path: Path) -> None:
    api = Api(opaque=PERSON)
    world = reviewing(tmp_path, api)
    api.gate = asyncio.Event()

    async def scenario() -> None:
        async with running(world.authenticator):
            flood = [asyncio.ensure_future(world.caller("opaque")) for _ in range(50)]
            await asyncio.sleep(0.01)
            flood[0].cancel()
            assert api.gate is not None
            api.gate.set()
            callers = await asyncio.gather(*flood[1:])
            assert len({id(caller) for caller in callers}) == 1
            assert len(api.asked) <= 2  # the cancelled one, and one for all the others

    run(scenario())


def test_reviews_are_bounded(tmp_path: Path) -> None:
    api = Api()
    world = World(tmp_path, configuration() | {"tokenReview": {}}, api=api, max_waiting=40)
    api.gate = asyncio.Event()

    async def scenario() -> None:
        async with running(world.authenticator):
            flood = [asyncio.ensure_future(world.code(f"opaque{number}")) for number in range(100)]
            done, waiting = await asyncio.wait(flood, timeout=0.1)
            assert {task.result() for task in done} == {503}
            assert (len(waiting), len(api.asked)) == (40, 32)
            assert api.gate is not None
            api.gate.set()
            await asyncio.gather(*flood)

    run(scenario())
