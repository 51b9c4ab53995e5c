"""helm, the Python client, and bare HTTP with every Accept header that could make an answer take another form."""

from __future__ import annotations

import base64
import os
import re
import socket
import ssl
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

from kubernetes import client, config, dynamic, watch
from kubernetes import stream as streams

from hack.cluster.kubeconfig import load_flattened, only_cluster
from hack.stack import people
from tests.e2e.canary.unwrapping import contents
from tests.e2e.canary.ways import Expect, Reader, Way, helm

DONE, EITHER = Expect.DONE, Expect.EITHER
PARTIAL = "application/json;as=PartialObjectMetadata{};g=meta.k8s.io;v=v1"
TABLE = "application/json;as=Table;g=meta.k8s.io;v=v1"


def charts() -> Iterator[Way]:
    for version in ("4", "3"):
        for line in (
            "get all shop -n {ns}", "get values shop -n {ns} -o json", "get values shop -n {ns} --all", "get manifest shop -n {ns}",
            "get hooks shop -n {ns}", "get notes shop -n {ns}", "status shop -n {ns} -o json", "status shop -n {ns}",
        ):  # fmt: skip
            yield helm(version, line)
        for line in ("list -n {ns} -o yaml", "list -A", "history shop -n {ns}", "get metadata shop -n {ns}"):
            yield helm(version, line, DONE)


# The Python client


def _api(reader: Reader) -> Any:
    return config.new_client_from_config(str(reader.kubectl.kubeconfig))  # type: ignore[no-untyped-call]


def _read_all(reader: Reader) -> str:
    api, space = client.CoreV1Api(_api(reader)), reader.namespace
    listings = (
        api.list_namespaced_secret, api.list_namespaced_config_map, api.list_namespaced_pod, api.list_namespaced_event,
        api.list_namespaced_pod_template, api.list_namespaced_service_account,
    )  # fmt: skip
    return "".join(str(listing(space)) for listing in listings) + str(
        api.read_namespaced_secret("opaque", space)
    )


def _decoded(reader: Reader) -> str:
    secret = client.CoreV1Api(_api(reader)).read_namespaced_secret("opaque", reader.namespace)
    return "\n".join(
        base64.b64decode(value).decode(errors="replace") for value in (secret.data or {}).values()
    )


def _everywhere(reader: Reader) -> str:
    api = client.CoreV1Api(_api(reader))
    return str(api.list_secret_for_all_namespaces()) + str(api.list_pod_for_all_namespaces())


def _workloads(reader: Reader) -> str:
    api = client.AppsV1Api(_api(reader))
    listings = (
        api.list_namespaced_deployment, api.list_namespaced_stateful_set, api.list_namespaced_daemon_set,
        api.list_namespaced_replica_set, api.list_namespaced_controller_revision,
    )  # fmt: skip
    return "".join(str(listing(reader.namespace)) for listing in listings)


def _dynamic(reader: Reader) -> str:
    found = dynamic.DynamicClient(_api(reader))  # type: ignore[no-untyped-call]
    kinds = (("v1", "Secret"), ("canary.example/v1", "Widget"), ("canary.example/v1", "Release"))
    resources = [found.resources.get(api_version=version, kind=kind) for version, kind in kinds]
    return "".join(str(resource.get(namespace=reader.namespace).to_dict()) for resource in resources)


def _custom(reader: Reader) -> str:
    api = client.CustomObjectsApi(_api(reader))
    return str(api.list_namespaced_custom_object("canary.example", "v1", reader.namespace, "releases"))


def _watched(reader: Reader) -> str:
    api: Any = client.CoreV1Api(_api(reader))
    listings = (api.list_namespaced_secret, api.list_namespaced_pod, api.list_namespaced_config_map)
    events = (watch.Watch().stream(listing, reader.namespace, timeout_seconds=2) for listing in listings)  # type: ignore[no-untyped-call]
    return "".join(str(event["raw_object"]) for stream in events for event in stream)


def _logs(reader: Reader) -> str:
    api = client.CoreV1Api(_api(reader))
    whole = api.read_namespaced_pod_log("talker", reader.namespace)
    return whole + api.read_namespaced_pod_log("talker", reader.namespace, limit_bytes=300)


def _exec(reader: Reader) -> str:
    api = client.CoreV1Api(_api(reader))
    call: Any = streams.stream
    words = ["sh", "-c", "env; cat /tmp/canary/* >&2"]
    return str(
        call(
            api.connect_get_namespaced_pod_exec,
            "shell",
            reader.namespace,
            command=words,
            stdout=True,
            stderr=True,
        )
    )


def _patched(reader: Reader) -> str:
    api, patch = client.CoreV1Api(_api(reader)), {"metadata": {"labels": {"by": "python"}}}
    return str(api.patch_namespaced_secret("opaque", reader.namespace, patch))


def python() -> Iterator[Way]:
    for read in (
        _read_all,
        _decoded,
        _everywhere,
        _workloads,
        _dynamic,
        _custom,
        _watched,
        _logs,
        _exec,
        _patched,
    ):
        yield Way(f"Python client: {read.__name__[1:]}", _as_act(read))


def _as_act(read: Callable[[Reader], str]) -> Callable[[Reader], tuple[int, bytes]]:
    def act(reader: Reader) -> tuple[int, bytes]:
        return 0, read(reader).encode()

    return act


# Bare HTTP

SECRETS, POD_LIST, WIDGETS = (
    "/api/v1/namespaces/{ns}/secrets",
    "/api/v1/namespaces/{ns}/pods",
    "/apis/canary.example/v1/namespaces/{ns}/widgets",
)
ACCEPTS = (
    "", "*/*", "application/json", "application/yaml", "application/vnd.kubernetes.protobuf", "application/cbor", "text/html",
    "application/vnd.kubernetes.protobuf,application/json;q=0.5", "application/yaml;q=0.9, */*;q=0.1", "application/json;pretty=1",
    TABLE, f"{TABLE},application/json", PARTIAL.format(""), PARTIAL.format("List"), "application/vnd.kubernetes.protobuf;stream=watch",
    f"{TABLE.replace('/json', '/vnd.kubernetes.protobuf')},{TABLE}",
)  # fmt: skip


def wires() -> Iterator[Way]:
    for accept in ACCEPTS:
        for path in (SECRETS, POD_LIST, f"{SECRETS}/opaque"):
            yield http(path, accept)
    for include in ("None", "Metadata", "Object"):
        yield http(f"{SECRETS}?includeObject={include}", TABLE)
        yield http(f"{WIDGETS}?includeObject={include}", TABLE)
    for accept in ("application/json", "application/yaml", "application/vnd.kubernetes.protobuf", TABLE):
        yield http(f"{SECRETS}?watch=1&timeoutSeconds=2&includeObject=Object", accept)
    for coding in ("gzip", "gzip, deflate, br", "br", "deflate", "gzip;q=0, identity;q=0, *;q=0"):
        for path in (SECRETS, POD_LIST, "/api/v1/secrets?limit=500", f"{POD_LIST}/talker/log"):
            yield http(path, "application/json", "Accept-Encoding: " + coding)
    yield http(f"{SECRETS}?pretty=1", "application/json")
    yield http(f"{SECRETS}/opaque", "application/json", "Range: bytes=0-10000")
    yield http(f"{POD_LIST}?limit=1", "application/json")
    yield http(SECRETS, "application/json", "User-Agent: Mozilla/5.0 curl/7")
    yield http(f"{SECRETS}?dryRun=All", "application/json", method="DELETE")
    yield http(f"{SECRETS}/opaque?dryRun=All", "application/json", method="DELETE")
    yield http(SECRETS, "application/json", method="HEAD")
    for path in (
        f"{SECRETS}?watch=1&timeoutSeconds=2",
        f"{POD_LIST}/talker/log",
        f"{POD_LIST}/chatter/log?follow=1",
    ):
        for protocol in ("", "binary.k8s.io", "base64.binary.k8s.io"):
            yield upgraded(path, protocol)
    for path, body, kind in WRITES:
        yield http(path, "application/json", f"Content-Type: {kind}", method="PATCH", body=body)
    yield http(f"{POD_LIST}/talker:80/proxy/", "")
    yield http("/api/v1/nodes/{node}/proxy/containerLogs/{ns}/talker/main", "")
    yield http("/logs/", "")
    yield http("/debug/pprof/cmdline", "")


_ENV = '[{"op":"add","path":"/spec/containers/0/env/0","value":{"name":"X","value":"y"}}]'
WRITES = (
    (f"{POD_LIST}/unborn", _ENV, "application/json-patch+json"),
    (f"{SECRETS}/opaque", '[{"op":"copy","from":"/data/ORDINARY","path":"/metadata/annotations/copied"}]', "application/json-patch+json"),
    (f"{SECRETS}/opaque", '[{"op":"move","from":"/data/ORDINARY","path":"/metadata/annotations/moved"}]', "application/json-patch+json"),
    (f"{SECRETS}/opaque?dryRun=All", '[{"op":"test","path":"/data/ORDINARY","value":"guess"}]', "application/json-patch+json"),
    (f"{SECRETS}/opaque", '{"data":{"x":"not base64!"}}', "application/merge-patch+json"),
    (f"{SECRETS}/opaque?dryRun=All", '{"metadata":{"resourceVersion":"1"}}', "application/merge-patch+json"),
    ("/apis/apps/v1/namespaces/{ns}/deployments/web", '{"spec":{"replicas":-1}}', "application/merge-patch+json"),
    (
        "/apis/apps/v1/namespaces/{ns}/statefulsets/db?fieldManager=x",
        '{"apiVersion":"apps/v1","kind":"StatefulSet","spec":{"serviceName":"other"}}', "application/apply-patch+yaml",
    ),
    (f"{WIDGETS}/w1", '{"spec":{"sources":5}}', "application/merge-patch+json"),
)  # fmt: skip


def http(path: str, accept: str, *fields: str, method: str = "GET", body: str = "") -> Way:
    """One request as bytes; the answer as it came, read out of whatever hides it."""

    def act(reader: Reader) -> tuple[int, bytes]:
        with _connected(reader) as connection:
            sent = [*fields, f"Accept: {accept}"] if accept else list(fields)
            connection.sendall(_request(reader, f"{method} {path}", [*sent, "Connection: close"], body))
            return 0, b"\n".join(contents(_rest(connection)))

    told = " ".join(part for part in (method, path, accept and f"Accept: {accept}", *fields, body) if part)
    return Way(f"HTTP {told}", act, EITHER)


def upgraded(path: str, protocol: str) -> Way:
    """A WebSocket handshake; what comes within a few seconds."""

    def act(reader: Reader) -> tuple[int, bytes]:
        with _connected(reader) as connection:
            key = base64.b64encode(os.urandom(16)).decode()
            fields = [
                "Connection: Upgrade",
                "Upgrade: websocket",
                f"Sec-WebSocket-Key: {key}",
                "Sec-WebSocket-Version: 13",
            ]
            fields += [f"Sec-WebSocket-Protocol: {protocol}"] if protocol else []
            connection.sendall(_request(reader, f"GET {path}", fields))
            connection.settimeout(4)
            received = _rest(connection)
            decoded = [_unbase64(part) for part in contents(received) if protocol.startswith("base64")]
            return 0, b"\n".join([*contents(received), *decoded])

    return Way(f"WebSocket {path} {protocol}".strip(), act, EITHER)


def _unbase64(text: bytes) -> bytes:
    """Whatever of it is base64."""
    kept = b"".join(re.findall(rb"[A-Za-z0-9+/]", text, re.DOTALL))
    return base64.b64decode(kept[: len(kept) // 4 * 4])


def _connected(reader: Reader) -> ssl.SSLSocket:
    cluster = only_cluster(load_flattened(reader.kubectl.kubeconfig))
    url = urlsplit(cluster["server"])
    tls = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
    return tls.wrap_socket(
        socket.create_connection((str(url.hostname), url.port or 443), 60), server_hostname=url.hostname
    )


def _request(reader: Reader, line: str, fields: list[str], body: str = "") -> bytes:
    lines = [
        line.replace("{ns}", reader.namespace).replace("{node}", "node") + " HTTP/1.1",
        "Host: gateway",
        f"Authorization: Bearer {people.token_of(reader.kubectl.kubeconfig)}",
        *fields,
        *([f"Content-Length: {len(body.encode())}"] if body else []),
        "",
        body,
    ]
    return "\r\n".join(lines).encode()


def _rest(connection: ssl.SSLSocket) -> bytes:
    received = b""
    try:
        while piece := connection.recv(1 << 16):
            received += piece
    except OSError:
        pass
    return received
