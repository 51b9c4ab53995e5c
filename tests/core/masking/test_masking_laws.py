"""Laws of masking, over random objects: nothing planted gets out, nothing else changes, doing it twice changes nothing."""

from __future__ import annotations

import copy
import json
import string
from typing import Any

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chaperone.core.masking import Masker, Place, Profile, Terms
from tests.core.masking.engine import MINT, FewForms, b64

STANDARD = Masker(Terms(), FewForms(), MINT)
STRICT = Masker(Terms(Profile.STRICT), FewForms(), MINT)
SLOW = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

WORDS = st.sampled_from(
    ["a", "web", "info", "8080", "true", "x/y", "example.com", "v1", "", "some words here"]
)
KEYS = st.sampled_from(
    ["a", "b", "spec", "name", "list", "data", "image", "kind", "labels", "metadata", "annotations"]
)
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(-(10**6), 10**6), WORDS)
PLAIN = st.recursive(
    SCALARS,
    lambda below: st.lists(below, max_size=3) | st.dictionaries(KEYS, below, max_size=4),
    max_leaves=10,
)
SECRETS = st.text(alphabet=string.ascii_letters + string.digits, min_size=12, max_size=24).map(
    lambda text: f"Zq7{text}9x"
)

ANY_TEXT = st.text(max_size=60) | st.text(alphabet="pasword=: -\"'\\\n{}[]<>#@/$", max_size=60)
ANY = st.recursive(
    st.one_of(SCALARS, ANY_TEXT),
    lambda below: (
        st.lists(below, max_size=4)
        | st.dictionaries(
            st.one_of(
                KEYS,
                ANY_TEXT,
                st.sampled_from(["password", "env", "value", "token", "args", "managedFields"]),
            ),
            below,
            max_size=4,
        )
    ),
    max_leaves=20,
)

PLANTS = [
    lambda secret: {"password": secret},
    lambda secret: {"nested": {"apiKey": secret}},
    lambda secret: {"env": [{"name": "DB_PASSWORD", "value": secret}]},
    lambda secret: {"args": ["--password", secret]},
    lambda secret: {"args": [f"--token={secret}"]},
    lambda secret: {"command": ["sh", "-c", f"PGPASSWORD={secret} psql"]},
    lambda secret: {"url": f"postgres://u:{secret}@db/x"},
    lambda secret: {"json": json.dumps({"x": {"password": secret}})},
    lambda secret: {"yaml": yaml.safe_dump({"x": [{"password": secret}]})},
    lambda secret: {"dotenv": f"A=1\nDB_PASSWORD={secret}\n"},
    lambda secret: {"xml": f"<a><password>{secret}</password></a>"},
    lambda secret: {"packed": b64(json.dumps({"password": secret}))},
    lambda secret: {"resource": {"kind": "Secret", "data": {"any": b64(secret)}}},
    lambda secret: {"resource": {"kind": "Secret", "stringData": {"any": secret}}},
    lambda secret: {
        "metadata": {
            "annotations": {
                "kubectl.kubernetes.io/last-applied-configuration": json.dumps(
                    {"kind": "Secret", "stringData": {"a": secret}}
                )
            }
        }
    },
    lambda secret: {"deep": json.dumps({"y": yaml.safe_dump({"z": json.dumps({"token": secret})})})},
    lambda secret: {"message": f"login failed, password: {secret}"},
    lambda secret: {"seen": {"token": secret}, "again": f"it is {secret}, you see"},
]


def thing(body: Any, uid: str = "u-1") -> dict[str, Any]:
    return {
        "apiVersion": "example.com/v1",
        "kind": "Thing",
        "metadata": {"name": "t", "uid": uid},
        "spec": body,
    }


def shape(value: Any) -> Any:
    """Everything of a document but its strings."""
    if isinstance(value, dict):
        return {key: shape(child) for key, child in value.items()}
    if isinstance(value, list):
        return [shape(child) for child in value]
    return "" if isinstance(value, str) else value


@SLOW
@given(PLAIN, SECRETS, st.sampled_from(PLANTS), st.sampled_from([STANDARD, STRICT]))
def test_what_is_planted_does_not_get_out(around: Any, secret: str, plant: Any, masker: Masker) -> None:
    document = thing({"around": around, **plant(secret)})
    collected: list[Any] = []
    before = shape(document)
    report = masker.document(document, Place(), collect=collected.append)
    text = json.dumps(document, ensure_ascii=False)
    assert secret not in text
    assert b64(secret) not in text
    assert report.total >= 1
    assert any(secret in str(place.value) for place in collected)
    assert shape(document) == before


@SLOW
@given(ANY, st.sampled_from([STANDARD, STRICT]))
def test_masking_twice_is_masking_once_and_only_strings_change(body: Any, masker: Masker) -> None:
    document = thing(body)
    once = copy.deepcopy(document)
    masker.document(once, Place())
    again = copy.deepcopy(once)
    masker.document(again, Place())
    assert again == once
    if "managedFields" not in json.dumps(document):
        assert shape(once) == shape(document)


@SLOW
@given(ANY_TEXT)
def test_a_text_masked_twice_is_masked_once(text: str) -> None:
    once, _ = STANDARD.text(text)
    assert STANDARD.text(once) == (once, STANDARD.text(once)[1])
    assert STANDARD.text(once)[1].total == 0


@SLOW
@given(PLAIN)
def test_what_holds_no_secret_stays(body: Any) -> None:
    document = thing(body)
    clean = copy.deepcopy(document)
    assert STANDARD.document(document, Place()).total == 0
    assert document == clean


@SLOW
@given(SECRETS, st.sampled_from(PLANTS))
def test_equal_values_of_two_objects_look_different_and_of_one_look_equal(secret: str, plant: Any) -> None:
    one, other, same = (thing(plant(secret), uid) for uid in ("u-1", "u-2", "u-1"))
    found = [
        {place.placeholder for place in STANDARD.secret_places(document, Place())}
        for document in (one, other, same)
    ]
    assert found[0] == found[2]
    assert found[0].isdisjoint(found[1])


@SLOW
@given(SECRETS, st.sampled_from(PLANTS))
def test_a_list_shows_what_each_of_its_items_shows_alone(secret: str, plant: Any) -> None:
    alone = thing(plant(secret))
    listed = {"kind": "ThingList", "apiVersion": "example.com/v1", "items": [copy.deepcopy(alone)]}
    STANDARD.document(alone, Place("example.com", "things", "ns", "t"))
    STANDARD.document(listed, Place("example.com", "things", "ns"))
    assert listed["items"] == [alone]
