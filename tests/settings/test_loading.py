"""Settings are read whole: every fault is named at once, with its place and its remedy, and nothing is guessed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import pytest

from chaperone.settings.gateway import GatewaySettings
from chaperone.settings.loading import (
    Seconds,
    Setting,
    SettingFault,
    SettingsError,
    describe,
    load,
    load_file,
)


class Colour(Enum):
    RED = "Red"
    BLUE = "Blue"


@dataclass(frozen=True, slots=True, kw_only=True)
class Inner:
    size: Annotated[int, Setting("how large", at_least=1, at_most=9)] = 3
    low: Annotated[int, Setting("lower end")] = 0
    high: Annotated[int, Setting("upper end")] = 1

    def faults(self) -> Iterator[SettingFault]:
        if self.low > self.high:
            yield SettingFault("low", "is above high")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outer:
    name: Annotated[str, Setting("what it is called", pattern="[a-z]+")]
    pause: Annotated[float, Seconds("how long", at_least=1)] = 90.0
    share: Annotated[float, Setting("of all", at_most=1)] = 0.5
    colour: Annotated[Colour, Setting("of the paint")] = Colour.RED
    words: Annotated[tuple[str, ...], Setting("to say")] = ()
    on: Annotated[bool, Setting("is it")] = True
    file: Annotated[Path | None, Setting("to read", must_exist=True)] = None
    inner: Inner = field(default_factory=Inner)


def faults(document: object) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load(Outer, document)
    return [str(fault) for fault in caught.value.faults]


def test_everything_given_is_read(tmp_path: Path) -> None:
    path = tmp_path / "here"
    path.touch()
    document = {
        "name": "x",
        "pause": "1m30s",
        "share": 1,
        "colour": "Blue",
        "words": ["a", "b"],
        "on": False,
        "file": str(path),
        "inner": {"size": 9},
    }
    assert load(Outer, document) == Outer(
        name="x",
        pause=90.0,
        share=1.0,
        colour=Colour.BLUE,
        words=("a", "b"),
        on=False,
        file=path,
        inner=Inner(size=9),
    )


def test_what_is_left_out_or_empty_has_its_default() -> None:
    assert load(Outer, {"name": "x", "inner": None, "pause": None}) == Outer(name="x")


CASES: list[tuple[dict[Any, Any], str]] = [
    ({}, "name: is required: what it is called"),
    ({"name": "X"}, "name: is 'X'; a text of the form [a-z]+ is expected"),
    ({"name": 1}, "name: is 1; a text is expected"),
    ({"name": "x", "pause": "soon"}, "pause: is 'soon'; a duration"),
    ({"name": "x", "pause": "0.5s"}, "pause: is 0.5s; at least 1 is needed"),
    ({"name": "x", "pause": True}, "pause: is True; a duration"),
    ({"name": "x", "share": 2}, "share: is 2; at most 1 is allowed"),
    ({"name": "x", "share": float("nan")}, "share: is nan"),
    ({"name": "x", "share": "1"}, "share: is '1'; a number is expected"),
    ({"name": "x", "colour": "red"}, "colour: is 'red'; one of Red, Blue is expected"),
    ({"name": "x", "words": "a"}, "words: is 'a'; a list of texts is expected"),
    ({"name": "x", "words": ["a", 1]}, "words[1]: is 1; a text is expected"),
    ({"name": "x", "on": "yes"}, "on: is 'yes'; true or false is expected"),
    ({"name": "x", "file": "/nowhere/at/all"}, "file: /nowhere/at/all cannot be read"),
    ({"name": "x", "inner": []}, "inner: a mapping is expected, not a list"),
    ({"name": "x", "inner": {"size": 0}}, "inner.size: is 0; at least 1 is needed"),
    ({"name": "x", "inner": {"size": True}}, "inner.size: is True; a whole number is expected"),
    ({"name": "x", "inner": {"size": 1.5}}, "inner.size: is 1.5; a whole number is expected"),
    ({"name": "x", "inner": {"low": 2}}, "inner.low: is above high"),
    ({"name": "x", "paus": 3}, "paus: is not a setting; did you mean pause?"),
    ({"name": "x", "inner": {"zzz": 3}}, "inner.zzz: is not a setting; known here: size, low, high"),
    ({"name": "x", 7: 3}, "7: is not a setting"),
]


@pytest.mark.parametrize(("document", "expected"), CASES)
def test_a_fault_names_its_place_and_what_is_expected(document: dict[str, Any], expected: str) -> None:
    found = faults(document)
    assert len(found) == 1
    assert found[0].startswith(expected)


def test_all_faults_are_named_at_once() -> None:
    found = faults({"pause": "x", "inner": {"size": 0, "what": 1}, "colour": 3})
    assert [fault.split(":")[0] for fault in found] == ["name", "pause", "colour", "inner.what", "inner.size"]


@pytest.mark.parametrize("document", [[], "text", 3])
def test_a_document_that_is_no_mapping_is_a_fault(document: object) -> None:
    assert faults(document)[0].startswith("a mapping is expected")


@pytest.mark.parametrize("contents", [b"{", b"\xff\xfe\x00", b"a: b: c"])
def test_a_file_that_is_not_yaml_is_a_fault_naming_it(tmp_path: Path, contents: bytes) -> None:
    path = tmp_path / "settings.yaml"
    path.write_bytes(contents)
    with pytest.raises(SettingsError, match=str(path)):
        load_file(Outer, path)


GOOD = """
cluster: production-eu
authentication: {issuers}
workers: 2
listen: {{address: 127.0.0.1, port: 8443}}
dataPath: {{namespace: kube-chaperone, name: impersonator}}
drain: 45s
audit: {{path: /var/log/chaperone/audit.jsonl}}
"""


def test_a_gateway_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "issuers.yaml").touch()
    (tmp_path / "gateway.yaml").write_text(GOOD.format(issuers=tmp_path / "issuers.yaml"))
    settings = load_file(GatewaySettings, tmp_path / "gateway.yaml")
    assert (settings.cluster, settings.workers, settings.drain) == ("production-eu", 2, 45.0)
    assert settings.data_path.name == "impersonator"


@pytest.mark.parametrize(
    ("document", "place"),
    [
        ({"listen": {"address": "0.0.0.0"}}, "listen.certificate"),
        ({"listen": {"address": "127.0.0.1", "certificate": __file__}}, "listen"),
        ({"dataPath": {}}, "dataPath"),
        ({"dataPath": {"namespace": "a", "name": "b", "tokenFile": __file__}}, "dataPath"),
        ({"upstream": {"server": "http://10.0.0.1"}}, "upstream.server"),
        ({"workers": 2, "listen": {"address": "127.0.0.1", "port": 0}}, "listen.port"),
    ],
)
def test_what_cannot_work_together_is_named(document: dict[str, Any], place: str) -> None:
    good = {
        "cluster": "c",
        "authentication": __file__,
        "listen": {"address": "127.0.0.1"},
        "dataPath": {"namespace": "a", "name": "b"},
    }
    with pytest.raises(SettingsError) as caught:
        load(GatewaySettings, {**good, **document})
    assert [fault.path for fault in caught.value.faults] == [place]


def test_every_setting_is_documented() -> None:
    described = list(describe(GatewaySettings))
    assert len(described) > 40
    for path, default, doc in described:
        assert len(doc) > 10, path
        assert default, path
