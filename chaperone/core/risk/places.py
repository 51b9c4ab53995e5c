"""Where a request is: its namespace and its name. These conditions need no more than the request line.

Only a create keeps its object's name in the body; conditions on names say so in what they read.
"""

from __future__ import annotations

from collections.abc import Callable

from chaperone.core.policy import RiskSettings
from chaperone.core.request import Request
from chaperone.core.risk.fields import UNREADABLE, field
from chaperone.core.risk.row import NO, UNKNOWN, YES, Condition, Outcome, Reads


def in_namespaces(*namespaces: str) -> Condition:
    """The request is in one of these namespaces."""

    def test(request: Request, _: RiskSettings) -> Outcome:
        return YES if request.namespace in namespaces else NO

    return Condition("namespace", f"in namespace {' or '.join(namespaces)}", test)


def is_sensitive(namespace: str, settings: RiskSettings) -> bool:
    return namespace in settings.sensitive_namespaces or namespace == settings.guard_namespace


def _sensitive(request: Request, settings: RiskSettings) -> Outcome:
    return YES if is_sensitive(request.namespace, settings) else NO


def _guarded(request: Request, settings: RiskSettings) -> Outcome:
    return YES if request.namespace == settings.guard_namespace else NO


def _everywhere(request: Request, _: RiskSettings) -> Outcome:
    return YES if request.verb in ("list", "watch") and not request.namespace else NO


def _control_plane_secrets(request: Request, settings: RiskSettings) -> Outcome:
    return YES if request.namespace == "kube-system" else _everywhere(request, settings)


def _other_secrets(request: Request, settings: RiskSettings) -> Outcome:
    return NO if _control_plane_secrets(request, settings) is YES else YES


SENSITIVE_NS = Condition("sensitive-ns", "in a sensitive namespace or the guard's own", _sensitive)
GUARD_NS = Condition("guard-ns", "in the namespace of the guard", _guarded)
CONTROL_PLANE_SECRETS = Condition(
    "control-plane-secrets", "in namespace kube-system, or over all namespaces", _control_plane_secrets
)
OTHER_SECRETS = Condition("other-secrets", "in one namespace other than kube-system", _other_secrets)


def named(*names: str) -> Condition:
    """The object has one of these names. A deletecollection has none: whether they are among its objects is unknown."""

    def test(request: Request, _: RiskSettings) -> Outcome:
        return _compare(request, lambda name: name in names)

    return Condition("name", f"named {' or '.join(names)}", test, Reads.NAME)


def name_ends(suffix: str) -> Condition:
    def test(request: Request, _: RiskSettings) -> Outcome:
        return _compare(request, lambda name: name.endswith(suffix))

    return Condition("name", f"with a name that ends in {suffix}", test, Reads.NAME)


def _is_guard_itself(request: Request, settings: RiskSettings) -> Outcome:
    return _compare(request, lambda name: name == settings.guard_namespace)


GUARD_ITSELF = Condition("guard-ns", "the namespace of the guard itself", _is_guard_itself, Reads.NAME)


def _compare(request: Request, matches: Callable[[str], bool]) -> Outcome:
    name = request.name or _name_inside(request)
    if isinstance(name, str):
        return YES if matches(name) else NO
    # With generateName the server appends random characters, which spell none of the names asked for.
    return NO if name is None else UNKNOWN


def _name_inside(request: Request) -> object:
    """metadata.name of what is created, or (in the review of a deletecollection) of what is deleted."""
    creates = request.verb == "create"
    obj = request.payload.object if creates else request.payload.old_object
    unread = ("object" if creates else "oldObject") in request.payload.undetermined
    return UNREADABLE if obj is None or unread else field(obj, "metadata", "name")
