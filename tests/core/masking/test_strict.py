"""What the profile Strict masks beyond the standard one."""

from __future__ import annotations

from typing import Any

import pytest

from chaperone.core.masking import is_placeholder
from tests.core.masking.engine import STANDARD, STRICT, custom, masked, spec_of

CHANCE = "Zx9Kq2LmPw8Rt5VnBc4Y"
"""Where two stand in one object they differ: what was masked once is masked wherever it turns up."""


def chance(number: int) -> str:
    return f"{CHANCE[number:]}{CHANCE[:number]}"


@pytest.mark.parametrize("value", [CHANCE, "a$b", "user|x!y"])
def test_values_beside_a_name_that_are_not_plain(value: str) -> None:
    spec = {"env": [{"name": "THING", "value": value}]}
    assert is_placeholder(spec_of(spec, STRICT)["env"][0]["value"])
    assert spec_of(spec, STANDARD) == spec


@pytest.mark.parametrize(
    "value",
    ["info", "8080", "https://api.example.com/v1", "k8s,bgp", "$(THING)", "a sentence of five words", ""],
)
def test_plain_values_beside_a_name_stay(value: str) -> None:
    spec = {"env": [{"name": "THING", "value": value}, {"name": "X", "Value": chance(1)}]}
    assert spec_of(spec, STRICT) == spec


def config(data: dict[str, Any]) -> dict[str, Any]:
    return {"kind": "ConfigMap", "metadata": {"uid": "1"}, "data": data}


def test_values_of_config_maps_that_chance_has_made() -> None:
    data = {
        "a": CHANCE,
        "b": "words and more",
        "c": f"line\n{chance(1)}\n",
        "d": f'{{"x": "{chance(2)}"}}',
        "e": 7,
    }
    after = masked(config(data), masker=STRICT)["data"]
    assert is_placeholder(after.pop("a"))
    assert after == {key: value for key, value in data.items() if key != "a"}
    assert masked(config(data)) == config(data)


def test_annotations_of_unknown_domains() -> None:
    annotations = {
        "example.com/x": CHANCE,
        "plain": "words",
        "example.com/publicKey": chance(1),
        "deployment.kubernetes.io/revision": chance(2),
        "helm.sh/hook": chance(3),
        "checksum/config": chance(4),
    }
    after = masked(custom({}, annotations=annotations), masker=STRICT)["metadata"]["annotations"]
    assert is_placeholder(after.pop("example.com/x"))
    assert after == {key: value for key, value in annotations.items() if key != "example.com/x"}


def test_what_stands_beside_a_login() -> None:
    after = spec_of(
        {
            "login": {"username": "admin", "thing": CHANCE, "host": "db", "count": 3},
            "other": {"thing": chance(1)},
        },
        STRICT,
    )
    assert is_placeholder(after["login"]["thing"])
    assert after["login"]["host"] == "db"
    assert after["other"]["thing"] == chance(1)


def test_texts_are_taken_apart_without_a_word_that_says_so() -> None:
    text = f"env:\n- name: THING\n  value: {CHANCE}\n"
    assert CHANCE not in spec_of({"text": text}, STRICT)["text"]
    assert spec_of({"text": text}, STANDARD)["text"] == text
