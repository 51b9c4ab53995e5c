"""The login against an issuer that we play: what is sent there, and which answers let nobody in."""

from __future__ import annotations

from pathlib import Path

import pytest

from chaperone.settings.console import LoginSettings
from console.__main__ import main
from console.login import LoginError, local_path, read_issuer

HEAD = "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\n"
ENTRY = """- issuer: {url: "https://%s.example", audiences: [%s]}
  claimMappings: {username: {claim: sub, prefix: ""}}
"""


def document(*entries: tuple[str, str]) -> str:
    return HEAD + "jwt:\n" + "".join(ENTRY % entry for entry in entries)


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/approvals/?all=1", "/approvals/?all=1"),
        ("", "/"),
        ("https://evil.example/", "/"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("javascript:alert(1)", "/"),
        ("approvals", "/"),
    ],
)
def test_a_login_never_leads_away(target: str, path: str) -> None:
    assert local_path(target) == path


def settings(folder: Path, text: str) -> LoginSettings:
    path = folder / "people.yaml"
    path.write_text(text)
    return LoginSettings(issuer=path, client_id="console")


def test_people_need_no_run(tmp_path: Path) -> None:
    issuer = read_issuer(settings(tmp_path, document(("a", "console"))))
    assert not issuer.run.required


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (document(("a", "another")), "must name the client id 'console'"),
        (document(("a", "console"), ("b", "console")), "exactly one issuer"),
        (HEAD + "jwt: [", "cannot be read"),
        (HEAD + "jwt: [{issuer: {url: 'http://plain'}}]\n", "jwt[0]"),
    ],
)
def test_an_issuer_that_cannot_be_used_is_told(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(LoginError) as raised:
        read_issuer(settings(tmp_path, text))
    assert told in str(raised.value)


def test_every_fault_of_the_settings_is_told_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "short.key").write_bytes(b"short")
    (tmp_path / "file").write_text("x")
    file = tmp_path / "file"
    config = tmp_path / "console.yaml"
    config.write_text(
        f"listen: {{certificate: {file}, key: {file}}}\nurl: http://plain\ncookieKey: {tmp_path / 'short.key'}\n"
        f"login: {{issuer: {file}, clientId: console, scopes: email}}\n"
    )
    assert main(["--config", str(config)]) == 2
    told = capsys.readouterr().err
    for path in ("url", "cookieKey", "login.scopes"):
        assert path in told
