"""`policy check`, `policy explain` and `policy test`, as a platform team runs them."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import parse as parse_xml

import pytest
import yaml

from tests.cli.conftest import Done, Shell
from tests.cli.fake_cluster import FakeCluster
from tests.core.policies import policy_object, rule

EXAMPLE = "docs/examples/coding-agents.yaml"
FIXTURES = "docs/examples/policy-tests"
FAULTY = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: other}
---
apiVersion: chaperone.dev/v1alpha1
kind: AgentPolicy
metadata: {name: faulty}
spec:
  subjects:
  - groups: [agents]
  identity:
    serviceAccount: {namespace: agents, name: coder}
  rules:
  - name: first
    match:
      verbs: [got]
      expression: object.spec.replicas ==
    action: Perhaps
  approval:
    requiered: 2
"""


def write(folder: Path, name: str, *objects: Any) -> str:
    path = folder / name
    path.write_text("---\n".join(item if isinstance(item, str) else yaml.safe_dump(item) for item in objects))
    return str(path)


# check


def test_a_good_file_is_good_and_its_warnings_are_told(shell: Shell) -> None:
    done = shell("policy", "check", EXAMPLE)
    assert done.code == 0
    assert done.out.endswith("1 policy, 0 faults, 1 warning\n") or done.out.endswith(
        "1 policy, 0 faults, 0 warnings\n"
    )
    assert "ClusterRole is not an AgentPolicy: not looked at" in done.err


def test_every_fault_has_its_line_and_its_field(shell: Shell, tmp_path: Path) -> None:
    path = write(tmp_path, "faulty.yaml", FAULTY)
    done = shell("policy", "check", path)
    assert done.code == 1
    total = done.out.splitlines()[-1]
    assert _places(done.out, path) == [
        (16, "spec.rules[0].match.verbs[0]"),
        (17, "spec.rules[0].match.expression"),
        (18, "spec.rules[0].action"),
        (20, "spec.approval.requiered"),
    ]
    assert total.startswith("1 policy, 4 faults")


def _places(out: str, path: str) -> list[tuple[int, str]]:
    lines = [line.removeprefix(f"{path}:").split(": ") for line in out.splitlines() if line.startswith(path)]
    return sorted((int(words[0]), words[1]) for words in lines)


def test_standard_input_and_several_files(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(FAULTY.encode())))
    done = shell("policy", "check", "-", EXAMPLE)
    assert done.code == 1
    assert "standard input:20: spec.approval.requiered" in done.out
    assert "2 policies, 4 faults" in done.out


def test_what_is_no_yaml_is_a_fault_with_its_line(shell: Shell, tmp_path: Path) -> None:
    done = shell("policy", "check", write(tmp_path, "bad.yaml", "a: 1\nb: ["))
    assert done.code == 1
    assert "bad.yaml:2: the file is not YAML" in done.out


def test_a_misspelt_kind_of_ours_is_a_fault_and_not_passed_over(shell: Shell, tmp_path: Path) -> None:
    obj = {**policy_object(), "kind": "AgentPolicey"}
    done = shell("policy", "check", write(tmp_path, "p.yaml", obj))
    assert done.code == 1
    assert ": kind: must be one of AgentPolicy" in done.out


def test_no_policy_at_all_is_not_good(shell: Shell, tmp_path: Path) -> None:
    done = shell("policy", "check", write(tmp_path, "none.yaml", {"kind": "ConfigMap"}))
    assert (done.code, done.out) == (1, "there is no AgentPolicy in it\n")


def test_two_policies_of_one_name_are_a_fault(shell: Shell, tmp_path: Path) -> None:
    done = shell("policy", "check", write(tmp_path, "twice.yaml", policy_object("p"), policy_object("p")))
    assert done.code == 1
    assert '"p" is the name of an earlier policy' in done.out


@pytest.mark.parametrize("where", ["name", "rule", "field", "kind"])
def test_a_file_cannot_write_on_the_terminal(shell: Shell, tmp_path: Path, where: str) -> None:
    """Files come with pull requests, and their words into the logs of CI."""
    hostile = "x\x1b[2J\u202ey"
    obj = policy_object(hostile if where == "name" else "p")
    if where == "rule":
        obj["spec"]["rules"] = [rule("Deny", name=hostile, expression=f"'{hostile}' ==")]
    if where == "field":
        obj["spec"][hostile] = {hostile: 1}
    if where == "kind":
        obj["kind"] = hostile
    path = write(tmp_path, "p.yaml", obj, obj)
    for command in (("check", path), ("explain", path, "--as-user", "u", "get", "pods", "p")):
        done = shell("policy", *command)
        assert "\u202e" not in done.out + done.err


def test_strict_counts_warnings(shell: Shell, tmp_path: Path) -> None:
    lenient = policy_object(defaults={"critical": "Allow"})
    path = write(tmp_path, "lenient.yaml", lenient)
    assert shell("policy", "check", path).code == 0
    assert "warning: spec.defaults.critical" in shell("policy", "check", path).out
    assert shell("policy", "check", "--strict", path).code == 1


# explain


def explained(shell: Shell, *arguments: str, user: str = "u", groups: str = "ai-agents") -> dict[str, Any]:
    done = shell(
        "policy", "explain", EXAMPLE, "--as-user", user, "--groups", groups, "-o", "json", *arguments
    )
    assert done.code == 0, done.err
    return dict(json.loads(done.out))


@pytest.mark.parametrize(
    ("arguments", "request_", "verdict", "rule_"),
    [
        (("delete", "ns", "prod"), "DELETE /api/v1/namespaces/prod", "Hold", "namespaces-go-with-approval"),
        (("get", "po", "web"), "GET /api/v1/namespaces/default/pods/web", "Allow", "defaults"),
        (("list", "pods", "-A"), "GET /api/v1/pods", "Allow", "defaults"),
        (
            ("watch", "deploy", "-n", "demo"),
            "GET /apis/apps/v1/namespaces/demo/deployments",
            "Allow",
            "defaults",
        ),
        (
            ("delete", "deployments.apps", "web", "-n", "kube-system"),
            "DELETE /apis/apps/v1/namespaces/kube-system/deployments/web",
            "Deny",
            "platform-is-read-only",
        ),
        (
            ("get", "widgets.v2.example.com", "w", "-n", "demo"),
            "GET /apis/example.com/v2/namespaces/demo/widgets/w",
            "Allow",
            "defaults",
        ),
        (("get", "widgets.example.com", "w"), "GET /apis/example.com/v1/widgets/w", "Allow", "defaults"),
        (
            ("create", "pods/exec", "web", "-n", "demo"),
            "POST /api/v1/namespaces/demo/pods/web/exec",
            "Hold",
            "defaults",
        ),
        (("deletecollection", "ns"), "DELETE /api/v1/namespaces", "Deny", "platform-is-read-only"),
        (("watch", "ns", "kube-system"), "GET /api/v1/namespaces", "Allow", "defaults"),
        (("--path", "/version"), "GET /version", "Allow", "defaults"),
        (
            ("--method", "delete", "--path", "/api/v1/namespaces/prod?gracePeriodSeconds=0"),
            "DELETE /api/v1/namespaces/prod",
            "Hold",
            "namespaces-go-with-approval",
        ),
    ],
)
def test_a_request_in_kubectls_words_is_judged_as_the_gateway_would(
    shell: Shell, arguments: tuple[str, ...], request_: str, verdict: str, rule_: str
) -> None:
    told = explained(shell, *arguments)
    assert f"{told['request']['method']} {told['request']['path']}" == request_
    assert (told["verdict"], told["rule"]) == (verdict, rule_)


def test_why_not_is_told_for_every_rule(shell: Shell) -> None:
    out = shell(
        *("policy", "explain", EXAMPLE, "--as-user", "u", "--groups", "x,ai-agents"),
        *("create", "pods/exec", "web", "-n", "demo"),
    ).out
    assert "verdict  Hold" in out
    assert "rule     defaults" in out
    assert 'namespaces: kube-* does not match "demo"' in out
    assert 'resources: namespaces does not match "pods/exec"' in out


def test_who_is_not_governed_is_told_why(shell: Shell) -> None:
    out = shell("policy", "explain", EXAMPLE, "--as-user", "u", "get", "pods", "p").out
    assert "policy coding-agents: does not govern this caller" in out
    assert "subjects[0]: no group is one of ai-agents" in out


def test_what_is_not_given_counts_and_is_said(shell: Shell, tmp_path: Path) -> None:
    create = (
        "policy",
        "explain",
        EXAMPLE,
        "--as-user",
        "u",
        "--groups",
        "ai-agents",
        "create",
        "pods",
        "-n",
        "demo",
    )
    unknown = shell(*create).out
    assert "R14 critical" in unknown
    assert "(not known, so it counts)" in unknown
    assert "add --object for a sure answer" in unknown
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p"},
        "spec": {"containers": [{"name": "c"}]},
    }
    known = shell(*create, "--object", write(tmp_path, "pod.yaml", pod)).out
    assert "R14" not in known


def test_claims_runs_and_old_objects_reach_the_rules(shell: Shell, tmp_path: Path) -> None:
    rules = [
        rule("Deny", name="team", expression="claims.team.level > 2.0"),
        rule("Allow", name="shrink", expression="oldObject.spec.replicas > object.spec.replicas"),
    ]
    path = write(tmp_path, "p.yaml", policy_object("p", rules, subjects=[{"issuer": "https://i.example"}]))
    new, old = (write(tmp_path, f"{n}.yaml", {"spec": {"replicas": n}}) for n in (1, 3))
    words = ("policy", "explain", path, "--as-user", "u", "--issuer", "https://i.example", "--run", "r")
    update = ("update", "deploy", "web", "--object", new, "--old-object", old, "-o", "json")
    senior = json.loads(shell(*words, "--claim", 'team={"level": 3.0}', *update).out)
    junior = json.loads(shell(*words, "--claim", 'team={"level": 1.0}', *update).out)
    assert (senior["verdict"], senior["rule"]) == ("Deny", "team")
    assert (junior["verdict"], junior["rule"]) == ("Allow", "shrink")


def test_a_claim_that_is_no_json_is_text(shell: Shell, tmp_path: Path) -> None:
    path = write(tmp_path, "p.yaml", policy_object("p", [rule("Deny", expression="claims.team == 'web-1'")]))
    words = ("policy", "explain", path, "--as-user", "u", "--claim", "team=web-1", "get", "pods", "p")
    assert "verdict  Deny" in shell(*words).out


def test_two_policies_of_one_name_explain_nothing(shell: Shell, tmp_path: Path) -> None:
    path = write(tmp_path, "p.yaml", policy_object("p"), policy_object("p"))
    done = shell("policy", "explain", path, "--as-user", "u", "get", "pods", "p")
    assert done.code == 1
    assert '"p" is the name of an earlier policy' in done.err


def test_a_policy_with_faults_denies_and_says_which(shell: Shell, tmp_path: Path) -> None:
    path = write(tmp_path, "faulty.yaml", FAULTY)
    out = shell("policy", "explain", path, "--as-user", "u", "--groups", "agents", "get", "pods", "p").out
    assert "verdict  Deny" in out
    assert "policy faulty: does not compile, so it denies" in out
    assert "spec.approval.requiered" in out


def test_monitor_mode_says_what_it_would_do(shell: Shell, tmp_path: Path) -> None:
    path = write(tmp_path, "p.yaml", policy_object("p", [rule("RequireApproval")], mode="Monitor"))
    out = shell("policy", "explain", path, "--as-user", "u", "get", "pods", "p").out
    assert "in Monitor mode; enforced it would RequireApproval" in out


def test_the_policies_of_a_cluster_are_asked_the_same(cluster: FakeCluster, shell: Shell) -> None:
    cluster.policies = [policy_object("live", [rule("Deny", name="no")])]
    words = ("policy", "explain", "--cluster", "--as-user", "u", "get", "pods", "p", "-o", "json")
    told = json.loads(shell(*words).out)
    assert (told["policy"], told["rule"], told["verdict"]) == ("live", "no", "Deny")


# test


def fixture(folder: Path, *cases: dict[str, Any], **top: Any) -> Path:
    write(folder, "policy.yaml", policy_object("p", [rule("Deny", name="no-pods", resources=["pods"])]))
    document = {
        "policies": ["policy.yaml"],
        "callers": {"bot": {"username": "bot"}},
        "cases": list(cases),
        **top,
    }
    write(folder, "test.yaml", document)
    return folder


def case(sentence: str = "pods are off limits", **fields: Any) -> dict[str, Any]:
    return {
        "sentence": sentence,
        "caller": "bot",
        "request": {"verb": "get", "resource": "pods", "name": "p"},
        "expect": {"verdict": "Deny", "rule": "no-pods"},
        **fields,
    }


def run_tests(shell: Shell, folder: Path, *more: str) -> Done:
    return shell("policy", "test", str(folder), *more)


def test_the_examples_hold(shell: Shell) -> None:
    done = shell("policy", "test", FIXTURES)
    assert done.code == 0, done.out
    assert "FAILED" not in done.out


def test_what_does_not_hold_is_told_with_its_line_and_as_junit(shell: Shell, tmp_path: Path) -> None:
    good = case()
    bad = case(
        "pods are open", expect={"verdict": "Allow", "policy": "p", "rows": ["R22"], "reason": "because"}
    )
    folder = fixture(tmp_path, good, bad)
    report = tmp_path / "report.xml"
    done = run_tests(shell, folder, "--junit", str(report))
    assert done.code == 1
    assert "1 of 2 hold" in done.out
    told = [line for line in done.out.splitlines() if "pods are open: " in line]
    assert [line.split("pods are open: ")[1].split(" (")[0].split(", got")[0] for line in told] == [
        "verdict: expected Allow",
        'reason: expected "because" in it',
        "rows: expected R22",
    ]
    line = (tmp_path / "test.yaml").read_text().splitlines()[int(told[0].split(":")[1]) - 1]
    assert line.startswith("- ")
    suite = parse_xml(report).getroot()  # noqa: S314  our own report
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    [failed] = [item for item in suite if item.find("failure") is not None]
    assert failed.get("name") == "pods are open"


def test_no_risk_is_an_expectation_too(shell: Shell, tmp_path: Path) -> None:
    delete = {"verb": "create", "resource": "pods/exec", "name": "p"}
    folder = fixture(tmp_path, case(request=delete, expect={"verdict": "Hold", "rows": []}))
    assert "rows: expected none, got R" in run_tests(shell, folder).out


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"cases": [case(caller="nobody")]}, "is none of the callers"),
        (
            {"cases": [case(expect={"verdict": "Maybe"})]},
            "cases[0].expect.verdict must be one of Allow, Hold, Deny",
        ),
        ({"cases": [case(expect={})]}, "cases[0].expect.verdict is required"),
        (
            {"cases": [case(expect={"verdict": "Deny", "rul": "x"})]},
            "cases[0].expect.rul is not a field here",
        ),
        ({"cases": [case(request={"verb": "get", "resource": "pods"})]}, "needs the NAME of an object"),
        (
            {"cases": [case(request={"verb": "remove", "resource": "pods"})]},
            '"remove" is not a verb; known are get',
        ),
        ({"cases": [case(request={"path": "/x", "object": "policy2.yaml"})]}, "policy2.yaml holds 2 objects"),
        ({"cases": [case(request={"path": "//"})]}, "is refused by the gateway"),
        ({"cases": [case(request={"path": "/x", "object": "nowhere.yaml"})]}, "nowhere.yaml cannot be read"),
        ({"cases": [{**case(), "sentence": None}]}, "cases[0].sentence is required"),
        ({"cases": []}, "there is not a single case"),
        ({"policies": []}, "policies must not be an empty list"),
        ({"callers": {"bot": {"user": "x"}}}, "callers.bot.username is required"),
    ],
)
def test_a_test_file_with_faults_tests_nothing(
    shell: Shell, tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    write(tmp_path, "policy2.yaml", policy_object("a"), policy_object("b"))
    folder = fixture(tmp_path, **{"cases": [case()], **change})
    done = run_tests(shell, folder)
    assert (done.code, done.out) == (2, "")
    assert reason in done.err


def test_a_folder_without_cases_is_no_success(shell: Shell, tmp_path: Path) -> None:
    write(tmp_path, "p.yaml", policy_object())
    assert "nothing would be tested" in run_tests(shell, tmp_path).err


def test_denials_by_a_broken_policy_do_not_count(shell: Shell, tmp_path: Path) -> None:
    folder = fixture(
        tmp_path, case(caller={"username": "x", "groups": ["agents"]}, expect={"verdict": "Deny"})
    )
    write(tmp_path, "policy.yaml", FAULTY)
    done = run_tests(shell, folder)
    assert done.code == 1
    assert "policy faulty does not compile: spec.approval.requiered" in done.out


def test_objects_may_stand_in_files_and_requests_be_raw(shell: Shell, tmp_path: Path) -> None:
    write(tmp_path, "pod.yml", {"kind": "Pod", "metadata": {"name": "p"}})
    create = {"verb": "create", "resource": "pods", "object": "pod.yml"}
    raw = {"method": "DELETE", "path": "/api/v1/namespaces/dev/pods/p"}
    folder = fixture(tmp_path, case(request=create), case(request=raw))
    done = run_tests(shell, folder)
    assert done.code == 0, done.out + done.err


def test_a_report_that_cannot_be_written_is_said(shell: Shell, tmp_path: Path) -> None:
    done = run_tests(shell, fixture(tmp_path, case()), "--junit", str(tmp_path / "no" / "r.xml"))
    assert done.code == 2
    assert "cannot be written" in done.err
