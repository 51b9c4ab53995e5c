"""The official `kubernetes` client as plain verbs on plain objects.

The client brings what is hard to get right (kubeconfig, credential plug-ins, token rotation, TLS); its
generated models are not used: objects travel as the dictionaries that the API server speaks, so fields
that a model does not know are never lost. Blocking: for the webhook, the controller's worker threads, the
console and the command line, not for the gateway's data path. Never logs a body or a header.
"""

from __future__ import annotations

import json
import logging
import re
import ssl
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

import urllib3
import yaml
from kubernetes import client, config
from urllib3.util.ssl_ import create_urllib3_context

from chaperone.kube.errors import EndpointError, RefusedError, UnreachableError

log = logging.getLogger(__name__)

Obj = dict[str, Any]

MERGE_PATCH = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
DRY_RUN: Mapping[str, str] = {"dryRun": "All"}
PAGE = 500
WATCH_SECONDS = 30
"""How long one watch lasts. Short, because its end and its renewal prove that the server is still there:
the age of a cache never exceeds this while all is well."""


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind as the API server's paths name it."""

    group: str
    version: str
    plural: str

    def path(self, name: str = "", *, namespace: str = "", subresource: str = "") -> str:
        """The percent-encoded path of the collection, of one object, or of its subresource."""
        parts = ["apis", self.group, self.version] if self.group else ["api", self.version]
        if namespace:
            parts += ["namespaces", namespace]
        parts += [self.plural, *(part for part in (name, subresource) if part)]
        return "/" + "/".join(quote(part, safe="") for part in parts)


AGENT_POLICIES = Resource("chaperone.dev", "v1alpha1", "agentpolicies")
APPROVAL_REQUESTS = Resource("chaperone.dev", "v1alpha1", "approvalrequests")
AGENT_SESSIONS = Resource("chaperone.dev", "v1alpha1", "agentsessions")
NAMESPACES = Resource("", "v1", "namespaces")
SERVICE_ACCOUNTS = Resource("", "v1", "serviceaccounts")
SECRETS = Resource("", "v1", "secrets")
ROLES = Resource("rbac.authorization.k8s.io", "v1", "roles")
CLUSTER_ROLES = Resource("rbac.authorization.k8s.io", "v1", "clusterroles")
ROLE_BINDINGS = Resource("rbac.authorization.k8s.io", "v1", "rolebindings")
CLUSTER_ROLE_BINDINGS = Resource("rbac.authorization.k8s.io", "v1", "clusterrolebindings")
SUBJECT_ACCESS_REVIEWS = Resource("authorization.k8s.io", "v1", "subjectaccessreviews")
VALIDATING_WEBHOOKS = Resource("admissionregistration.k8s.io", "v1", "validatingwebhookconfigurations")
MUTATING_WEBHOOKS = Resource("admissionregistration.k8s.io", "v1", "mutatingwebhookconfigurations")


@dataclass(frozen=True, slots=True)
class Listing:
    """All objects of a collection, and the resourceVersion from which a watch continues."""

    items: tuple[Obj, ...]
    resource_version: str


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """One line of a watch. type: ADDED, MODIFIED, DELETED, BOOKMARK, or ERROR (the object is then a Status)."""

    type: str
    object: Obj


def connect(
    kubeconfig: str = "",
    context: str = "",
    *,
    strict_ca: bool = True,
    timeout: float = 10.0,
    headers: Sequence[tuple[str, str]] = (),
) -> Api:
    """An Api from a kubeconfig file, or from the pod's own service account when kubeconfig is "".

    strict_ca False keeps verification on and only drops the RFC 5280 strictness of newer Python releases, which some
    clusters' own CA certificates do not pass. headers: sent with every request. Raises EndpointError with the remedy.
    """
    api_client = client.ApiClient(load_configuration(kubeconfig, context))
    if not strict_ca and api_client.configuration.verify_ssl:
        _relax(api_client)
    return Api(api_client, timeout=timeout, headers=headers)


def load_configuration(kubeconfig: str = "", context: str = "") -> Any:
    """The official client's Configuration (server, CA, credentials), for whoever connects by another library.

    Raises EndpointError saying what to correct.
    """
    configuration = client.Configuration()
    loaders: Any = config  # these two functions are not annotated
    try:
        if kubeconfig:
            loaders.load_kube_config(kubeconfig, context or None, configuration, persist_config=False)
        else:
            loaders.load_incluster_config(configuration)
    except (config.ConfigException, OSError, ValueError, yaml.YAMLError) as error:
        source = f"kubeconfig {kubeconfig}" if kubeconfig else "the pod's service account"
        raise EndpointError(f"cannot load cluster credentials from {source}: {error}") from error
    return configuration


class Api:
    """Verbs on paths. Paths come from `Resource.path`; every call raises RefusedError or UnreachableError."""

    def __init__(
        self, api_client: Any, *, timeout: float = 10.0, headers: Sequence[tuple[str, str]] = ()
    ) -> None:
        self._configuration = api_client.configuration
        self._pool = api_client.rest_client.pool_manager
        self._agent = {"User-Agent": "kube-chaperone", "Accept": "application/json"}
        self._headers = tuple(headers)
        self._timeout = timeout

    def get(self, path: str, **query: str) -> Obj:
        return self._call("GET", path, query=query)

    def find(self, path: str) -> Obj | None:
        """The object, or None where there is none (404)."""
        try:
            return self.get(path)
        except RefusedError as error:
            if error.not_found:
                return None
            raise

    def list(self, path: str, **query: str) -> Listing:
        """The whole collection, asked for in pages."""
        items: list[Obj] = []
        position: dict[str, str] = {}
        while True:
            page = self._call("GET", path, query={"limit": str(PAGE), **query, **position})
            metadata = page.get("metadata") or {}
            items += page.get("items") or []
            if not metadata.get("continue"):
                return Listing(tuple(items), str(metadata.get("resourceVersion") or ""))
            position = {"continue": str(metadata["continue"])}

    def create(self, path: str, obj: Mapping[str, Any], *, dry_run: bool = False) -> Obj:
        return self._call("POST", path, query=DRY_RUN if dry_run else {}, body=obj)

    def replace(self, path: str, obj: Mapping[str, Any], *, dry_run: bool = False) -> Obj:
        """PUT; with metadata.resourceVersion in the object it is a compare-and-swap (409: it has changed)."""
        return self._call("PUT", path, query=DRY_RUN if dry_run else {}, body=obj)

    def merge(self, path: str, patch: Mapping[str, Any]) -> Obj:
        return self._call("PATCH", path, body=patch, content_type=MERGE_PATCH)

    def delete(
        self,
        path: str,
        *,
        uid: str = "",
        resource_version: str = "",
        options: Mapping[str, Any] | None = None,
    ) -> None:
        """DELETE of exactly the object that was seen, where uid or resource_version say which; gone is fine. options:
        more DeleteOptions; a dry run is asked for there (`dryRun`), for beside a body the query does not count."""
        seen = {"uid": uid, "resourceVersion": resource_version}
        preconditions = {key: value for key, value in seen.items() if value}
        body = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            **({"preconditions": preconditions} if preconditions else {}),
            **(options or {}),
        }
        try:
            self._call("DELETE", path, body=body)
        except RefusedError as error:
            if not error.not_found:
                raise

    def server_version(self) -> tuple[int, int]:
        """(major, minor) of the API server. Raises UnreachableError when it does not say."""
        version = self.get("/version")
        words = f"v{version.get('major')}.{version.get('minor')}"
        # A server that was built by hand has only the latter.
        for text in (words, str(version.get("gitVersion"))):
            if found := re.match(r"v(\d+)\.(\d+)", text):
                return int(found[1]), int(found[2])
        raise UnreachableError("the API server does not say which version of Kubernetes it is")

    def watch(self, path: str, resource_version: str, seconds: int = WATCH_SECONDS) -> Iterator[WatchEvent]:
        """Events after resource_version, until the server ends the watch (it is asked to after `seconds`)."""
        query = {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(seconds),
        }
        response = self._request("GET", path, query, None, {}, read_timeout=seconds + 10.0)
        try:
            if response.status >= 400:
                raise _refusal(f"watch {path}", response.status, response.read())
            yield from _events(response.stream(65536))
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise UnreachableError(f"the watch on {path} broke: {error}") from error
        finally:
            response.close()

    def _call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = "application/json",
    ) -> Obj:
        payload = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": content_type} if payload is not None else {}
        response = self._request(method, path, query or {}, payload, headers, read_timeout=self._timeout)
        try:
            content = response.read()
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise UnreachableError(f"no complete answer to {method} {path}: {error}") from error
        finally:
            response.release_conn()
        if response.status >= 400:
            raise _refusal(f"{method} {path}", response.status, content)
        return _decoded(content, f"{method} {path}")

    def _request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        payload: bytes | None,
        headers: Mapping[str, str],
        *,
        read_timeout: float,
    ) -> Any:
        url = self._configuration.host.rstrip("/") + path + (f"?{urlencode(query)}" if query else "")
        try:
            return self._pool.request(
                method,
                url,
                body=payload,
                headers=self._all_headers(headers),
                timeout=urllib3.Timeout(connect=self._timeout, read=read_timeout),
                preload_content=False,
                redirect=False,
                retries=False,
            )
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise UnreachableError(f"cannot reach the API server for {method} {path}: {error}") from error

    def _all_headers(self, headers: Mapping[str, str]) -> urllib3.HTTPHeaderDict:
        """A name may stand there more than once: the API server does not split values at commas."""
        sent = urllib3.HTTPHeaderDict({**self._agent, **self._credentials(), **headers})
        for name, value in self._headers:
            sent.add(name, value)
        return sent

    def _credentials(self) -> dict[str, str]:
        """Header credentials as the client's own configuration gives them; it renews expiring tokens."""
        settings = self._configuration.auth_settings().values()
        return {
            entry["key"]: entry["value"] for entry in settings if entry["in"] == "header" and entry["value"]
        }


def _events(chunks: Iterator[bytes]) -> Iterator[WatchEvent]:
    """Lines of a watch, whatever way the stream is cut."""
    buffer = b""
    for chunk in chunks:
        *lines, buffer = (buffer + chunk).split(b"\n")
        for line in lines:
            if line.strip():
                event = _decoded(line, "a watch")
                yield WatchEvent(str(event.get("type")), event.get("object") or {})


def _decoded(content: bytes, what: str) -> Obj:
    try:
        value = json.loads(content)
    except ValueError as error:
        raise UnreachableError(f"the answer to {what} is not JSON") from error
    if not isinstance(value, dict):
        raise UnreachableError(f"the answer to {what} is not an object")
    return value


def _refusal(request: str, code: int, content: bytes) -> RefusedError:
    try:
        answer = json.loads(content)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        return RefusedError(request, code, "", "the answer is not a Status object")
    details = answer.get("details")
    causes = details.get("causes") if isinstance(details, dict) else None
    named = tuple(
        (str(cause.get("reason") or ""), str(cause.get("field") or ""))
        for cause in (causes if isinstance(causes, list) else [])
        if isinstance(cause, dict)
    )
    return RefusedError(
        request, code, str(answer.get("reason") or ""), str(answer.get("message") or ""), named
    )


def _relax(api_client: Any) -> None:
    context = create_urllib3_context()
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    api_client.rest_client.pool_manager.connection_pool_kw["ssl_context"] = context
