"""Records in other formats, and on their way to other systems: nothing is lost, and what comes twice is known by its id."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from chaperone.cli.app import run
from chaperone.core.chain import Reason, origin, seal
from chaperone.store import forwarding
from chaperone.store.delivery import DeliveryError, target_of
from chaperone.store.formats import LONGEST_MESSAGE, OCSF_VERSION, Outgoing, ocsf, otlp, outgoing, syslog
from chaperone.store.forwarding import Forwarder
from chaperone.store.verification import verify
from tests.store.conftest import NOW, Bench, event


def item(**fields: Any) -> Outgoing:
    return outgoing(seal(origin("gw-0"), json.dumps(event("a-1", **fields)).encode()))


def test_ocsf_says_who_did_what_to_what() -> None:
    made = ocsf(item(verb="delete", verdict="Deny", risk={"level": "critical"}, responseStatus={"code": 403}))
    assert (made["class_uid"], made["category_uid"], made["activity_id"], made["type_uid"]) == (
        6003,
        6,
        4,
        600304,
    )
    assert made["metadata"]["version"] == OCSF_VERSION == "1.5.0"
    assert (made["metadata"]["uid"], made["api"]["request"]["uid"]) == ("gw-0/1", "a-1")
    assert made["actor"]["user"]["name"] == "repo:acme/shop"
    assert made["actor"]["session"]["uid"] == "run-1"
    assert made["resources"] == [{"type": "pods", "name": "web", "namespace": "dev"}]
    assert (made["severity_id"], made["action_id"], made["status_id"], made["status_code"]) == (
        5,
        2,
        2,
        "403",
    )
    assert made["time"] == round(NOW * 1000)
    assert made["policy"]["name"] == "coders"
    assert made["unmapped"]["chain"]["sequence"] == 1


@pytest.mark.parametrize("verb", ["get", "create", "patch", "impersonate", ""])
def test_every_verb_has_an_activity(verb: str) -> None:
    assert ocsf(item(verb=verb))["activity_id"] in (1, 2, 3, 4, 99)


def test_opentelemetry_carries_the_trace() -> None:
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    (resource,) = otlp([item(traceparent=trace), item(verdict="Hold")])["resourceLogs"]
    first, second = resource["scopeLogs"][0]["logRecords"]
    assert (first["traceId"], first["spanId"]) == ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7")
    assert first["timeUnixNano"] == str(round(NOW * 1000) * 1_000_000)
    assert (first["severityText"], second["severityText"]) == ("INFO", "WARN")
    assert "traceId" not in second
    named = {one["key"]: one["value"]["stringValue"] for one in first["attributes"]}
    assert named["gen_ai.conversation.id"] == "run-1"
    assert named["log.record.uid"] == "gw-0/1"
    assert json.loads(first["body"]["stringValue"])["auditID"] == "a-1"


def test_syslog_is_one_line_whatever_a_name_holds() -> None:
    message = syslog(item(run='r"]\\ x', verdict="Deny"))
    head, _, text = message.partition(b"\xef\xbb\xbf")
    assert head.startswith(
        b"<108>1 2026-01-31T09:00:00.000000Z gw-0 kube-chaperone 1 ResponseComplete [chaperone@32473 "
    )
    assert rb'run="r\"\]\\ x"' in head
    assert b"\n" not in message
    assert json.loads(text)["auditID"] == "a-1"


def large(size: int = 200_000, **fields: Any) -> dict[str, Any]:
    """Fields of a mutation's record with its objects."""
    body = {"kind": "ConfigMap", "data": {"blob": "y" * size}}
    before = {"state": "Present", "object": body}
    return {"verb": "update", "requestObject": body, "objectBefore": before, "responseObject": body, **fields}


def test_ocsf_carries_what_was_sent_and_what_stood_there() -> None:
    made = ocsf(item(**large(10)))
    assert made["api"]["request"]["data"] == made["api"]["response"]["data"] == large(10)["requestObject"]
    assert made["unmapped"]["objectBefore"] == large(10)["objectBefore"]
    assert "data" not in ocsf(item())["api"]["request"]


def test_a_brief_says_what_it_lacks() -> None:
    brief = item(**large()).brief()
    said = json.loads(brief.line)
    assert len(brief.line) < 2000
    assert said.keys() >= {"auditID", "verb", "user", "chain", "omitted"}
    assert said["omitted"].keys() == {"requestObject", "objectBefore", "responseObject"}
    assert ocsf(brief)["unmapped"]["omitted"] == said["omitted"]


def test_syslog_is_bounded_and_its_text_stays_a_record() -> None:
    message = syslog(item(**large()))
    assert len(message) <= LONGEST_MESSAGE
    assert json.loads(message.partition(b"\xef\xbb\xbf")[2])["omitted"]
    whole = syslog(item(**large(500)))
    assert json.loads(whole.partition(b"\xef\xbb\xbf")[2])["requestObject"] == large(500)["requestObject"]


@pytest.mark.parametrize("longest", range(2048, 2056))
def test_syslog_is_cut_between_characters_where_even_the_brief_is_too_long(longest: int) -> None:
    message = syslog(item(run="\u00e9" * 900, agent="a]" * 900), longest)
    assert longest - 4 < len(message) <= longest
    head, _, text = message.partition(b"\xef\xbb\xbf")
    assert text.decode().startswith('{"kind":"Event"')
    assert head.count(b"run=") == 1


def test_a_brief_is_one_line_without_unseen_characters() -> None:
    brief = item(**large(), reason="\u202e\x1b[31m\u2028").brief()
    assert brief.line.isascii()
    assert json.loads(brief.line)["reason"] == "\u202e\x1b[31m\u2028"


def test_a_record_that_is_no_json_any_more_says_so() -> None:
    broken = outgoing(seal(origin("gw-0"), b'{"auditID":}'))
    assert broken.id == "gw-0/1"
    assert "audit verify" in json.loads(broken.line)["reason"]
    assert b"audit verify" in syslog(broken)


def test_a_record_with_nothing_in_it_has_every_format() -> None:
    bare = outgoing(seal(origin("gw-0"), b'{"x":1}'))
    assert ocsf(bare)["activity_id"] == 99
    assert otlp([bare])
    assert syslog(bare).startswith(b"<110>1 - gw-0 ")


# Over HTTP


class Receiver:
    """An HTTP server that keeps what it gets, and answers as it is told."""

    def __init__(self) -> None:
        self.bodies: list[Any] = []
        self.keys: list[str] = []
        self.codes: list[int] = []
        self.sizes: list[int] = []
        self.longest = 1 << 30
        self.answer = b""
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                code = receiver.codes.pop(0) if receiver.codes else 200
                receiver.sizes.append(len(body))
                code = 413 if len(body) > receiver.longest else code
                if code < 300 or code == 599:
                    receiver.bodies.append(json.loads(body))
                    receiver.keys.append(str(self.headers["Idempotency-Key"]))
                self.send_response(503 if code == 599 else code)
                if code == 302:
                    self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", str(len(receiver.answer)))
                self.end_headers()
                self.wfile.write(receiver.answer)

            def log_message(self, *_: object) -> None:
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/in"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def ids(self) -> list[str]:
        return [str(one["record"]["auditID"]) for body in self.bodies for one in body["items"]]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.server.shutdown()
    made.server.server_close()


def test_every_record_is_sent_once_across_restarts(
    bench: Bench, another: Callable[..., Bench], receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forwarding, "BATCH", 3)
    second = another("gw-1")
    bench.write(*(event(f"a{number}") for number in range(7)), checkpoint=Reason.INTERVAL)
    second.write(event("b0"))
    for _ in range(2):
        store = bench.store()
        Forwarder(store, "siem", target_of(receiver.url, "json")).forward()
        store.close()
    assert receiver.ids() == [*(f"a{number}" for number in range(7)), "b0"]
    bench.write(event("a7"))
    store = bench.store()
    assert Forwarder(store, "siem", target_of(receiver.url, "json")).forward() == 1
    assert Forwarder(store, "other", target_of(receiver.url, "json")).forward() == 9
    store.close()


def test_a_batch_whose_answer_was_lost_is_sent_again_under_the_same_ids(
    bench: Bench, receiver: Receiver
) -> None:
    bench.write(event("a"), event("b"))
    receiver.codes = [599]
    store = bench.store()
    forwarder = Forwarder(store, "siem", target_of(receiver.url, "json"))
    with pytest.raises(DeliveryError, match="503"):
        forwarder.forward()
    assert forwarder.forward() == 2
    store.close()
    assert receiver.ids() == ["a", "b", "a", "b"]
    assert receiver.keys[0] == receiver.keys[1] == "gw-0/1-2"
    assert receiver.bodies[0]["items"][0]["id"] == "gw-0/1"


def test_deliveries_are_bounded_in_bytes(bench: Bench, receiver: Receiver) -> None:
    bench.write(*(event(f"a{number}", **large(100_000)) for number in range(12)), event("small"))
    store = bench.store()
    assert Forwarder(store, "siem", target_of(receiver.url, "json")).forward() == 13
    store.close()
    assert receiver.ids() == [*(f"a{number}" for number in range(12)), "small"]
    assert len(receiver.bodies) == 4
    assert max(receiver.sizes) < forwarding.BATCH_BYTES + 10_000


@pytest.mark.parametrize("form", ["json", "ocsf", "otlp"])
def test_what_a_receiver_finds_too_large_comes_in_pieces_and_as_briefs(
    bench: Bench, receiver: Receiver, form: str
) -> None:
    receiver.longest = 60_000
    sizes = [10, 100_000, 10, 4000, 4000, 30_000, 10]
    bench.write(*(event(f"a{number}", **large(size)) for number, size in enumerate(sizes)))
    store = bench.store()
    forwarder = Forwarder(store, "siem", target_of(receiver.url, form))
    assert forwarder.forward() == 7
    told = json.dumps(receiver.bodies)
    assert [told.count(f"gw-0/{number}") for number in range(1, 8)] == [1] * 7
    assert told.index("gw-0/1") < told.index("gw-0/2") < told.index("gw-0/7")
    if form == "json":
        records = [one["record"] for body in receiver.bodies for one in body["items"]]
        assert ["omitted" in record for record in records] == [False, True, False, False, False, True, False]
    assert forwarder.forward() == 0
    tried = len(receiver.sizes)
    bench.write(*(event(f"b{number}", **large(4000)) for number in range(8)))
    assert forwarder.forward() == 8
    store.close()
    assert all(size <= 60_000 for size in receiver.sizes[tried:]), "what it takes was learned"


def test_a_receiver_that_takes_nothing_at_all_is_told_of(bench: Bench, receiver: Receiver) -> None:
    receiver.longest = 10
    bench.write(event("a"), event("b", **large()))
    store = bench.store()
    forwarder = Forwarder(store, "siem", target_of(receiver.url, "json"))
    with pytest.raises(DeliveryError, match="413"):
        forwarder.forward()
    receiver.longest = 1 << 30
    assert forwarder.forward() == 2
    store.close()


def test_records_that_a_collector_rejects_for_good_are_told_of(
    bench: Bench, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.answer = b'{"partialSuccess":{"rejectedLogRecords":"2","errorMessage":"too old"}}'
    bench.write(event("a"), event("b"))
    store = bench.store()
    assert Forwarder(store, "siem", target_of(receiver.url, "otlp")).forward() == 2
    store.close()
    assert "rejected 2 records" in caplog.text


def test_an_unreadable_record_does_not_hold_up_those_behind_it(bench: Bench, receiver: Receiver) -> None:
    (_, second, _) = bench.write(event("a"), event("b"), event("c"))
    bench.sql("UPDATE records SET line = :line WHERE audit_id = 'b'", line=second.line.replace(b"{", b"[", 1))
    store = bench.store()
    assert Forwarder(store, "siem", target_of(receiver.url, "json")).forward() == 3
    store.close()
    assert [one["id"] for body in receiver.bodies for one in body["items"]] == ["gw-0/1", "gw-0/2", "gw-0/3"]


@pytest.mark.parametrize("code", [302, 400, 500])
def test_whatever_is_no_success_is_a_failure(bench: Bench, receiver: Receiver, code: int) -> None:
    bench.write(event("a"))
    receiver.codes = [code]
    store = bench.store()
    with pytest.raises(DeliveryError, match=str(code)):
        Forwarder(store, "siem", target_of(receiver.url, "ocsf")).forward()
    store.close()
    assert receiver.bodies == []


def test_a_follower_goes_on_after_failures(bench: Bench, receiver: Receiver) -> None:
    bench.write(event("a"))
    receiver.codes = [500, 500]
    pauses: list[float] = []

    def wait(seconds: float) -> bool:
        pauses.append(seconds)
        return len(receiver.bodies) > 0

    told: list[str] = []
    store = bench.store()
    Forwarder(store, "siem", target_of(receiver.url, "json")).follow(wait, told.append, every=0.01)
    store.close()
    assert receiver.ids() == ["a"]
    assert pauses == [0.01, 0.02, 0.04, 0.01]
    assert len(told) == 2


@pytest.mark.parametrize(
    ("address", "form"),
    [
        ("ftp://x", "json"),
        ("https://x", "syslog"),
        ("https:///x", "json"),
        ("syslog+udp://", "json"),
        ("x", "json"),
    ],
)
def test_a_place_that_is_none_is_refused(address: str, form: str) -> None:
    with pytest.raises(ValueError, match="is no place"):
        target_of(address, form)


def test_a_place_where_nobody_is(bench: Bench) -> None:
    for address in ("http://127.0.0.1:1/", "syslog+tcp://127.0.0.1:1", "syslog+tls://127.0.0.1:1"):
        with pytest.raises(DeliveryError, match="cannot be reached"):
            target_of(address, "json").deliver([item()])


# Syslog


def test_syslog_over_tcp_counts_its_octets() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        target = target_of(f"syslog+tcp://127.0.0.1:{server.getsockname()[1]}", "json")
        target.deliver([item(), item(verdict="Deny")])
        target.close()
        peer, _ = server.accept()
        with peer:
            got = b"".join(iter(lambda: peer.recv(65_536), b""))
    messages = []
    while got:
        length, _, rest = got.partition(b" ")
        messages.append(rest[: int(length)])
        got = rest[int(length) :]
    assert [message[:5] for message in messages] == [b"<110>", b"<108>"]
    assert all(json.loads(message.partition(b"\xef\xbb\xbf")[2])["auditID"] == "a-1" for message in messages)


def test_syslog_over_udp_is_one_datagram_each() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        target = target_of(f"syslog+udp://127.0.0.1:{server.getsockname()[1]}", "json")
        target.deliver([item(), item()])
        target.close()
        assert [server.recv(65_536)[:5] for _ in range(2)] == [b"<110>"] * 2


# The command line


def test_an_export_verifies_and_finds_what_is_changed(bench: Bench, tmp_path: Path) -> None:
    bench.write(*(event(f"a{number}", at=NOW + number) for number in range(6)), checkpoint=Reason.CLOSE)
    out = tmp_path / "export.jsonl"
    assert run(["audit", "export", "--store", bench.address, "--output", str(out)]) == 0
    assert run(["audit", "verify", str(out)]) == 0
    assert verify(str(out)).verification.chains[0].signed == 6
    assert run(["audit", "export", "--store", bench.address, "--output", str(out)]) == 2
    out.write_bytes(out.read_bytes().replace(b'"a3"', b'"b3"'))
    assert run(["audit", "verify", str(out)]) == 1


def test_an_export_holds_what_was_made_unreadable_too(bench: Bench, tmp_path: Path) -> None:
    (_, second, _) = bench.write(event("a"), event("b"), event("c"), checkpoint=Reason.CLOSE)
    bench.sql("UPDATE records SET line = :line WHERE audit_id = 'b'", line=second.line.replace(b"{", b"[", 1))
    out = tmp_path / "export.jsonl"
    assert run(["audit", "export", "--store", bench.address, "--output", str(out)]) == 0
    assert len(out.read_bytes().splitlines()) == 4
    assert run(["audit", "verify", str(out)]) == 1


def test_an_export_of_some_time_is_an_excerpt(bench: Bench, tmp_path: Path) -> None:
    bench.write(*(event(f"a{number}", at=NOW + number) for number in range(6)), checkpoint=Reason.CLOSE)
    out = tmp_path / "export.jsonl"
    since, until = "2026-01-31T09:00:02Z", "2026-01-31T09:00:04Z"
    assert (
        run(["audit", "export", "--store", bench.address, "--since", since, "--until", until, "-o", str(out)])
        == 0
    )
    assert [json.loads(line)["auditID"] for line in out.read_text().splitlines()] == ["a2", "a3"]
    assert run(["audit", "verify", str(out)]) == 1
    assert run(["audit", "verify", "--excerpt", str(out)]) == 0


@pytest.mark.parametrize("form", ["ocsf", "otlp", "syslog"])
def test_other_formats_are_a_line_a_record(
    bench: Bench, form: str, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    bench.write(event("a"), event("b"), checkpoint=Reason.CLOSE)
    assert run(["audit", "export", "--store", bench.address, "--format", form]) == 0
    assert len(capfdbinary.readouterr().out.splitlines()) == 2


def test_forwarding_once_from_the_command_line(
    bench: Bench, receiver: Receiver, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.write(event("a"), event("b"))
    headers = tmp_path / "headers"
    headers.write_text("Authorization: Bearer x\n")
    command = ["audit", "forward", "--store", bench.address, "--to", receiver.url, "--once"]
    assert run([*command, "--header-file", str(headers)]) == 0
    assert "forwarded: 2 records" in capsys.readouterr().err
    assert run(command) == 0
    assert "forwarded: 0 records" in capsys.readouterr().err
    bench.write(event("c"))
    receiver.codes = [500]
    assert run(command) == 1
    assert run([*command[:-2], "ftp://x", "--once"]) == 2
