"""What an audit record holds of objects: no secret, however a patch hides that it is one; everything else as it was."""

from __future__ import annotations

import base64
from typing import Any

import orjson
import pytest

from chaperone.core.body import Media
from chaperone.core.masking import STANDARD, Masker, Mint, Place
from chaperone.core.masking.placeholder import find
from chaperone.core.masking.recorded import (
    INAPPLICABLE,
    MALFORMED,
    MANY,
    MOST_OPERATIONS,
    WITHOUT_OBJECT,
    UnrecordableError,
    recorded_body,
    recorded_state,
)
from chaperone.core.masking.restoring import Write
from tests.core.masking.test_restoring import Tokens

SECRET = Place("", "secrets", "prod", "db")
WEB = Place("apps", "deployments", "prod", "web")
CONFIG = Place("", "configmaps", "prod", "conf")
VALUE = "correct-horse-battery"


MASKER = Masker(STANDARD, Tokens(), Mint(b"k" * 32))


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def secret(**data: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "db", "namespace": "prod", "uid": "u1", "managedFields": [{"manager": "x"}]},
        "data": {key: b64(value) for key, value in data.items()},
    }


def web(**env: str) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "prod", "uid": "u2"},
        "spec": {
            "replicas": 3,
            "template": {
                "spec": {
                    "containers": [
                        {
                            "name": "web",
                            "image": "nginx",
                            "env": [{"name": k, "value": v} for k, v in env.items()],
                        }
                    ]
                }
            },
        },
    }


def text_of(value: Any) -> str:
    return orjson.dumps(value).decode()


def steps(*operations: dict[str, Any]) -> Write:
    return Write(Media.JSON_PATCH, list(operations), WEB)


ENV_VALUE = "/spec/template/spec/containers/0/env/0/value"


def test_a_state_is_masked_and_has_no_managed_fields() -> None:
    state = recorded_state(secret(password=VALUE), SECRET, MASKER)
    assert "managedFields" not in state["metadata"]
    assert state["metadata"]["name"] == "db"
    assert next(find(state["data"]["password"])).encoded
    assert VALUE not in base64.b64decode(state["data"]["password"]).decode()


def test_a_state_without_metadata_is_recorded_too() -> None:
    assert recorded_state({"kind": "Status", "code": 200}, WEB, MASKER) == {"kind": "Status", "code": 200}


def test_the_object_that_was_read_stays_as_it_is() -> None:
    live = secret(password=VALUE)
    recorded_state(live, SECRET, MASKER)
    assert live == secret(password=VALUE)


def test_equal_states_are_recorded_alike_and_others_not() -> None:
    first, second, third = (
        recorded_state(secret(p=value), SECRET, MASKER) for value in (VALUE, VALUE, "other")
    )
    assert first == second
    assert first != third


def test_a_whole_object_is_masked() -> None:
    body = recorded_body(Write(Media.JSON, web(PASSWORD=VALUE, MODE="fast"), WEB), None, MASKER)
    assert VALUE not in text_of(body)
    assert "fast" in text_of(body)


def test_placeholders_of_the_agent_stay() -> None:
    placeholder = MASKER.mint.placeholder("u1", "data.password", VALUE)
    body = recorded_body(Write(Media.JSON, secret(password=placeholder), SECRET), None, MASKER)
    assert body["data"]["password"] == b64(placeholder)


def test_a_step_that_writes_one_value_is_masked_by_what_stands_beside_it_in_the_object() -> None:
    write = steps({"op": "replace", "path": ENV_VALUE, "value": VALUE})
    body = recorded_body(write, web(PASSWORD="before-it-was-changed"), MASKER)
    assert VALUE not in text_of(body)
    assert body[0]["path"] == ENV_VALUE
    assert len(list(find(body[0]["value"]))) == 1


def test_a_step_that_writes_no_secret_stays() -> None:
    operation = {"op": "replace", "path": "/spec/replicas", "value": 0}
    assert recorded_body(steps(operation), web(PASSWORD=VALUE), MASKER) == [operation]
    removal = {"op": "remove", "path": "/spec/replicas"}
    assert recorded_body(steps(removal), web(PASSWORD=VALUE), MASKER) == [removal]


TAKEN_AWAY = (
    {"op": "replace", "path": ENV_VALUE, "value": "harmless"},
    {"op": "remove", "path": "/spec/template/spec/containers/0/env/0"},
    {"op": "replace", "path": "/spec", "value": {}},
    {"op": "move", "path": "/metadata/labels", "from": "/spec/template/spec/containers/0/env"},
)


@pytest.mark.parametrize("after", TAKEN_AWAY)
def test_a_value_that_a_later_step_takes_away_is_masked(after: dict[str, Any]) -> None:
    write = steps({"op": "replace", "path": ENV_VALUE, "value": VALUE}, after)
    assert VALUE not in text_of(recorded_body(write, web(PASSWORD="first-of-them"), MASKER))


def test_what_is_tested_for_is_masked() -> None:
    write = steps({"op": "test", "path": ENV_VALUE, "value": VALUE})
    assert VALUE not in text_of(recorded_body(write, web(PASSWORD="something-else"), MASKER))


def test_data_of_a_secret_is_masked_in_base64() -> None:
    write = Write(Media.JSON_PATCH, [{"op": "add", "path": "/data/new", "value": b64("x")}], SECRET)
    body = recorded_body(write, secret(password=VALUE), MASKER)
    assert body[0]["value"] != b64("x")
    assert next(find(body[0]["value"])).encoded


def test_data_that_is_no_text_is_masked() -> None:
    raw = base64.b64encode(b"\xff\xfe\xfd").decode()
    write = Write(Media.MERGE_PATCH, {"data": {"key": raw}}, SECRET)
    assert raw not in text_of(recorded_body(write, secret(password=VALUE), MASKER))


def test_a_value_of_the_object_is_masked_wherever_a_patch_repeats_it() -> None:
    patch = {"metadata": {"annotations": {"note": f"it was {VALUE} before", "short": "abc"}}}
    body = recorded_body(Write(Media.MERGE_PATCH, patch, SECRET), secret(password=VALUE, pin="abc"), MASKER)
    assert VALUE not in text_of(body)
    assert body["metadata"]["annotations"]["short"] != "abc"


def test_a_short_value_does_not_tear_texts_apart() -> None:
    patch = {"metadata": {"annotations": {"note": "abcdef"}}}
    body = recorded_body(Write(Media.MERGE_PATCH, patch, SECRET), secret(pin="abc"), MASKER)
    assert body == patch


@pytest.mark.parametrize("media", [Media.MERGE_PATCH, Media.STRATEGIC_MERGE_PATCH])
def test_a_merge_patch_is_masked_by_what_it_makes_of_the_object(media: Media) -> None:
    widget = Place("example.com", "widgets", "prod", "w")
    live = {
        "kind": "Widget",
        "metadata": {"uid": "u3"},
        "spec": {"env": {"name": "DB_PASSWORD", "value": "old-one"}},
    }
    body = recorded_body(Write(media, {"spec": {"env": {"value": VALUE}}}, widget), live, MASKER)
    assert VALUE not in text_of(body)


def test_an_applied_configuration_needs_no_object() -> None:
    body = recorded_body(Write(Media.APPLY, web(PASSWORD=VALUE), WEB), None, MASKER)
    assert VALUE not in text_of(body)


UNRECORDED = (
    (Media.JSON_PATCH, [{"op": "add", "path": "/a", "value": VALUE}], None, WITHOUT_OBJECT),
    (Media.MERGE_PATCH, {"a": VALUE}, None, WITHOUT_OBJECT),
    (Media.JSON_PATCH, [{"op": "add", "path": "/no/way/there", "value": VALUE}], web(), INAPPLICABLE),
    (Media.JSON_PATCH, [{"op": "replace", "path": "", "value": [VALUE]}], web(), INAPPLICABLE),
    (Media.JSON_PATCH, [{"op": "test", "path": "/a", "value": 1}] * (MOST_OPERATIONS + 1), web(), MANY),
    (Media.JSON_PATCH, [VALUE], web(), MALFORMED),
)


@pytest.mark.parametrize(("media", "body", "live", "reason"), UNRECORDED)
def test_what_cannot_be_told_is_not_recorded(media: Media, body: Any, live: Any, reason: str) -> None:
    with pytest.raises(UnrecordableError) as fault:
        recorded_body(Write(media, body, WEB), live, MASKER)
    assert str(fault.value) == reason
