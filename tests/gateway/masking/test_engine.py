"""The real engine behind real answers: what one answer of a run has shown masked, the next ones mask wherever it is."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path
from typing import Any

import pytest

from bench.pods import pods
from chaperone.core.masking import Terms
from chaperone.core.masking.place import Place
from gateway.masking.choice import Choice
from gateway.masking.engine import MOST_MASKERS, MaskingEngine
from gateway.masking.key_file import masking_key, read_key
from gateway.masking.list_body import ListBody
from gateway.masking.per_run import PerRun
from gateway.masking.sight import Sight
from tests.gateway.stage import PODS, Stage, play, policy, request
from tests.gateway.upstream import Seen, Upstream, reply

VALUE = "correct-horse-battery-9"
SECRET = "/api/v1/namespaces/dev/secrets/db"
LOG = PODS + "/a/log"
RUN = ("issuer", "subject", "run")
MASKED = policy({"name": "all", "match": {}, "action": "Allow"}, masking={"profile": "Standard"})


@pytest.fixture(scope="module")
def engine(patterns: Path) -> MaskingEngine:
    return MaskingEngine(b"k" * 32, patterns)


def secret(value: str) -> bytes:
    data = {"password": base64.b64encode(value.encode()).decode()}
    return json.dumps({"kind": "Secret", "metadata": {"name": "db", "uid": "u"}, "data": data}).encode()


def text(body: str) -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n\r\n"
    return (head + body).encode()


def test_what_a_run_was_shown_masked_is_masked_wherever_it_turns_up(engine: MaskingEngine) -> None:
    async def answer(seen: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if seen.target == SECRET:
            writer.write(reply(200, secret(VALUE)))
        elif seen.target == LOG:
            packed = base64.b64encode(b"x" + VALUE.encode()).decode()
            writer.write(text(f"plain {VALUE} packed {packed}\n"))
        elif seen.target == PODS:
            items = [{"metadata": {"name": "a"}, "status": {"message": f"said {VALUE}"}}]
            writer.write(reply(200, json.dumps({"kind": "PodList", "items": items}).encode()))
        else:
            status = {"kind": "Status", "status": "Failure", "code": 422, "message": f"bad {VALUE}"}
            writer.write(reply(422, json.dumps(status).encode(), f'Warning: 299 - "{VALUE}"'))

    async def scene(stage: Stage) -> None:
        assert VALUE.encode() in (await stage.exchange(request(LOG))).body  # nobody has told that it is one
        shown = (await stage.exchange(request(SECRET))).body
        placeholder = base64.b64decode(json.loads(shown)["data"]["password"]).decode()
        log = (await stage.exchange(request(LOG))).body.decode()
        assert log.startswith(f"plain {placeholder} packed ")
        assert base64.b64encode(b"x" + VALUE.encode())[4:-4] not in log.encode()
        for target in (PODS, PODS + "/b"):
            got = await stage.exchange(request(target))
            assert placeholder in got.body.decode()
            assert VALUE not in got.body.decode() + str(got.headers)
        assert stage.metrics.masked_values["known-value"] >= 4

    play(scene, policies=(MASKED,), upstream=Upstream(answer), choose_filter=Choice(engine))


def test_another_run_knows_nothing_of_it(engine: MaskingEngine) -> None:
    first, second = engine.masker(Terms(), RUN), engine.masker(Terms(), ("issuer", "subject", "other"))
    first.document(
        json.loads(secret("only-of-the-first-9")), Place(resource="secrets"), collect=engine.collect(RUN)
    )
    assert "only-of-the-first-9" not in first.text("says only-of-the-first-9")[0]
    assert "only-of-the-first-9" in second.text("says only-of-the-first-9")[0]


def test_one_masker_for_each_run_and_its_terms(engine: MaskingEngine) -> None:
    strict = Terms(keys=("hush",))
    assert engine.masker(Terms(), RUN) is engine.masker(Terms(), RUN)
    assert engine.masker(strict, RUN) is not engine.masker(Terms(), RUN)
    document: dict[str, Any] = {"kind": "X", "spec": {"hush": "hunter2222"}}
    assert engine.masker(strict, RUN).document(document, Place(resource="xs")).total == 1
    for number in range(2 * MOST_MASKERS):
        engine.masker(Terms(keys=(f"key{number}",)), RUN)
    assert len(engine._memories.of(RUN).maskers) <= MOST_MASKERS


def test_placeholders_are_the_same_in_every_worker_with_the_key(patterns: Path) -> None:
    shown = []
    for key in (b"a" * 32, b"a" * 32, b"b" * 32):
        document = json.loads(secret(VALUE))
        MaskingEngine(key, patterns).masker(Terms(), RUN).document(document, Place(resource="secrets"))
        shown.append(document["data"]["password"])
    assert shown[0] == shown[1] != shown[2]


def test_runs_are_forgotten_when_there_are_too_many() -> None:
    runs = PerRun(list[int], most=2)
    first = runs.of(("i", "s", "1"))
    assert runs.of(("i", "s", "1")) is first
    runs.of(("i", "s", "2"))
    runs.of(("i", "s", "1"))
    runs.of(("i", "s", "3"))
    assert runs.of(("i", "s", "1")) is first
    assert len(runs._runs) == 2


# In pieces and whole


@pytest.mark.parametrize("spelled", [{"separators": (",", ":")}, {}, {"indent": 2}])
@pytest.mark.parametrize("size", [977, 70_000])
def test_a_list_masked_in_pieces_is_the_list_masked_whole(patterns: Path, size: int, spelled: Any) -> None:
    items = [json.loads(one) for one in pods(40)]
    document = {"kind": "PodList", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": items}
    raw = json.dumps(document, **spelled).encode()
    place = Place(resource="pods", namespace="dev")
    one, other = MaskingEngine(b"k" * 32, patterns), MaskingEngine(b"k" * 32, patterns)
    report = one.masker(Terms(), RUN).document(document, place)
    sight = Sight(
        other.masker(Terms(), RUN),
        place,
        clears=other.clears(Terms(), RUN, place),
        collect=other.collect(RUN),
    )
    body = ListBody(sight)
    shown = b"".join([body.data(raw[at : at + size]) for at in range(0, len(raw), size)]) + body.end()
    assert json.loads(shown) == document
    assert sight.counts == report.counts
    assert report.total == 5


# The key


def test_without_a_key_file_a_key_is_made_and_that_is_said(caplog: pytest.LogCaptureFixture) -> None:
    first, second = masking_key(None), masking_key(None)
    assert (len(first), first == second) == (32, False)
    assert "masking.keyFile" in caplog.text


def test_a_key_file(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("0123456789abcdef" * 4 + "\n")
    assert masking_key(path) == b"0123456789abcdef" * 4
    path.write_text("short")
    with pytest.raises(ValueError, match="at least 32"):
        read_key(path)
    with pytest.raises(ValueError, match="key"):
        MaskingEngine(b"short", None)
