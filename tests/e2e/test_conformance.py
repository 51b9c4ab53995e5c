"""kubectl's everyday verbs give byte for byte the same through the gateway as directly, with the same identity."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from hack.stack.kubectl import Kubectl

pytestmark = pytest.mark.cluster

CHANCE = re.compile(r"https://127\.0\.0\.1:\d+|\b[0-9a-f]{64}\b")
"""The server's address, an exec's own id."""
AGE = re.compile(r"(?<=   )(\d+[smhdy])+(?=\s)")
"""In a column of a table: seconds pass between two commands."""
DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      automountServiceAccountToken: false
      terminationGracePeriodSeconds: 0
      containers: [{name: web, image: "localhost/busybox:1", imagePullPolicy: Never, command: [sleep, "1000000"]}]
"""
CONFIGMAP = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {colour: blue}\n"
CHANGED = CONFIGMAP.replace("blue", "green")


@dataclass(frozen=True)
class Step:
    """One kubectl command; stdin is fed to it."""

    words: str
    stdin: str = ""


def case(title: str, *steps: str | Step) -> object:
    return pytest.param([Step(step) if isinstance(step, str) else step for step in steps], id=title)


CASES = [
    case("get_table", "get namespaces", "get ns kube-system default"),
    case("get_wide", "get nodes -o wide --no-headers=false"),
    case("get_json_and_yaml", "get ns kube-system -o json", "get ns kube-system -o yaml"),
    case(
        "get_jsonpath_and_columns",
        "get ns -o jsonpath={.items[*].metadata.name}",
        "get ns -o custom-columns=N:.metadata.name",
    ),
    case(
        "get_by_selectors",
        "get clusterroles -l kubernetes.io/bootstrapping=rbac-defaults -o name",
        "get ns --field-selector metadata.name=default -o name",
    ),
    case("get_sorted", "get clusterroles --sort-by .metadata.name -o name"),
    case("get_chunked", "get clusterroles --chunk-size=5 -o name"),
    case("get_missing", "get pod nobody", "get ns nobody", "get nosuchkind"),
    case("get_raw", "get --raw /version", "get --raw /apis/apps/v1", "get --raw /readyz"),
    case("describe", "describe ns kube-system", "describe clusterrole view"),
    case(
        "create_get_delete",
        Step("create -f -", CONFIGMAP),
        "get configmap settings -o jsonpath={.data}",
        "delete configmap settings",
    ),
    case(
        "create_twice",
        Step("create -f -", CONFIGMAP),
        Step("create -f -", CONFIGMAP),
        "delete configmap settings",
    ),
    case(
        "create_invalid",
        Step("create -f -", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: Not_Valid}\n"),
    ),
    case(
        "apply_client_side",
        Step("apply -f -", CONFIGMAP),
        Step("apply -f -", CONFIGMAP),
        Step("apply -f -", CHANGED),
        "delete configmap settings",
    ),
    case(
        "apply_server_side",
        Step("apply --server-side -f -", CONFIGMAP),
        Step("apply --server-side -f -", CHANGED),
        "delete configmap settings",
    ),
    case(
        "apply_conflict",
        Step("apply --server-side --field-manager=one -f -", CONFIGMAP),
        Step("apply --server-side --field-manager=two -f -", CHANGED),
        "delete configmap settings",
    ),
    case("diff", Step("apply -f -", CONFIGMAP), Step("diff -f -", CONFIGMAP), "delete configmap settings"),
    case(
        "patch_of_each_kind",
        Step("create -f -", CONFIGMAP),
        'patch configmap settings --type=merge -p {"data":{"a":"1"}}',
        'patch configmap settings --type=strategic -p {"data":{"b":"2"}}',
        'patch configmap settings --type=json -p [{"op":"remove","path":"/data/a"}]',
        "get configmap settings -o jsonpath={.data}",
        "delete configmap settings",
    ),
    case(
        "replace_and_label",
        Step("create -f -", CONFIGMAP),
        Step("replace -f -", CHANGED),
        "label configmap settings tier=one",
        "annotate configmap settings note=two",
        "delete configmap settings",
    ),
    case(
        "dry_runs",
        Step("create --dry-run=server -f -", CONFIGMAP),
        Step("create --dry-run=client -f -", CONFIGMAP),
        Step("apply --dry-run=server -f -", CONFIGMAP),
    ),
    case(
        "deployment_life",
        Step("apply -f -", DEPLOYMENT),
        "rollout status deployment/web --timeout=120s",
        "wait --for=condition=Available deployment/web --timeout=120s",
        "scale deployment web --replicas=0",
        "rollout status deployment/web --timeout=120s",
        "rollout history deployment/web",
        "set env deployment/web A=b",
        "rollout restart deployment/web",
        "rollout undo deployment/web --to-revision=1",
        "delete deployment web --wait=true",
    ),
    case("delete_missing", "delete configmap nobody", "delete configmap nobody --ignore-not-found"),
    case(
        "delete_by_label",
        Step("create -f -", CONFIGMAP),
        "label configmap settings x=y",
        "delete configmap -l x=y",
    ),
    case(
        "auth_can_i",
        "auth can-i list pods",
        "auth can-i --list",
        "auth can-i delete ns --subresource=finalize",
    ),
    case("api_resources", "api-resources", "api-resources --api-group=apps -o name", "api-versions"),
    case("explain", "explain pods.spec.containers.image", "explain deployment --recursive"),
    case("top_without_metrics", "top nodes", "top pods -A"),
    case(
        "drain_dry_run",
        "drain localhost --dry-run=server --ignore-daemonsets --force --delete-emptydir-data --disable-eviction",
    ),
    case("cordon_dry_run", "cordon localhost --dry-run=server"),
    case("token", "create serviceaccount robot", "delete serviceaccount robot"),
    case("version", "version"),
    case("cluster_info_of_nothing", "get all"),
    case(
        "quoting_in_names",
        "get configmap system:x",
        "get clusterrole system:node -o name",
        "get clusterrolebinding system:basic-user -o name",
    ),
]
TALKER = [
    case("logs", "logs talker", "logs talker --tail=2", "logs talker --limit-bytes=10", "logs nobody"),
    case("logs_of_a_missing_container", "logs talker -c nobody"),
    case(
        "exec",
        "exec shell -- echo hello",
        "exec shell -- sh -c 'echo out; echo err >&2; exit 7'",
        "exec nobody -- true",
        "exec shell -- nosuchprogram",
    ),
    case(
        "exec_stdin",
        Step("exec -i shell -- wc -c", "x" * 100_000),
        Step("exec -i shell -- cat", "over\n" * 1000),
    ),
    case("exec_much_output", "exec shell -- sh -c 'yes 0123456789 | head -c 5000000'"),
    case(
        "get_pods",
        "get pods -o name",
        "get pod shell -o yaml",
        "describe pod shell --show-events=false",
        "get events -o name --field-selector involvedObject.name=nobody",
    ),
    case("wait_for_pod", "wait --for=condition=Ready pod/shell --timeout=60s"),
]


@pytest.mark.parametrize("steps", CASES)
def test_same_output(conformant: tuple[Kubectl, Kubectl], namespace: str, steps: Sequence[Step]) -> None:
    compare(conformant, namespace, steps)


@pytest.mark.pods
@pytest.mark.parametrize("steps", TALKER)
def test_same_output_of_pods(
    conformant: tuple[Kubectl, Kubectl], pod_namespace: str, steps: Sequence[Step]
) -> None:
    compare(conformant, pod_namespace, steps)


@pytest.fixture(scope="session")
def namespace(admin: Kubectl) -> str:
    admin.apply(
        "making a namespace", [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "conf"}}]
    )
    return "conf"


def compare(ways: tuple[Kubectl, Kubectl], namespace: str, steps: Sequence[Step], attempts: int = 3) -> None:
    """The cluster moves on between two runs: equal in one of three attempts is equal, never equal is a difference."""
    for _ in range(attempts):
        direct = [outcome(ways[0], namespace, step) for step in steps]
        through = [outcome(ways[1], namespace, step) for step in steps]
        if direct == through:
            return
    assert through == direct


def outcome(kubectl: Kubectl, namespace: str, step: Step) -> tuple[str, int, str, str]:
    done = kubectl.run("-n", namespace, *split(step.words), stdin=step.stdin)
    return step.words, done.returncode, AGE.sub("-", done.stdout), CHANCE.sub("-", done.stderr)


def split(words: str) -> list[str]:
    """Words at blanks; what stands between single quotes is one word."""
    return [word.strip("'") for word in re.findall(r"'[^']*'|\S+", words)]


@pytest.mark.pods
def test_copy_there_and_back(conformant: tuple[Kubectl, Kubectl], pod_namespace: str, tmp_path: Path) -> None:
    source = tmp_path / "tree"
    (source / "deep").mkdir(parents=True)
    (source / "deep" / "blob").write_bytes(bytes(range(256)) * 20_000)
    (source / "note.txt").write_text("grüße\n")
    through = conformant[1]
    back = tmp_path / "back"
    there = through.run("cp", "-n", pod_namespace, str(source), "shell:/tmp/tree")
    assert there.returncode == 0, there.stderr
    again = through.run("cp", "-n", pod_namespace, "shell:/tmp/tree", str(back))
    assert again.returncode == 0, again.stderr
    assert (back / "deep" / "blob").read_bytes() == (source / "deep" / "blob").read_bytes()
    assert (back / "note.txt").read_text() == "grüße\n"


def test_edit_in_an_editor(conformant: tuple[Kubectl, Kubectl], namespace: str) -> None:
    def edited(kubectl: Kubectl) -> list[object]:
        made = kubectl.run("-n", namespace, "create", "-f", "-", stdin=CONFIGMAP)
        done = subprocess.run(
            kubectl.command("-n", namespace, "edit", "configmap", "settings"),
            env={**kubectl.environment(), "KUBE_EDITOR": "sed -i s/blue/green/"},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        found = kubectl.run("-n", namespace, "get", "configmap", "settings", "-o", "jsonpath={.data}")
        kubectl.run("-n", namespace, "delete", "configmap", "settings")
        return [made.returncode, done.returncode, done.stdout, done.stderr, found.stdout]

    direct, through = (edited(kubectl) for kubectl in conformant)
    assert through == direct
    assert through[-1] == '{"colour":"green"}'
