"""A dry run is only sent to who heeds it: for anybody else it would be the request itself, before it was judged."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tests.gateway.stage import Stage, play, policy, request
from tests.gateway.upstream import Seen, Upstream, reply

WIDGET = "/apis/example.com/v1/namespaces/dev/widgets/w"
NO_BIG_WIDGETS = policy(
    {
        "name": "no-big-ones",
        "match": {
            "resources": ["widgets", "widgets/scale", "widgets/restart"],
            "expression": "object.spec.size > 5",
        },
        "action": "Deny",
    },
    {"name": "all", "match": {}, "action": "Allow"},
)


def patch(path: str) -> bytes:
    raw = request(path, method="PATCH", body=b'{"spec":{"size":3}}')
    return raw.replace(b"application/json", b"application/merge-patch+json")


STORED = {"name": "widgets", "storageVersionHash": "x"}
CASES: dict[str, tuple[str, int, Any, bool]] = {
    # sentence: (path, code and body of the discovery document, is a dry run sent)
    "a custom resource": (WIDGET, 200, {"resources": [STORED]}, True),
    "its scale": (f"{WIDGET}/scale", 200, {"resources": [STORED]}, True),
    "what another server keeps": (WIDGET, 200, {"resources": [{"name": "widgets"}]}, False),
    "a neighbour of a custom resource": (WIDGET, 200, {"resources": [{**STORED, "name": "gadgets"}]}, False),
    "a subresource that may do anything": (f"{WIDGET}/restart", 200, {"resources": [STORED]}, False),
    "a strange document": (WIDGET, 200, {"resources": {"name": "widgets"}}, False),
    "no document": (WIDGET, 403, {"kind": "Status"}, False),
    "a document that is none": (WIDGET, 200, [], False),
}


@pytest.mark.parametrize(("path", "code", "document", "sent"), CASES.values(), ids=CASES)
def test_who_is_sent_a_dry_run(path: str, code: int, document: Any, sent: bool) -> None:
    widget = b'{"kind":"Widget","metadata":{"name":"w","uid":"u"},"spec":{"size":3}}'

    async def answer(seen: Seen, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if seen.target == "/apis/example.com/v1":
            writer.write(reply(code, json.dumps(document).encode()))
        else:
            writer.write(reply(200, widget))

    async def scene(stage: Stage) -> None:
        answered = await stage.exchange(patch(path))
        patches = [seen.target for seen in stage.upstream.requests if seen.method == "PATCH"]
        assert (f"{path}?dryRun=All" in patches) is sent
        assert answered.code == (200 if sent else 403)  # without an outcome the rule denies
        assert (path in patches) is sent

    play(scene, policies=(NO_BIG_WIDGETS,), upstream=Upstream(answer))
