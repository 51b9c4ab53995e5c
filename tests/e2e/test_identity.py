"""Who a client can pretend to be: nobody. Through the real gateway, with real tokens of a real issuer."""

from __future__ import annotations

import http.client
import json
import ssl
from urllib.parse import urlsplit

import pytest

from hack.stack import configs, people, up
from hack.stack.kubectl import Kubectl

pytestmark = pytest.mark.cluster
PATH = "/api/v1/namespaces/demo/configmaps"


def ask(
    stack: up.Stack, *headers: tuple[str, str], path: str = PATH, method: str = "GET"
) -> tuple[int, dict[str, object]]:
    """Code and decoded answer of one request with exactly these headers."""
    address = urlsplit(stack.gateway_url)
    context = ssl.create_default_context(cafile=str(stack.layout.ca_file))
    connection = http.client.HTTPSConnection(
        address.hostname or "", address.port, context=context, timeout=30
    )
    try:
        connection.putrequest(method, path)
        for name, value in headers:
            connection.putheader(name, value)
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


@pytest.fixture(scope="module")
def token(stack: up.Stack) -> str:
    return people.token_of(stack.layout.agent_kubeconfig)


def bearer(token: str) -> tuple[str, str]:
    return ("Authorization", f"Bearer {token}")


def minted(stack: up.Stack, *arguments: str) -> str:
    url = configs.issuer_url(stack.ports)
    return people.agent_token(stack.layout, "--issuer-url", url, "--sub", "x", "--run", "run-1", *arguments)


def test_the_agent_is_served(stack: up.Stack, token: str) -> None:
    assert ask(stack, bearer(token))[0] == 200


@pytest.mark.parametrize(
    "arguments",
    [
        ("--groups", "ai-agents", "--expires-in", "-3600"),
        ("--groups", "ai-agents", "--audience", "somebody-else"),
        ("--groups", "ai-agents", "--claim", "iss=https://elsewhere.example"),
    ],
    ids=["expired", "another audience", "another issuer"],
)
def test_tokens_that_are_not_for_us(stack: up.Stack, arguments: tuple[str, ...]) -> None:
    code, answer = ask(stack, bearer(minted(stack, *arguments)))
    assert (code, answer["kind"], answer["reason"]) == (401, "Status", "Unauthorized")


@pytest.mark.parametrize("groups", ["system:masters", "system:nodes", "ai-agents,system:masters"])
def test_system_groups_are_never_taken_from_a_token(stack: up.Stack, groups: str) -> None:
    assert ask(stack, bearer(minted(stack, "--groups", groups)))[0] == 403


def test_somebody_whom_no_policy_governs_is_refused(stack: up.Stack) -> None:
    code, answer = ask(stack, bearer(minted(stack, "--groups", "strangers")))
    assert code == 403
    assert "polic" in str(answer["message"])


@pytest.mark.parametrize(
    "name",
    ["Impersonate-User", "imPerSonaTE-USer", "Impersonate_User", "Impersonate-Group", "Impersonate-Uid",
     "Impersonate-Extra-chaperone.dev%2Fapproval", "impersonate_group"],
)  # fmt: skip
def test_no_spelling_of_impersonation_passes(stack: up.Stack, token: str, name: str) -> None:
    assert ask(stack, bearer(token), (name, "system:masters"))[0] == 403


def test_no_token_two_tokens_half_a_token(stack: up.Stack, token: str) -> None:
    assert ask(stack)[0] == 401
    assert ask(stack, bearer(token), bearer(token))[0] == 400
    assert ask(stack, ("Authorization", "Bearer"))[0] == 401
    assert ask(stack, ("Authorization", f"Bearer {token} more"))[0] == 401
    assert ask(stack, path=f"{PATH}?access_token={token}")[0] == 401


def test_a_connection_header_cannot_remove_the_identity(stack: up.Stack, token: str) -> None:
    """CVE-2021-31999: the request must still run as the agent, or not at all."""
    headers = (bearer(token), ("Connection", "keep-alive, Impersonate-User, Authorization"))
    code, _ = ask(stack, *headers, path="/api/v1/namespaces/kube-system/secrets")
    assert code in (400, 403)


@pytest.mark.parametrize(
    "path",
    ["//api/v1/pods", "/api/../api/v1/pods", "/api/v1/%2e%2e/v1/pods", "/api/v1/namespaces/demo%2Fx/pods",
     "/api/v1/pods;x=y", "/api/v1/pods%00", "/api/v1/namespaces//pods", "/api/v1/%252e%252e/pods", "/api\\v1/pods"],
)  # fmt: skip
def test_paths_that_two_parsers_read_differently(stack: up.Stack, token: str, path: str) -> None:
    code, answer = ask(stack, bearer(token), path=path)
    assert (code, answer["kind"]) == (400, "Status")


def test_kubectl_as_somebody_else(stack: up.Stack) -> None:
    done = Kubectl(stack.layout.agent_kubeconfig).run("get", "pods", "--as", "admin")
    assert done.returncode == 1
    assert "mpersonat" in done.stderr
