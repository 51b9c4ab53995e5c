"""The shell: bounded, strict about what it reads, and an answer to everything."""

from __future__ import annotations

import json
import logging

import pytest

from tests.webhook.fakes import World, policy_object
from tests.webhook.reviews import CODER, ask, review

ENDPOINTS = ["/mutate-approval", "/validate-approval", "/validate-policy", "/validate-session", "/guard"]
SECRET = "hunter2-is-secret"


@pytest.fixture
def world() -> World:
    return World(policy_object())


@pytest.mark.parametrize("path", ENDPOINTS)
def test_only_json_reviews_are_read(world: World, path: str) -> None:
    assert world.client.post(path, data="x", content_type="text/plain").status_code == 415
    assert world.client.post(path, data="{}", content_type="application/yaml").status_code == 415
    assert world.client.post(path, data="{", content_type="application/json").status_code == 400
    assert world.client.get(path).status_code == 405


@pytest.mark.parametrize("path", ENDPOINTS)
def test_a_body_beyond_the_bound_is_not_read(world: World, path: str) -> None:
    body = b'"' + b"x" * world.settings.body_bytes + b'"'
    assert world.client.post(path, data=body, content_type="application/json").status_code == 413


def test_v1beta1_is_not_spoken(world: World) -> None:
    body = {**review("pods"), "apiVersion": "admission.k8s.io/v1beta1"}
    answer = world.client.post("/guard", json=body)
    assert answer.status_code == 400
    assert "admissionReviewVersions" in answer.get_data(as_text=True)


class BoomError(Exception):
    """A fault of ours that quotes what it was given."""


@pytest.fixture
def broken(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    def fail(*_: object, **__: object) -> None:
        raise BoomError(SECRET)

    for target in (
        "webhook.guard.decide",
        "webhook.policies.validate",
        "webhook.sessions.check_session",
        "webhook.approvals.stamp",
        "webhook.approvals.validate",
    ):
        monkeypatch.setattr(target, fail)
    return world


@pytest.mark.parametrize(
    ("path", "resource", "group", "user"),
    [
        ("/mutate-approval", "approvalrequests", "chaperone.dev", "alice"),
        ("/validate-approval", "approvalrequests", "chaperone.dev", "alice"),
        ("/validate-policy", "agentpolicies", "chaperone.dev", "alice"),
        ("/validate-session", "agentsessions", "chaperone.dev", "alice"),
        ("/guard", "pods", "", CODER),
    ],
)
def test_a_fault_of_ours_is_a_refusal_and_its_words_stay_out_of_log_and_answer(
    broken: World, caplog: pytest.LogCaptureFixture, *, path: str, resource: str, group: str, user: str
) -> None:
    with caplog.at_level(logging.DEBUG):
        answer = ask(broken.client, path, review(resource, group=group, user=user, obj={"data": SECRET}))
    assert not answer["allowed"]
    assert SECRET not in json.dumps(answer)
    assert "Boom" in caplog.text
    assert SECRET not in caplog.text


def test_a_fault_of_ours_does_not_stop_anybody_else(broken: World) -> None:
    assert ask(broken.client, "/guard", review("pods", group="", user="alice"))["allowed"]


def test_denials_are_logged_with_names_and_without_bodies(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    body = review("agentpolicies", "CREATE", user="ali\nce", obj=policy_object(mode=SECRET), name="new")
    with caplog.at_level(logging.DEBUG):
        ask(world.client, "/validate-policy", body)
    assert "ali\\nce" in caplog.text
    assert "ali\nce" not in caplog.text


def test_readiness_follows_the_age_of_policies(world: World) -> None:
    assert world.client.get("/readyz").status_code == 200
    world.age_policies(world.settings.max_policy_age + 1)
    assert world.client.get("/readyz").status_code == 503


def test_outcomes_are_counted(world: World) -> None:
    ask(world.client, "/guard", review("pods", group="", user="alice"))
    text = world.client.get("/metrics").get_data(as_text=True)
    assert 'chaperone_webhook_reviews_total{endpoint="guard",outcome="allowed"} 1.0' in text
