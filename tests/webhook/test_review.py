"""The envelope: only what we speak is read; what is answered can be read by an API server."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from tests.webhook.reviews import review
from webhook.review import ALLOWED, Answer, UnreadableReview, denied, one_line, read_review, write_review


def encoded(document: Any) -> bytes:
    return json.dumps(document).encode()


def without(field: str) -> dict[str, Any]:
    document = review("pods")
    del document["request"][field]
    return document


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        encoded({"kind": "AdmissionReview"}),
        encoded({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"}),
        encoded({"apiVersion": "admission.k8s.io/v1", "kind": "Pod", "request": {}}),
        encoded({**review("pods"), "apiVersion": "admission.k8s.io/v1beta1"}),
        encoded({**review("pods"), "request": []}),
        encoded(without("uid")),
        encoded(without("operation")),
        encoded(without("resource")),
        encoded(without("userInfo")),
    ],
)
def test_what_is_no_review_of_ours_is_an_http_error(body: bytes) -> None:
    with pytest.raises(UnreadableReview) as caught:
        read_review(body)
    assert caught.value.code == 400


def test_a_review_is_read_whole() -> None:
    assert read_review(encoded(review("pods")))["operation"] == "UPDATE"


def response(answer: Answer) -> dict[str, Any]:
    document = json.loads(write_review("u-1", answer))
    assert document["response"]["uid"] == "u-1"
    found: dict[str, Any] = document["response"]
    return found


def test_an_allowance_says_nothing_more() -> None:
    assert response(ALLOWED) == {"uid": "u-1", "allowed": True}


def test_a_denial_is_a_status_with_causes() -> None:
    answer = response(denied("no", causes=[("spec.mode", "is odd")]))
    assert answer["allowed"] is False
    assert answer["status"]["code"] == 403
    assert answer["status"]["details"]["causes"] == [
        {"reason": "FieldValueInvalid", "field": "spec.mode", "message": "is odd"}
    ]


def test_a_patch_travels_only_with_an_allowance() -> None:
    operations = [{"op": "remove", "path": "/status/decision"}]
    found = response(Answer(allowed=True, patch=operations))
    assert found["patchType"] == "JSONPatch"
    assert json.loads(base64.b64decode(found["patch"])) == operations
    assert "patch" not in response(Answer(allowed=False, patch=operations))


@pytest.mark.parametrize("text", ["a\r\nX-Evil: 1", "\x1b[31mred", "a\u2028b", "x" * 5000])
def test_a_warning_stays_one_short_printable_line(text: str) -> None:
    line = one_line(text)
    assert line.isprintable()
    assert len(line) <= 256
