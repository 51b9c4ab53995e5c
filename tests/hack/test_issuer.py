"""The development issuer as people run it: as a program, from anywhere."""

from __future__ import annotations

import json
import os
import signal
import ssl
import stat
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from jose import jwt

from hack import issuer
from hack.cluster.certificates import issue, new_authority

PROGRAM = Path(issuer.__file__)


def call(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(PROGRAM), *arguments]
    return subprocess.run(command, cwd=cwd, check=False, capture_output=True, text=True, timeout=60)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key folder with a key, beside an urls.env as the stack writes it."""
    place = tmp_path_factory.mktemp("stack")
    (place / "urls.env").write_text("GATEWAY_URL=https://g\nISSUER_URL=https://127.0.0.1:9443\n")
    assert call("init", "--dir", str(place / "issuer"), cwd=place).returncode == 0
    return place / "issuer"


def made(folder: Path, *arguments: str) -> dict[str, Any]:
    """The claims of a token, its signature verified with the published key."""
    done = call("token", "--dir", str(folder), "--sub", "coder", *arguments, cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    text = done.stdout.strip()
    header = jwt.get_unverified_header(text)
    published = next(key for key in issuer.key_set(folder)["keys"] if key["kid"] == header["kid"])
    options = {"verify_exp": False, "verify_aud": False}
    return dict(jwt.decode(text, published, algorithms=[published["alg"]], options=options))


def test_init_makes_a_private_key_once(folder: Path) -> None:
    key = folder / "key.pem"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    before = key.read_bytes()
    assert call("init", "--dir", str(folder), cwd=folder).stdout.strip() == str(key)
    assert key.read_bytes() == before
    assert [path.name for path in folder.iterdir()] == ["key.pem"]


def test_a_token_says_what_was_asked(folder: Path) -> None:
    now = time.time()
    claims = made(folder, "--groups", "a,b", "--groups", "c", "--run", "r-1", "--agent", "x", "--model", "m")
    assert claims["iss"] == "https://127.0.0.1:9443"
    assert claims["aud"] == "kube-chaperone"
    assert (claims["sub"], claims["groups"]) == ("coder", ["a", "b", "c"])
    assert (claims["run"], claims["agent"], claims["model"]) == ("r-1", "x", "m")
    assert now - 1 <= claims["iat"] <= now + 60
    assert claims["exp"] - claims["iat"] == 3600


def test_nothing_unasked_is_said(folder: Path) -> None:
    assert made(folder).keys() == {"iss", "sub", "aud", "iat", "exp", "jti", "groups"}


def test_claims_are_typed(folder: Path) -> None:
    given = ["k=true", "l=[1]", 'm="1"', "n=1", "o=plain text", "p=a=b", "q=", "aud=other", "r=null"]
    claims = made(folder, *(word for claim in given for word in ("--claim", claim)))
    assert [claims[name] for name in "klmnopqr"] == [True, [1], "1", 1, "plain text", "a=b", "", None]
    assert claims["aud"] == "other"


def test_an_expired_token_can_be_had(folder: Path) -> None:
    claims = made(folder, "--expires-in", "-60")
    assert claims["exp"] < time.time() - 30
    assert claims["iat"] <= claims["exp"]


def test_audience_and_issuer_can_be_chosen(folder: Path) -> None:
    claims = made(folder, "--audience", "a", "--audience", "b", "--issuer-url", "https://other")
    assert (claims["aud"], claims["iss"]) == (["a", "b"], "https://other")


def test_another_key_signs_under_its_own_name(tmp_path: Path) -> None:
    issuer.ensure_key(tmp_path)
    for name, curve in (("new", ec.SECP256R1()), ("big", ec.SECP521R1())):
        (tmp_path / f"{name}.pem").write_bytes(issuer.pem(ec.generate_private_key(curve)))
        assert made(tmp_path, "--signer", name, "--issuer-url", "https://i")["sub"] == "coder"
    assert {(key["kid"], key["alg"]) for key in issuer.key_set(tmp_path)["keys"]} == {
        ("dev", "RS256"),
        ("new", "ES256"),
        ("big", "ES512"),
    }


def test_no_private_number_is_published(folder: Path) -> None:
    for key in issuer.key_set(folder)["keys"]:
        assert not {"d", "p", "q", "dp", "dq", "qi", "k"} & key.keys()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ([], "required"),
        (["dance"], "invalid choice"),
        (["token"], "--sub"),
        (["token", "--sub", "a", "--issuer-url", "https://i", "--claim", "k"], "NAME=VALUE"),
        (["token", "--sub", "a", "--expires-in", "soon"], "--expires-in"),
        (["token", "--sub", "a", "--dir", "nowhere", "--issuer-url", "https://i"], "init"),
        (["token", "--sub", "a", "--dir", "nowhere"], "--issuer-url"),
        (["serve", "--port", "0"], "--cert"),
        (["serve", "--port", "0", "--cert", "none.crt", "--key", "none.key", "--dir", "keys"], "none.crt"),
    ],
)
def test_bad_usage_ends_with_2_and_one_sentence(tmp_path: Path, arguments: list[str], named: str) -> None:
    done = call(*arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert named in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_program_is_executable(folder: Path) -> None:
    arguments = ["token", "--dir", str(folder), "--sub", "a"]
    done = subprocess.run(
        [PROGRAM, *arguments], cwd="/", check=False, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert os.access(PROGRAM, os.X_OK)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[str, ssl.SSLContext, Path]]:
    """The program serving a new folder on a free port: its URL, a context that trusts it, the folder."""
    authority = new_authority("test CA")
    pair = issue(authority, "localhost", hosts=("127.0.0.1",))
    (tmp_path / "tls.crt").write_bytes(pair.certificate)
    (tmp_path / "tls.key").write_bytes(pair.key)
    files = ["--cert", str(tmp_path / "tls.crt"), "--key", str(tmp_path / "tls.key")]
    command = [sys.executable, str(PROGRAM), "serve", "--dir", str(tmp_path / "keys"), "--port", "0", *files]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().split()[1]
            trusting = ssl.create_default_context(cadata=authority.pair.certificate.decode())
            yield url, trusting, tmp_path / "keys"
        finally:
            process.send_signal(signal.SIGTERM)


def test_it_publishes_discovery_and_keys(served: tuple[str, ssl.SSLContext, Path]) -> None:
    url, trusting, folder = served

    def get(path: str) -> tuple[dict[str, Any], str]:
        with urllib.request.urlopen(url + path, context=trusting, timeout=10) as answer:
            return json.load(answer), answer.headers["Cache-Control"]

    discovery, cache_control = get("/.well-known/openid-configuration")
    assert discovery["issuer"] == url
    assert "max-age=300" in cache_control
    path = discovery["jwks_uri"].removeprefix(url)
    assert [key["kid"] for key in get(path)[0]["keys"]] == ["dev"]
    (folder / "next.pem").write_bytes((folder / "key.pem").read_bytes())
    assert [key["kid"] for key in get(path)[0]["keys"]] == ["dev", "next"]
    with pytest.raises(urllib.error.HTTPError) as missing:
        get("/key.pem")
    assert missing.value.code == 404
    missing.value.close()
    (folder / "broken.pem").write_text("junk")
    with pytest.raises(urllib.error.HTTPError) as broken:
        get(path)
    assert broken.value.code == 500
    broken.value.close()
