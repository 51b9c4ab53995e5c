"""Ends of a request that are not a forwarded answer: a code, a `metav1.Status`, and the reason for the audit record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chaperone.core import status
from chaperone.core.request import Request
from gateway.http.upload import BodyError
from gateway.http.upstream import UpstreamError


class RefusalError(Exception):
    """Raised anywhere in the life of an exchange; the exchange answers it. reason: for the audit record alone."""

    def __init__(
        self,
        code: int,
        document: Mapping[str, Any],
        *,
        reason: str = "",
        headers: tuple[tuple[str, str], ...] = (),
        raw: tuple[bytes, bytes] | None = None,
        masked: Mapping[str, int] | None = None,
    ) -> None:
        """raw: (content type, body) to send in place of the document: an answer of the API server. masked: how many
        values were masked in it, by rule."""
        super().__init__(reason or str(document.get("message", "")))
        self.raw = raw
        self.masked = masked or {}
        self.code = code
        self.document = document
        self.headers = headers
        self.reason = str(self)


def refusal(
    code: int,
    message: str,
    request: Request | None = None,
    *,
    reason: str = "",
    retry_after: int | None = None,
) -> RefusalError:
    """An ordinary refusal, worded for the client."""
    headers = () if retry_after is None else (("Retry-After", str(retry_after)),)
    document = status.status(code, message, request=request, retry_after=retry_after)
    return RefusalError(code, document, reason=reason, headers=headers)


def known_refusal(error: Exception, request: Request | None) -> RefusalError | None:
    """The refusal that an error means; None for one that nobody has foreseen."""
    if isinstance(error, RefusalError):
        return error
    if isinstance(error, BodyError):
        return refusal(error.fault.code, error.fault.message, request)
    return refusal(error.code, str(error), request) if isinstance(error, UpstreamError) else None
