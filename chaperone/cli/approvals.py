"""`list`, `show`, `approve`, `deny`, `cancel`: ApprovalRequests for those who decide and those who ask.

A decision is one merge patch of the status, the same that plain kubectl can send; the webhook stamps and counts it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from typing import Annotated, Any

import typer

from chaperone.cli import approval_words as words
from chaperone.cli.cluster import ClusterFlags
from chaperone.cli.faults import FailedError, WrongUsageError
from chaperone.cli.screen import say, show_json, show_table
from chaperone.core.legible import visible
from chaperone.kube.errors import RefusedError
from chaperone.kube.official import APPROVAL_REQUESTS, Api

MAX_REASON = 1024


class Output(StrEnum):
    """`-o` of commands that show objects."""

    JSON = "json"
    WIDE = "wide"


class Form(StrEnum):
    """`-o` of commands that show one thing."""

    JSON = "json"


Name = Annotated[str, typer.Argument(metavar="NAME", help="The name of the ApprovalRequest.")]
Reason = Annotated[str, typer.Option(help="Why, in your words; kept with the request.", metavar="TEXT")]


def list_requests(
    *,
    everything: Annotated[bool, typer.Option("--all", help="Whatever its phase.")] = False,
    pending: Annotated[
        bool, typer.Option("--pending", help="Only what waits for people; the default.")
    ] = False,
    output: Annotated[Output | None, typer.Option("--output", "-o", help="Another form.")] = None,
    cluster: ClusterFlags,
) -> None:
    """List what agents have asked for: what is pending, or all of it."""
    if everything and pending:
        raise WrongUsageError("--all and --pending exclude each other; give one of them")
    found = listed(cluster.connect(), everything=everything)
    if output is Output.JSON:
        show_json({"apiVersion": "v1", "kind": "List", "items": list(found)})
        return
    if not found:
        say("nothing is pending" if not everything else "there are no ApprovalRequests", error=True)
        return
    wide = output is Output.WIDE
    now = time.time()
    columns = words.WIDE_COLUMNS if wide else words.COLUMNS
    show_table(columns, [words.row(obj, now, wide=wide) for obj in found])


def show(
    name: Name,
    *,
    output: Annotated[Form | None, typer.Option("--output", "-o", help="Another form.")] = None,
    cluster: ClusterFlags,
    call: typer.Context,
) -> None:
    """Show one request whole: what, by whom, why it is held, what it would do, and how to decide."""
    obj = fetched(cluster.connect(), name)
    if output is Form.JSON:
        show_json(obj)
        return
    for line, style in words.story(obj, time.time(), program_of(call)):
        say(line, style)


def approve(name: Name, *, reason: Reason = "", cluster: ClusterFlags) -> None:
    """Approve exactly what one request asks for."""
    decide(cluster.connect(), name, "Approved", reason)


def deny(name: Name, *, reason: Reason = "", cluster: ClusterFlags) -> None:
    """Deny a request; one that is approved and not yet used can still be denied."""
    decide(cluster.connect(), name, "Denied", reason)


def cancel(name: Name, *, reason: Reason = "", cluster: ClusterFlags) -> None:
    """Take back a request of your own that nobody has used yet; agents do so through the gateway."""
    decide(cluster.connect(), name, "Cancelled", reason)


# What they share


def listed(api: Api, *, everything: bool) -> Sequence[Mapping[str, Any]]:
    """Oldest first, as they came."""
    with refused_without_kind("ApprovalRequests"):
        items = api.list(APPROVAL_REQUESTS.path()).items
    chosen = [obj for obj in items if everything or words.phase(obj) == "Pending"]
    return sorted(chosen, key=lambda obj: str(words.field(obj, "metadata.creationTimestamp") or ""))


@contextmanager
def refused_without_kind(kind: str) -> Iterator[None]:
    """A 404 for a whole collection means that the cluster does not know the kind: say so."""
    try:
        yield
    except RefusedError as error:
        if error.not_found:
            raise FailedError(
                f"this cluster knows no {kind}: are the definitions (crds/) of kube-chaperone installed?"
            ) from error
        raise


def fetched(api: Api, name: str) -> Mapping[str, Any]:
    """Raises FailedError when there is none of that name."""
    found = api.find(APPROVAL_REQUESTS.path(checked_name(name)))
    if found is None:
        raise FailedError(
            f'there is no ApprovalRequest "{visible(name, 253)}"; `list --all` names those there are'
        )
    return found


def checked_name(name: str) -> str:
    if not name or "/" in name or name in (".", ".."):
        raise WrongUsageError(f'"{visible(name, 253)}" is not the name of an object')
    return name


def decide(api: Api, name: str, decision: str, reason: str) -> None:
    """Patch the decision, and say what came of it. Raises KubeError with the webhook's own sentence."""
    if len(reason) > MAX_REASON:
        raise WrongUsageError(f"--reason is longer than {MAX_REASON} characters")
    status = {"decision": decision, **({"decisionReason": reason} if reason else {})}
    path = APPROVAL_REQUESTS.path(checked_name(name), subresource="status")
    try:
        after = api.merge(path, {"status": status})
    except RefusedError as error:
        # A gateway answers the same for what there is not and for what another run has asked for, and says so.
        if error.not_found and error.reason == "NotFound" and decision != "Cancelled":
            raise FailedError(f'there is no ApprovalRequest "{visible(name, 253)}"') from error
        raise
    if words.field(after, "status.decision") is not None:
        raise FailedError(
            f'the decision on "{name}" was stored and not counted: the webhook that stamps reviews did not see it'
        )
    say(f"{words.asked(after)}, asked by {words.by_whom(after)}")
    stands = f"is {words.phase(after)}, {words.count(after)} approvals"
    say(f"{decision.lower()}: {words.text(after, 'metadata.name')} {stands}")


def program_of(call: typer.Context) -> str:
    """How the program was called: "chaperone" or "kubectl chaperone"."""
    return str(call.find_root().info_name)
