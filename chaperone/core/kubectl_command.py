"""Recorded requests as kubectl commands that ask for the same. Pure.

A record holds no body: what a write wrote is not in the command, and the line says so.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from chaperone.core.gate import describe
from chaperone.core.recorded_request import Recorded
from chaperone.core.request import Request

STREAMS = {"exec", "attach", "portforward"}
FLAGS = (("labelSelector", "--selector"), ("fieldSelector", "--field-selector"), ("limit", "--chunk-size"))
LOG_FLAGS = (
    ("container", "--container"),
    ("tailLines", "--tail"),
    ("sinceSeconds", "--since"),
    ("limitBytes", "--limit-bytes"),
)


def command(recorded: Recorded) -> str:
    """One line for a shell; a comment where kubectl could not ask for the same from the record alone."""
    request = recorded.request
    words = _words(request)
    if not words:
        return f"# {describe(request)}: its body is not in the record".replace("\n", " ")
    return " ".join(_quoted(word) for word in ("kubectl", *words))


def _quoted(word: str) -> str:
    """For a shell, on one line: an agent chooses these words, and neither a new line nor a terminal's escape gets out."""
    if word.isprintable():
        return shlex.quote(word)
    return "$'" + "".join(_escaped(letter) for letter in word) + "'"


def _escaped(letter: str) -> str:
    if letter in "\\'":
        return "\\" + letter
    return (
        letter
        if letter.isprintable()
        else "".join(f"\\x{byte:02x}" for byte in letter.encode(errors="replace"))
    )


def _words(request: Request) -> list[str]:
    if not request.is_resource:
        return ["get", "--raw", request.path] if request.is_read else []
    if request.resource == "pods" and request.subresource in STREAMS | {"log"} and not request.group:
        return _pod(request)
    if request.subresource:
        return ["get", "--raw", request.path] if request.is_read else []
    kind = f"{request.resource}.{request.group}" if request.group else request.resource
    match request.verb:
        case "get":
            return ["get", kind, request.name, *_place(request)]
        case "list" | "watch":
            watching = ["--watch"] if request.verb == "watch" else []
            return ["get", kind, *_place(request, everywhere=True), *_flags(request), *watching]
        case "delete":
            return ["delete", kind, request.name, *_place(request)]
        case "deletecollection":
            chosen = list(_flags(request))
            return ["delete", kind, *_place(request), *(chosen or ["--all"])]
    return []


def _pod(request: Request) -> list[str]:
    if request.subresource == "log":
        follow = ["--follow"] if _is_true(request, "follow") else []
        previous = ["--previous"] if _is_true(request, "previous") else []
        return ["logs", request.name, *_place(request), *_log_flags(request), *follow, *previous]
    if request.subresource == "portforward":
        return ["port-forward", request.name, *_place(request), *_all(request, "ports")]
    container = request.parameter("container")
    words = [request.subresource, request.name, *_place(request)]
    words += [f"--container={container}"] if container else []
    words += [flag for name, flag in (("stdin", "--stdin"), ("tty", "--tty")) if _is_true(request, name)]
    ran = _all(request, "command")
    return [*words, "--", *ran] if ran else words


def _place(request: Request, *, everywhere: bool = False) -> list[str]:
    if request.namespace and (request.group, request.resource) != ("", "namespaces"):
        return ["--namespace", request.namespace]
    return (
        ["--all-namespaces"] if everywhere and (request.group, request.resource) != ("", "namespaces") else []
    )


def _flags(request: Request) -> Iterator[str]:
    for name, flag in FLAGS:
        if value := request.parameter(name):
            yield f"{flag}={value}"


def _log_flags(request: Request) -> Iterator[str]:
    for name, flag in LOG_FLAGS:
        if value := request.parameter(name):
            yield f"{flag}={value}{'s' if name == 'sinceSeconds' else ''}"


def _all(request: Request, name: str) -> list[str]:
    return [value for key, value in request.parameters if key == name]


def _is_true(request: Request, name: str) -> bool:
    return (request.parameter(name) or "0").lower() not in ("0", "false")
