"""`mask`: what would be hidden, offline. Whatever it prints, it never prints what it hides."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cli.conftest import Shell
from tests.core.policies import policy_object

PASSWORD, TOKEN, LOCAL = "correct-horse-7-battery", "8d6f1c02b7aa41", "acme-0123456789abcdef"
OBJECTS: list[dict[str, Any]] = [
    {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "db", "namespace": "shop"}, "stringData": {"password": PASSWORD}},
    {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"template": {"spec": {"containers": [{"name": "web", "env": [
            {"name": "LOG_LEVEL", "value": "debug"}, {"name": "API_TOKEN", "value": TOKEN}]}]}}},
    },
    {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "app"}, "data": {"code": LOCAL, "level": "info"}},
]  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def patterns_are_compiled_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def objects(tmp_path: Path) -> str:
    path = tmp_path / "objects.yaml"
    path.write_text(yaml.safe_dump_all(OBJECTS))
    return str(path)


def policies(folder: Path, *sections: dict[str, Any]) -> str:
    path = folder / "policies.yaml"
    documents = [policy_object(f"p{number}", masking=section) for number, section in enumerate(sections)]
    path.write_text(yaml.safe_dump_all(documents))
    return str(path)


def test_where_and_why_and_never_what(shell: Shell, objects: str) -> None:
    done = shell("mask", objects)
    assert done.code == 0
    lines = [line.split() for line in done.out.splitlines()]
    assert lines[0] == ["OBJECT", "PATH", "RULE"]
    assert ["Secret", "shop/db", "data.password", "secret-data"] in lines
    assert [
        "Deployment",
        "shop/web",
        "spec.template.spec.containers[web].env[API_TOKEN].value",
        "name-value",
    ] in lines
    assert done.err == "2 values masked in 3 objects\n"
    assert not [secret for secret in (PASSWORD, TOKEN, "debug") if secret in done.out]


def test_the_masked_objects_as_yaml_and_as_json(shell: Shell, objects: str) -> None:
    printed = list(yaml.safe_load_all(shell("mask", objects, "-o", "yaml").out))
    listed = json.loads(shell("mask", objects, "-o", "json").out)
    assert listed["kind"] == "List"
    for documents in (printed, listed["items"]):
        assert [item["kind"] for item in documents] == ["Secret", "Deployment", "ConfigMap"]
        assert documents[0]["stringData"]["password"].startswith("masked-")
        assert documents[2] == OBJECTS[2]
        assert PASSWORD not in json.dumps(documents)


def test_one_object_stays_one_object_and_lists_are_taken_apart(shell: Shell, tmp_path: Path) -> None:
    path = tmp_path / "one.json"
    path.write_text(json.dumps(OBJECTS[0]))
    assert json.loads(shell("mask", str(path), "-o", "json").out)["kind"] == "Secret"
    path.write_text(json.dumps({"apiVersion": "v1", "kind": "SecretList", "items": [OBJECTS[0], OBJECTS[0]]}))
    done = shell("mask", str(path))
    assert done.err == "2 values masked in 2 objects\n"


def test_standard_input(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    text = json.dumps(OBJECTS[0]).encode()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text)))
    assert shell("mask", "-").err == "1 value masked in 1 object\n"


def test_nothing_to_hide(shell: Shell, tmp_path: Path) -> None:
    path = tmp_path / "clean.yaml"
    path.write_text("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {level: info}\n")
    done = shell("mask", str(path))
    assert (done.code, done.out, done.err) == (0, "", "0 values masked in 1 object\n")


# Policies


def test_a_policys_own_keys_and_patterns_count(shell: Shell, objects: str, tmp_path: Path) -> None:
    assert LOCAL in shell("mask", objects, "-o", "yaml").out
    for section in ({"keys": ["code"]}, {"patterns": ["acme-[0-9a-f]{16}"]}):
        done = shell("mask", objects, "-o", "yaml", "--policy", policies(tmp_path, section))
        assert (done.code, LOCAL in done.out) == (0, False)


def test_an_exemption_shows_its_place_and_only_that(shell: Shell, objects: str, tmp_path: Path) -> None:
    place = {
        "apiGroup": "apps",
        "kind": "Deployment",
        "path": "spec.template.spec.containers[web].env[API_TOKEN]",
        "reason": "public",
    }
    shown = shell("mask", objects, "-o", "yaml", "--policy", policies(tmp_path, {"exempt": [place]})).out
    assert TOKEN in shown
    assert PASSWORD not in shown
    elsewhere = policies(tmp_path, {"exempt": [{**place, "namespaces": ["dev"]}]})
    assert TOKEN not in shell("mask", objects, "-o", "yaml", "--policy", elsewhere).out


def test_of_several_policies_the_strictest_counts(shell: Shell, objects: str, tmp_path: Path) -> None:
    off = {"profile": "Off", "reason": "a test"}
    both = shell("mask", objects, "--policy", policies(tmp_path, off, {}))
    assert both.err == "2 values masked in 3 objects\n"
    alone = shell("mask", objects, "-o", "yaml", "--policy", policies(tmp_path, off))
    assert alone.code == 0
    assert "nothing is masked: the profile is Off" in alone.err
    assert PASSWORD in alone.out
    forced = shell("mask", objects, "--profile", "strict", "--policy", policies(tmp_path, off))
    assert forced.err.startswith(("2 values", "3 values"))


# Texts

LOG = f"up on :8080\nlogged in with ghp_{'aB3' * 12}\nAuthorization: Bearer {TOKEN}{TOKEN}\n"


def test_a_log(shell: Shell, tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    path.write_text(LOG)
    done = shell("mask", "--text", str(path))
    assert done.code == 0
    assert [line.split()[0] for line in done.out.splitlines()] == ["LINE", "2", "3"]
    assert done.err == "2 values masked in 3 lines\n"
    masked = shell("mask", "--text", "-o", "text", str(path)).out
    assert masked.splitlines()[0] == "up on :8080"
    assert masked.count("\n") == 3
    assert (TOKEN in masked, "ghp_" in masked) == (False, False)


# What cannot be


WRONG = {
    "no such file": (("mask", "nowhere.yaml"), "cannot be read"),
    "no objects": (("mask", "empty.yaml"), "holds no object"),
    "a log without --text": (("mask", "app.log"), "--text"),
    "broken YAML": (("mask", "broken.yaml"), "broken.yaml:2: the file is not YAML"),
    "text as yaml": (("mask", "--text", "app.log", "-o", "yaml"), "-o yaml is for objects"),
    "objects as text": (("mask", "good.yaml", "-o", "text"), "needs --text"),
    "an unknown format": (("mask", "good.yaml", "-o", "xml"), "xml"),
    "an unknown profile": (("mask", "good.yaml", "--profile", "off"), "off"),
    "no file": (("mask",), "missing argument"),
    "a policy that is none": (("mask", "good.yaml", "--policy", "good.yaml"), "holds no AgentPolicy"),
    "a policy that does not compile": (
        ("mask", "good.yaml", "--policy", "faulty.yaml"),
        "spec.masking.reason: is required",
    ),
    "a policy that cannot be read": (("mask", "good.yaml", "--policy", "broken.yaml"), "broken.yaml:2"),
}


@pytest.mark.parametrize(("arguments", "sentence"), WRONG.values(), ids=WRONG)
def test_wrong_usage_is_one_sentence(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)
    files = {
        "empty.yaml": "",
        "broken.yaml": "a: b\n\tc: d\n",
        "app.log": LOG,
        "good.yaml": json.dumps(OBJECTS[2]),
        "faulty.yaml": json.dumps(policy_object(masking={"profile": "Off"})),
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    done = shell(*arguments)
    assert done.code == 2
    assert done.out == ""
    assert sentence in done.err
    assert done.err.count("\n") == 1
