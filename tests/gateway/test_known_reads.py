"""The same read again: every check is made again, and the record is the same but for its id and times."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chaperone.core.policy import policy_set
from chaperone.core.token import Refused
from gateway.http.framing import Head, Header
from tests.gateway.filters import PassingFilter
from tests.gateway.stage import AGENT, DENY_SECRETS, PODS, Client, Stage, play, policy, request

SECRET = "/api/v1/namespaces/dev/secrets/a"
VARYING = {"auditID", "requestReceivedTimestamp", "stageTimestamp", "milliseconds"}


def went_the_short_way(record: dict[str, object]) -> bool:
    """Only records that were encoded beforehand end with their durations."""
    return list(record)[-1] == "milliseconds"


async def known(stage: Stage, target: str = PODS) -> Client:
    """A connection on which this read is known by now."""
    client = await stage.connect()
    for _ in range(3):
        assert (await client.get(target)).code == 200
    assert went_the_short_way(stage.audit.records[-1])
    return client


def test_records_and_requests_upstream_are_alike() -> None:
    async def scene(stage: Stage) -> None:
        client = await stage.connect()
        for _ in range(4):
            await client.get(PODS, "Accept: application/json", "User-Agent: kubectl/v1.30 é")
        first, *others = stage.audit.records
        assert [went_the_short_way(record) for record in others] == [False, True, True]
        for record in others:
            assert {key: record[key] for key in record if key not in VARYING} == {
                key: first[key] for key in first if key not in VARYING
            }
            assert record["milliseconds"].keys() == first["milliseconds"].keys()
        ids = [seen.value("Audit-ID") for seen in stage.upstream.requests]
        assert ids == [record["auditID"] for record in stage.audit.records]
        assert len(set(ids)) == 4
        sent = [[pair for pair in seen.headers if pair[0] != "Audit-ID"] for seen in stage.upstream.requests]
        assert sent == [sent[0]] * 4

    play(scene)


def test_each_record_has_the_trace_of_its_own_request() -> None:
    traces = [f"00-{number:032x}-{number:016x}-01" for number in (1, 2, 2, 3)]

    async def scene(stage: Stage) -> None:
        client = await stage.connect()
        for trace in traces:
            await client.get(PODS, f"traceparent: {trace}")
        await client.get(PODS)
        assert [record.get("traceparent") for record in stage.audit.records] == [*traces, None]

    play(scene)


def test_another_target_with_the_same_headers() -> None:
    async def scene(stage: Stage) -> None:
        client = await stage.connect()
        targets = [PODS, "/api/v1/namespaces/dev/configmaps?limit=5", PODS, "/version"] * 3
        for target in targets:
            assert (await client.get(target)).code == 200
        assert [seen.target for seen in stage.upstream.requests] == targets
        assert [record["requestURI"] for record in stage.audit.records] == targets
        assert all(went_the_short_way(record) for record in stage.audit.records[8:])

    play(scene)


def test_new_policies_count_at_once() -> None:
    async def scene(stage: Stage) -> None:
        client = await known(stage, SECRET)
        stage.snapshot.policies = policy_set([DENY_SECRETS])
        stage.snapshot.generation += 1
        assert (await client.get(SECRET)).code == 403
        assert stage.audit.records[-1]["verdict"] == "Deny"

    play(scene)


def test_policies_that_are_too_old_decide_nothing() -> None:
    async def scene(stage: Stage) -> None:
        client = await known(stage)
        stage.snapshot.fresh = False
        assert (await client.get()).code == 503

    play(scene)


def test_a_token_that_is_no_longer_known_is_verified_again() -> None:
    async def refuse(_token: str) -> Refused:
        return Refused(401, "it has expired", "expired")

    async def scene(stage: Stage) -> None:
        client = await known(stage)
        stage.authenticator.cached_already = False
        assert (await client.get()).code == 200
        assert stage.authenticator.asked == 1
        stage.authenticator.authenticate = refuse  # type: ignore[method-assign, assignment]
        assert (await client.get()).code == 401
        assert len(stage.upstream.requests) == 4

    play(scene)


def test_another_token_on_the_same_connection_is_another_caller() -> None:
    async def scene(stage: Stage) -> None:
        client = await known(stage)
        stranger = request().replace(b"agent-token", b"other-token")
        for raw, code in [(stranger, 401), (request(), 200), (stranger, 401)]:
            await client.send(raw)
            assert (await client.reply()).code == code

    play(scene)


def test_a_caller_who_has_changed_is_governed_anew() -> None:
    async def scene(stage: Stage) -> None:
        client = await known(stage)
        stage.authenticator.caller = replace(AGENT, groups=("others",))
        assert (await client.get()).code == 403

    play(scene)


def test_every_request_counts_for_the_rate() -> None:
    limited = policy(
        {"name": "all", "match": {}, "action": "Allow"}, limits={"requestsPerSecond": 0.01, "burst": 4}
    )

    async def scene(stage: Stage) -> None:
        client = await known(stage)
        codes = [(await client.get()).code for _ in range(3)]
        assert codes == [200, 429, 429]

    play(scene, policies=(limited,))


def test_without_audit_or_credential_there_is_no_answer() -> None:
    async def scene(stage: Stage) -> None:
        client = await known(stage)
        stage.audit.down = True
        withheld = await client.get()
        assert withheld.code == 503
        assert b"PodList" not in withheld.body
        stage.audit.down = False
        assert (await client.get()).code == 200
        stage.credential.value = ""
        assert (await client.get()).code == 503

    play(scene)


def test_a_new_credential_is_used_at_once() -> None:
    async def scene(stage: Stage) -> None:
        client = await known(stage)
        stage.credential.value = "renewed"
        await client.get()
        assert stage.upstream.requests[-1].value("Authorization") == "Bearer renewed"

    play(scene)


class Loud(PassingFilter):
    """A filter that keeps count of what it has seen."""

    def __init__(self, made: list[Loud]) -> None:
        super().__init__()
        made.append(self)

    def ask(self, headers: list[Header]) -> list[Header]:
        return [*headers, (b"Accept", b"application/json")]

    def data(self, piece: bytes) -> bytes:
        return piece.replace(b"PodList", b"Masked!")


def test_every_answer_has_its_own_filter() -> None:
    made: list[Loud] = []

    async def scene(stage: Stage) -> None:
        client = await known(stage)
        assert b"Masked!" in (await client.get()).body
        assert len(made) == 4
        assert stage.upstream.requests[-1].values("Accept") == ["application/json"]

    play(scene, choose_filter=lambda *_: Loud(made))


def test_a_body_between_the_same_heads_is_no_head() -> None:
    async def scene(stage: Stage) -> None:
        client = await known(stage)
        await client.send(request(method="POST", body=request()) + request())
        codes = [(await client.reply()).code for _ in range(2)]
        assert codes == [400, 200]
        assert [seen.method for seen in stage.upstream.requests] == ["GET"] * 4

    play(scene)


@pytest.mark.parametrize("line", ["Connection: close", "Upgrade: websocket", "Impersonate-User: admin"])
def test_one_more_header_makes_it_another_request(line: str) -> None:
    async def scene(stage: Stage) -> None:
        client = await known(stage)
        await client.send(request(PODS, line))
        code, headers = await client.head()
        assert (code, ("Connection", "close") in headers) == (
            {"C": 200, "U": 400, "I": 403}[line[0]],
            True,
        )

    play(scene)


def test_a_head_shows_no_token() -> None:
    assert "hidden" not in repr(Head(method="GET", target="/", token="hidden", lines=b"hidden"))
