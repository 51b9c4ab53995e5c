"""Fills an audit store with made-up records, as some days of many runs would: for benchmarks and for the console.

`python -m hack.generate_audit --store STORE --records 1000000`; the same seed gives the same records. With --run they are
all of one run, with --objects they are changes that carry objects of so many bytes.
"""

import argparse
import random
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

from chaperone.core.chain import Reason
from chaperone.core.timestamp import rfc3339_micro
from chaperone.store.engine import is_sqlite, store_url
from chaperone.store.signing import KEY_FILE, Signer, load_signer, new_signer
from chaperone.store.writing import StoreWriter
from gateway.audit_chain import SignedChain

BATCH = 512
RUNS_AT_ONCE = 20
REQUESTS_OF_A_RUN = 400
NAMES = 5000
NAMESPACES = [f"team-{number}" for number in range(40)]
AGENTS = [f"agent-{number}" for number in range(25)]
ISSUERS = [
    "https://token.actions.githubusercontent.com",
    "https://gitlab.example.com",
    "https://idp.example.com",
]
RESOURCES = [
    ("", "v1", "pods"),
    ("", "v1", "configmaps"),
    ("", "v1", "secrets"),
    ("", "v1", "services"),
    ("apps", "v1", "deployments"),
    ("batch", "v1", "jobs"),
]
VERBS = ["get"] * 60 + ["list"] * 20 + ["watch"] * 5 + ["create", "update", "patch", "patch", "delete"] * 3
OUTCOMES = [("Allow", "low", 200)] * 90 + [("Deny", "high", 403)] * 6 + [("Hold", "high", 403)] * 3
OUTCOMES += [("Deny", "critical", 403)]


@dataclass(frozen=True)
class Shape:
    """run: of all records, "" for many runs; objects: bytes of the objects that each carries, 0 for none."""

    run: str = ""
    objects: int = 0


USUAL = Shape()


def records(
    count: int, *, start: float, step: float, seed: int = 1, shape: Shape = USUAL
) -> Iterator[dict[str, Any]]:
    """start: Unix seconds of the first; step: seconds between two."""
    chosen = random.Random(seed)  # noqa: S311  made-up records need no secrets
    live = [_caller(chosen, number, shape.run) for number in range(1 if shape.run else RUNS_AT_ONCE)]
    for number in range(count):
        place = chosen.randrange(len(live))
        if not shape.run and chosen.random() < 1 / REQUESTS_OF_A_RUN:
            live[place] = _caller(chosen, RUNS_AT_ONCE + number)
        made = _record(chosen, live[place], start + number * step)
        yield _with_objects(made, number, shape.objects) if shape.objects else made


def fill(
    store: str,
    count: int,
    *,
    writer: str = "generated-0",
    days: float = 7.0,
    signer: Signer | None = None,
    shape: Shape = USUAL,
    go_on: Callable[[int], bool] = lambda written: True,
) -> None:
    """Into a store, ending now. go_on: hears after each batch how many there are, and says whether more are to come.
    Raises StoreUnavailableError."""
    url = store_url(store)
    if signer is None:
        signer = load_signer(Path(str(url.database)).parent / KEY_FILE) if is_sqlite(url) else new_signer()
    sink = StoreWriter(url, writer, (signer.name, signer.public))
    chain = SignedChain(writer, signer, wall=time.time, clock=time.monotonic)
    end = sink.open()
    if end is not None:
        chain.resume(end)
    made = records(count, start=time.time() - days * 86_400, step=days * 86_400 / count, shape=shape)
    written = 0
    while batch := [chain.seal(record) for record in islice(made, BATCH)]:
        sink.append(batch, None, durable=False)
        written += len(batch)
        if not go_on(written):
            break
    sink.append([], chain.checkpoint(Reason.CLOSE), durable=True)
    sink.close()


def caller(run: str) -> Mapping[str, Any]:
    """Who makes the records of this run."""
    return _caller(random.Random(1), 0, run)  # noqa: S311


def _caller(chosen: random.Random, number: int, run: str = "") -> Mapping[str, Any]:
    agent = chosen.choice(AGENTS)
    user = {
        "username": f"repo:acme/{agent}",
        "groups": ["ai-agents"],
        "issuer": chosen.choice(ISSUERS),
        "subject": f"repo:acme/{agent}:ref:refs/heads/main",
    }
    return {"user": user, "run": run or f"run-{number:08d}", "agent": agent, "model": "model-1"}


def _record(chosen: random.Random, caller: Mapping[str, Any], at: float) -> dict[str, Any]:
    group, version, resource = chosen.choice(RESOURCES)
    namespace, name = chosen.choice(NAMESPACES), f"{resource[:-1]}-{chosen.randrange(NAMES)}"
    verb = chosen.choice(VERBS)
    verdict, risk, code = chosen.choice(OUTCOMES)
    base = f"/apis/{group}/{version}" if group else f"/api/{version}"
    collection = verb in ("list", "watch", "create")
    path = f"{base}/namespaces/{namespace}/{resource}" + ("" if collection else f"/{name}")
    reference = {"resource": resource, "apiVersion": version, "namespace": namespace}
    reference |= {"apiGroup": group} if group else {}
    reference |= {} if collection else {"name": name}
    moment = rfc3339_micro(at)
    return {
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "level": "Metadata",
        "auditID": _audit_id(chosen, at),
        "stage": "ResponseComplete",
        "requestURI": path,
        "verb": verb,
        "requestReceivedTimestamp": moment,
        "stageTimestamp": moment,
        "objectRef": reference,
        **caller,
        "impersonatedUser": {"username": "system:serviceaccount:agents:coder"},
        "verdict": verdict,
        "policy": {"name": "coding-agents", "generation": 3, "rule": "own-sandbox"},
        "verdictReason": "rule own-sandbox allows it",
        "risk": {"level": risk, "rows": ["R07"]},
        "responseStatus": {"code": code},
        "sourceIPs": ["10.0.0.1"],
        "userAgent": "kubectl/v1.32.4 (linux/amd64) kubernetes/59526cd",
        "milliseconds": {"decide": 0.21, "upstream": 3.97},
    }


def _with_objects(record: dict[str, Any], number: int, size: int) -> dict[str, Any]:
    """As the record of a change that was asked for, or of its end, by turns."""
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "made"}, "data": _data(size)}
    update = {**record, "level": "RequestResponse", "verb": "update"}
    if number % 2:
        return {**update, "responseObject": body}
    del update["responseStatus"]
    states = {"requestObject": body, "objectBefore": {"state": "Present", "object": body}}
    return {**update, "stage": "RequestReceived", **states}


@cache
def _data(size: int) -> Mapping[str, str]:
    return {f"key-{number:06d}": "made-up value " * 8 for number in range(max(1, size // 130))}


def _audit_id(chosen: random.Random, at: float) -> str:
    """As the gateway makes them: a UUID of version 7, which begins with its time."""
    bits = round(at * 1000) << 80 | 7 << 76 | chosen.getrandbits(12) << 64 | 2 << 62 | chosen.getrandbits(62)
    return str(uuid.UUID(int=bits))


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m hack.generate_audit", description=__doc__)
    parser.add_argument("--store", required=True, help="SQLite file, or postgresql://…")
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--days", type=float, default=7.0, help="over how many days until now")
    parser.add_argument("--writer", default="generated-0", help="name of the chain")
    parser.add_argument("--run", default="", help="one run that all of them are of; many by default")
    parser.add_argument("--objects", type=int, default=0, help="bytes of the objects in each record; 0: none")
    options = parser.parse_args(arguments)
    shape = Shape(options.run, options.objects)
    fill(options.store, options.records, days=options.days, writer=options.writer, shape=shape)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
