"""Approvals on the command line: what is shown, what is sent, and what strangers' text cannot do."""

from __future__ import annotations

import json

import pytest

from chaperone.cli import approval_words as words
from chaperone.core.timestamp import unix_seconds
from tests.cli.conftest import Shell
from tests.cli.fake_cluster import APPROVALS, FakeCluster
from tests.cli.objects import DIGEST, Obj, access, approval

NAME = "delete-dev-1"
NOW = unix_seconds("2026-01-01T03:00:00Z")
HOSTILE = "ok\x1b[2J\u202e\r\nto approve  kubectl delete everything"


@pytest.fixture
def pending(cluster: FakeCluster) -> FakeCluster:
    cluster.approvals = {
        NAME: approval(NAME),
        "done-1": approval("done-1", phase="Executed"),
        "access-1": access(),
    }
    return cluster


def test_list_shows_what_is_pending_in_plain_columns(pending: FakeCluster, shell: Shell) -> None:
    done = shell("list")
    assert done.code == 0
    header, *rows = [line.split() for line in done.out.splitlines()]
    assert header == list(words.COLUMNS)
    assert [row[0] for row in rows] == [NAME, "access-1"]
    assert rows[0][1:9] == ["Pending", "critical", "coder", "delete", "namespaces", "-", "dev", "0/1"]
    assert rows[1][4:8] == ["access", "clusterrole/edit", "dev,stage", "30m"]


def test_list_all_and_wide_and_json(pending: FakeCluster, shell: Shell) -> None:
    wide = shell("list", "--all", "-o", "wide").out.splitlines()
    assert len(wide) == 4
    assert wide[0].split() == list(words.WIDE_COLUMNS)
    assert "run-7" in wide[1]
    listed = json.loads(shell("list", "--all", "-o", "json").out)
    assert [item["metadata"]["name"] for item in listed["items"]] == [NAME, "done-1", "access-1"]


def test_nothing_pending_leaves_standard_output_empty(cluster: FakeCluster, shell: Shell) -> None:
    done = shell("list")
    assert (done.code, done.out, done.err) == (0, "", "nothing is pending\n")


def test_show_tells_everything_that_decides(pending: FakeCluster, shell: Shell) -> None:
    pending.approvals[NAME]["spec"]["preview"] = {
        "diff": "@@ spec @@\n-  replicas: 3\n+  replicas: 0\n",
        "affected": ["pods dev/web-1"],
        "warnings": ["it is old"],
        "truncated": True,
    }
    pending.approvals[NAME]["status"]["reviews"] = [
        {
            "username": "ann",
            "decision": "Approved",
            "digest": DIGEST,
            "time": "2026-01-01T00:00:01Z",
            "reason": "fine",
        }
    ]
    out = shell("show", NAME).out
    for told in (
        f"{NAME}: Pending, 0/1 approvals",
        'delete of namespaces "dev"',
        "/api/v1/namespaces/dev?propagationPolicy=Background",
        "repo:acme/web (agent coder, run run-7)",
        "coding-agents (rule namespaces)",
        "  | R22: With the namespace goes everything that lives in it",
        "  | the branch is merged",
        "  | +  replicas: 0",
        "  | pods dev/web-1",
        "  | it is old",
        "the preview is not complete",
        '  | Approved by ann at 2026-01-01T00:00:01Z: "fine"',
        f"kubectl chaperone approve {NAME}",
        f"kubectl patch apreq {NAME} --subresource=status",
        f"kubectl chaperone deny {NAME}",
    ):
        assert told in out, told
    assert json.loads(shell("show", NAME, "-o", "json").out) == pending.approvals[NAME]


@pytest.mark.parametrize("path", ["reason", "body", "diff", "agent", "name", "warning", "command"])
def test_text_of_strangers_can_neither_hide_nor_pass_for_ours(
    cluster: FakeCluster, shell: Shell, path: str
) -> None:
    obj = approval()
    spec = obj["spec"]
    places: dict[str, tuple[Obj, str, object]] = {
        "reason": (spec, "reason", HOSTILE),
        "body": (spec["request"], "body", HOSTILE),
        "diff": (spec, "preview", {"diff": HOSTILE}),
        "agent": (spec["requester"], "agent", HOSTILE),
        "name": (spec["request"], "name", HOSTILE),
        "warning": (spec, "preview", {"warnings": [HOSTILE]}),
        "command": (spec["request"], "command", ["sh", "-c", HOSTILE]),
    }
    where, key, value = places[path]
    where[key] = value
    cluster.approvals[NAME] = obj
    for arguments in (("list", "-o", "wide"), ("show", NAME), ("show", NAME, "-o", "json")):
        out = shell(*arguments).out
        assert "\u202e" not in out
        assert "\r" not in out
        ours = [line for line in out.splitlines() if line.startswith("to approve")]
        assert ours in ([], [f"to approve  kubectl chaperone approve {NAME}"])


@pytest.mark.parametrize(("command", "decision"), [("approve", "Approved"), ("deny", "Denied")])
def test_a_decision_is_the_patch_that_kubectl_could_send(
    pending: FakeCluster, shell: Shell, command: str, decision: str
) -> None:
    done = shell(command, NAME, "--reason", "I looked")
    assert done.code == 0, done.err
    method, path, headers, body = pending.seen[-1]
    assert (method, path.partition("?")[0]) == ("PATCH", f"{APPROVALS}/{NAME}/status")
    assert ("Content-Type", "application/merge-patch+json") in headers
    assert body == {"status": {"decision": decision, "decisionReason": "I looked"}}
    [review] = pending.approvals[NAME]["status"]["reviews"]
    assert (review["username"], review["decision"], review["reason"]) == ("bob", decision, "I looked")
    assert 'delete of namespaces "dev", asked by repo:acme/web' in done.out
    assert f"{decision.lower()}: {NAME} is {decision}" in done.out


def test_what_one_has_asked_for_is_taken_back(cluster: FakeCluster, shell: Shell) -> None:
    cluster.approvals["mine"] = approval("mine", type="Access", requester={"username": "bob"})
    cluster.approvals["hers"] = approval("hers", type="Access", requester={"username": "carol"})
    done = shell("cancel", "mine", "--reason", "not needed")
    assert done.code == 0, done.err
    assert cluster.seen[-1][3] == {"status": {"decision": "Cancelled", "decisionReason": "not needed"}}
    assert "cancelled: mine is Cancelled" in done.out
    [condition] = cluster.approvals["mine"]["status"]["conditions"]
    assert condition["message"] == "taken back by its requester: not needed"
    refused = shell("cancel", "hers")
    assert refused.code == 1
    assert "can be cancelled only by who has asked for it" in refused.err
    assert "is Cancelled" in shell("cancel", "mine").err
    sentence = 'this run has asked for no approval "other"'
    cluster.refusals[f"{APPROVALS}/other/status"] = (404, "NotFound", sentence)
    absent = shell("cancel", "other")
    assert (absent.code, absent.err) == (1, f"kubectl chaperone: {sentence}\n")


def test_the_webhooks_refusal_is_shown_as_it_is(pending: FakeCluster, shell: Shell) -> None:
    assert shell("approve", NAME).code == 0
    again = shell("approve", NAME)
    assert again.code == 1
    assert again.err == (
        'kubectl chaperone: admission webhook "stamp.chaperone.dev" denied the request: '
        f'approvalrequest "{NAME}" is Approved already; nothing is left to do\n'
    )
    ended = shell("deny", "done-1")
    assert "is Executed: it can no longer be decided" in ended.err


def test_a_decision_that_nobody_stamped_is_no_success(pending: FakeCluster, shell: Shell) -> None:
    pending.stamps = False
    done = shell("approve", NAME)
    assert done.code == 1
    assert "stored and not counted" in done.err


@pytest.mark.parametrize("arguments", [("show", "nope"), ("approve", "nope"), ("deny", "nope")])
def test_what_is_not_there_is_named(cluster: FakeCluster, shell: Shell, arguments: tuple[str, ...]) -> None:
    done = shell(*arguments)
    assert done.code == 1
    assert 'there is no ApprovalRequest "nope"' in done.err


def test_access_is_asked_for_as_the_api_takes_it(cluster: FakeCluster, shell: Shell) -> None:
    done = shell(
        *("request-access", "--role", "edit", "--namespace", "dev", "--for", "30m"),
        *("--reason", "fix it", "--policy", "coding-agents"),
    )
    assert done.code == 0, done.err
    method, path, _, body = cluster.seen[-1]
    assert (method, path) == ("POST", APPROVALS)
    assert body["spec"] == {
        "type": "Access",
        "access": {
            "roleRef": {"kind": "ClusterRole", "name": "edit"},
            "namespaces": ["dev"],
            "duration": "30m",
        },
        "policy": {"name": "coding-agents"},
        "reason": "fix it",
    }
    assert "asked: access-x1 is Pending" in done.out
    assert "kubectl chaperone show access-x1 tells how it stands" in done.out


def story(obj: Obj) -> str:
    return "\n".join(text for text, _ in words.story(obj, NOW, "chaperone"))


def test_a_grant_is_told_and_can_be_revoked() -> None:
    told = story(access())
    assert "the rights of clusterrole/edit in dev, stage for 30m" in told
    assert "rights for  ann" in told
    granted = access(phase="Executing")
    granted["status"]["grant"] = {"expiresAt": "2026-01-01T03:20:00Z"}
    told = story(granted)
    assert "to revoke   chaperone deny access-1" in told
    assert "approve" not in told.splitlines()[-1]
    assert words.deadline(granted, NOW) == "20m"


@pytest.mark.parametrize(
    "phase", ["Executing", "Executed", "Denied", "Expired", "Cancelled", "Failed", "Unknown"]
)
def test_what_is_over_offers_no_command(phase: str) -> None:
    assert "chaperone deny" not in story(approval(phase=phase))


def test_an_object_of_another_release_is_shown_as_far_as_it_goes() -> None:
    odd_ones: list[Obj] = [
        {},
        {"spec": []},
        {"status": {"reviews": ["x"]}},
        {"spec": {"request": {"path": 5}}},
    ]
    for odd in odd_ones:
        assert story(odd)
        assert len(words.row(odd, NOW, wide=True)) == len(words.WIDE_COLUMNS)


def test_long_text_is_cut_and_says_so() -> None:
    obj = approval(preview={"diff": "+x\n" * (words.MAX_LINES + 5)})
    assert "5 more lines; -o json shows all" in story(obj)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0s"), (119.9, "119s"), (120, "2m"), (7199, "119m"), (7200, "2h"), (200_000, "2d")],
)
def test_spans_read_as_kubectls(seconds: float, shown: str) -> None:
    assert words.span(seconds) == shown


def test_deadlines_that_have_passed_say_so() -> None:
    assert words.deadline(approval(expiresAt="2026-01-01T02:00:00Z"), NOW) == "over"
    assert words.deadline(approval(phase="Denied"), NOW) == ""
