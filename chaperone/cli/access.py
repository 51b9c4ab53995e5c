"""`request-access`: ask for rights for a time. People name the policy whose terms apply; an agent's gateway knows it."""

from __future__ import annotations

from typing import Annotated

import typer

from chaperone.cli import approval_words as words
from chaperone.cli.approvals import program_of, refused_without_kind
from chaperone.cli.cluster import ClusterFlags
from chaperone.cli.faults import WrongUsageError
from chaperone.cli.screen import say
from chaperone.core.access import Unreadable, build_access_request, read_rights
from chaperone.kube.official import APPROVAL_REQUESTS


def request_access(
    *,
    role: Annotated[
        str, typer.Option(metavar="NAME", help="The role; a ClusterRole unless --role-kind says Role.")
    ],
    namespace: Annotated[
        list[str], typer.Option("--namespace", "-n", metavar="NAME", help="Where; may be repeated.")
    ],
    lasting: Annotated[str, typer.Option("--for", metavar="TIME", help="For how long, such as 30m.")],
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why, for those who decide.")] = "",
    policy: Annotated[
        str,
        typer.Option(metavar="NAME", help="The AgentPolicy whose approval terms apply; agents leave it out."),
    ] = "",
    role_kind: Annotated[
        str, typer.Option("--role-kind", metavar="KIND", help="ClusterRole or Role.")
    ] = "ClusterRole",
    cluster: ClusterFlags,
    call: typer.Context,
) -> None:
    """Ask for rights in some namespaces for a time; people approve them, and they end by themselves."""
    asked = build_access_request(
        role=role, namespaces=namespace, lasting=lasting, reason=reason, policy=policy, role_kind=role_kind
    )
    rights = read_rights(asked["spec"]["access"])
    if isinstance(rights, Unreadable):
        raise WrongUsageError(f"the request {rights.reason}")
    with refused_without_kind("ApprovalRequests"):
        made = cluster.connect().create(APPROVAL_REQUESTS.path(), asked)
    name = words.text(made, "metadata.name")
    say(f"asked: {name} is {words.phase(made)}, {words.count(made)} approvals, for {words.asked(made)}")
    say(f"{program_of(call)} show {name} tells how it stands")
