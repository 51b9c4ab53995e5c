"""`sessions diff` and `sessions undo` over a real store, and a gateway in memory behind real HTTP."""

from __future__ import annotations

import json
import re
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml

from chaperone.cli import session_changes, session_gateway, session_undoing
from chaperone.core.audit import Stage, record
from chaperone.core.chain import Reason
from chaperone.core.changes import Target
from chaperone.core.identity import Caller
from chaperone.core.request import Request, parse
from chaperone.core.verdict import Action, Verdict
from chaperone.store.engine import store_url
from chaperone.store.retention import prune
from chaperone.store.signing import Signer, new_signer
from chaperone.store.writing import StoreWriter
from gateway.audit_chain import SignedChain
from tests.cli.conftest import Shell

Obj = dict[str, Any]
MAPS = "/api/v1/namespaces/shop/configmaps"
HOUR = 3600.0


def conf(name: str = "conf", uid: str = "u1", **data: str) -> Obj:
    metadata = {"name": name, "namespace": "shop", "uid": uid, "resourceVersion": "1"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


class Store:
    """An audit store, and the run that is written into it."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "audit.db"
        self.address = f"sqlite:///{self.file}"
        self.signer: Signer = new_signer()
        self._made: list[Mapping[str, Any]] = []

    def add(
        self,
        line: str,
        code: int = 200,
        *,
        before: Any = None,
        after: Any = None,
        ago: float = HOUR,
        subject: str = "s",
    ) -> None:
        method, target = line.split()
        request = parse(method, target, content_type="application/merge-patch+json")
        assert isinstance(request, Request)
        now = time.time() - ago + len(self._made) / 10
        caller = Caller(
            issuer="https://i", subject=subject, username=f"user-{subject}", run="run-7", agent="a"
        )
        verdict = Verdict(action=Action.ALLOW, policy="p")
        audit_id = f"id-{len(self._made)}"
        state = {"state": "Present", "object": before} if before else {"state": "Absent"}
        for stage, more in (
            (Stage.RECEIVED, {"objectBefore": state}),
            (Stage.COMPLETE, {"responseObject": after} if after else {}),
        ):
            made = record(
                stage,
                audit_id=audit_id,
                received_at=now,
                now=now,
                request=request,
                caller=caller,
                verdict=verdict,
                code=code,
            )
            self._made.append({**made, **more})

    def write(self) -> str:
        chain = SignedChain("gw-0", self.signer, wall=time.time, clock=time.monotonic)
        sink = StoreWriter(store_url(self.address), "gw-0", (self.signer.name, self.signer.public))
        sink.open()
        sink.append([chain.seal(each) for each in self._made], chain.checkpoint(Reason.CLOSE), durable=True)
        sink.close()
        return self.address


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


@pytest.fixture
def usual(store: Store) -> str:
    """A run that changed, created and deleted."""
    store.add(f"PATCH {MAPS}/conf", before=conf(a="1"), after=conf(a="2"))
    store.add(f"POST {MAPS}", 201, after=conf("made", "u2", x="y"))
    store.add(f"DELETE {MAPS}/gone", before=conf("gone", "u3", k="v"))
    store.add("POST /api/v1/namespaces/shop/pods/p/eviction", 201)
    return store.write()


# Told


def test_a_run_is_told(shell: Shell, usual: str) -> None:
    done = shell("sessions", "diff", "run-7", "--store", usual)
    assert done.code == 0, done.err
    for words in ("conf: changed", "data.a: 1 -> 2", "made: created", "gone: deleted", "pods/eviction"):
        assert words in done.out
    assert done.err == ""


@pytest.mark.parametrize("form", ["json", "yaml"])
def test_a_run_as_data(shell: Shell, usual: str, form: str) -> None:
    done = shell("sessions", "diff", "run-7", "--store", usual, "-o", form)
    data = json.loads(done.out) if form == "json" else yaml.safe_load(done.out)
    assert [each["change"] for each in data["changes"]] == ["changed", "created", "deleted"]


@pytest.mark.parametrize("name", ["configmaps/shop/made"])
def test_one_object_alone(shell: Shell, usual: str, name: str) -> None:
    done = shell("sessions", "diff", "run-7", "--store", usual, "--object", name)
    assert "made: created" in done.out
    assert "gone" not in done.out
    unknown = shell("sessions", "diff", "run-7", "--store", usual, "--object", "pods/x")
    assert unknown.code == 1
    assert "configmaps/shop/conf" in unknown.err


def test_objects_have_a_group_before_or_behind() -> None:
    target = Target("apps", "v1", "deployments", "shop", "web")
    assert session_changes.names_of(target) == {"apps/deployments/shop/web", "deployments.apps/shop/web"}
    assert session_changes.names_of(Target("", "v1", "nodes", "", "n")) == {"nodes/n"}


def test_a_run_that_changed_nothing(shell: Shell, store: Store) -> None:
    store.add(f"GET {MAPS}")
    done = shell("sessions", "diff", "run-7", "--store", store.write())
    assert (done.code, done.out, done.err) == (0, "", "the run changed nothing\n")


def test_a_run_that_nobody_knows(shell: Shell, usual: str) -> None:
    done = shell("sessions", "diff", "run-8", "--store", usual)
    assert (done.code, done.err.count("\n")) == (1, 1)
    assert "no record of run run-8" in done.err


def test_a_run_that_may_go_on_is_told_so(shell: Shell, store: Store) -> None:
    store.add(f"PATCH {MAPS}/conf", before=conf(a="1"), after=conf(a="2"), ago=5)
    assert "may go on" in shell("sessions", "diff", "run-7", "--store", store.write()).err


def test_two_callers_with_a_run_of_one_name(shell: Shell, store: Store) -> None:
    store.add(f"PATCH {MAPS}/conf", before=conf(a="1"), after=conf(a="2"))
    store.add(f"PATCH {MAPS}/conf", before=conf(a="2"), after=conf(a="3"), subject="t")
    address = store.write()
    done = shell("sessions", "diff", "run-7", "--store", address)
    assert done.code == 2
    assert "user-s, user-t; choose one with --user" in done.err
    assert "data.a: 2 -> 3" in shell("sessions", "diff", "run-7", "--store", address, "--user", "user-t").out


def test_records_that_were_pruned_are_missed(shell: Shell, store: Store) -> None:
    store.add(f"PATCH {MAPS}/conf", before=conf(a="1"), after=conf(a="2"), ago=5 * HOUR)
    store.add(f"PATCH {MAPS}/conf", before=conf(a="2"), after=conf(a="3"))
    address = store.write()
    now = time.time()
    assert prune(store_url(address), now - 2 * HOUR, store.signer, now=now).removed == 2
    done = shell("sessions", "diff", "run-7", "--store", address)
    assert "are gone (pruned)" in done.err
    assert "data.a: 2 -> 3" in done.out
    prune(store_url(address), now, store.signer, now=now)
    assert "was pruned" in shell("sessions", "diff", "run-7", "--store", address).err


def test_a_record_that_was_edited_is_not_believed(shell: Shell, store: Store, usual: str) -> None:
    with sqlite3.connect(store.file) as connection:
        rows = connection.execute("select id, line from records").fetchall()
        at, line = next((at, line) for at, line in rows if b'"a":"1"' in line)
        connection.execute(
            "update records set line = ? where id = ?", (line.replace(b'"a":"1"', b'"a":"6"'), at)
        )
    done = shell("sessions", "diff", "run-7", "--store", usual)
    assert done.code == 0
    assert "record 1 of gw-0 (audit id id-0) was edited" in done.err
    undone = shell("sessions", "undo", "run-7", "--store", usual, "--yes")
    assert undone.code == 1
    assert "nothing is undone from these records; run `audit verify`" in undone.err


def test_a_run_whose_records_are_too_large(shell: Shell, usual: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_changes, "MOST_BYTES", 1000)
    done = shell("sessions", "diff", "run-7", "--store", usual)
    assert done.code == 1
    assert "cannot be shown whole" in done.err


# Taken back


class FakeGateway:
    """objects: by path. writes: those that were carried out. answers: what the next write to a path is answered with,
    in their order. is_gateway False: an API server."""

    def __init__(self) -> None:
        self.objects: dict[str, Obj] = {}
        self.writes: list[tuple[str, str]] = []
        self.answers: dict[str, list[tuple[int, Obj]]] = {}
        self.on_write: Callable[[str], None] = lambda _path: None
        self.is_gateway = True
        self.reasons: set[str] = set()
        self.unreadable: set[str] = set()
        self._count = 10

    def put(self, obj: Obj) -> None:
        metadata = obj["metadata"]
        self._count += 1
        metadata.setdefault("uid", f"new-{self._count}")
        metadata["resourceVersion"] = str(self._count)
        self.objects[f"{MAPS}/{metadata['name']}"] = obj

    def answer(self, method: str, target: str, headers: Mapping[str, str], body: Any) -> tuple[int, Obj]:
        path, query = urlsplit(target).path, parse_qs(urlsplit(target).query)
        self.reasons.add(headers.get("Chaperone-Reason") or "")
        hold = headers.get("Chaperone-Hold") or ""
        if self.is_gateway and hold not in ("", "never"):
            return status(400, "the only value of Chaperone-Hold is `never`")
        if method == "GET":
            return self._read(path)
        self.on_write(path)
        if self.answers.get(path):
            return self.answers[path].pop(0)
        dry = query.get("dryRun") == ["All"] or (body or {}).get("dryRun") == ["All"]
        return self._write(method, path, body, dry=dry)

    def _read(self, path: str) -> tuple[int, Obj]:
        if path == "/version":
            return 200, {"major": "1", "minor": "20"}
        if path == "/api/v1":
            return 200, {
                "resources": [
                    {"name": "configmaps", "kind": "ConfigMap", "namespaced": True, "verbs": ["list"]}
                ]
            }
        if path in self.unreadable:
            return status(403, "not yours", "Forbidden")
        if path in self.objects:
            return 200, self.objects[path]
        return status(404, "not found")

    def _write(self, method: str, path: str, body: Any, *, dry: bool) -> tuple[int, Obj]:
        live = self.objects.get(path)
        wanted = (body["metadata"] if method == "PUT" else body.get("preconditions") or {}).get(
            "resourceVersion"
        )
        if live and wanted and wanted != live["metadata"]["resourceVersion"]:
            return status(409, "the object has been modified", "Conflict")
        if not dry:
            self.writes.append((method, path))
            if method == "DELETE":
                del self.objects[path]
            else:
                self.put(json.loads(json.dumps(body)))
        return (201 if method == "POST" else 200), body


def status(code: int, message: str, reason: str = "", causes: tuple[Obj, ...] = ()) -> tuple[int, Obj]:
    return code, {
        "kind": "Status",
        "code": code,
        "reason": reason,
        "message": message,
        "details": {"causes": list(causes)},
    }


def held(code: int) -> tuple[int, Obj]:
    return status(code, "held", causes=({"reason": "ApprovalPending", "field": "ar-1"},))


@pytest.fixture
def gateway(shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeGateway]:
    """As the usual run has left it."""
    found = FakeGateway()
    found.put(conf(a="2"))
    found.put(conf("made", "u2", x="y"))

    class Handler(BaseHTTPRequestHandler):
        def reply(self) -> None:
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            code, answer = found.answer(
                self.command, self.path, dict(self.headers.items()), json.loads(raw) if raw else None
            )
            content = json.dumps(answer).encode()
            self.send_response(code)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_DELETE = reply  # noqa: N815

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        "clusters": [{"name": "k", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
    }
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    monkeypatch.setattr(session_gateway, "PAUSE", 0.0)
    monkeypatch.setattr(session_undoing, "PAUSE", 0.0)
    yield found
    server.shutdown()
    server.server_close()
    thread.join()


def outcomes(out: str) -> dict[str, str]:
    return {
        line.split()[1].removeprefix("shop/"): re.split(r"\s{3,}", line)[1]
        for line in out.splitlines()
        if "   " in line[:40] and line.startswith("configmaps")
    }


def test_a_run_is_taken_back(shell: Shell, usual: str, gateway: FakeGateway) -> None:
    done = shell("sessions", "undo", "run-7", "--store", usual, "--yes")
    assert done.code == 0, done.err + done.out
    assert outcomes(done.out) == {"gone": "restored", "made": "restored", "conf": "restored"}
    assert {path: each["data"] for path, each in gateway.objects.items()} == {
        f"{MAPS}/conf": {"a": "1"},
        f"{MAPS}/gone": {"k": "v"},
    }
    assert gateway.writes == [("POST", MAPS), ("DELETE", f"{MAPS}/made"), ("PUT", f"{MAPS}/conf")]
    assert gateway.reasons == {"", "undo of run run-7"}
    assert "pods/eviction" in done.out
    assert "new ones" in done.out
    again = shell("sessions", "undo", "run-7", "--store", usual, "--yes")
    assert (again.code, set(outcomes(again.out).values())) == (0, {"nothing to do"})
    assert len(gateway.writes) == 3


def test_a_dry_run_changes_nothing(shell: Shell, usual: str, gateway: FakeGateway) -> None:
    done = shell("sessions", "undo", "run-7", "--store", usual, "--dry-run")
    assert done.code == 0, done.err
    assert set(outcomes(done.out).values()) == {"would be restored"}
    assert "+  a: '1'" in done.out
    assert gateway.writes == []


def test_only_a_gateway_is_written_to(shell: Shell, usual: str, gateway: FakeGateway) -> None:
    gateway.is_gateway = False
    done = shell("sessions", "undo", "run-7", "--store", usual, "--yes")
    assert (done.code, gateway.writes) == (2, [])
    assert "does not point at a chaperone gateway" in done.err


def test_it_asks_before_it_acts(
    shell: Shell, usual: str, gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert shell("sessions", "undo", "run-7", "--store", usual).code == 2
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("typer.confirm", lambda _question: False)
    done = shell("sessions", "undo", "run-7", "--store", usual)
    assert (done.code, gateway.writes) == (1, [])
    assert "put back  configmaps shop/conf" in done.out
    assert "data.a: 2 -> 1" in done.out
    assert "delete    configmaps shop/made" in done.out
    assert "create    configmaps shop/gone" in done.out
    gateway.unreadable.add(f"{MAPS}/conf")
    done = shell("sessions", "undo", "run-7", "--store", usual)
    assert "skip      configmaps shop/conf: it cannot be looked at: not yours" in done.out


def test_somebody_who_is_faster_is_respected(shell: Shell, usual: str, gateway: FakeGateway) -> None:
    def interfere(path: str) -> None:
        if path.endswith("/conf") and len(gateway.writes) < 3:
            gateway.on_write = lambda _path: None
            gateway.put({**conf(a="2"), "data": {"a": "2", "theirs": "1"}})

    gateway.on_write = interfere
    done = shell("sessions", "undo", "run-7", "--store", usual, "--yes")
    assert done.code == 0, done.out
    assert "somebody else was faster" in done.err
    assert gateway.objects[f"{MAPS}/conf"]["data"] == {"a": "1", "theirs": "1"}


def test_somebody_who_is_always_faster_wins(shell: Shell, usual: str, gateway: FakeGateway) -> None:
    gateway.answers[f"{MAPS}/conf"] = [status(409, "modified", "Conflict")] * 20
    done = shell("sessions", "undo", "run-7", "--store", usual, "--yes")
    assert done.code == 1
    assert outcomes(done.out)["conf"] == "failed"


def test_what_others_changed_is_left_alone(shell: Shell, usual: str, gateway: FakeGateway) -> None:
    gateway.put(conf(a="5"))
    gateway.put(conf("made", "u2", x="z"))
    done = shell("sessions", "undo", "run-7", "--store", usual, "--yes")
    assert (done.code, outcomes(done.out)) == (1, {"gone": "restored", "made": "skipped", "conf": "skipped"})
    assert "(--force insists)" in done.out
    forced = shell("sessions", "undo", "run-7", "--store", usual, "--yes", "--force")
    assert outcomes(forced.out) == {"gone": "nothing to do", "made": "restored", "conf": "skipped"}


def test_a_refusal_and_a_fault_are_told_and_the_rest_goes_on(
    shell: Shell, usual: str, gateway: FakeGateway
) -> None:
    gateway.answers[MAPS] = [status(403, "denied by policy\x1b[2J", "Forbidden")]
    gateway.answers[f"{MAPS}/made"] = [status(422, "immutable", "Invalid")]
    done = shell("sessions", "undo", "run-7", "--store", usual, "--yes")
    assert (done.code, outcomes(done.out)) == (1, {"gone": "refused", "made": "failed", "conf": "restored"})
    assert "403: denied by policy\\x1b" in done.out
    assert "1 failed, 1 refused" in done.err


def test_a_held_write_is_waited_for(shell: Shell, usual: str, gateway: FakeGateway) -> None:
    gateway.answers[MAPS] = [held(403), held(429), held(429)]
    done = shell("sessions", "undo", "run-7", "--store", usual, "--yes")
    assert done.code == 0, done.out
    assert "waiting for ApprovalRequest ar-1" in done.err


@pytest.mark.parametrize(("flags", "answers"), [((), 2), (("--no-wait",), 1)])
def test_a_held_write_that_nobody_approves(
    shell: Shell, usual: str, gateway: FakeGateway, flags: tuple[str, ...], answers: int
) -> None:
    gateway.answers[MAPS] = [held(403)] * answers
    done = shell("sessions", "undo", "run-7", "--store", usual, "--yes", *flags)
    assert (done.code, outcomes(done.out)["gone"]) == (1, "waiting for approval")
    assert "ApprovalRequest ar-1; run this again when it is approved" in done.out


def test_a_held_dry_run_says_so(shell: Shell, usual: str, gateway: FakeGateway) -> None:
    gateway.answers[MAPS] = [held(403)]
    done = shell("sessions", "undo", "run-7", "--store", usual, "--dry-run")
    assert "a person has to approve it" in done.out


def test_kinds_that_are_gone(shell: Shell, store: Store, gateway: FakeGateway) -> None:
    gizmos = "/apis/example.com/v1/namespaces/shop/gizmos"
    store.add(f"PATCH {gizmos}/g", before=conf("g", a="1"), after=conf("g", a="2"))
    store.add(f"POST {gizmos}", 201, after=conf("h", "u9"))
    done = shell("sessions", "undo", "run-7", "--store", store.write(), "--yes")
    assert done.code == 0
    assert "does not serve gizmos.example.com in version v1" in done.out
    assert "it is gone, and so is its kind" in done.out


def test_what_needs_a_namespace_that_did_not_come_back(
    shell: Shell, store: Store, gateway: FakeGateway
) -> None:
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "uid": "n"}}
    store.add(f"DELETE {MAPS}/gone", before=conf("gone", "u3", k="v"))
    store.add("DELETE /api/v1/namespaces/shop", before=namespace)
    done = shell("sessions", "undo", "run-7", "--store", store.write(), "--yes")
    assert done.code == 1
    assert "namespaces shop is not there" in done.out
