"""Where recordings are and how long: what programs refuse to start with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from chaperone.settings.console import RecordSettings
from chaperone.settings.gateway import GatewaySettings, RecordingSettings
from chaperone.settings.loading import SettingsError, load
from chaperone.settings.recordings import folder_of, is_object_store, place_fault


@pytest.mark.parametrize(
    "place",
    [
        "",
        "recordings",
        "/var/lib/recordings",
        "file:///var/lib/recordings",
        "s3://bucket",
        "s3://bucket/a/b",
        "gs://b",
        "az://b/x",
    ],
)
def test_places_that_can_be_used(place: str) -> None:
    assert place_fault(place) == ""
    assert load(RecordSettings, {"recordings": place}).recordings == place
    assert load(RecordingSettings, {"path": place}).path == place


@pytest.mark.parametrize(
    "place", ["ftp://x/y", "s3://", "s3:///prefix", "://x", "file://", "memory:///", "http://x"]
)
def test_places_that_cannot(place: str) -> None:
    for kind, name in ((RecordSettings, "recordings"), (RecordingSettings, "path")):
        with pytest.raises(SettingsError, match=f"{name}: must"):
            load(kind, {name: place})


@pytest.mark.parametrize(
    ("place", "folder"),
    [
        ("a/b", Path("a/b")),
        ("file:///a%20b", Path("/a b")),
        ("file://localhost/a", Path("/a")),
        ("file://elsewhere/a", None),
        ("s3://b/p", None),
        ("", None),
    ],
)
def test_folders(place: str, folder: Path | None) -> None:
    assert folder_of(place) == folder


def test_object_stores() -> None:
    assert is_object_store("s3://b")
    assert not is_object_store("s3")
    assert not is_object_store("file:///x")


@pytest.mark.parametrize(
    ("document", "fault"),
    [
        ({"path": "", "retention": "90d"}, "needs a path"),
        ({"retention": "5m"}, "at least 1h"),
        ({"retention": "-1h"}, "retention"),
    ],
)
def test_a_retention_that_cannot_be_kept_is_refused(document: dict[str, Any], fault: str) -> None:
    with pytest.raises(SettingsError, match=fault):
        load(RecordingSettings, document)


def test_a_retention_needs_a_store_for_holds_and_removals(tmp_path: Path) -> None:
    issuers = tmp_path / "issuers.yaml"
    issuers.touch()
    document: dict[str, Any] = {
        "cluster": "c",
        "authentication": str(issuers),
        "listen": {"address": "127.0.0.1"},
        "dataPath": {"namespace": "n", "name": "a"},
        "recordings": {"path": "recordings", "retention": "90d"},
    }
    with pytest.raises(SettingsError, match=r"recordings\.retention: needs audit\.store"):
        load(GatewaySettings, document)
    found = load(GatewaySettings, {**document, "audit": {"store": "sqlite:///a.db"}})
    assert found.recordings.retention == 90 * 86400
