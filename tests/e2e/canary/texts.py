"""Configuration files as people put them into ConfigMaps and Secrets, each with canaries in it and with plain settings
beside them."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping

from tests.e2e.canary.values import Field

Text = Callable[[Field, str], str]


def dotenv(field: Field, place: str) -> str:
    return (
        f"# settings of the shop\nLOG_LEVEL=info\nDB_PASSWORD={field.plant(place, 'plain')}\n"
        f"export API_TOKEN='{field.plant(place, 'hex')}'\nSECRET_KEY_BASE=\"{field.plant(place, 'password')}\"\n"
        f"DATABASE_URL={field.plant(place, 'postgres')}\nGITHUB={field.plant(place, 'github')}\n"
    )


def properties(field: Field, place: str) -> str:
    return (
        f"server.port=8080\nspring.datasource.password={field.plant(place, 'plain')}\n"
        f"spring.datasource.url={field.plant(place, 'mongodb')}\nclient.secret : {field.plant(place, 'uuid')}\n"
        f"management.endpoints.enabled=true\n"
    )


def yaml(field: Field, place: str) -> str:
    return (
        f"level: info\ndatabase:\n  host: db.internal\n  password: {json.dumps(field.plant(place, 'awkward'))}\n"
        f"clients:\n- name: shop\n  clientSecret: {field.plant(place, 'uuid')}\n"
        f"remote_write:\n- url: {field.plant(place, 'https')}\n"
        f"tls:\n  key: |\n{_indented(field.plant(place, 'pem'), 4)}\n"
    )


def json_text(field: Field, place: str) -> str:
    document = {
        "level": "info",
        "auth": {"token": field.plant(place, "hex"), "user": "shop"},
        "sinks": [{"type": "s3", "secretAccessKey": field.plant(place, "aws")}],
        "nested": json.dumps({"password": field.plant(place, "password")}),
    }
    return json.dumps(document, indent=2)


def xml(field: Field, place: str) -> str:
    return (
        '<?xml version="1.0"?>\n<configuration>\n  <server id="main" port="8080"/>\n'
        f'  <datasource user="app" password="{field.plant(place, "plain")}"/>\n'
        f"  <apiToken>{field.plant(place, 'hex')}</apiToken>\n  <level>info</level>\n</configuration>\n"
    )


def ini(field: Field, place: str) -> str:
    return (
        f"[main]\nlevel = info\n[database]\nuser = app\npassword = {field.plant(place, 'plain')}\n"
        f"[aws]\naws_secret_access_key = {field.plant(place, 'aws')}\n"
    )


def script(field: Field, place: str) -> str:
    return (
        f"#!/bin/sh\nset -eu\nexport PGPASSWORD={field.plant(place, 'plain')}\n"
        f'curl -sf -H "Authorization: Bearer {field.plant(place, "plain")}" https://api.example/v1/items\n'
        f"exec psql {field.plant(place, 'postgres')}\n"
    )


def netrc(field: Field, place: str) -> str:
    return f"machine git.example login robot password {field.plant(place, 'plain')}\n"


def npmrc(field: Field, place: str) -> str:
    return f"registry=https://npm.example/\n//npm.example/:_authToken={field.plant(place, 'npm')}\n"


def kubeconfig(field: Field, place: str) -> str:
    key = base64.b64encode(field.plant(place, "pem-ec").encode()).decode()
    return (
        "apiVersion: v1\nkind: Config\nclusters:\n- name: far\n  cluster: {server: 'https://far.example:6443'}\nusers:\n"
        f"- name: ci\n  user:\n    token: {field.plant(place, 'jwt')}\n"
        f"- name: admin\n  user:\n    client-key-data: {key}\ncontexts: []\ncurrent-context: ''\n"
    )


def docker_config(field: Field, place: str) -> str:
    password = field.plant(place, "plain")
    auth = base64.b64encode(f"robot:{password}".encode()).decode()
    return json.dumps(
        {"auths": {"registry.example": {"username": "robot", "password": password, "auth": auth}}}
    )


def lines_of_log(field: Field, place: str) -> str:
    """What a careless program prints: each line gives away something that is known by its form."""
    return "\n".join(
        (
            "2026-01-31T09:00:00Z INFO starting shop 1.4.2 on :8080",
            f"connecting to {field.plant(place, 'postgres')}",
            f'{{"level":"debug","msg":"login","password":"{field.plant(place, "plain")}"}}',
            f"GET /v1/items Authorization: Bearer {field.plant(place, 'plain')}",
            f"\x1b[32mtoken\x1b[0m {field.plant(place, 'github')}",
            f"level=info api_key={field.plant(place, 'hex')} took=3ms",
            f"pushing with {field.plant(place, 'gitlab')}, {field.plant(place, 'slack')}",
            field.plant(place, "pem").rstrip("\n"),
            f"session {field.plant(place, 'jwt')} opened",
            f"AWS_SECRET_ACCESS_KEY={field.plant(place, 'aws')}",
            "2026-01-31T09:00:01Z INFO ready",
        )
    )


CONFIG_FILES: Mapping[str, Text] = {
    ".env": dotenv,
    "application.properties": properties,
    "config.yaml": yaml,
    "settings.json": json_text,
    "server.xml": xml,
    "my.ini": ini,
    "run.sh": script,
    "netrc": netrc,
    ".npmrc": npmrc,
    "kubeconfig": kubeconfig,
    "docker-config.json": docker_config,
}


def _indented(text: str, by: int) -> str:
    return "\n".join(" " * by + line for line in text.rstrip("\n").split("\n"))
