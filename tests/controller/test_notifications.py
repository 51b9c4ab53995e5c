"""Notices to a real HTTP receiver: each event once, after failures again, never a secret in the log."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import Callable, Coroutine, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from chaperone.core.guard import Writer, check_update
from chaperone.core.notice import NOTIFIED, Event
from chaperone.kube.official import APPROVAL_REQUESTS, Obj
from chaperone.settings.controller import NotificationSettings
from controller.notification_targets import TargetFile, TargetsError, read_targets
from controller.notifications import FIRST_PAUSE, LONGEST_PAUSE, Notifier, Patience
from tests.controller.fakes import FakeCluster
from tests.core.test_notice import DECISION, EXECUTION, NOW, request

SECRET = "s3cr3t-path"

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
"""apprise imports the plug-ins of all its services, and some of these import modules that Python is giving up."""


class Receiver:
    """Keeps what is posted. broken: paths that answer 500. gate: answers wait for it."""

    def __init__(self) -> None:
        self.posts: list[tuple[str, dict[str, Any]]] = []
        self.broken: set[str] = set()
        self.gate = threading.Event()
        self.gate.set()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                receiver.gate.wait(20)
                name = self.path.strip("/").split("/")[0]
                if name not in receiver.broken:
                    receiver.posts.append((name, body))
                self.send_response(500 if name in receiver.broken else 200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def url(self, name: str) -> str:
        return f"json://127.0.0.1:{self.server.server_address[1]}/{name}/{SECRET}"

    def titles(self, name: str = "chat") -> list[str]:
        return [body["title"].partition(":")[0] for path, body in self.posts if path == name]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.gate.set()
    made.server.shutdown()
    made.server.server_close()
    made.thread.join()


class World:
    """A notifier with a clock of its own, and the cluster in which it writes what it has told."""

    def __init__(self, folder: Path, receiver: Receiver) -> None:
        self.path = folder / "targets.yaml"
        self.receiver = receiver
        self.cluster = FakeCluster()
        self.now = NOW
        self.tell("chat")

    def tell(self, *names: str, **terms: Any) -> None:
        targets = [{"name": name, "url": self.receiver.url(name), **terms} for name in names]
        self.path.write_text(yaml.safe_dump({"targets": targets}))

    def notifier(self) -> Notifier:
        """As after a start of the controller."""
        settings = NotificationSettings(targets=self.path, console_url="https://console.example")
        return Notifier(self.cluster, settings, lambda: self.now)

    def put(self, obj: Obj) -> Obj:
        return self.cluster.put(APPROVAL_REQUESTS.path(obj["metadata"]["name"]), obj)

    @property
    def told(self) -> str:
        obj = self.cluster.objects[APPROVAL_REQUESTS.path("apr-1")]
        return str((obj["metadata"].get("annotations") or {}).get(NOTIFIED, ""))


@pytest.fixture
def world(tmp_path: Path, receiver: Receiver) -> World:
    return World(tmp_path, receiver)


def play(scene: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(scene())


def test_each_event_is_told_once_and_written_down(world: World) -> None:
    async def scene() -> None:
        notifier = world.notifier()
        waiting = world.put(request())
        notifier.note(None, waiting)
        await notifier.turn()
        assert world.receiver.titles() == ["Approval needed"]
        assert world.told == "pending"
        (_, body) = world.receiver.posts[0]
        assert "kubectl patch apreq apr-1" in body["message"]
        assert "https://console.example/approvals/apr-1" in body["message"]
        notifier.note("MODIFIED", waiting)  # an event from before the annotation
        notifier.note("MODIFIED", world.cluster.objects[APPROVAL_REQUESTS.path("apr-1")])
        await notifier.turn()
        await notifier.turn()
        assert world.receiver.titles() == ["Approval needed"]
        done = request("Executed", **DECISION, **EXECUTION)
        done["metadata"]["annotations"] = {NOTIFIED: "pending"}
        notifier.note("MODIFIED", world.put(done))
        await notifier.turn()
        assert world.receiver.titles() == ["Approval needed", "Approved", "Executed"]
        assert world.told == "pending,approved,executed"

    play(scene)


def test_a_restart_neither_forgets_nor_repeats(world: World) -> None:
    async def scene() -> None:
        world.put(request())
        for _ in range(3):
            notifier = world.notifier()
            notifier.note(None, world.cluster.objects[APPROVAL_REQUESTS.path("apr-1")])
            await notifier.turn()
        assert world.receiver.titles() == ["Approval needed"]

    play(scene)


def test_what_could_not_be_written_down_is_told_again_only_after_a_restart(world: World) -> None:
    async def scene() -> None:
        notifier = world.notifier()
        notifier.note(None, world.put(request()))
        world.cluster.away = True
        await notifier.turn()
        await notifier.turn()
        assert world.receiver.titles() == ["Approval needed"]
        world.cluster.away = False
        await notifier.turn()
        assert world.receiver.titles() == ["Approval needed"]
        assert world.told == "pending"

    play(scene)


def test_a_target_that_fails_is_tried_again_and_stands_in_nobodys_way(world: World) -> None:
    async def scene() -> None:
        world.tell("chat", "mail")
        world.receiver.broken = {"mail"}
        notifier = world.notifier()
        notifier.note(None, world.put(request()))
        await notifier.turn()
        approved = world.put(request("Approved", **DECISION))
        notifier.note("MODIFIED", approved)
        await notifier.turn()
        assert world.receiver.titles("chat") == ["Approval needed", "Approved"]
        assert world.told == ""
        world.receiver.broken = set()
        await notifier.turn()
        assert world.receiver.titles("mail") == []  # it is left in peace
        world.now += FIRST_PAUSE
        await notifier.turn()
        assert world.receiver.titles("mail") == ["Approved"]  # that it waits is no news any more
        assert world.receiver.titles("chat") == ["Approval needed", "Approved"]
        assert world.told == "approved"

    play(scene)


def test_what_cannot_be_delivered_is_given_up_when_it_is_old(world: World) -> None:
    async def scene() -> None:
        world.receiver.broken = {"chat"}
        notifier = world.notifier()
        notifier.note(None, world.put(request()))
        await notifier.turn()
        world.now += 86_400
        world.receiver.broken = set()
        await notifier.turn()
        assert world.receiver.posts == []

    play(scene)


def test_everybody_hears_what_they_want_to_hear(world: World) -> None:
    async def scene() -> None:
        url = world.receiver.url
        targets = [
            {"name": "all", "url": url("all")},
            {"name": "decisions", "url": url("decisions"), "events": ["approved", "denied"]},
            {"name": "web", "url": url("web"), "policies": ["web-*"]},
            {"name": "coders", "url": url("coders"), "policies": ["cod*"]},
            {"name": "critical", "url": url("critical"), "risks": ["critical"]},
            {"name": "high", "url": url("high"), "risks": ["critical", "high"]},
        ]
        world.path.write_text(yaml.safe_dump({"targets": targets}))
        notifier = world.notifier()
        notifier.note(None, world.put(request()))
        await notifier.turn()
        assert sorted(name for name, _ in world.receiver.posts) == ["all", "coders", "high"]

    play(scene)


def test_nobody_is_interested(world: World) -> None:
    async def scene() -> None:
        world.tell("chat", events=["denied"])
        notifier = world.notifier()
        notifier.note(None, world.put(request()))
        await notifier.turn()
        assert world.cluster.writes == []

    play(scene)


def test_nobody_is_told_where_no_file_is_given(world: World) -> None:
    async def scene() -> None:
        notifier = Notifier(world.cluster, NotificationSettings(), lambda: NOW)
        notifier.note(None, world.put(request()))
        await notifier.turn()
        assert world.cluster.writes == []

    play(scene)


def test_gone_or_unreadable_objects_end_nothing(world: World, caplog: pytest.LogCaptureFixture) -> None:
    async def scene() -> None:
        notifier = world.notifier()
        notifier.note(None, {"metadata": {"name": "odd"}})
        gone = world.put(request())
        notifier.note(None, gone)
        notifier.note("DELETED", gone)
        unlisted = request()
        unlisted["metadata"]["name"] = "deleted-meanwhile"
        notifier.note(None, unlisted)
        await notifier.turn()
        assert len(world.receiver.posts) == 1
        assert "odd cannot be read" in caplog.text
        await notifier.turn()
        assert len(world.receiver.posts) == 1

    play(scene)


def test_a_receiver_that_hangs_does_not_stop_the_loop(world: World) -> None:
    async def scene() -> None:
        world.receiver.gate.clear()
        notifier = world.notifier()
        notifier.note(None, world.put(request()))
        async with asyncio.TaskGroup() as group:
            task = group.create_task(notifier.run())
            for _ in range(50):
                await asyncio.sleep(0)  # whoever else lives in the loop goes on
            assert world.receiver.posts == []
            world.receiver.gate.set()
            while world.told != "pending":  # noqa: ASYNC110 - nothing in production code tells a test
                await asyncio.sleep(0.01)
            task.cancel()
        assert world.receiver.titles() == ["Approval needed"]

    play(scene)


def test_run_outlives_whatever_a_turn_meets(world: World, caplog: pytest.LogCaptureFixture) -> None:
    async def scene() -> None:
        notifier, obj = world.notifier(), world.put(request())
        world.cluster.refuse = _fault
        notifier.note(None, obj)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(notifier.run())
            while "trying again" not in caplog.text:  # noqa: ASYNC110 - nothing in production code tells a test
                await asyncio.sleep(0.01)
            world.cluster.refuse = lambda _verb, _path: ""
            notifier.note("MODIFIED", obj)
            while world.told != "pending":  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.01)
            task.cancel()
        assert world.receiver.titles() == ["Approval needed"]

    play(scene)


def _fault(_verb: str, _path: str) -> str:
    raise RuntimeError("a fault of ours")


def test_no_secret_is_ever_logged(
    world: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)

    async def scene() -> None:
        world.tell("chat", "mail")
        world.receiver.broken = {"mail"}
        notifier = world.notifier()
        notifier.note(None, world.put(request()))
        await notifier.turn()
        assert world.receiver.titles() == ["Approval needed"]
        (target, *_) = TargetFile(world.path).targets()
        monkeypatch.setattr(target.service, "notify", _raise_with_secret)
        assert not target.send(None)  # type: ignore[arg-type]
        assert "mail could not be told" in caplog.text
        assert SECRET not in caplog.text
        assert SECRET not in repr(target)

    play(scene)


def _raise_with_secret(**_: Any) -> bool:
    raise RuntimeError(SECRET)


# The file


@pytest.mark.parametrize(
    ("document", "why"),
    [
        ("targets: [", "is not YAML"),
        ("[]", "targets: a list"),
        ("targets: {}", "targets: a list"),
        ("targets: [x]", "targets[0]: a mapping"),
        ("targets: [{name: a}]", "targets[0].url"),
        (f"targets: [{{name: a, url: '{SECRET}'}}]", "targets[0].url"),
        ("targets: [{name: '', url: 'json://h'}]", "targets[0].name"),
        ("targets: [{name: a, url: 'json://h', event: [pending]}]", "targets[0].event: is not known"),
        ("targets: [{name: a, url: 'json://h', events: [born]}]", "'born' is none of"),
        ("targets: [{name: a, url: 'json://h', events: []}]", "leave it out for all"),
        ("targets: [{name: a, url: 'json://h', risks: high}]", "a list of texts"),
        ("targets: [{name: a, url: 'json://h'}, {name: a, url: 'json://h'}]", "'a' stands there twice"),
    ],
)
def test_a_file_that_cannot_be_used(document: str, why: str) -> None:
    with pytest.raises(TargetsError) as fault:
        read_targets(document.encode(), "targets.yaml")
    assert why in str(fault.value)
    assert SECRET not in str(fault.value)


def test_the_file_is_read_again_and_a_broken_one_is_not_taken(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    file = TargetFile(world.path)
    world.tell("mail", "pager")
    assert [target.name for target in file.targets()] == ["mail", "pager"]
    world.path.write_text("targets: [x]")
    assert [target.name for target in file.targets()] == ["mail", "pager"]
    assert "stays as it was" in caplog.text
    world.path.unlink()
    assert [target.name for target in file.targets()] == ["mail", "pager"]
    with pytest.raises(TargetsError, match="cannot be read"):
        TargetFile(world.path)


def test_patience_grows_to_a_limit() -> None:
    patience = Patience()
    pauses = [patience.failed("a", NOW) for _ in range(12)]
    assert pauses[:3] == [2.0, 4.0, 8.0]
    assert pauses[-1] == LONGEST_PAUSE
    assert patience.rests("a", NOW + LONGEST_PAUSE - 1)
    assert not patience.rests("a", NOW + LONGEST_PAUSE)
    assert patience.next_try(NOW) == LONGEST_PAUSE
    assert patience.next_try(NOW + LONGEST_PAUSE) == float("inf")
    patience.took("a")
    assert not patience.rests("a", NOW)


def test_the_guard_lets_the_controller_write_it_down_and_nobody_else() -> None:
    before, after = request(), request()
    after["metadata"]["annotations"] = {NOTIFIED: "pending"}
    assert check_update(before, after, Writer.CONTROLLER, "c", NOW, subresource="") == ""
    assert check_update(before, after, Writer.PERSON, "alice", NOW, subresource="")


def test_the_example_in_the_docs_can_be_used() -> None:
    page = (Path(__file__).parents[2] / "docs" / "notifications.md").read_text()
    targets, settings = (block.partition("```")[0] for block in page.split("```yaml\n")[1:])
    assert [target.name for target in read_targets(targets.encode(), "docs")] == [
        "oncall",
        "audit-mail",
        "pager",
    ]
    assert set(yaml.safe_load(settings)["notifications"]) == {"targets", "consoleUrl"}
    for event in Event:
        assert f"`{event.value}`" in page
