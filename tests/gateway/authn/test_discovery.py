"""Keys over real HTTPS from a small issuer on loopback: what is fetched, and what is refused."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chaperone.core.authentication import AuthenticationConfiguration, Issuer, read_configuration
from gateway.authn.discovery import FetchedKeys, freshness, key_fetcher, key_set_url
from gateway.authn.issuers_file import trust
from gateway.authn.keys import KeySetError
from hack.issuer import DISCOVERY, JWKS
from tests.gateway.authn.issuing import ScriptedServer, configuration, publish, serving


@pytest.fixture(scope="module")
def issuer_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ScriptedServer, str]]:
    with serving(tmp_path_factory.mktemp("issuer")) as served:
        publish(served[0].folder, "dev")
        yield served


@pytest.fixture
def served(issuer_server: tuple[ScriptedServer, str]) -> tuple[ScriptedServer, str]:
    server, ca = issuer_server
    server.asked.clear()
    server.script = lambda _path: None
    return server, ca


def issuer(url: str, ca: str, **fields: Any) -> Issuer:
    result = read_configuration(configuration(url, issuer={"certificateAuthority": ca, **fields}))
    assert isinstance(result, AuthenticationConfiguration), result
    return result.issuers[0]


def fetch(configured: Issuer) -> FetchedKeys:
    async def scenario() -> FetchedKeys:
        return await key_fetcher(configured, trust(configured))()

    return asyncio.run(scenario())


def test_keys_come_by_way_of_the_discovery_document(served: tuple[ScriptedServer, str]) -> None:
    server, ca = served
    fetched = fetch(issuer(server.url, ca))
    assert [key.key_id for key in fetched.ring.keys] == ["dev"]
    assert fetched.max_age == 300
    assert server.asked == [DISCOVERY, JWKS]


def test_an_issuer_of_another_authority_is_not_trusted(
    served: tuple[ScriptedServer, str], tmp_path: Path
) -> None:
    with serving(tmp_path) as (_, other_ca), pytest.raises(KeySetError, match="certificate verify failed"):
        fetch(issuer(served[0].url, other_ca))
    assert served[0].asked == []


def test_the_system_does_not_vouch_for_it_either(served: tuple[ScriptedServer, str]) -> None:
    with pytest.raises(KeySetError, match="certificate verify failed"):
        fetch(issuer(served[0].url, ""))


def test_a_name_that_the_certificate_lacks_is_refused(served: tuple[ScriptedServer, str]) -> None:
    server, ca = served
    other = server.url.replace("127.0.0.1", "127.0.0.2")
    with pytest.raises(KeySetError, match="cannot be reached"):
        fetch(issuer(other, ca))


def test_a_discovery_url_stands_in_for_the_well_known_one(served: tuple[ScriptedServer, str]) -> None:
    server, ca = served
    real = issuer(server.url, ca)
    asked = issuer("https://elsewhere.example", ca, discoveryURL=server.url + "/documents/oidc")
    document = {"issuer": asked.url, "jwks_uri": server.url + JWKS}
    server.script = lambda path: (
        (200, {}, json.dumps(document).encode()) if path.startswith("/documents") else None
    )
    assert fetch(asked).ring == fetch(real).ring
    assert server.asked[:2] == ["/documents/oidc", JWKS]


def answering(path: str, code: int, headers: dict[str, str], body: bytes = b"") -> Any:
    return lambda asked: (code, headers, body) if asked == path else None


@pytest.mark.parametrize(
    "location",
    [
        "https://evil.example/keys",
        "//evil.example/keys",
        "http://127.0.0.1/keys",
        "https://127.0.0.1:1/keys",
        "file:///etc/passwd",
    ],
)
@pytest.mark.parametrize("path", [DISCOVERY, JWKS])
@pytest.mark.parametrize("code", [301, 307])
def test_redirects_to_other_places_are_refused(
    served: tuple[ScriptedServer, str], path: str, location: str, code: int
) -> None:
    server, ca = served
    server.script = answering(path, code, {"Location": location})
    with pytest.raises(KeySetError, match="another host"):
        fetch(issuer(server.url, ca))
    assert server.asked[-1] == path


def test_redirects_on_the_same_origin_are_followed_a_few_times(served: tuple[ScriptedServer, str]) -> None:
    server, ca = served
    server.script = answering(DISCOVERY, 302, {"Location": DISCOVERY + "/"})
    with pytest.raises(KeySetError, match="answers 404"):
        fetch(issuer(server.url, ca))
    server.script = answering(DISCOVERY, 302, {"Location": DISCOVERY})
    with pytest.raises(KeySetError, match="circles"):
        fetch(issuer(server.url, ca))
    document = json.dumps({"issuer": server.url, "jwks_uri": server.url + JWKS}).encode()
    pages = {DISCOVERY: (308, {"Location": "moved"}, b""), "/.well-known/moved": (200, {}, document)}
    server.script = pages.get
    assert len(fetch(issuer(server.url, ca)).ring.keys) == 1


@pytest.mark.parametrize("path", [DISCOVERY, JWKS])
@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ((500, {}, b"{}"), "answers 500"),
        ((404, {}, b"{}"), "answers 404"),
        ((204, {}, b""), "answers 204"),
        ((200, {}, b""), "unreadable"),
        ((200, {}, b"<html>"), "unreadable"),
        ((200, {}, b"[]"), "unreadable"),
        ((200, {}, b'{"a":1,"a":2}'), "unreadable"),
        ((200, {"Content-Encoding": "gzip"}, b"\x1f\x8b"), "unreadable"),
        ((200, {}, b" " * (600 * 1024)), "longer than"),
        ((200, {"Content-Length": "100"}, b"{}"), "cannot be reached"),
    ],
    ids=["500", "404", "204", "empty", "html", "list", "doubled", "packed", "long", "cut"],
)  # fmt: skip
def test_odd_answers_are_errors(
    served: tuple[ScriptedServer, str], path: str, answer: tuple[int, dict[str, str], bytes], problem: str
) -> None:
    server, ca = served
    server.script = answering(path, *answer)
    with pytest.raises(KeySetError, match=problem):
        fetch(issuer(server.url, ca))


def test_nobody_there_is_an_error(served: tuple[ScriptedServer, str]) -> None:
    with pytest.raises(KeySetError, match="cannot be reached"):
        fetch(issuer("https://127.0.0.1:1", served[1]))


URL = "https://issuer.example"


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"issuer": URL + "/", "jwks_uri": URL + "/k"},
        {"issuer": "https://ISSUER.example", "jwks_uri": URL + "/k"},
        {"issuer": [URL], "jwks_uri": URL + "/k"},
        {"issuer": URL},
        {"issuer": URL, "jwks_uri": ""},
        {"issuer": URL, "jwks_uri": [URL + "/k"]},
        {"issuer": URL, "jwks_uri": "http://issuer.example/k"},
        {"issuer": URL, "jwks_uri": "file:///etc/keys"},
        {"issuer": URL, "jwks_uri": "https:///k"},
        {"issuer": URL, "jwks_uri": "https://user:pass@issuer.example/k"},
        {"issuer": URL, "jwks_uri": "https://[::1/k"},
        {"issuer": URL, "jwks_uri": "https://issuer.example/k\n"},
    ],
    ids=str,
)
def test_a_document_must_speak_for_its_issuer(fields: dict[str, Any]) -> None:
    with pytest.raises(KeySetError):
        key_set_url(json.dumps(fields).encode(), URL)


def test_keys_may_live_elsewhere_and_have_a_query() -> None:
    elsewhere = "https://keys.example/k?p=policy"
    assert key_set_url(json.dumps({"issuer": URL, "jwks_uri": elsewhere}).encode(), URL) == elsewhere


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("", 300),
        ("no-store", 300),
        ("max-age=5", 300),
        ("public, max-age=3600, must-revalidate", 3600),
        ("MAX-AGE=3600", 3600),
        ('max-age="900"', 900),
        ("s-maxage=7200", 300),
        ("max-age=-1", 300),
        ("max-age=999999999", 86400),
        ("max-age=99999999999999999999", 86400),
    ],
)
def test_freshness_is_clamped(header: str, seconds: float) -> None:
    assert freshness(header) == seconds
