"""Streams behind the gateway's own masking engine: lengths are kept, counts are by rule, and what is known is found."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from urllib.parse import quote, urlencode

import pytest

from chaperone.core.masking import Place
from chaperone.core.policy import policy_set
from chaperone.core.request import Request, parse
from chaperone.core.verdict import Action, Verdict
from gateway.masking.engine import MaskingEngine
from gateway.recording.commands import ShownTargets, screened
from gateway.recording.screens import ChooseScreens
from gateway.recording.tap import Screens
from gateway.recording.taps import scene_of
from gateway.services import UnkeptRuns
from gateway.standing import Standing, standing_of
from tests.gateway.stage import AGENT, ALLOW_ALL, policy

TOKEN = b"ghp_" + b"0123456789abcdefghijABCDEFGHIJ012345"
STARS = b"*" * len(TOKEN)
MASKED = policy({"name": "all", "match": {}, "action": "Allow"}, masking={"profile": "Standard"})


@lru_cache(1)
def engine() -> MaskingEngine:
    return MaskingEngine(b"k" * 32, None)


def standing(*policies: dict[str, object]) -> Standing:
    return standing_of(AGENT, policy_set(policies), 1, UnkeptRuns())


def request(query: str = "") -> Request:
    found = parse("GET", f"/api/v1/namespaces/dev/pods/p/exec{query}", upgrade="websocket")
    assert isinstance(found, Request)
    return found


def pieces(data: bytes) -> Iterator[list[bytes]]:
    yield [data]
    yield [data[at : at + 1] for at in range(len(data))]
    for at in range(len(data)):
        yield [data[:at], data[at:]]


@pytest.mark.parametrize("end", [b"\n", b"", b"\0", b" tail"])
def test_sm02_a_secret_cut_anywhere_keeps_its_length_and_loses_its_content(end: bytes) -> None:
    screens = ChooseScreens(engine())(request(), standing(MASKED))
    assert screens is not None
    text = b"before " + TOKEN + end
    for cut in pieces(text):
        screen = screens.make()
        assert b"".join(screen.feed(piece) for piece in cut) + screen.flush() == b"before " + STARS + end
    assert sum(screens.counts.values()) == len(list(pieces(text)))


def test_what_was_masked_in_an_object_is_masked_on_the_screen() -> None:
    governed = standing(MASKED)
    assert governed.terms is not None
    masker = engine().masker(governed.terms, governed.run)
    secret = {"apiVersion": "v1", "kind": "Secret", "data": {"word": "Y29ycmVjdC1ob3JzZS1iYXR0ZXJ5"}}
    place = Place(resource="secrets", namespace="dev", name="s")
    masker.document(secret, place, collect=engine().collect(governed.run))
    screens = ChooseScreens(engine())(request(), governed)
    assert screens is not None
    screen = screens.make()
    assert screen.feed(b"it is correct-horse-battery\n") == b"it is " + b"*" * 21 + b"\n"


def test_where_masking_is_off_there_is_no_screen() -> None:
    assert ChooseScreens(engine())(request(), standing(ALLOW_ALL)) is None


def test_a_secret_in_a_command_is_not_in_the_scene() -> None:
    governed = standing(MASKED)
    asked = request(
        f"?command=curl&command=-H&command=X-Key:{TOKEN.decode()}&tty=true&stdin=0&ports=80&ports=x"
    )
    screens = ChooseScreens(engine())(asked, governed)
    verdict = Verdict(action=Action.ALLOW, policy="agents")
    scene = scene_of(asked, governed, verdict, audit_id="a", now=1.0, screens=screens)
    assert scene.command == ("curl", "-H", f"X-Key:{STARS.decode()}")
    assert (scene.tty, scene.stdin, scene.ports) == (True, False, (80,))


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["echo", TOKEN.decode()], ["echo", STARS.decode()]),
        (["sh", "-c", f"X={TOKEN.decode()} run"], ["sh", "-c", f"X={STARS.decode()} run"]),
        (["ls", "-la", "ü"], ["ls", "-la", "ü"]),
    ],
)
def test_or03_records_show_commands_without_their_secrets(words: list[str], shown: list[str]) -> None:
    query = "?" + urlencode([("command", word) for word in words] + [("stdout", "true")], quote_via=quote)
    target = ShownTargets(ChooseScreens(engine()))(request(query), standing(MASKED))
    read = parse("GET", target, upgrade="websocket")
    assert isinstance(read, Request)
    assert [value for name, value in read.parameters if name == "command"] == shown
    assert read.parameter("stdout") == "true"
    assert read.path == request().path


def test_a_password_and_its_option_are_two_words() -> None:
    screens = ChooseScreens(engine())(request(), standing(MASKED))
    shown = screened(("mysql", "--password", "Tr0ub4dor-and-3"), screens)
    assert shown[:2] == ("mysql", "--password")


def test_a_command_that_cannot_be_masked_is_withheld() -> None:
    def fail(_request: Request, _standing: Standing) -> Screens | None:
        raise RuntimeError("no pattern engine")

    target = ShownTargets(fail)(request("?command=secret"), standing(MASKED))
    assert "secret" not in target
    assert "withheld" in target


def test_where_masking_is_off_records_show_what_was_asked() -> None:
    asked = request(f"?command={TOKEN.decode()}")
    assert ShownTargets(ChooseScreens(engine()))(asked, standing(ALLOW_ALL)) == asked.target
