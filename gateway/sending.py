"""The bytes of a request as it goes to the API server: the plan, the client's headers, and our own credential."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.http.body_filter import BodyFilter
from gateway.http.forwarding import UnsendableError, upstream_request
from gateway.http.framing import Header
from gateway.plan import Plan
from gateway.refusal import refusal

if TYPE_CHECKING:
    from gateway.data_path import DataPath


def request_bytes(path: DataPath, plan: Plan, body_filter: BodyFilter | None) -> tuple[str, bytes]:
    """The credential that it bears, and the whole request. Raises RefusalError."""
    try:
        token = path.services.credential.token()
    except Exception as error:
        raise refusal(
            503,
            "the gateway has no valid credential for the API server at this moment; try again",
            plan.request,
            reason=f"credential: {type(error).__name__}",
        ) from error
    try:
        data = upstream_request(
            plan.request,
            plan.head,
            forwarded=_forwarded(plan, body_filter),
            host=path.pool.settings.host_header,
            identity=plan.identity,
            token=token,
            audit_id=plan.audit_id,
            subprotocols=plan.subprotocols,
        )
    except UnsendableError as error:
        raise refusal(
            500, "the request cannot be forwarded safely", plan.request, reason=str(error)
        ) from error
    return token, data


def _forwarded(plan: Plan, body_filter: BodyFilter | None) -> list[Header]:
    """The client's headers, narrowed to answers that can be read. Not those of an upgrade: kubelets refuse any
    narrowing with 406, and if it is refused for another reason, what cannot be read of that is withheld."""
    headers = plan.head.forwarded
    return headers if body_filter is None or plan.request.upgrade else body_filter.ask(headers)
