"""Which cluster, and as whom: kubectl's own flags, read as kubectl reads them."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from chaperone.cli.faults import FailedError, WrongUsageError
from chaperone.kube.official import Api, connect

PANEL = "Cluster"


@dataclass(frozen=True, slots=True)
class ClusterFlags:
    """user, groups: whom to impersonate, as kubectl's --as and --as-group do."""

    kubeconfig: str = ""
    context: str = ""
    user: str = ""
    groups: tuple[str, ...] = ()

    def connect(self, *, timeout: float = 10.0, sent: Sequence[tuple[str, str]] = ()) -> Api:
        """sent: more headers, with every request. Raises WrongUsageError, EndpointError, and FailedError when there is
        nothing to connect to."""
        if self.groups and not self.user:
            raise WrongUsageError("--as-group needs --as, as it does for kubectl")
        headers = [*sent, *([("Impersonate-User", self.user)] if self.user else [])]
        headers += [("Impersonate-Group", group) for group in self.groups]
        if fault := next((name for name, value in headers if not _fits_header(value)), ""):
            raise WrongUsageError(f"a value for {fault} cannot travel in a header; use printable ASCII")
        return connect(self._file(), self.context, strict_ca=False, timeout=timeout, headers=headers)

    def _file(self) -> str:
        """One file, or several joined as in KUBECONFIG; "" inside a pod that has no kubeconfig."""
        if self.kubeconfig:
            return self.kubeconfig
        listed = [path for path in os.environ.get("KUBECONFIG", "").split(os.pathsep) if path]
        candidates = listed or [str(Path.home() / ".kube" / "config")]
        present = [path for path in candidates if Path(path).exists()]
        if present:
            return os.pathsep.join(present)
        if not listed and "KUBERNETES_SERVICE_HOST" in os.environ:
            return ""
        raise FailedError(
            f"there is no kubeconfig at {os.pathsep.join(candidates)}; name one with --kubeconfig or KUBECONFIG"
        )


def _fits_header(value: str) -> bool:
    return bool(value) and value.isascii() and value.isprintable()


_FLAGS: dict[str, Any] = {
    "kubeconfig": Annotated[
        str, typer.Option(help="The kubeconfig to use; KUBECONFIG otherwise.", rich_help_panel=PANEL)
    ],
    "context": Annotated[str, typer.Option(help="The context in it.", rich_help_panel=PANEL)],
    "as_user": Annotated[
        str, typer.Option("--as", help="The user to impersonate.", rich_help_panel=PANEL, metavar="USER")
    ],
    "as_groups": Annotated[
        list[str] | None,
        typer.Option(
            "--as-group",
            help="A group to impersonate; may be repeated.",
            rich_help_panel=PANEL,
            metavar="GROUP",
        ),
    ],
}
_DEFAULTS: dict[str, Any] = {"kubeconfig": "", "context": "", "as_user": "", "as_groups": None}


def with_cluster(command: Callable[..., Any]) -> Callable[..., Any]:
    """The command takes these flags as well, and gets them as its argument `cluster`."""

    @functools.wraps(command)
    def wrapped(**arguments: Any) -> Any:
        flags = {name: arguments.pop(name) for name in _FLAGS}
        cluster = ClusterFlags(
            flags["kubeconfig"], flags["context"], flags["as_user"], tuple(flags["as_groups"] or ())
        )
        return command(cluster=cluster, **arguments)

    signature = inspect.signature(command, eval_str=True)
    kept = [parameter for name, parameter in signature.parameters.items() if name != "cluster"]
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=_DEFAULTS[name], annotation=kind)
        for name, kind in _FLAGS.items()
    ]
    parameters = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in kept] + added
    wrapped.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    wrapped.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return wrapped
