"""A request and its caller as people write them down, turned into what the gateway would judge.

The request goes through `chaperone.core.request.parse` like any other, so a path is read here as it is read there. What
is not given (an object, the live one) is marked as not known, and the catalogue then counts it as a risk.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

from chaperone.cli.builtin_resources import BUILTINS, Builtin
from chaperone.cli.faults import WrongUsageError
from chaperone.core.identity import Caller
from chaperone.core.legible import visible
from chaperone.core.recorded_request import METHODS
from chaperone.core.request import Payload, Request, Unreadable, parse

COLLECTIONS = frozenset({"list", "watch", "create", "deletecollection"})
STREAMS = ("exec", "attach", "portforward")
MERGE_PATCH = "application/merge-patch+json"

Object = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Either verb and resource, as for kubectl, or method and path. namespace: "" is "default" where one is needed."""

    verb: str = ""
    resource: str = ""
    name: str = ""
    namespace: str = ""
    all_namespaces: bool = False
    method: str = ""
    path: str = ""
    content_type: str = ""
    object: Object | None = None
    old_object: Object | None = None


def request_of(asked: Asked) -> Request:
    """Raises WrongUsageError for what is no request, with the gateway's own reason where it has one."""
    method, target = (asked.method.upper(), asked.path) if asked.path else _line(asked)
    content_type = asked.content_type or (MERGE_PATCH if method == "PATCH" else "application/json")
    stream = method == "GET" and target.partition("?")[0].rsplit("/", 1)[-1] in STREAMS
    request = parse(method, target, upgrade="websocket" if stream else "", content_type=content_type)
    if isinstance(request, Unreadable):
        raise WrongUsageError(
            f"{visible(method, 20)} {visible(target, 400)} is refused by the gateway: {request.reason}"
        )
    return replace(request, body=_body(request, asked), payload=_payload(request, asked))


def _payload(request: Request, asked: Asked) -> Payload:
    """A create has no live object; what else is not given is there, and not known."""
    expected = {"create": ("object",), "update": ("object", "oldObject"), "patch": ("object", "oldObject")}
    if request.is_connect or not request.is_resource:
        return Payload()
    given = {"object": asked.object, "oldObject": asked.old_object}
    missing = frozenset(name for name in expected.get(request.verb, ()) if given[name] is None)
    options = asked.object if request.verb in ("delete", "deletecollection") else None
    return Payload(None if options else asked.object, asked.old_object, options, missing)


def _body(request: Request, asked: Asked) -> bytes:
    """Of a patch only the outcome is known."""
    return b"" if asked.object is None or request.verb == "patch" else json.dumps(asked.object).encode()


# The path of what kubectl would ask


def _line(asked: Asked) -> tuple[str, str]:
    method = METHODS.get(asked.verb)
    if method is None:
        verbs = ", ".join(METHODS)
        raise WrongUsageError(
            f'"{visible(asked.verb, 40)}" is not a verb; known are {verbs} (or use --method and --path)'
        )
    resource, _, subresource = asked.resource.partition("/")
    kind = find_resource(resource, namespaced=bool(asked.namespace or asked.all_namespaces))
    is_collection = asked.verb in COLLECTIONS and not subresource
    if not is_collection and not asked.name:
        raise WrongUsageError(f"{asked.verb} of {visible(asked.resource, 200)} needs the NAME of an object")
    # The name of a new object is in its body, the name for a list in a field selector.
    named = [] if is_collection else [asked.name]
    parts = [
        *_place(kind, asked, is_collection),
        kind.plural,
        *named,
        *([subresource] if subresource else []),
    ]
    path = "/".join(["/apis" if kind.group else "/api", *(quote(part, safe="") for part in parts)])
    return method, path + _query(asked, is_collection=is_collection)


def _place(kind: Builtin, asked: Asked, is_collection: bool) -> list[str]:
    api = [kind.group, kind.version] if kind.group else [kind.version]
    if not kind.namespaced or (asked.all_namespaces and is_collection):
        return api
    return [*api, "namespaces", asked.namespace or "default"]


def _query(asked: Asked, *, is_collection: bool) -> str:
    words = ["watch=1"] if asked.verb == "watch" else []
    if is_collection and asked.name and asked.verb != "create":
        words.append(f"fieldSelector=metadata.name%3D{quote(asked.name, safe='')}")
    return f"?{'&'.join(words)}" if words else ""


def find_resource(text: str, *, namespaced: bool) -> Builtin:
    """`deploy`, `deployments.apps`, `widgets.example.com`, `widgets.v2.example.com`. namespaced: what to take a custom
    resource for. Raises WrongUsageError for a bare name that is none of Kubernetes' own."""
    known = BUILTINS.get(text)
    if known:
        return known
    plural, _, group = text.partition(".")
    builtin = BUILTINS.get(plural)
    if builtin and builtin.group == group:
        return builtin
    if not plural or not group:
        raise WrongUsageError(
            f'"{visible(text, 200)}" is none of Kubernetes\' own resources; write a custom one with its group, as in '
            "widgets.example.com"
        )
    first, _, rest = group.partition(".")
    if first[:1] == "v" and first[1:2].isdigit() and rest:
        return Builtin(plural, rest, first, namespaced)
    return Builtin(plural, group, "v1", namespaced)


# Who asks


def caller_of(
    *,
    username: str,
    groups: Sequence[str] = (),
    issuer: str = "",
    subject: str = "",
    run: str = "",
    agent: str = "",
    model: str = "",
    claims: Mapping[str, Any] | None = None,
) -> Caller:
    return Caller(
        issuer=issuer,
        subject=subject or username,
        username=username,
        groups=tuple(groups),
        run=run,
        agent=agent,
        model=model,
        claims=dict(claims or {}),
    )


def read_claim(text: str) -> tuple[str, Any]:
    """`key=value`; a value that is JSON is taken as that, any other as text. Raises WrongUsageError."""
    key, mark, value = text.partition("=")
    if not key or not mark:
        raise WrongUsageError(f'--claim "{visible(text, 200)}" is not of the form key=value')
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value
