"""Releases of Helm: opened, masked inside, packed so that Helm still reads them."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any

import pytest

from chaperone.core.masking import Place, is_placeholder, layers
from tests.core.masking.engine import b64, masked, places

SECRETS = Place("", "secrets", "ns", "sh.helm.release.v1.r.v1")
CANARY = "Qx7-canary-Zw9"

RELEASE: dict[str, Any] = {
    "name": "r",
    "info": {"status": "deployed", "notes": f"Log in with password: {CANARY}\n"},
    "chart": {
        "metadata": {"name": "c", "version": "1.2.3"},
        "templates": [
            {"name": "plain", "data": b64("kind: Secret\ndata:\n  p: {{ .Values.p | b64enc }}\n")},
            {"name": "leaky", "data": b64(f"env:\n- name: API_KEY\n  value: {CANARY}\n")},
        ],
        "values": {"db": {"password": CANARY, "host": "h"}},
        "files": [],
    },
    "config": {"db": {"password": CANARY}, "replicas": 3, "ratio": 1.5},
    "manifest": f'---\n# Source: c/a.yaml\nkind: Secret\napiVersion: v1\nmetadata: {{name: a}}\ndata:\n  any: "{b64(CANARY)}"\n'
    f"---\nkind: Deployment\nspec:\n  template:\n    spec:\n      containers:\n      - env:\n        - name: TOKEN\n          value: {CANARY}\n",
    "hooks": [{"name": "h", "manifest": f"kind: Job\nspec: {{args: [--password={CANARY}]}}\n"}],
    "version": 1,
    "namespace": "ns",
}


def packed(release: Any, times: int) -> str:
    text = gzip.compress(json.dumps(release).encode(), mtime=0)
    for _ in range(times):
        text = base64.b64encode(text)
    return text.decode()


def opened(text: str, times: int) -> Any:
    raw = text.encode()
    for _ in range(times):
        raw = base64.b64decode(raw)
    return json.loads(gzip.decompress(raw))


def in_secret(text: str, **more: Any) -> dict[str, Any]:
    metadata = {
        "name": "sh.helm.release.v1.r.v1",
        "namespace": "ns",
        "uid": "h1",
        "labels": {"owner": "helm"},
    }
    return {
        "kind": "Secret",
        "apiVersion": "v1",
        "metadata": metadata,
        "type": "helm.sh/release.v1",
        "data": {"release": text},
        **more,
    }


def in_map(text: str, labels: Any) -> dict[str, Any]:
    return {
        "kind": "ConfigMap",
        "apiVersion": "v1",
        "metadata": {"uid": "h2", "labels": labels},
        "data": {"release": text},
    }


def check(release: Any) -> None:
    assert CANARY not in json.dumps(release)
    assert b64(CANARY) not in json.dumps(release)
    assert list(release) == list(RELEASE)
    assert (release["version"], release["config"]["replicas"], release["config"]["ratio"]) == (1, 3, 1.5)
    assert release["chart"]["metadata"] == RELEASE["chart"]["metadata"]
    assert release["chart"]["values"]["db"]["host"] == "h"
    assert release["chart"]["templates"][0] == RELEASE["chart"]["templates"][0]
    assert is_placeholder(release["chart"]["templates"][1]["data"])
    assert base64.b64decode(release["chart"]["templates"][1]["data"])
    assert "# Source: c/a.yaml" in release["manifest"]


def test_a_release_in_a_secret() -> None:
    after = masked(in_secret(packed(RELEASE, 2)), SECRETS)
    check(opened(after["data"]["release"], 2))


def test_a_release_in_a_config_map() -> None:
    for labels in ({"owner": "helm"}, {"OWNER": "helm"}):
        check(opened(masked(in_map(packed(RELEASE, 1), labels))["data"]["release"], 1))


def test_a_release_without_secrets_stays_to_the_byte() -> None:
    text = packed({"name": "r", "chart": {}, "config": {"a": 1}}, 2)
    assert masked(in_secret(text), SECRETS)["data"]["release"] == text


def test_a_release_in_a_list() -> None:
    body = {"kind": "SecretList", "items": [in_secret(packed(RELEASE, 2))]}
    check(opened(masked(body, Place("", "secrets", "ns"))["items"][0]["data"]["release"], 2))


def test_places_lead_into_the_release() -> None:
    found = {each.path_class: each for each in places(in_secret(packed(RELEASE, 2)), SECRETS)}
    config = found["data.release.config.db.password"]
    assert (config.path, config.value) == (("data", "release"), CANARY)


@pytest.mark.parametrize(
    "text",
    [
        "not base64!",
        b64("plain"),
        b64(b64("plain text, no gzip")),
        b64(b"\xff\xfe"),
        packed(["no release"], 2),
        packed({"no": "chart"}, 2),
        base64.b64encode(base64.b64encode(gzip.compress(b"{broken"))).decode(),
    ],
)
def test_what_cannot_be_opened_goes_whole(text: str) -> None:
    assert is_placeholder(masked(in_secret(text), SECRETS)["data"]["release"])


def test_a_bomb_goes_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "MAX_UNPACKED", 10)
    assert is_placeholder(masked(in_secret(packed(RELEASE, 2)), SECRETS)["data"]["release"])


def test_only_a_release_is_opened() -> None:
    opaque = in_secret(packed(RELEASE, 2), type="Opaque")
    assert is_placeholder(masked(opaque, SECRETS)["data"]["release"])
    more = in_secret(packed(RELEASE, 2))
    more["data"] |= {"other": b64("x"), "release2": more["data"]["release"]}
    after = masked(more, SECRETS)["data"]
    assert is_placeholder(after["other"])
    assert is_placeholder(after["release2"])
    check(opened(after["release"], 2))
    odd = in_secret("")
    odd["data"]["release"] = 7
    assert masked(odd, SECRETS) == odd


def test_a_release_inside_of_a_text_goes_whole() -> None:
    text = json.dumps(in_secret(packed(RELEASE, 2)))
    body = {"kind": "ConfigMap", "metadata": {"uid": "1"}, "data": {"x": text}}
    assert is_placeholder(json.loads(masked(body)["data"]["x"])["data"]["release"])


def test_a_config_map_that_is_none_of_helm_is_searched_as_any_other() -> None:
    for labels in (None, {"owner": "me"}):
        assert is_placeholder(masked(in_map(packed(RELEASE, 1), labels))["data"]["release"])
