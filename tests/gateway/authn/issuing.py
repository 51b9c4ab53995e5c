"""A small issuer for tests: keys, tokens, a clock to turn, and the development issuer served over HTTPS."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jose import jwk, jws

from chaperone.core.authentication import Issuer
from gateway.authn.authenticator import Authenticator
from gateway.authn.discovery import FetchedKeys, FetchKeys
from gateway.authn.issuers_file import IssuersFile
from gateway.authn.keys import KeySetError, read_key_set
from hack import issuer as development
from hack.cluster.certificates import issue, new_authority

NOW = 1_800_000_000.0
URL = "https://issuer.example"
AUDIENCE = "kube-chaperone"


@functools.cache
def key(name: str = "dev") -> development.PrivateKey:
    """One key for each name, made once; names that begin with "ec" are P-256, "p384" is P-384."""
    if name.startswith("ec"):
        return ec.generate_private_key(ec.SECP256R1())
    if name == "p384":
        return ec.generate_private_key(ec.SECP384R1())
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@functools.cache
def signing_key(name: str) -> Any:
    """Loading a key takes a thousand times as long as signing with it."""
    return jwk.construct(development.pem(key(name)).decode(), development.algorithm(key(name)))


def published(*names: str) -> bytes:
    return json.dumps({"keys": [development.public_jwk(key(name), name) for name in names]}).encode()


@dataclass
class Clock:
    now: float = NOW

    def __call__(self) -> float:
        return self.now


def claims(**changes: Any) -> dict[str, Any]:
    """Those of a good token; `...` removes one."""
    good = {
        "iss": URL,
        "sub": "coder",
        "aud": AUDIENCE,
        "iat": NOW - 10,
        "exp": NOW + 3600,
        "groups": ["ai-agents"],
        "run": "r-1",
    }
    return {name: value for name, value in (good | changes).items() if value is not ...}


def token(signer: str = "dev", kid: str | None = None, **changes: Any) -> str:
    headers = {"kid": signer if kid is None else kid}
    algorithm = development.algorithm(key(signer))
    return str(jws.sign(claims(**changes), signing_key(signer), headers=headers, algorithm=algorithm))


def configuration(url: str = URL, **entry: Any) -> dict[str, Any]:
    issuer = {"url": url, "audiences": [AUDIENCE], **entry.pop("issuer", {})}
    mappings = {"username": {"claim": "sub", "prefix": ""}, "groups": {"claim": "groups", "prefix": ""}}
    return {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AuthenticationConfiguration",
        "jwt": [{"issuer": issuer, "claimMappings": mappings, **entry}],
    }


def write(path: Path, value: object) -> Path:
    path.write_text(yaml.safe_dump(value))
    return path


@dataclass
class Source:
    """Instead of an issuer's servers: hands out what is in `keys`, or fails. fetches: how often it was asked."""

    keys: bytes = field(default_factory=lambda: published("dev"))
    max_age: float = 300.0
    error: Exception | None = None
    fetches: int = 0
    gate: asyncio.Event | None = None

    def fetcher(self, issuer: Issuer, _file: IssuersFile) -> FetchKeys:
        async def fetch() -> FetchedKeys:
            self.fetches += 1
            if self.gate is not None:
                await self.gate.wait()
            if self.error is not None:
                raise self.error
            return FetchedKeys(read_key_set(self.keys, issuer.algorithms), self.max_age)

        return fetch


UNREACHABLE = KeySetError("the issuer cannot be reached")


@contextlib.asynccontextmanager
async def running(authenticator: Authenticator, *, fetched: bool = True) -> AsyncIterator[Authenticator]:
    """With its background work; `fetched`: after the first fetch of every issuer, whatever came of it."""
    task = asyncio.ensure_future(authenticator.run())
    try:
        for keys in authenticator.key_sets() if fetched else ():
            while keys.fetched_at is None and not keys.last_error:  # noqa: ASYNC110 - nothing to await
                await asyncio.sleep(0.001)
        yield authenticator
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


Script = Callable[[str], tuple[int, dict[str, str], bytes] | None]


class ScriptedServer(development.Server):
    """The development issuer, with a record of the paths asked for and answers of its own."""

    def __init__(self, port: int, folder: Path, url: str, tls: ssl.SSLContext) -> None:
        super().__init__(port, folder, url, tls)
        self.RequestHandlerClass = ScriptedHandler
        self.asked: list[str] = []
        self.script: Script = lambda _path: None


class ScriptedHandler(development.Handler):
    server: ScriptedServer

    def do_GET(self) -> None:  # noqa: N802 - the name that http.server calls
        self.close_connection = True
        self.server.asked.append(self.path)
        answer = self.server.script(self.path)
        if answer is None:
            super().do_GET()
            return
        code, headers, body = answer
        self.send_response(code)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Tests are quiet."""


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[tuple[ScriptedServer, str]]:
    """The scripted issuer on a free loopback port, and the PEM of the authority that vouches for it."""
    authority = new_authority("issuer test CA")
    pair = issue(authority, "localhost", hosts=("127.0.0.1",))
    certificate, private = folder / "tls.crt", folder / "tls.key"
    certificate.write_bytes(pair.certificate)
    private.write_bytes(pair.key)
    keys = folder / "issuer"
    keys.mkdir()
    with ScriptedServer(0, keys, "", development.server_context(certificate, private)) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server, authority.pair.certificate.decode()
        finally:
            server.shutdown()
            thread.join()


def publish(folder: Path, *names: str) -> None:
    """Make these, and no others, the keys in an issuer's folder."""
    for path in folder.glob("*.pem"):
        path.unlink()
    for name in names:
        (folder / f"{name}.pem").write_bytes(development.pem(key(name)))
