#!/usr/bin/env python3
"""A development OIDC issuer: keys in a folder, discovery and key set over HTTPS, tokens on the command line.

    .venv/bin/python hack/issuer.py init                          # makes .local/issuer/key.pem
    .venv/bin/python hack/issuer.py serve --port 9443 --cert server.crt --key server.key
    .venv/bin/python hack/issuer.py token --sub coder --groups ai-agents --run r-1

Every `*.pem` in the folder is a published key: `key.pem` has the key id `dev`, any other the name of its file.
The folder is read again for each request, so to rotate keys put a file in or take one out. `token --signer new`
signs with `new.pem`. Values of `--claim` are JSON where they parse as JSON (`k=true`, `k=[1]`, `k='"1"'`) and
text otherwise; `--expires-in -60` makes a token that has expired. People log in on its page `/authorize`
(hack/people_login.py). Loopback only; not for production.
"""

from __future__ import annotations

import argparse
import base64
import http.server
import json
import os
import ssl
import sys
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import parse_qsl, urlsplit

ROOT = Path(__file__).resolve().parent.parent
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

try:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, rsa
    from jose import jws
except ImportError:  # started by the system's Python: go on with the project's
    if (
        __name__ != "__main__"
        or not (ROOT / ".venv/bin/python").exists()
        or sys.prefix == str(ROOT / ".venv")
    ):
        raise
    os.execv(ROOT / ".venv/bin/python", [str(ROOT / ".venv/bin/python"), *sys.argv])  # noqa: S606

from hack import people_login  # noqa: E402 - only now can it be found
from hack.people_login import AUTHORIZE, TOKEN, Login, LoginError  # noqa: E402

FOLDER = ROOT / ".local" / "issuer"
KEY_FILE = "key.pem"
KEY_ID = "dev"
AUDIENCE = "kube-chaperone"
LOOPBACK = "127.0.0.1"
DISCOVERY = "/.well-known/openid-configuration"
JWKS = "/jwks.json"
MAX_AGE = 300
MAX_FORM = 16_384

Claims = dict[str, Any]
PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


class UsageError(Exception):
    """What was asked cannot be done; one sentence that says what to do instead."""


# --- keys


def ensure_key(folder: Path) -> Path:
    """`key.pem` in the folder, made (RSA 2048, mode 0600) if it is not there."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / KEY_FILE
    if path.exists():
        return path
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    draft = folder / f".{uuid.uuid4()}"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(pem(key))
    try:
        os.link(draft, path)  # whole or not at all, and never over the key of another process
    except FileExistsError:
        pass
    finally:
        draft.unlink()
    return path


def pem(key: PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def load_key(path: Path) -> PrivateKey:
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except FileNotFoundError:
        raise UsageError(f"there is no key {path}: run `hack/issuer.py init` first") from None
    except (OSError, ValueError, TypeError) as error:
        raise UsageError(f"{path} cannot be read as a private key: {error}") from None
    if isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        return key
    raise UsageError(f"{path} is neither an RSA nor an elliptic curve key")


def key_id(path: Path) -> str:
    return KEY_ID if path.name == KEY_FILE else path.stem


def algorithm(key: PrivateKey) -> str:
    return "RS256" if isinstance(key, rsa.RSAPrivateKey) else f"ES{min(key.key_size, 512)}"


def key_set(folder: Path) -> dict[str, Any]:
    """The public halves of every key in the folder, as RFC 7517 writes them."""
    return {"keys": [public_jwk(load_key(path), key_id(path)) for path in sorted(folder.glob("*.pem"))]}


def public_jwk(key: PrivateKey, kid: str) -> dict[str, str]:
    shared = {"kid": kid, "use": "sig", "alg": algorithm(key)}
    if isinstance(key, rsa.RSAPrivateKey):
        rsa_numbers = key.public_key().public_numbers()
        return {"kty": "RSA", **shared, "n": _number(rsa_numbers.n), "e": _number(rsa_numbers.e)}
    numbers, size = key.public_key().public_numbers(), (key.key_size + 7) // 8
    curve = f"P-{key.key_size}"
    return {"kty": "EC", **shared, "crv": curve, "x": _number(numbers.x, size), "y": _number(numbers.y, size)}


def _number(value: int, size: int = 0) -> str:
    octets = value.to_bytes(size or (value.bit_length() + 7) // 8)
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


# --- tokens


def sign(key: PrivateKey, kid: str, claims: Mapping[str, Any]) -> str:
    """A compact JWS of the claims."""
    return str(jws.sign(dict(claims), pem(key).decode(), headers={"kid": kid}, algorithm=algorithm(key)))


def token_claims(options: argparse.Namespace, issuer: str, now: float) -> Claims:
    claims: Claims = {
        "iss": issuer,
        "sub": options.sub,
        "aud": options.audience[0] if len(options.audience) == 1 else options.audience or AUDIENCE,
        "iat": int(min(now, now + options.expires_in)),
        "exp": int(now + options.expires_in),
        "jti": str(uuid.uuid4()),
        "groups": [group for value in options.groups for group in value.split(",") if group],
    }
    named = {"run": options.run, "agent": options.agent, "model": options.model}
    claims |= {name: value for name, value in named.items() if value is not None}
    return claims | dict(typed_claim(text) for text in options.claim)


def typed_claim(text: str) -> tuple[str, Any]:
    """`k=v` with v as JSON, or as text where it is no JSON."""
    name, found, value = text.partition("=")
    if not name or not found:
        raise UsageError(f"--claim takes NAME=VALUE, not {text!r}")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def issuer_url(folder: Path, given: str) -> str:
    """As given, or ISSUER_URL of the stack's urls.env, which lies beside the key folder."""
    if given:
        return given
    path = folder.parent / "urls.env"
    lines = path.read_text().splitlines() if path.exists() else []
    for line in lines:
        name, _, value = line.strip().partition("=")
        if name == "ISSUER_URL" and value:
            return value.strip("\"'")
    raise UsageError(f"no issuer is known: {path} has no ISSUER_URL, so start the stack or give --issuer-url")


# --- server


class Server(http.server.ThreadingHTTPServer):
    """HTTPS on loopback; each handshake happens in its connection's own thread."""

    daemon_threads = True

    def __init__(
        self, port: int, folder: Path, url: str, tls: ssl.SSLContext, login: Login | None = None
    ) -> None:
        super().__init__((LOOPBACK, port), Handler)
        self.folder = folder
        self.login = login or Login({})
        self.url = url or f"https://{LOOPBACK}:{self.server_address[1]}"
        self.socket = tls.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    def handle_error(self, request: object, client_address: object) -> None:
        """A broken handshake or a client that went away is that client's affair."""


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    timeout = 10

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        if parts.path == AUTHORIZE:
            self._in_words(lambda: self._page(self.server.login.page(dict(parse_qsl(parts.query)))))
            return
        try:
            document = self._document()
        except UsageError as error:
            self._answer(500, {"error": str(error)})
            return
        if document is None:
            self._answer(404, {"error": f"here are {DISCOVERY} and {JWKS}"})
        else:
            self._answer(200, document)

    def do_POST(self) -> None:
        """A person was picked, or a client redeems its code."""
        length = int(self.headers.get("Content-Length") or 0)
        form = dict(
            parse_qsl(
                self.rfile.read(min(length, MAX_FORM)).decode("utf-8", "replace"), keep_blank_values=True
            )
        )
        if self.path == AUTHORIZE:
            self._in_words(lambda: self._redirect(self.server.login.picked(form, time.time())))
        elif self.path == TOKEN:
            self._in_words(
                lambda: self._answer(200, people_login.token_answer(self._id_token(form)), cached=False)
            )
        else:
            self._answer(404, {"error": f"here are {AUTHORIZE} and {TOKEN}"})

    def _id_token(self, form: Mapping[str, str]) -> str:
        client = people_login.basic_client(self.headers.get("Authorization") or "")
        claims = self.server.login.redeemed(form, client, self.server.url, time.time())
        path = ensure_key(self.server.folder)
        return sign(load_key(path), key_id(path), claims)

    def _in_words(self, answer: Callable[[], None]) -> None:
        try:
            answer()
        except LoginError as error:
            self._answer(400, {"error": "invalid_request", "error_description": str(error)}, cached=False)

    def _page(self, text: str) -> None:
        self._send(200, "text/html; charset=utf-8", text.encode(), cached=False)

    def _redirect(self, where: str) -> None:
        self.send_response(303)
        self.send_header("Location", where)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _document(self) -> dict[str, Any] | None:
        if self.path == JWKS:
            return key_set(self.server.folder)
        if self.path != DISCOVERY:
            return None
        here = self.server.url.rstrip("/")
        return {
            "issuer": self.server.url,
            "jwks_uri": here + JWKS,
            "authorization_endpoint": here + AUTHORIZE,
            "token_endpoint": here + TOKEN,
            "code_challenge_methods_supported": ["S256"],
            "response_types_supported": ["code", "id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256", "ES256"],
        }

    def _answer(self, code: int, document: Mapping[str, Any], *, cached: bool = True) -> None:
        self._send(code, "application/json", json.dumps(document).encode(), cached=cached and code == 200)

    def _send(self, code: int, kind: str, body: bytes, *, cached: bool) -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", f"public, max-age={MAX_AGE}" if cached else "no-store")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the base class
        sys.stderr.write(f"issuer: {format % args}\n")


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key)
    except OSError as error:  # SSLError is one too
        raise UsageError(
            f"{certificate} and {key} cannot be used for TLS: {error.strerror or error}"
        ) from None
    return context


# --- command line


class Parser(argparse.ArgumentParser):
    """Says in one sentence what is wrong, and ends with 2."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see --help)\n")


def parser() -> Parser:
    root = Parser(prog="issuer.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = root.add_subparsers(dest="command", required=True, metavar="init|serve|token")
    for command, summary in (
        ("init", "make the key if it is not there"),
        ("serve", "publish the keys over HTTPS on 127.0.0.1"),
        ("token", "print a signed token"),
    ):
        sub = commands.add_parser(command, help=summary)
        sub.add_argument(
            "--dir", type=Path, default=FOLDER, help="folder of the keys (default: .local/issuer)"
        )
        sub.add_argument("--issuer-url", default="", help="what stands in the claim iss")
    _serve_options(commands.choices["serve"])
    _token_options(commands.choices["token"])
    return root


def _serve_options(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--port", type=int, required=True, help="0: a free one")
    sub.add_argument("--cert", type=Path, required=True, help="PEM of the server's certificate")
    sub.add_argument("--key", type=Path, required=True, help="PEM of its private key")
    sub.add_argument(
        "--person",
        action="append",
        default=[],
        metavar="NAME=GROUPS",
        help="somebody who can be picked on the login page; may be repeated",
    )


def _token_options(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--sub", required=True, help="the subject")
    sub.add_argument("--groups", action="append", default=[], metavar="A,B", help="groups; may be repeated")
    sub.add_argument("--run", help="the model run")
    sub.add_argument("--agent", help="the agent's name")
    sub.add_argument("--model", help="the model's name")
    sub.add_argument("--claim", action="append", default=[], metavar="K=V", help="any claim; JSON or text")
    sub.add_argument("--audience", action="append", default=[], help=f"default: {AUDIENCE}; may be repeated")
    sub.add_argument("--expires-in", type=int, default=3600, metavar="S", help="seconds; negative: expired")
    sub.add_argument("--signer", default="key", metavar="NAME", help="sign with NAME.pem of the folder")


def run(options: argparse.Namespace) -> None:
    folder: Path = options.dir.resolve()
    if options.command == "init":
        print(ensure_key(folder))
    elif options.command == "serve":
        serve(options, folder)
    else:
        path = folder / f"{options.signer}.pem"
        claims = token_claims(options, issuer_url(folder, options.issuer_url), time.time())
        print(sign(load_key(path), key_id(path), claims))


def serve(options: argparse.Namespace, folder: Path) -> None:
    ensure_key(folder)
    tls = server_context(options.cert, options.key)
    try:
        server = Server(
            options.port, folder, options.issuer_url, tls, Login(people_login.read_people(options.person))
        )
    except (OSError, OverflowError) as error:
        raise UsageError(f"port {options.port} cannot be used: {error}") from None
    print(f"issuer {server.url} publishes the keys of {folder}", flush=True)
    server.serve_forever()


def main(arguments: Sequence[str] | None = None) -> int:
    try:
        run(parser().parse_args(arguments))
    except UsageError as error:
        sys.stderr.write(f"issuer.py: {error}\n")
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
