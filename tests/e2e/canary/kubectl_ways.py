"""kubectl, new and old, in all its output formats and with all its verbs that show something."""

from __future__ import annotations

import json
import subprocess
import urllib.request
from collections.abc import Iterator

from hack.stack.kubectl import KUBECTL
from hack.stack.ports import free_port
from tests.e2e.canary.ways import Env, Expect, Reader, Way, kubectl, old_kubectl
from tests.e2e.waiting import until

NAMESPACED = (
    "secrets,configmaps,pods,deployments,replicasets,statefulsets,controllerrevisions,daemonsets,jobs,cronjobs,"
    "replicationcontrollers,podtemplates,events,persistentvolumeclaims,services,endpoints,endpointslices,ingresses,"
    "networkpolicies,roles,rolebindings,serviceaccounts,horizontalpodautoscalers,poddisruptionbudgets,limitranges,"
    "resourcequotas,leases,widgets,releases"
)
GLOBAL = "persistentvolumes,storageclasses,priorityclasses,customresourcedefinitions,namespaces,nodes"
SHOWS_NOTHING = ("-o name", "--show-kind --no-headers", "--show-labels", "-L app")
FORMATS = (
    "-o json", "-o yaml", "-o yaml --show-managed-fields", "-o json --chunk-size=2", "-o jsonpath={.items}",
    "-o jsonpath-as-json={.items[*]}", "-o jsonpath={range.items[*]}{.metadata.annotations}{.data}{.spec}{.status}{end}",
    "-o go-template={{.items}}", "-o custom-columns=D:.data,S:.spec,A:.metadata.annotations,T:.template,M:.message",
)  # fmt: skip
"""Formats that show whole objects."""
PLAIN = ("controllerrevisions", "endpointslices", "leases", "limitranges", "resourcequotas")
"""Described without their annotations."""
SKEWED = ("cronjobs", "horizontalpodautoscalers", "poddisruptionbudgets", "endpointslices")
"""A new kubectl describes only versions of these that an old server does not have."""
DONE, EITHER = Expect.DONE, Expect.EITHER
EDITOR = {"KUBE_EDITOR": "cat"}


def gets() -> Iterator[Way]:
    yield kubectl("get secrets -n {ns} -o json", name="kubectl get secrets, which makes them known")
    for resources, place, what in ((NAMESPACED, "-n {ns}", "EVERYTHING"), (GLOBAL, "", "CLUSTER-WIDE")):
        for form in FORMATS:
            yield kubectl(f"get {resources} {place} {form}", name=f"kubectl get {what} {form}")
        for form in ("", "-o wide", *SHOWS_NOTHING):
            yield kubectl(f"get {resources} {place} {form}", DONE, name=f"kubectl get {what} {form}")
    for resources in ("secrets", "pods,configmaps", "widgets", "events"):
        yield kubectl(f"get {resources} -A -o json")
    yield kubectl("get widgets -n {ns}")
    yield kubectl("get events -n {ns}")
    yield kubectl("events -n {ns}")
    yield kubectl("events -n {ns} -o json")
    yield kubectl("get secret opaque -n {ns} -o jsonpath={.data.ORDINARY}")
    yield kubectl("get secret/opaque -n {ns} -o 'go-template={{.data.ORDINARY | base64decode}}'")
    yield kubectl(
        "get secret opaque -n {ns} -o 'go-template={{range $k,$v := .data}}{{$v | base64decode}}{{end}}'"
    )
    yield kubectl("get pods -n {ns} --sort-by=.spec.containers[0].env[1].value -o yaml")
    yield kubectl("get all -n {ns} -o yaml")
    yield kubectl("get secret opaque -n {ns} -o json -v=9")
    yield kubectl("get deployment web -n {ns} -o yaml --v=8")
    yield kubectl("get pods -n {ns} -l app=shell -o yaml")
    yield kubectl("get secrets -n {ns} --field-selector type=Opaque -o yaml")
    yield kubectl("get pods -n {ns} -o yaml --watch", watches=True)
    yield kubectl("get secrets -n {ns} -o json -w", watches=True)
    yield kubectl("get widgets -n {ns} -w", watches=True)
    yield kubectl("get events -n {ns} -w --output-watch-events", watches=True)
    yield kubectl("events -n {ns} --watch", watches=True)


def describes() -> Iterator[Way]:
    for resources in NAMESPACED.split(","):
        describe = old_kubectl if resources in SKEWED else kubectl
        yield describe(f"describe {resources} -n {{ns}}", DONE if resources in PLAIN else Expect.MASKED)
    for resources in GLOBAL.split(","):
        shows = resources in (
            "persistentvolumes",
            "storageclasses",
            "priorityclasses",
            "customresourcedefinitions",
        )
        yield kubectl(f"describe {resources}", Expect.MASKED if shows else DONE)
    yield kubectl("describe pod shell -n {ns}")
    yield kubectl("describe secret token-of-robot -n {ns}")


def others() -> Iterator[Way]:
    for path in ("/api/v1/namespaces/{ns}/", "/api/v1/"):
        for resource in ("secrets", "configmaps", "pods", "events"):
            yield kubectl(f"get --raw {path}{resource}")
    yield kubectl("get --raw /api/v1/namespaces/{ns}/secrets?watch=true&timeoutSeconds=2")
    yield kubectl("get --raw /api/v1/watch/namespaces/{ns}/secrets?timeoutSeconds=2")
    yield kubectl("get --raw /api/v1/namespaces/{ns}/secrets/opaque?pretty=true")
    yield kubectl("get --raw /apis/canary.example/v1/namespaces/{ns}/widgets?limit=1")
    yield kubectl("get --raw /apis/canary.example/v1/namespaces/{ns}/widgets/w1/status")
    yield kubectl("get --raw /apis/apps/v1/namespaces/{ns}/deployments/web/status")
    yield kubectl("get --raw /openapi/v2", DONE)
    yield kubectl("get --raw /metrics", EITHER)
    yield kubectl("rollout history deployment/web -n {ns} --revision=1")
    yield kubectl("rollout history deployment/web -n {ns} -o yaml --revision=2")
    yield kubectl("rollout history statefulset/db -n {ns} --revision=1")
    yield kubectl("rollout history daemonset/agent -n {ns} --revision=1 -o json")
    yield kubectl("rollout status deployment/web -n {ns} --timeout=5s", DONE)
    yield kubectl("rollout undo deployment/web -n {ns} --dry-run=server -o yaml", EITHER)
    yield kubectl("set env deployment/web -n {ns} --list", DONE)
    yield kubectl("set env pod/shell -n {ns} --list --resolve", EITHER)
    yield kubectl("set env deployment/web -n {ns} LOG_LEVEL=debug --dry-run=server -o yaml")
    yield kubectl("set image deployment/web -n {ns} web=registry.example/shop:1.4.3 --dry-run=server -o json")
    yield kubectl("label secret opaque -n {ns} canary=seen --overwrite -o yaml")
    yield kubectl("annotate configmap files -n {ns} canary=seen --overwrite -o json")
    yield kubectl('patch secret opaque -n {ns} --type=merge -p {"metadata":{"labels":{"x":"y"}}} -o yaml')
    yield kubectl('patch widget w1 -n {ns} --type=merge -p {"spec":{"level":"debug"}} -o yaml')
    yield kubectl(
        'patch deployment web -n {ns} -p {"spec":{"template":{"spec":{"containers":[{"name":""}]}}}}', EITHER
    )
    yield kubectl(
        'patch pod unborn -n {ns} -p {"spec":{"containers":[{"name":"web","env":[{"name":"X","value":"y"}]}]}}',
        EITHER,
    )
    yield kubectl(
        'patch job migrate -n {ns} -p {"spec":{"template":{"spec":{"containers":[{"name":"main","image":"x"}]}}}}',
        EITHER,
    )
    yield kubectl('patch secret frozen -n {ns} -p {"stringData":{"pin":"0000"}}', EITHER)
    yield kubectl('patch service canary -n {ns} -p {"spec":{"ports":[{"port":0,"protocol":"TCP"}]}}', EITHER)
    yield kubectl("scale deployment web -n {ns} --replicas=0 -o yaml", EITHER)
    yield kubectl("expose deployment web -n {ns} --port=80 --name=other --dry-run=server -o yaml", EITHER)
    yield kubectl("apply view-last-applied secret by-hand -n {ns}")
    yield kubectl("apply view-last-applied configmap by-hand -n {ns} -o json")
    yield kubectl("edit secret opaque -n {ns}", env=EDITOR)
    yield kubectl("edit deployment web -n {ns} -o json", env=EDITOR)
    yield kubectl("edit configmap files -n {ns}", env=EDITOR)
    yield kubectl("explain secrets", DONE)
    yield kubectl("explain widgets --recursive", DONE)
    yield kubectl("explain pods.spec.containers.env", DONE)
    yield kubectl("api-resources -o wide", DONE)
    yield kubectl("api-versions", DONE)
    yield kubectl("version -o yaml", DONE)
    yield kubectl("auth can-i --list -n {ns}", DONE)
    yield kubectl("auth whoami", EITHER)
    yield kubectl("top pods -n {ns}", EITHER)
    yield kubectl("cluster-info dump --namespaces={ns}")
    yield kubectl("create token robot -n {ns}", EITHER)
    yield kubectl("delete configmaps --all -n {ns} --dry-run=server -v=8", EITHER)
    yield kubectl("delete secret opaque -n {ns} --dry-run=server -v=8", EITHER)
    yield kubectl("wait --for=condition=Ready pod/shell -n {ns} --timeout=5s -o yaml")
    yield Way("kubectl diff", diff)
    yield Way("kubectl apply --dry-run=server", dry_apply)
    yield Way("kubectl apply --server-side --dry-run=server", server_side_dry_apply)
    yield Way("kubectl replace of what it read", replace)
    yield Way("kubectl proxy", proxy)


def _manifest(reader: Reader) -> str:
    """What an agent that knows nothing of the secret would write."""
    metadata = {"name": "by-hand", "namespace": reader.namespace, "labels": {"by": "agent"}}
    items = [
        {"apiVersion": "v1", "kind": kind, "metadata": metadata, field: {"LOG_LEVEL": "debug"}}
        for kind, field in (("ConfigMap", "data"), ("Secret", "stringData"))
    ]
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items})


def diff(reader: Reader) -> tuple[int, bytes]:
    code, output = reader.run([str(KUBECTL), "diff", "-f", "-"], stdin=_manifest(reader))
    return (0 if code == 1 else code), output


def dry_apply(reader: Reader) -> tuple[int, bytes]:
    return reader.run(
        [str(KUBECTL), "apply", "--dry-run=server", "-o", "yaml", "-f", "-"], stdin=_manifest(reader)
    )


def server_side_dry_apply(reader: Reader) -> tuple[int, bytes]:
    words = ["apply", "--server-side", "--force-conflicts", "--dry-run=server", "-o", "yaml", "-f", "-"]
    return reader.run([str(KUBECTL), *words], stdin=_manifest(reader))


def replace(reader: Reader) -> tuple[int, bytes]:
    _, document = reader.run([str(KUBECTL), "get", "secret", "opaque", "-n", reader.namespace, "-o", "json"])
    code, output = reader.run([str(KUBECTL), "replace", "-f", "-", "-o", "yaml"], stdin=document.decode())
    return code, document + output


def proxy(reader: Reader) -> tuple[int, bytes]:
    """A browser or curl behind `kubectl proxy`."""
    port = free_port()
    command = [str(KUBECTL), "proxy", f"--port={port}"]
    process = subprocess.Popen(
        command, env=reader.kubectl.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        until("kubectl proxy", lambda: _fetch(port, "/version"), seconds=30)
        paths = (
            f"/api/v1/namespaces/{reader.namespace}/{resource}"
            for resource in ("secrets", "pods", "configmaps")
        )
        return 0, b"".join(_fetch(port, path) for path in paths)
    finally:
        process.terminate()
        process.wait(timeout=30)


def _fetch(port: int, path: str) -> bytes:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=60) as answer:
            return bytes(answer.read())
    except OSError:
        return b""


def streams() -> Iterator[Way]:
    """Logs, exec, cp and attach: over WebSockets, over SPDY, and by an old kubectl."""
    for line in (
        "logs talker -n {ns}", "logs talker -n {ns} --tail=3", "logs talker -n {ns} --since=10h --timestamps",
        "logs talker -n {ns} --prefix", "logs -l app=talker -n {ns} --tail=-1", "logs fallen -n {ns} --previous",
        "logs fallen -n {ns} --all-containers", "logs pod/talker -n {ns} -c main --limit-bytes=1000000",
    ):  # fmt: skip
        yield kubectl(line)
    for limit in (90, 111, 222, 333, 444, 777, 1111, 1600):
        yield kubectl(f"logs talker -n {{ns}} --limit-bytes={limit}", DONE if limit < 150 else Expect.MASKED)
    yield kubectl("logs -f chatter -n {ns}", watches=True)
    yield kubectl("logs -f chatter -n {ns} --tail=1 --timestamps", watches=True)
    for websockets in ("true", "false"):
        env = {"KUBECTL_REMOTE_COMMAND_WEBSOCKETS": websockets}
        kind = "websocket" if websockets == "true" else "spdy"
        for line in EXECS:
            yield kubectl(line, name=f"{kind}: kubectl {line}", env=env)
        yield kubectl(ATTACH, name=f"{kind}: kubectl {ATTACH}", env=env, watches=True)
        yield Way(f"{kind}: kubectl cp", lambda reader, env=env: copy(reader, str(KUBECTL), env))  # type: ignore[misc]
    for line in (
        "get secrets,pods,configmaps -n {ns} -o yaml", "get secrets -n {ns} -o wide", "describe secrets -n {ns}", "describe pods -n {ns}",
        "logs talker -n {ns}", "rollout history deployment/web -n {ns} --revision=1", "get events -n {ns}",
    ):  # fmt: skip
        yield old_kubectl(line, DONE if "wide" in line else Expect.MASKED)
    yield old_kubectl("edit secret opaque -n {ns}", env=EDITOR)
    yield old_kubectl("exec -n {ns} shell -- env")
    yield Way("kubectl-1.20 cp", lambda reader: copy(reader, str(reader.programs["kubectl-1.20"]), {}))


EXECS = (
    "exec -n {ns} shell -- env",
    "exec -n {ns} shell -- sh -c 'env >&2'",
    "exec -n {ns} shell -t -- sh -c 'cat /tmp/canary/*'",
    "exec -n {ns} shell -- sh -c 'cat /etc/canary/*'",
    "exec -n {ns} shell -- cat /var/run/secrets/kubernetes.io/serviceaccount/token",
    "exec -n {ns} shell -- cat /proc/1/environ",
    "exec -n {ns} shell -- sh -c 'dd if=/tmp/canary/id_rsa bs=1'",
    "exec -n {ns} shell -- base64 -w0 /etc/canary/ORDINARY",
    'exec -n {ns} shell -- sh -c \'hexdump -v -e "/1 \\"%02x\\"" /etc/canary/ORDINARY\'',
    "exec -n {ns} shell -- tar cf - /etc/canary /tmp/canary",
)
ATTACH = "attach -n {ns} chatter"


def copy(reader: Reader, program: str, env: Env) -> tuple[int, bytes]:
    code, output = reader.run([program, "cp", f"{reader.namespace}/shell:/tmp/canary", "copied"], env=env)
    return code, output + reader.files()
