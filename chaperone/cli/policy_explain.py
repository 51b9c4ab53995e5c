"""`policy explain`: what would happen to one request of one caller, by which policy and rule, and why not otherwise."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import typer

from chaperone.cli.approvals import Form
from chaperone.cli.asking import Asked, caller_of, read_claim, request_of
from chaperone.cli.cluster import ClusterFlags
from chaperone.cli.cluster_policies import policies_in
from chaperone.cli.faults import WrongUsageError
from chaperone.cli.manifest import UnreadableError, read_documents, read_file, shown
from chaperone.cli.policy_files import policy_set_of, read_policies
from chaperone.cli.screen import COLOURS, say, show_json, show_table
from chaperone.core.explanation import Explanation, PolicyAccount, explain
from chaperone.core.gate import describe
from chaperone.core.identity import Caller
from chaperone.core.legible import visible
from chaperone.core.policy import PolicySet
from chaperone.core.recorded_request import METHODS
from chaperone.core.request import Request
from chaperone.core.verdict import Action, Finding, Mode

Words = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="FILE... VERB RESOURCE[/SUB] [NAME]", help="Files with policies, then the request."
    ),
]
CALLER = "Caller"
REQUEST = "Request"


def _option(*names: str, panel: str, help_: str, metavar: str = "TEXT") -> Any:
    return typer.Option(*names, help=help_, metavar=metavar, rich_help_panel=panel)


def explain_command(
    words: Words = None,
    *,
    username: Annotated[str, _option("--as-user", panel=CALLER, help_="The caller's user name.")] = "",
    groups: Annotated[
        list[str] | None, _option("--groups", panel=CALLER, help_="Groups, by commas; may be repeated.")
    ] = None,
    issuer: Annotated[str, _option("--issuer", panel=CALLER, help_="The issuer of the token.")] = "",
    subject: Annotated[
        str, _option("--subject", panel=CALLER, help_="The subject of the token; the user name otherwise.")
    ] = "",
    run: Annotated[str, _option("--run", panel=CALLER, help_="The model run.")] = "",
    agent: Annotated[str, _option("--agent", panel=CALLER, help_="The agent.")] = "",
    claim: Annotated[
        list[str] | None,
        _option("--claim", panel=CALLER, help_="A claim of the token; may be repeated.", metavar="KEY=VALUE"),
    ] = None,
    namespace: Annotated[str, _option("--namespace", "-n", panel=REQUEST, help_="The namespace.")] = "",
    all_namespaces: Annotated[
        bool, typer.Option("--all-namespaces", "-A", help="In all namespaces.", rich_help_panel=REQUEST)
    ] = False,
    obj: Annotated[
        str,
        _option("--object", panel=REQUEST, help_="The object as it would be stored.", metavar="FILE"),
    ] = "",
    old: Annotated[
        str, _option("--old-object", panel=REQUEST, help_="The object as it is now.", metavar="FILE")
    ] = "",
    method: Annotated[str, _option("--method", panel=REQUEST, help_="The HTTP method, with --path.")] = "GET",
    path: Annotated[
        str, _option("--path", panel=REQUEST, help_="A path with its query, instead of verb and resource.")
    ] = "",
    from_cluster: Annotated[bool, typer.Option("--cluster", help="The policies of the cluster.")] = False,
    output: Annotated[Form | None, typer.Option("--output", "-o", help="Another form.")] = None,
    cluster: ClusterFlags,
) -> None:
    """Explain what would happen to a request: the verdict, what decides, and why not the others."""
    files, asked_words = split_words(words or [], raw=bool(path))
    if bool(files) == from_cluster:
        raise WrongUsageError("give files with policies, or --cluster for those of the cluster; one of both")
    if not username:
        raise WrongUsageError("--as-user is missing: policies are judged for a caller")
    caller = caller_of(
        username=username,
        groups=[name for given in groups or [] for name in given.split(",") if name],
        issuer=issuer,
        subject=subject,
        run=run,
        agent=agent,
        claims=dict(read_claim(text) for text in claim or []),
    )
    asked = Asked(
        **dict(zip(("verb", "resource", "name"), asked_words, strict=False)),
        namespace=namespace,
        all_namespaces=all_namespaces,
        method=method if path else "",
        path=path,
        object=_object_in(obj),
        old_object=_object_in(old),
    )
    request = request_of(asked)
    policies = policies_in(cluster.connect()) if from_cluster else policy_set_of(read_policies(files))
    explanation = explain(request, caller, policies, time.time())
    if output is Form.JSON:
        show_json(as_json(explanation, request))
    else:
        _show(explanation, request, caller, policies)


def split_words(words: Sequence[str], *, raw: bool) -> tuple[list[str], list[str]]:
    """Files, and verb, resource and name: the first word that is a verb begins the request. raw: files only."""
    if raw:
        return list(words), []
    at = next((at for at, word in enumerate(words) if word in METHODS), len(words))
    files, asked = list(words[:at]), list(words[at:])
    if not 2 <= len(asked) <= 3:
        verbs = ", ".join(METHODS)
        raise WrongUsageError(
            f"say what is asked, as VERB RESOURCE [NAME] (verbs: {verbs}), or with --method and --path"
        )
    return files, asked


def _object_in(file: str) -> Any:
    if not file:
        return None
    try:
        found = [document.value for document in read_documents(read_file(file))]
    except UnreadableError as error:
        raise WrongUsageError(f"{shown(file)}:{error.line or 1}: the file {error}") from error
    if len(found) != 1:
        raise WrongUsageError(f"{shown(file)} holds {len(found)} objects; it has to be one")
    return found[0]


# As text


def _show(explanation: Explanation, request: Request, caller: Caller, policies: PolicySet) -> None:
    verdict = explanation.verdict
    line = f"{request.method} {request.target}"
    facts = (
        ("request", f"{describe(request)} ({visible(line, 1024)})"),
        ("caller", f"{visible(caller.username)}, groups {visible(', '.join(caller.groups)) or 'none'}"),
        ("verdict", verdict.action.word),
        ("policy", visible(verdict.policy)),
        ("rule", visible(verdict.rule)),
        ("reason", visible(verdict.reason)),
        ("risk", verdict.risk.level.word),
    )
    for word, value in facts:
        if value:
            say(f"{word:<9}{value}", COLOURS.get(value, ""))
    for finding in verdict.risk.findings:
        say(f"  {_told(finding)}", COLOURS.get(finding.level.word, ""))
    for note in _notes(explanation, request, policies):
        say(f"note: {note}", "dim")
    for account in explanation.policies:
        say()
        _show_account(account)
    if not explanation.policies:
        say("\nthere are no policies")


def _told(finding: Finding) -> str:
    unsure = " (not known, so it counts)" if finding.undetermined else ""
    return f"{finding.row} {finding.level.word}: {finding.reason}{unsure}"


def _notes(explanation: Explanation, request: Request, policies: PolicySet) -> Iterator[str]:
    unsure = any(finding.undetermined for finding in explanation.verdict.risk.findings)
    missing = sorted(request.payload.undetermined)
    if missing and unsure:
        flags = " and ".join({"object": "--object", "oldObject": "--old-object"}[name] for name in missing)
        yield f"the gateway would know more of the object: add {flags} for a sure answer"
    elif unsure and policies.risk_settings.powerful_roles is None:
        yield "which roles are powerful is only known in a cluster: ask with --cluster for a sure answer"


def _show_account(account: PolicyAccount) -> None:
    say(f"policy {visible(account.name)}: {_said(account)}", "bold")
    for fault in account.faults:
        say(f"  {visible(fault.path)}: {visible(fault.message)}", COLOURS["fault"])
    for at, stranger in enumerate(account.strangers):
        say(f"  subjects[{at}]: {visible(stranger)}")
    if account.rules:
        rows = [
            [visible(rule.name), _action(rule.action), rule.standing.value, visible(rule.why)]
            for rule in account.rules
        ]
        show_table(("RULE", "ACTION", "HERE", "WHY"), rows)


def _said(account: PolicyAccount) -> str:
    if not account.governs:
        return "does not govern this caller"
    verdict = account.verdict
    if verdict is None:
        return "does not compile, so it denies"
    monitor = account.mode is Mode.MONITOR and verdict.would is not None
    would = (
        f" (in Monitor mode; enforced it would {_action(verdict.would)})" if monitor and verdict.would else ""
    )
    return f"{verdict.action.word} by {visible(verdict.rule) or 'the gate itself'}{would}"


def _action(action: Action | None) -> str:
    """As policies write it."""
    return "RequireApproval" if action is Action.HOLD else action.word if action is not None else ""


# As JSON


def as_json(explanation: Explanation, request: Request) -> dict[str, Any]:
    verdict = explanation.verdict
    return {
        "request": {
            "method": request.method,
            "path": request.path,
            "query": request.query,
            "verb": request.verb,
        },
        "verdict": verdict.action.word,
        "policy": verdict.policy,
        "rule": verdict.rule,
        "reason": verdict.reason,
        "risk": verdict.risk.level.word,
        "rows": [
            {
                "row": item.row,
                "level": item.level.word,
                "reason": item.reason,
                "undetermined": item.undetermined,
            }
            for item in verdict.risk.findings
        ],
        "policies": [_account_json(account) for account in explanation.policies],
    }


def _account_json(account: PolicyAccount) -> dict[str, Any]:
    return {
        "name": account.name,
        "mode": account.mode.value if account.mode else None,
        "governs": account.governs,
        "verdict": account.verdict.action.word if account.verdict else None,
        "decidedBy": account.verdict.rule if account.verdict else None,
        "rules": [
            {
                "name": rule.name,
                "action": _action(rule.action),
                "standing": rule.standing.value,
                "why": rule.why,
            }
            for rule in account.rules
        ],
        "whyNot": list(account.strangers),
        "faults": [{"path": fault.path, "message": fault.message} for fault in account.faults],
    }
