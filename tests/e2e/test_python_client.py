"""An unmodified Python `kubernetes` client gets the same through the gateway as directly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from kubernetes import client, config, watch
from kubernetes import stream as streams

from hack.stack.kubectl import Kubectl

pytestmark = [pytest.mark.cluster, pytest.mark.pods]
NAME = "from-python"
CALL: Any = streams.stream
FORWARD: Any = streams.portforward
WATCH: Any = watch.Watch


def api_of(kubectl: Kubectl) -> Any:
    return client.CoreV1Api(config.new_client_from_config(str(kubectl.kubeconfig)))  # type: ignore[no-untyped-call]


def names(api: Any, namespace: str) -> Any:
    return sorted(item.metadata.name for item in api.list_namespaced_pod(namespace).items)


def whole_object(api: Any, namespace: str) -> Any:
    return api.read_namespaced_pod("shell", namespace).to_dict()


def life_of_a_configmap(api: Any, namespace: str) -> Any:
    body = client.V1ConfigMap(metadata=client.V1ObjectMeta(name=NAME), data={"a": "1"})
    seen = [api.create_namespaced_config_map(namespace, body).data]
    seen.append(api.patch_namespaced_config_map(NAME, namespace, {"data": {"b": "2"}}).data)
    live = api.read_namespaced_config_map(NAME, namespace)
    live.data["c"] = "3"
    seen.append(api.replace_namespaced_config_map(NAME, namespace, live).data)
    api.delete_namespaced_config_map(NAME, namespace)
    seen.append(missing(api, namespace, NAME))
    return seen


def missing(api: Any, namespace: str, name: str = "nobody") -> Any:
    with pytest.raises(client.ApiException) as caught:
        api.read_namespaced_config_map(name, namespace)
    return caught.value.status, caught.value.body


def command(api: Any, namespace: str) -> Any:
    """Two streams, which have no order between them."""
    words = ["sh", "-c", "echo out; echo err >&2"]
    shown = CALL(
        api.connect_get_namespaced_pod_exec, "shell", namespace, command=words, stdout=True, stderr=True
    )
    return sorted(shown.splitlines())


def conversation(api: Any, namespace: str) -> Any:
    talk = CALL(
        api.connect_get_namespaced_pod_exec, "shell", namespace, command=["cat"],
        stdin=True, stdout=True, stderr=True, _preload_content=False,
    )  # fmt: skip
    talk.write_stdin("hello\n")
    answer = talk.readline_stdout(timeout=30)
    talk.close()
    return answer


def log(api: Any, namespace: str) -> Any:
    return api.read_namespaced_pod_log("talker", namespace)


def watched(api: Any, namespace: str) -> Any:
    events = WATCH().stream(api.list_namespaced_pod, namespace, timeout_seconds=2)
    return sorted((event["type"], event["object"].metadata.name) for event in events)


def forwarded(api: Any, namespace: str) -> Any:
    pod = FORWARD(api.connect_get_namespaced_pod_portforward, "web", namespace, ports="18099")
    sock = pod.socket(18099)
    sock.settimeout(30)
    sock.sendall(b"GET /index.html HTTP/1.0\r\n\r\n")
    answer = b""
    while piece := sock.recv(65536):
        answer += piece
    return answer.partition(b"\r\n\r\n")[2]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
@pytest.mark.parametrize(
    "use", [names, whole_object, life_of_a_configmap, missing, command, conversation, log, watched, forwarded]
)
def test_same_result(
    conformant: tuple[Kubectl, Kubectl], pod_namespace: str, use: Callable[[Any, str], Any]
) -> None:
    direct, through = (use(api_of(kubectl), pod_namespace) for kubectl in conformant)
    assert through == direct
    assert through
