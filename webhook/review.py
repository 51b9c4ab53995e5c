"""The envelope of an AdmissionReview: read strictly, answered completely. No decision is made here. Pure.

Only `admission.k8s.io/v1` is spoken. What cannot be read as one is no review: the API server gets an HTTP
error and applies the configuration's failurePolicy.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

Obj = Mapping[str, Any]

API_VERSION = "admission.k8s.io/v1"


class UnreadableReview(Exception):  # noqa: N818 - named for what it is
    """Not an AdmissionReview that we speak. code: the HTTP status of the answer."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class Answer:
    """What the API server is told. patch: RFC 6902 operations (mutating only). code: HTTP status of a
    denial."""

    allowed: bool
    message: str = ""
    code: int = 403
    reason: str = "Forbidden"
    causes: Sequence[tuple[str, str]] = ()
    warnings: Sequence[str] = ()
    audit: Mapping[str, str] | None = None
    patch: Sequence[Obj] = ()


ALLOWED = Answer(allowed=True)


def denied(message: str, *, code: int = 403, reason: str = "Forbidden", **more: Any) -> Answer:
    """A denial. message: names the object, the cause and what to do."""
    return Answer(allowed=False, message=message, code=code, reason=reason, **more)


def read_review(body: bytes) -> Obj:
    """The `request` of an AdmissionReview, with a uid, an operation and a user. Raises
    UnreadableReview(400)."""
    try:
        review = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise UnreadableReview(400, "the body is not JSON") from None
    if not isinstance(review, dict) or review.get("kind") != "AdmissionReview":
        raise UnreadableReview(400, "the body is not an AdmissionReview")
    if review.get("apiVersion") != API_VERSION:
        raise UnreadableReview(400, f"only {API_VERSION} is spoken here: list it in admissionReviewVersions")
    request = review.get("request")
    if not isinstance(request, dict):
        raise UnreadableReview(400, "the review has no request")
    _check(request)
    return request


def write_review(uid: str, answer: Answer) -> bytes:
    """The whole AdmissionReview that answers the request with this uid."""
    response: dict[str, Any] = {"uid": uid, "allowed": answer.allowed}
    if not answer.allowed:
        response["status"] = _status(answer)
    if answer.warnings:
        response["warnings"] = [one_line(warning) for warning in answer.warnings]
    if answer.audit:
        response["auditAnnotations"] = dict(answer.audit)
    if answer.allowed and answer.patch:
        response["patchType"] = "JSONPatch"
        response["patch"] = base64.b64encode(orjson.dumps(list(answer.patch))).decode()
    return orjson.dumps({"apiVersion": API_VERSION, "kind": "AdmissionReview", "response": response})


def one_line(text: str) -> str:
    """Text as one header line: the API server turns warnings into headers. Longest useful length of one is
    256."""
    printable = "".join(character if character.isprintable() else " " for character in text)
    return printable if len(printable) <= 256 else f"{printable[:255]}…"


def _status(answer: Answer) -> dict[str, Any]:
    status: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Status",
        "status": "Failure",
        "code": answer.code,
        "reason": answer.reason,
        "message": answer.message,
    }
    if answer.causes:
        causes = [
            {"reason": "FieldValueInvalid", "field": path, "message": text} for path, text in answer.causes
        ]
        status["details"] = {"causes": causes}
    return status


def _check(request: Mapping[str, Any]) -> None:
    user = request.get("userInfo")
    resource = request.get("resource")
    sound = (
        isinstance(request.get("uid"), str)
        and isinstance(request.get("operation"), str)
        and isinstance(user, dict)
        and isinstance(user.get("username", ""), str)
        and isinstance(resource, dict)
        and isinstance(resource.get("resource"), str)
    )
    if not sound:
        raise UnreadableReview(400, "the review lacks its uid, operation, resource or userInfo")
