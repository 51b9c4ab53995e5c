"""From a request line to what the API server would call it: sentence → case."""

from __future__ import annotations

import dataclasses
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chaperone.core.request import METHODS, Payload, Request, Unreadable, parse

EXEC = "/api/v1/namespaces/shop/pods/web-0/exec"


def read(method: str, target: str, **kwargs: str) -> Request:
    result = parse(method, target, **kwargs)
    assert isinstance(result, Request), result
    return result


def refused(method: str, target: str, **kwargs: str) -> Unreadable:
    result = parse(method, target, **kwargs)
    assert isinstance(result, Unreadable), result
    return result


RESOURCES: list[tuple[str, str, str, dict[str, Any]]] = [
    ("a pod is got", "GET", "/api/v1/namespaces/shop/pods/web-0",
     {"verb": "get", "group": "", "version": "v1", "namespace": "shop", "resource": "pods", "name": "web-0", "subresource": ""}),
    ("HEAD is a get", "HEAD", "/api/v1/namespaces/shop/pods/web-0", {"verb": "get"}),
    ("HEAD of a collection is a list", "HEAD", "/api/v1/pods", {"verb": "list", "name": ""}),
    ("pods everywhere are listed", "GET", "/api/v1/pods", {"verb": "list", "namespace": "", "resource": "pods"}),
    ("POST creates", "POST", "/apis/apps/v1/namespaces/shop/deployments",
     {"verb": "create", "group": "apps", "version": "v1", "resource": "deployments", "name": ""}),
    ("PUT updates", "PUT", "/apis/apps/v1/namespaces/shop/deployments/web", {"verb": "update", "name": "web"}),
    ("PATCH patches", "PATCH", "/apis/apps/v1/namespaces/shop/deployments/web", {"verb": "patch"}),
    ("DELETE deletes", "DELETE", "/api/v1/namespaces/shop/pods/web-0", {"verb": "delete"}),
    ("DELETE of a collection is deletecollection", "DELETE", "/api/v1/namespaces/shop/pods",
     {"verb": "deletecollection", "name": ""}),
    ("a field selector leaves deletecollection alone", "DELETE", "/api/v1/namespaces/shop/pods?fieldSelector=metadata.name%3Dx",
     {"verb": "deletecollection", "name": ""}),
    ("a subresource stands right after the name", "PUT", "/apis/apps/v1/namespaces/shop/deployments/web/scale",
     {"verb": "update", "name": "web", "subresource": "scale", "full_resource": "deployments/scale"}),
    ("parts after the subresource are kept but not read", "GET", "/api/v1/namespaces/shop/pods/web-0/status/x/y",
     {"subresource": "status", "path": "/api/v1/namespaces/shop/pods/web-0/status/x/y"}),
    ("namespaces are listed", "GET", "/api/v1/namespaces", {"verb": "list", "resource": "namespaces", "namespace": "", "name": ""}),
    ("a Namespace lives in itself", "GET", "/api/v1/namespaces/shop",
     {"verb": "get", "resource": "namespaces", "namespace": "shop", "name": "shop"}),
    ("the status of a Namespace is its subresource", "PATCH", "/api/v1/namespaces/shop/status",
     {"resource": "namespaces", "name": "shop", "namespace": "shop", "subresource": "status"}),
    ("so is finalize", "PUT", "/api/v1/namespaces/shop/finalize",
     {"resource": "namespaces", "name": "shop", "subresource": "finalize"}),
    ("anything else after a namespace is a resource", "GET", "/api/v1/namespaces/shop/finalizers",
     {"verb": "list", "resource": "finalizers", "namespace": "shop", "name": ""}),
    ("a cluster-scoped object has no namespace", "GET", "/apis/rbac.authorization.k8s.io/v1/clusterroles/view",
     {"group": "rbac.authorization.k8s.io", "namespace": "", "resource": "clusterroles", "name": "view"}),
    ("the deprecated watch prefix is a watch", "GET", "/api/v1/watch/namespaces/shop/pods",
     {"verb": "watch", "resource": "pods", "namespace": "shop", "name": ""}),
    ("the watch prefix names one object", "GET", "/api/v1/watch/namespaces/shop/pods/web-0", {"verb": "watch", "name": "web-0"}),
    ("the watch prefix of a group", "GET", "/apis/apps/v1/watch/deployments",
     {"verb": "watch", "group": "apps", "resource": "deployments"}),
    ("the proxy prefix is a verb without subresources", "GET", "/api/v1/proxy/namespaces/shop/services/web/a/b",
     {"verb": "proxy", "resource": "services", "name": "web", "subresource": "", "is_read": False}),
    ("a deeper prefix word is a resource", "GET", "/api/v1/namespaces/shop/watch", {"verb": "list", "resource": "watch"}),
    ("three parts of apis are discovery", "GET", "/apis/apps/v1", {"verb": "get", "is_resource": False}),
    ("two parts of api are discovery", "GET", "/api/v1", {"verb": "get", "is_resource": False}),
    ("names with colons arrive unchanged", "GET", "/apis/rbac.authorization.k8s.io/v1/clusterroles/system:node-proxier",
     {"name": "system:node-proxier", "path": "/apis/rbac.authorization.k8s.io/v1/clusterroles/system:node-proxier"}),
    ("an encoded colon is a colon", "GET", "/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Anode",
     {"name": "system:node", "path": "/apis/rbac.authorization.k8s.io/v1/clusterroles/system:node"}),
    ("names with an at sign arrive unchanged", "GET", "/apis/user.openshift.io/v1/users/a@b", {"name": "a@b"}),
    ("spaces and letters beyond ASCII stay encoded", "GET", "/apis/rbac.authorization.k8s.io/v1/clusterroles/caf%c3%a9%20x",
     {"name": "café x", "path": "/apis/rbac.authorization.k8s.io/v1/clusterroles/caf%C3%A9%20x"}),
    ("a trailing slash is dropped", "GET", "/api/v1/namespaces/shop/pods/",
     {"verb": "list", "path": "/api/v1/namespaces/shop/pods"}),
    ("a trailing slash after a name too", "DELETE", "/api/v1/namespaces/shop/pods/web-0/", {"verb": "delete", "name": "web-0"}),
    ("behind a service proxy it is kept", "GET", "/api/v1/namespaces/shop/services/https:web:443/proxy/",
     {"name": "https:web:443", "subresource": "proxy", "path": "/api/v1/namespaces/shop/services/https:web:443/proxy/"}),
    ("behind a service proxy its absence is kept", "GET", "/api/v1/namespaces/shop/services/web/proxy",
     {"subresource": "proxy", "path": "/api/v1/namespaces/shop/services/web/proxy"}),
    ("behind a proxy a percent sign may be meant", "GET", "/api/v1/nodes/n1/proxy/logs/50%25/x%2525/",
     {"resource": "nodes", "subresource": "proxy", "path": "/api/v1/nodes/n1/proxy/logs/50%25/x%2525/"}),
    ("hidden files behind a proxy are no traversal", "GET", "/api/v1/nodes/n1/proxy/.well-known/...", {"subresource": "proxy"}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("method", "target", "expected"), [row[1:] for row in RESOURCES], ids=[row[0] for row in RESOURCES]
)
def test_resolves_as_the_api_server_does(method: str, target: str, expected: dict[str, Any]) -> None:
    request = read(method, target)
    assert {key: getattr(request, key) for key in expected} == expected
    assert request.is_resource is expected.get("is_resource", True)


NON_RESOURCES = [
    ("/", "/"),
    ("/healthz", "/healthz"),
    ("/healthz/", "/healthz/"),
    ("/logs/", "/logs/"),
    ("/.well-known/openid-configuration", "/.well-known/openid-configuration"),
    ("/openapi/v3/apis/apps/v1", "/openapi/v3/apis/apps/v1"),
    ("/version?timeout=32s", "/version"),
    ("/api", "/api"),
    ("/api/", "/api"),
    ("/apis/", "/apis"),
    ("/api/v1/", "/api/v1"),
    ("/apis/apps/", "/apis/apps"),
    ("/apix/v1/pods/x", "/apix/v1/pods/x"),
]


@pytest.mark.parametrize(("target", "path"), NON_RESOURCES)
def test_other_paths_are_not_resources(target: str, path: str) -> None:
    request = read("GET", target)
    assert (request.verb, request.is_resource, request.path, request.resource) == ("get", False, path, "")
    assert request.is_read
    assert read("HEAD", target).is_read
    assert not read("POST", target).is_read
    assert not read("POST", target + ("&" if "?" in target else "?") + "dryRun=All").dry_run


WATCHES = [
    ("", "list"),
    ("?watch=0", "list"),
    ("?watch=false", "list"),
    ("?watch=FALSE", "list"),
    ("?watch=", "watch"),
    ("?watch", "watch"),
    ("?watch=TRUE", "watch"),
    ("?watch=2", "watch"),
    ("?watch=yes", "watch"),
    ("?watch=0&watch=1", "list"),
    ("?watch=1&watch=0", "watch"),
    ("?Watch=1", "list"),
    ("?%77atch=1", "watch"),
    ("?watch=1&limit=5", "watch"),
]


@pytest.mark.parametrize(("query", "verb"), WATCHES)
def test_pa05_the_first_watch_decides(query: str, verb: str) -> None:
    assert read("GET", "/api/v1/pods" + query).verb == verb
    assert read("GET", "/api/v1/namespaces/shop/pods/web-0" + query).verb == "get"


SELECTORS = [
    ("metadata.name=x", "x"),
    ("metadata.name==x", "x"),
    ("metadata.name!=x", ""),
    ("metadata.name=x,status.phase=Running", "x"),
    ("status.phase!=Running,metadata.name=x", "x"),
    (",metadata.name=x,", "x"),
    ("metadata.name=b,metadata.name=a", "a"),
    ("metadata.namespace=x", ""),
    ("metadata.name=", ""),
    ("metadata.name=a\\,b", "a,b"),
    ("metadata.name=a\\=b\\\\", "a=b\\"),
    ("metadata.name=a/b", ""),
    ("metadata.name=..", ""),
    ("metadata.name=50%", ""),
    ("Metadata.Name=x", ""),
    ("", ""),
]


@pytest.mark.parametrize(("selector", "name"), SELECTORS)
def test_pa06_a_field_selector_names_one_object(selector: str, name: str) -> None:
    for query, verb in (
        (f"fieldSelector={quote(selector)}", "list"),
        (f"watch=1&fieldSelector={quote(selector)}", "watch"),
    ):
        request = read("GET", "/api/v1/namespaces/shop/secrets?" + query)
        assert (request.verb, request.name) == (verb, name)
    if selector:
        assert request.parameter("fieldSelector") == selector


@pytest.mark.parametrize(
    "selector", ["x", "metadata.name=a=b", "metadata.name=a\\x", "metadata.name=a\\", "metadata.name\\"]
)
def test_a_field_selector_that_nobody_can_read_is_refused(selector: str) -> None:
    assert refused("GET", f"/api/v1/pods?fieldSelector={quote(selector)}").code == 400


@pytest.mark.parametrize(
    "method", ["OPTIONS", "TRACE", "CONNECT", "", "get", "FOO", "GET ", "PROPFIND", "G\x1bET"]
)
@pytest.mark.parametrize("target", ["/api/v1/pods", "/healthz"])
def test_pa08_unknown_methods_are_405(method: str, target: str) -> None:
    answer = refused(method, target)
    assert answer.code == 405
    assert "\x1b" not in answer.reason


REFUSED = [
    ("two slashes at the start", "//api/v1/pods"),
    ("two slashes inside", "/api/v1/namespaces//pods/x"),
    ("two slashes at the end", "/api/v1/pods//"),
    ("two slashes behind a proxy", "/api/v1/nodes/n/proxy//run"),
    ("a dot segment", "/api/./v1/pods"),
    ("two dots", "/api/v1/../v1/pods"),
    ("two dots at the end", "/api/v1/pods/.."),
    ("encoded dots", "/api/v1/%2e%2e/pods"),
    ("half encoded dots", "/api/v1/.%2E/pods"),
    ("an encoded single dot", "/api/v1/%2e/pods"),
    ("dots behind a proxy", "/api/v1/nodes/n/proxy/../../x"),
    ("encoded dots behind a proxy", "/api/v1/nodes/n/proxy/%2e%2e/x"),
    ("doubly encoded dots behind a proxy", "/api/v1/nodes/n/proxy/%252e%252e/x"),
    ("triply encoded dots behind a proxy", "/api/v1/nodes/n/proxy/%25252e%25252e/x"),
    ("many layers behind a proxy", "/api/v1/nodes/n/proxy/%25252525252525252e/x"),
    ("a doubly encoded slash behind a proxy", "/api/v1/nodes/n/proxy/a%252fb"),
    ("an encoded percent sign in the name before a proxy", "/api/v1/nodes/n%25/proxy/x"),
    ("an encoded percent sign in the namespace before a proxy", "/api/v1/namespaces/n%25/services/x/proxy/x"),
    ("an encoded slash", "/api/v1/namespaces/a%2Fb/pods"),
    ("an encoded slash in lower case", "/api/v1/namespaces/a%2fb/pods"),
    ("an encoded slash in a plain URL", "/health%2fz"),
    ("an encoded backslash", "/api/v1/namespaces/a%5Cb/pods"),
    ("a backslash", "/api/v1/namespaces/a\\b/pods"),
    ("a backslash in the query", "/api/v1/pods?a=\\"),
    ("an encoded NUL", "/api/v1/namespaces/a%00/pods"),
    ("an encoded line feed", "/api/v1/namespaces/a%0a/pods"),
    ("an encoded escape", "/api/v1/namespaces/a%1b[31m/pods"),
    ("an encoded C1 control", "/api/v1/namespaces/a%c2%9b/pods"),
    ("a raw NUL", "/api/v1/pods\x00"),
    ("a raw line feed", "/api/v1/pods\n"),
    ("a raw carriage return in the query", "/api/v1/pods?a=\r"),
    ("a raw space", "/api/v1/pods x"),
    ("raw letters beyond ASCII", "/api/v1/namespaces/é/pods"),
    ("a raw surrogate", "/api/v1/namespaces/\udc80/pods"),
    ("raw letters beyond ASCII in the query", "/api/v1/pods?a=é"),
    ("a semicolon", "/api/v1/pods;x=y"),
    ("an encoded semicolon", "/api/v1/pods%3bx=y"),
    ("a semicolon in the query", "/api/v1/pods?watch=0;watch=1"),
    ("a fragment", "/api/v1/pods#x"),
    ("a fragment in the query", "/api/v1/pods?a=b#x"),
    ("a broken escape", "/api/v1/pods%zz"),
    ("a cut escape", "/api/v1/pods%2"),
    ("a broken escape in the query", "/api/v1/pods?a=%zz"),
    ("a path that is not UTF-8", "/api/v1/namespaces/%ff/pods"),
    ("an overlong slash", "/api/v1/namespaces/%c0%af/pods"),
    ("an encoded surrogate", "/api/v1/namespaces/%ed%a0%80/pods"),
    ("a query that is not UTF-8", "/api/v1/pods?a=%ff"),
    ("double encoding", "/api/v1/namespaces/%252e%252e/pods"),
    ("any encoded percent sign in a name", "/api/v1/namespaces/50%25/pods"),
    ("an encoded percent sign in a plain URL", "/health%2541"),
    ("an encoded percent sign in discovery", "/apis/a%25"),
    ("absolute form", "https://kubernetes/api/v1/pods"),
    ("asterisk form", "*"),
    ("authority form", "kubernetes:443"),
    ("an empty target", ""),
    ("only a query", "?watch=1"),
    ("a watch of nothing", "/api/v1/watch"),
    ("a proxy of nothing", "/apis/apps/v1/proxy"),
    ("a path that is too long", "/" + "a" * 16384),
    ("a query that is too long", "/api/v1/pods?a=" + "a" * 49152),
    ("a query that is too long once it is written anew", "/api/v1/pods?a=" + "/" * 20000),
    ("a control character in the query", "/api/v1/pods?labelSelector=a%0ab"),
    ("a control character in a query key", "/api/v1/pods?a%00b=c"),
    ("a NUL in a command", EXEC + "?command=a%00b"),
    ("an escape character in a query behind a proxy", "/api/v1/nodes/n/proxy/?q=%1b"),
    ("a parameter given twice", "/api/v1/pods?limit=1&limit=2"),
    ("a selector given twice", "/api/v1/pods?fieldSelector=metadata.name%3Da&fieldSelector=metadata.name%3Db"),
    ("a container given twice", EXEC + "?container=a&container=b"),
    ("a terminal given twice", EXEC + "?tty=0&tty=1"),
    ("a dry run that is none", "/api/v1/pods?dryRun=all"),
    ("a dry run of nothing", "/api/v1/pods?dryRun="),
    ("a dry run next to another", "/api/v1/pods?dryRun=All&dryRun=None"),
    ("a limit that is no number", "/api/v1/pods?limit=five"),
    ("a timeout that is no number", "/api/v1/pods?timeoutSeconds=1.5"),
    ("a limit in other digits", "/api/v1/pods?limit=%D9%A3"),
]  # fmt: skip


@pytest.mark.parametrize("target", [row[1] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_pa01_what_two_parsers_could_read_differently_is_refused(target: str) -> None:
    answer = refused("GET", target)
    assert answer.code == 400
    assert answer.reason
    assert answer.reason.isprintable()


@pytest.mark.parametrize(
    "query",
    [
        "access_token=x",
        "token=x",
        "TOKEN=x",
        "Access-Token=x",
        "%74oken=x",
        "a=b&id_token=x",
        "authorization=Bearer+x",
        "token",
    ],
)
@pytest.mark.parametrize("path", ["/api/v1/pods", "/healthz", "/api/v1/namespaces/x/services/y/proxy/"])
def test_id12_a_token_in_the_query_is_401(path: str, query: str) -> None:
    answer = refused("GET", f"{path}?{query}")
    assert answer.code == 401
    assert "x" not in answer.reason.split()


def test_a_query_is_written_anew_in_its_order() -> None:
    request = read("GET", "/api/v1/pods?labelSelector=app in (a,b)&&x&continue=a/b=".replace(" ", "+"))
    assert request.parameters == (("labelSelector", "app in (a,b)"), ("x", ""), ("continue", "a/b="))
    assert request.query == "labelSelector=app%20in%20%28a%2Cb%29&x=&continue=a%2Fb%3D"
    assert request.target == "/api/v1/pods?" + request.query
    assert read("GET", "/api/v1/pods?").target == "/api/v1/pods"


def test_pa02_exec_is_a_connect_whatever_the_method() -> None:
    query = "?command=sh&command=-c&command=echo+1%0Aecho+%1b2&stdin=true&ports=1&ports=2"
    by_get, by_post = (
        read("GET", EXEC + query, upgrade="websocket"),
        read("POST", EXEC + query, upgrade="spdy/3.1"),
    )
    assert (by_get.verb, by_post.verb) == ("get", "create")
    assert by_get.is_connect
    assert by_post.is_connect
    assert not by_get.is_read
    assert [value for key, value in by_get.parameters if key == "command"] == [
        "sh",
        "-c",
        "echo 1\necho \x1b2",
    ]
    assert by_get.target == by_post.target


@pytest.mark.parametrize(
    ("target", "connects"),
    [
        (EXEC, True),
        ("/api/v1/namespaces/shop/pods/web-0/attach", True),
        ("/api/v1/namespaces/shop/pods/web-0/portforward", True),
        ("/api/v1/namespaces/shop/pods/web-0/proxy/x", True),
        ("/api/v1/namespaces/shop/services/web/proxy/x", True),
        ("/api/v1/nodes/n1/proxy/run/shop/web-0/app", True),
        ("/api/v1/namespaces/shop/pods/web-0/log", False),
        ("/api/v1/namespaces/shop/services/web/exec", False),
        ("/apis/other.dev/v1/namespaces/shop/pods/web-0/exec", False),
    ],
)
def test_pa03_connects(target: str, connects: bool) -> None:
    request = read("GET", target)
    assert request.is_connect is connects
    assert request.is_read is not connects


@pytest.mark.parametrize(
    ("target", "reads"),
    [
        ("/api/v1/pods?watch=1", True),
        ("/api/v1/namespaces/shop/pods/web-0/log", True),
        ("/api/v1/pods", False),
        ("/apis/subresources.kubevirt.io/v1/namespaces/shop/virtualmachineinstances/vm/console", False),
    ],
)
def test_an_upgraded_request_is_a_read_only_where_that_is_known(target: str, reads: bool) -> None:
    assert read("GET", target, upgrade="websocket").is_read is reads


def test_an_unknown_upgrade_is_refused() -> None:
    assert refused("GET", EXEC, upgrade="h2c\x1b").code == 400


def test_only_get_watches_by_prefix() -> None:
    assert refused("POST", "/api/v1/watch/pods").code == 405
    assert read("HEAD", "/api/v1/watch/pods").verb == "watch"


def test_identical_repeats_and_lists_are_no_ambiguity() -> None:
    assert read("GET", "/api/v1/pods?limit=1&limit=1").parameter("limit") == "1"
    assert read("POST", "/api/v1/pods?dryRun=All&dryRun=All").dry_run
    assert read("GET", "/api/v1/pods").parameter("limit") is None


def test_behind_a_proxy_the_query_belongs_to_the_server_there() -> None:
    request = read(
        "GET", "/api/v1/namespaces/m/services/prom/proxy/api/v1/query?q=a%0Ab&q=c&dryRun=x&limit=x"
    )
    assert request.parameters == (("q", "a\nb"), ("q", "c"), ("dryRun", "x"), ("limit", "x"))


class TestDryRun:
    def test_the_query_asks_for_it(self) -> None:
        for method, target in (
            ("POST", "/api/v1/namespaces/shop/pods"),
            ("PUT", "/api/v1/namespaces/shop/pods/x"),
            ("PATCH", "/api/v1/namespaces/shop/pods/x"),
            ("DELETE", "/api/v1/namespaces/shop/pods/x"),
            ("DELETE", "/api/v1/namespaces/shop/pods"),
        ):
            assert read(method, target + "?dryRun=All").dry_run
            assert not read(method, target).dry_run

    def test_a_delete_with_a_body_takes_its_options_from_the_body_alone(self) -> None:
        by_query = dataclasses.replace(
            read("DELETE", "/api/v1/namespaces/shop/pods/x?dryRun=All"), body=b"{}"
        )
        assert not by_query.dry_run
        assert not dataclasses.replace(by_query, payload=Payload(options={})).dry_run
        assert dataclasses.replace(by_query, payload=Payload(options={"dryRun": ["All"]})).dry_run

    @pytest.mark.parametrize(
        "target",
        [
            EXEC,
            "/api/v1/namespaces/shop/services/web/proxy/x",
            "/api/v1/namespaces/shop/serviceaccounts/x/token",
        ],
    )
    def test_some_writes_know_no_dry_run(self, target: str) -> None:
        assert not read("POST", target + "?dryRun=All").dry_run


SEGMENT = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x2FFF), min_size=1, max_size=8)
RAW = st.one_of(
    st.text(max_size=60),
    st.lists(st.sampled_from(["/", "api", "apis", "v1", "watch", "proxy", "namespaces", "pods", "x", ".", "..", "%2e", "%2F", "%25", ";", "//", "?", "&", "=", "watch=1", "é", "%", "+", "#", "*", "exec"]), max_size=14).map("".join),
    st.builds(
        lambda segments, query: "/api/v1/" + "/".join(segments) + "?" + query,
        st.lists(st.sampled_from(["namespaces", "pods", "x", "proxy", "services", "watch", "a%25", "%C3%A9", "a:b", "exec", "nodes"]), min_size=1, max_size=6),
        st.lists(st.sampled_from(["watch=1", "a=b+c", "a=%2B", "x", "=", "fieldSelector=metadata.name%3Dq", "dryRun=All", "c=%C3%A9", "command=a%0A"]), max_size=4).map("&".join),
    ),
)  # fmt: skip


@given(method=st.one_of(st.sampled_from(METHODS), st.text(max_size=6)), target=RAW)
@example(method="GET", target="/api/v1/nodes/n/proxy/50%2525/?a=%0a")
def test_no_input_makes_parse_raise_and_the_canonical_target_is_its_own_parse(
    method: str, target: str
) -> None:
    request = parse(method, target)
    if isinstance(request, Request):
        assert parse(method, request.target) == request
        assert request.target.isascii()
        assert request.target.isprintable()
        assert "//" not in request.path
        assert "/../" not in request.path + "/"
    else:
        assert request.code in (400, 401, 405)
        assert request.reason.isprintable()


@given(segments=st.lists(SEGMENT, min_size=1, max_size=5))
def test_what_was_encoded_arrives_as_it_was_or_is_refused(segments: list[str]) -> None:
    target = "/apis/g/v1/things/" + "/".join(quote(segment, safe="") for segment in segments)
    request = parse("GET", target)
    if isinstance(request, Request):
        assert request.name == segments[0]
        assert request.subresource == (segments[1] if len(segments) > 1 else "")
        assert not any(set("/\\;%") & set(segment) or segment in (".", "..") for segment in segments)
