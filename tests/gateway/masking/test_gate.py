"""The gate clears nothing in which the engine would have masked anything; and it clears what large lists consist of."""

from __future__ import annotations

import base64
import copy
import gzip
import json
import random
import string
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.pods import SECRET_EVERY, as_go, pod
from chaperone import pattern_cache
from chaperone.core.masking import STANDARD, Masker, Mint, Place, Profile, Terms
from chaperone.core.masking.rules import built_in
from gateway.masking.gate import GATED, Gate, form_rules, is_gated
from tests.core.masking.rule_examples import matching_text

PODS = Place(resource="pods", namespace="dev")
NAMES = [
    *(
        "PASSWORD",
        "DB_PASS",
        "api-key",
        "token",
        "AWS_SECRET_ACCESS_KEY",
        "x.key",
        "PGPASSWORD",
        "cookie",
        "SAS",
        "dsn",
    ),
    *(
        "auth",
        "connectionString",
        "conn_str",
        "client-secret",
        "JWT",
        "OTP",
        "pat",
        "DB_PW",
        "LOG_LEVEL",
        "name",
        "path",
    ),
    *(
        "secretName",
        "PASSWORD_FILE",
        "tokenExpirationSeconds",
        "key",
        "SSH_KEY",
        "webhook_url",
        "id_rsa",
        "value",
    ),
]
VALUES = [
    *(
        "hunter2-correct",
        "s3cr3tV4lue!",
        "true",
        "/etc/app/token",
        "$(OTHER)",
        "8080",
        "",
        "postgres://u:p4ssw0rd@h/d",
    ),
    *(
        "--password=hunter22",
        "--password",
        "-phunter22",
        "-p",
        "hunter22",
        "-u",
        "me:hunter22",
        "--user",
        "TOKEN=abcdefgh1",
    ),
    *(
        "mysql -phunter22 -u root",
        "curl -u me:hunter22 https://x",
        "password: hunter22",
        "{password: hunter22}",
    ),
    *("Authorization: Bearer abcdefgh12345678", "redis://:hunter22@r:6379", "<password>hunter22</password>"),
    *(
        "u:hunter22@tcp(db:3306)/x",
        "docker-pullable://x@sha256:ab",
        "jdbc:oracle:thin:me/hunter22@h:1521",
        "a b c",
    ),
    *(
        "Basic aHVudGVyMjI6eHg=",
        "https://h/?token=hunter2222",
        "requirepass hunter22",
        "the password is hunter22",
    ),
    *(
        '{"password":"hunter22"}',
        "password: |\n  hunter22\n",
        "registry.example.com/secret-store:1.2",
        "AKIAIOSFODNN7EXAMPLF",
    ),
    base64.b64encode(b"password=hunter22 and more").decode(),
    base64.b64encode(base64.b64encode(b"password: hunter22")).decode(),
    base64.b64encode(gzip.compress(b"password: hunter22")).decode(),
    base64.urlsafe_b64encode(b"password=hunter22??>>").decode(),
]
POSITIVE = [matching_text(rule.pattern, random.Random(7)) for rule in built_in()]
WORDS = st.one_of(
    st.sampled_from(VALUES),
    st.sampled_from(NAMES),
    st.sampled_from(POSITIVE),
    st.text(string.ascii_letters + string.digits + "=:-_./@ +", max_size=30),
    st.text(max_size=8),
)
KEYS = st.one_of(st.sampled_from(NAMES), st.text(string.ascii_letters + "-_./", min_size=1, max_size=12))


@st.composite
def pods(draw: st.DrawFn) -> dict[str, Any]:
    """A clean pod with a few things put into the places where people put secrets."""
    document = pod(random.Random(draw(st.integers(0, 50))), 1)
    container = document["spec"]["containers"][0]
    for name, value in draw(st.lists(st.tuples(KEYS, WORDS), max_size=2)):
        container["env"].append({"name": name, "value": value})
    for field in draw(st.lists(st.sampled_from(["args", "command"]), max_size=2)):
        container[field] = draw(st.lists(WORDS, max_size=4))
    for field in draw(st.lists(st.sampled_from(["labels", "annotations"]), max_size=2)):
        document["metadata"][field].update(draw(st.dictionaries(KEYS, WORDS, max_size=2)))
    for path in draw(
        st.lists(st.sampled_from(["message", "image", "path", "csi", "toleration", "header"]), max_size=2)
    ):
        _put(document, container, path, draw(KEYS), draw(WORDS))
    return document


def _put(document: dict[str, Any], container: dict[str, Any], path: str, key: str, value: str) -> None:
    if path == "message":
        document["status"]["conditions"][0]["message"] = value
    elif path == "csi":
        document["spec"]["volumes"].append(
            {"name": "v", "csi": {"driver": "d", "volumeAttributes": {key: value}}}
        )
    elif path == "toleration":
        document["spec"]["tolerations"].append({"key": key, "operator": "Equal", "value": value})
    elif path == "header":
        headers = [{"name": key, "value": value}]
        container["livenessProbe"] = {"httpGet": {"path": "/", "port": 1, "httpHeaders": headers}}
    elif path == "image":
        container["image"] = value
    else:
        container["volumeMounts"][0]["mountPath"] = value


@pytest.fixture(scope="module")
def masker(patterns: Path) -> Masker:
    return Masker(STANDARD, pattern_cache.detector(patterns), Mint(b"k" * 32))


@pytest.fixture(scope="module")
def gate(patterns: Path) -> Gate:
    return Gate(pattern_cache.engine(form_rules(built_in()), patterns))


def clears(gate: Gate, raw: bytes) -> bool:
    return not gate.doubtful([raw])


def test_what_is_cleared_would_not_have_been_masked(gate: Gate, masker: Masker) -> None:

    @settings(max_examples=150, deadline=None)
    @given(pods())
    def check(document: dict[str, Any]) -> None:
        if clears(gate, as_go(document)):
            before = json.dumps(document)
            report = masker.document(document, PODS)
            assert (report.total, report.counts) == (0, {}), before
            assert json.dumps(document) == before

    check()


SMALL: dict[str, Any] = {
    "metadata": {"name": "a", "labels": {}, "annotations": {}},
    "spec": {
        "containers": [{"name": "c", "env": [], "volumeMounts": [{"name": "v", "mountPath": "/x"}]}],
        "volumes": [],
        "tolerations": [],
    },
    "status": {"conditions": [{"type": "Ready"}]},
}


def cases() -> Iterator[dict[str, Any]]:
    """Every name with every value in every place that has both; every value, and pair of them, where there are no names."""
    for name, value in product(NAMES, VALUES):
        for place in ("env", "csi", "toleration", "header", "annotations", "labels"):
            yield _with(place, name, value)
    for value in [*VALUES, *POSITIVE, *NAMES]:
        for place in ("message", "image", "path"):
            yield _with(place, "", value)
    for pair in product([*VALUES, *NAMES], VALUES):
        yield _with("args", *pair)


def _with(place: str, name: str, value: str) -> dict[str, Any]:
    document = copy.deepcopy(SMALL)
    container = document["spec"]["containers"][0]
    if place == "env":
        container["env"].append({"name": name, "value": value})
    elif place == "args":
        container["args"] = ["mysql", name, value]
    elif place in ("annotations", "labels"):
        document["metadata"][place][name] = value
    else:
        _put(document, container, place, name, value)
    return document


def test_every_name_with_every_value(gate: Gate, masker: Masker) -> None:
    cleared = [document for document in cases() if clears(gate, as_go(document))]
    assert len(cleared) > 500
    assert [document for document in cleared if masker.document(copy.deepcopy(document), PODS).total] == []


@pytest.mark.parametrize(
    "spelled",
    [
        {"indent": 2},
        {"indent": "\t"},
        {"indent": 0},
        {"indent": 1, "separators": (",", ":")},
        {"separators": (", ", ": ")},
        {"separators": (",", ": ")},
        {"separators": (", ", ":")},
    ],
)
def test_only_compact_json_is_cleared(gate: Gate, spelled: dict[str, Any]) -> None:
    document = pod(random.Random(1), 1)
    assert clears(gate, as_go(document) + b"\n")
    assert not clears(gate, json.dumps(document, **spelled).encode())
    small = {"metadata": {"name": "a"}, "spec": {"x": [{"name": "TOKEN", "value": "hunter22"}, {"y": "a"}]}}
    assert not clears(gate, json.dumps(small, **spelled).encode())


def test_objects_beside_each_other_are_told_apart(gate: Gate) -> None:
    """What is doubtful alone is doubtful among others, and they are not."""
    chance = random.Random(5)
    items = [as_go(document) for document in cases()]
    chance.shuffle(items)
    for at in range(0, len(items), 12):
        some = items[at : at + 12]
        assert sorted(gate.doubtful(some)) == [n for n, item in enumerate(some) if not clears(gate, item)]


@pytest.mark.parametrize("where", [0, 5, 11])
def test_every_form_is_found_at_every_place_of_a_batch(gate: Gate, where: int) -> None:
    ordinary = [as_go(_with("message", "", f"number {n}")) for n in range(12)]
    for text in POSITIVE:
        items = list(ordinary)
        items[where] = as_go(_with("message", "", text))
        assert set(gate.doubtful(items)) == (set() if clears(gate, items[where]) else {where})


def test_ordinary_pods_are_cleared(gate: Gate) -> None:
    chance = random.Random(3)
    cleared = [clears(gate, as_go(pod(chance, number))) for number in range(40)]
    assert cleared == [number % SECRET_EVERY != 0 for number in range(40)]


@pytest.mark.parametrize("resource", ["secrets", "configmaps", "events", "controllerrevisions", "xs"])
def test_other_kinds_are_never_gated(resource: str) -> None:
    assert not is_gated(Place(resource=resource), STANDARD)
    assert not is_gated(Place(group="apps", resource=resource), STANDARD)


def test_only_the_ordinary_terms_are_gated() -> None:
    assert all(is_gated(Place(group=group, resource=resource), STANDARD) for group, resource in GATED)
    assert not is_gated(PODS, Terms(profile=Profile.STRICT))
    assert not is_gated(PODS, Terms(keys=("x",)))
    assert not is_gated(PODS, Terms(patterns=("x",)))
    assert not is_gated(Place(resource="pods", subresource="status"), STANDARD)
