"""Approvals, policies and the guard on a real API server, with real kubectl, and programs that have only
their rights."""

from __future__ import annotations

import base64
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
import urllib3

from chaperone.core.identity import EXTRA_KEYS, Identity
from chaperone.kube.errors import RefusedError
from chaperone.kube.official import (
    AGENT_POLICIES,
    APPROVAL_REQUESTS,
    CLUSTER_ROLES,
    NAMESPACES,
    ROLE_BINDINGS,
    ROLES,
    SECRETS,
)
from chaperone.kube.rbac import CONTROLLER, GATEWAY, IMPERSONATOR, rbac_manifests
from chaperone.settings.controller import CertificateSettings
from controller.certificate_keeping import CONFIGURATIONS, CertificateKeeper
from controller.certificates import Pair
from hack.cluster.certificates import issue, new_authority
from tests.webhook.real import CODER, HOME, POLICY, Real, request_object, until

pytestmark = pytest.mark.cluster

DIGEST = request_object("x")["spec"]["digest"]


def forged(**review: str) -> str:
    words = {
        "username": "alice",
        "decision": "Approved",
        "digest": DIGEST,
        "time": "2026-01-01T00:00:00Z",
        **review,
    }
    return json.dumps({"status": {"reviews": [words]}})


# Approvals


def test_the_documented_gesture_gives_a_stamped_review(real: Real) -> None:
    real.hold("gesture", required=2)
    done = real.decide("gesture", "alice", "Approved", "oncall")
    assert done.returncode == 0, done.stderr
    status = real.status("gesture")
    assert [(item["username"], item["decision"], item["digest"]) for item in status["reviews"]] == [
        ("alice", "Approved", DIGEST)
    ]
    assert status["phase"] == "Pending"
    assert "decision" not in status
    assert real.decide("gesture", "bob", "Approved", "oncall").returncode == 0
    status = real.status("gesture")
    assert [item["username"] for item in status["reviews"]] == ["alice", "bob"]
    assert status["phase"] == "Approved"
    assert status["useBefore"]


def test_one_person_counts_once_whatever_groups(real: Real) -> None:
    """AP-13."""
    real.hold("once", required=2)
    assert real.decide("once", "alice", "Approved", "oncall", "team-a").returncode == 0
    again = real.decide("once", "alice", "Approved", "oncall", "team-b")
    assert again.returncode != 0
    assert "counts once" in again.stderr
    assert real.status("once")["phase"] == "Pending"


@pytest.mark.parametrize(
    ("user", "groups"),
    [
        ("agent-1", ("oncall",)),  # the requester
        ("sub-1", ("oncall",)),  # the person behind it
        (CODER, ("oncall",)),  # an identity that a policy hands out
        ("robot", ("oncall", "ai-agents")),  # a subject of the policy
        ("mallory", ("developers",)),  # RBAC lets him write the status at most
    ],
)
def test_who_must_not_approve_cannot(real: Real, user: str, groups: tuple[str, ...]) -> None:
    """AP-06."""
    name = f"by-{user.rsplit(':', maxsplit=1)[-1]}"
    real.hold(name)
    assert real.decide(name, user, "Approved", *groups).returncode != 0
    assert "reviews" not in real.status(name)


def test_writing_the_status_is_not_approving(real: Real) -> None:
    """Somebody who may patch the status, and lacks the verb approve."""
    name = "status-writers"
    rule = {
        "apiGroups": ["chaperone.dev"],
        "resources": ["approvalrequests", "approvalrequests/status"],
        "verbs": ["get", "patch"],
    }
    group = {"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": name}
    rbac = "rbac.authorization.k8s.io/v1"
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name}
    real.apply(
        {"apiVersion": rbac, "kind": "ClusterRole", "metadata": {"name": name}, "rules": [rule]},
        {
            "apiVersion": rbac,
            "kind": "ClusterRoleBinding",
            "metadata": {"name": name},
            "roleRef": reference,
            "subjects": [group],
        },
    )
    real.hold("no-verb")
    until(
        "RBAC knows the role",
        lambda: real.kubectl("--as=dave", f"--as-group={name}", "get", "apreq", "no-verb").returncode == 0,
    )
    done = real.decide("no-verb", "dave", "Approved", name)
    assert "verb approve" in done.stderr
    assert real.status("no-verb")["phase"] == "Pending"


@pytest.mark.parametrize(
    ("case", "patch"),
    [
        ("own-name", forged()),
        ("other-name", forged(username="bob")),
        ("other-digest", forged(digest="sha256:" + "0" * 64)),
        ("phase", '{"status":{"phase":"Approved"}}'),
        ("both", '{"status":{"phase":"Approved","decision":"Approved"}}'),
        ("claim", '{"status":{"phase":"Executing","claimedBy":"alice"}}'),
    ],
)
def test_forged_reviews_are_refused(real: Real, case: str, patch: str) -> None:
    """AP-07."""
    name = f"forged-{case}"
    real.hold(name)
    assert real.patch(name, "alice", patch, "oncall").returncode != 0
    assert real.status(name) == {"phase": "Pending"}


def test_without_the_stamping_webhook_nothing_is_decided(real: Real) -> None:
    """AP-07."""
    real.hold("unstamped")
    path = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/chaperone-approvals"
    stamping = real.api.get(path)
    real.api.delete(path)
    try:
        until(
            "the stamp is gone",
            lambda: "did not see it" in real.decide("unstamped", "alice", "Approved", "oncall").stderr,
        )
        for patch in (forged(), forged(username="bob"), '{"status":{"phase":"Approved"}}'):
            assert real.patch("unstamped", "alice", patch, "oncall").returncode != 0
        assert real.status("unstamped") == {"phase": "Pending"}
    finally:
        stamping["metadata"] = {"name": "chaperone-approvals", "labels": stamping["metadata"]["labels"]}
        real.apply(stamping)
    until(
        "the stamp is back", lambda: real.decide("unstamped", "alice", "Approved", "oncall").returncode == 0
    )


def test_the_main_resource_meets_the_same_rules(real: Real) -> None:
    """AP-08, AP-09."""
    real.hold("main")
    for patch in (
        '{"status":{"decision":"Approved"}}',
        '{"spec":{"digest":"sha256:' + "0" * 64 + '"}}',
        '{"spec":{"required":0}}',
        '{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"Namespace","name":"dev","uid":"u"}]}}',
    ):
        done = real.kubectl("patch", "apreq", "main", "--type=merge", "-p", patch)
        assert done.returncode != 0, patch
    assert real.api.get(APPROVAL_REQUESTS.path("main"))["spec"] == request_object("main")["spec"]


def test_only_the_gateway_makes_requests_and_nobody_deletes_an_open_one(real: Real) -> None:
    """AP-09: not even the administrator."""
    with pytest.raises(RefusedError, match="gateway"):
        real.api.create(APPROVAL_REQUESTS.path(), request_object("by-admin"))
    real.hold("open")
    with pytest.raises(RefusedError, match="cannot be deleted"):
        real.api.delete(APPROVAL_REQUESTS.path("open"))
    assert real.decide("open", "alice", "Denied", "oncall").returncode == 0
    real.api.delete(APPROVAL_REQUESTS.path("open"))


def test_the_gateway_claims_once_and_nothing_ends_twice(real: Real) -> None:
    real.hold("claimed")
    gateway = real.as_account(HOME, GATEWAY)
    path = APPROVAL_REQUESTS.path("claimed", subresource="status")
    claim = {"status": {"phase": "Executing", "claimedBy": "gw-1"}}
    with pytest.raises(RefusedError):
        gateway.merge(path, claim)
    assert real.decide("claimed", "alice", "Approved", "oncall").returncode == 0
    stale = gateway.get(APPROVAL_REQUESTS.path("claimed"))["metadata"]["resourceVersion"]
    swap = {**claim, "metadata": {"resourceVersion": stale}}
    gateway.merge(path, swap)
    with pytest.raises(RefusedError):
        gateway.merge(path, swap)
    execution = {"auditID": "a", "code": 200, "time": "2026-01-01T00:00:00.000000Z"}
    gateway.merge(path, {"status": {"phase": "Executed", "execution": execution}})
    with pytest.raises(RefusedError):
        gateway.merge(path, {"status": {"phase": "Approved"}})


# Policies and sessions


def test_a_policy_that_does_not_compile_is_refused_by_its_fields(real: Real) -> None:
    broken = json.loads(json.dumps(POLICY))
    broken["metadata"]["name"] = "broken"
    broken["spec"]["rules"][0]["match"]["expression"] = "object.spec.replicas =="
    done = real.kubectl("apply", "--validate=false", "-f", "-", stdin=json.dumps(broken))
    assert done.returncode != 0
    assert "spec.rules[0].match.expression" in done.stderr


def test_an_agent_does_not_write_our_kinds(real: Real) -> None:
    """R26, though RBAC would let it."""
    for command in (
        ("patch", "agpol", "coders", "--type=merge", "-p", '{"spec":{"mode":"Monitor"}}'),
        ("delete", "agpol", "coders"),
    ):
        assert real.kubectl(f"--as={CODER}", *command).returncode != 0
    assert real.api.get(AGENT_POLICIES.path("coders"))["spec"].get("mode") != "Monitor"


# The guard


def test_an_agent_that_goes_round_the_gateway_is_refused(real: Real) -> None:
    """AP-11, with the service account's own token."""
    with pytest.raises(RefusedError, match="gateway"):
        real.as_account("agents", "coder").delete(NAMESPACES.path("dev"))
    assert real.api.find(NAMESPACES.path("dev")) is not None


def test_what_is_neither_risky_nor_ruled_passes_and_others_are_left_alone(real: Real) -> None:
    config_map = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "notes"}, "data": {"a": "b"}}
    real.as_account("agents", "coder").create("/api/v1/namespaces/dev/configmaps", config_map)
    real.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "scratch"}})
    assert real.kubectl("delete", "namespace", "scratch", "--wait=false").returncode == 0


def test_a_claimed_approval_carries_one_delete_through_and_no_other(real: Real) -> None:
    """The whole proof: impersonated extras reach the webhook on this server, and the approval decides."""
    real.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "doomed"}})
    doomed, generation = (
        NAMESPACES.path("doomed"),
        real.api.get(AGENT_POLICIES.path("coders"))["metadata"]["generation"],
    )
    asked = {
        **request_object("spent")["spec"]["request"],
        "namespace": "doomed",
        "name": "doomed",
        "path": doomed,
    }
    policy = {"name": "coders", "generation": generation, "rule": "namespaces"}
    held = real.hold("spent", request=asked, policy=policy)
    proof = {"approval": str(held["metadata"]["uid"]), "approval_name": "spent"}
    assert as_gateway(real, "DELETE", doomed, **proof) == 403
    assert real.decide("spent", "alice", "Approved", "oncall").returncode == 0
    assert as_gateway(real, "DELETE", doomed, **proof) == 403
    claim = {"status": {"phase": "Executing", "claimedBy": "gw-1"}}
    real.as_account(HOME, GATEWAY).merge(APPROVAL_REQUESTS.path("spent", subresource="status"), claim)
    assert as_gateway(real, "DELETE", doomed) == 403
    assert as_gateway(real, "DELETE", NAMESPACES.path("agents"), **proof) == 403
    assert as_gateway(real, "DELETE", doomed, **{**proof, "approval": "another"}) == 403
    assert as_gateway(real, "DELETE", doomed, **proof) == 200


def as_gateway(real: Real, method: str, path: str, **extra: str) -> int:
    """One request of run-1 as the data path sends it: the impersonator's token and all identity headers."""
    headers = {
        "Authorization": f"Bearer {real.token(HOME, IMPERSONATOR)}",
        "Impersonate-User": CODER,
        "Impersonate-Extra-chaperone.dev%2Frun": "run-1",
        "Impersonate-Extra-chaperone.dev%2Fpolicy": "coders",
    }
    for key, value in extra.items():
        full = f"chaperone.dev/{key.replace('_', '-')}"
        assert full in EXTRA_KEYS
        headers[f"Impersonate-Extra-{full.replace('/', '%2F')}"] = value
    with urllib3.PoolManager(ca_certs=str(real.cluster.ca_file), retries=False) as pool:
        return int(pool.request(method, real.cluster.server + path, headers=headers, timeout=30.0).status)


def test_a_request_whose_identity_was_lost_is_refused_by_rbac(real: Real) -> None:
    headers = {"Authorization": f"Bearer {real.token(HOME, IMPERSONATOR)}"}
    with urllib3.PoolManager(ca_certs=str(real.cluster.ca_file), retries=False) as pool:
        url = f"{real.cluster.server}/api/v1/namespaces"
        assert pool.request("GET", url, headers=headers).status == 403
        other = {**headers, "Impersonate-User": "system:serviceaccount:kube-system:coder"}
        assert pool.request("GET", url, headers=other).status == 403


# The controller


def conditions(real: Real, name: str = "coders") -> dict[str, dict[str, Any]]:
    status = real.api.get(AGENT_POLICIES.path(name)).get("status") or {}
    return {item["type"]: item for item in status.get("conditions", [])}


def test_the_controller_tells_what_is_missing_and_makes_it_so_when_it_comes(real: Real) -> None:
    until("the policy has a status", lambda: "BindingsReady" in conditions(real))
    assert conditions(real)["Ready"]["status"] == "True"
    assert "staging" in conditions(real)["BindingsReady"]["message"]
    assert len(bindings(real, "dev")) == 1
    real.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "staging"}})
    until("all bindings are made", lambda: conditions(real)["BindingsReady"]["status"] == "True")
    (binding,) = bindings(real, "staging")
    real.api.delete(ROLE_BINDINGS.path(binding["metadata"]["name"], namespace="staging"))
    until("the binding is made again", lambda: len(bindings(real, "staging")) == 1)


def bindings(real: Real, namespace: str) -> list[dict[str, Any]]:
    path = ROLE_BINDINGS.path(namespace=namespace)
    return list(real.api.list(path, labelSelector="chaperone.dev/policy=coders").items)


def test_a_role_that_may_not_be_handed_out_is_not(real: Real) -> None:
    greedy = json.loads(json.dumps(POLICY))
    greedy["metadata"]["name"] = "greedy"
    greedy["spec"]["access"] = [
        {"roleRef": {"kind": "ClusterRole", "name": "cluster-admin"}, "namespaces": ["agents"]}
    ]
    real.apply(greedy)
    try:
        until("the policy has a status", lambda: "BindingsReady" in conditions(real, "greedy"))
        told = conditions(real, "greedy")["BindingsReady"]
        assert told["status"] == "False"
        assert "verb bind" in told["message"]
    finally:
        real.api.delete(AGENT_POLICIES.path("greedy"))


def test_who_may_be_impersonated_follows_the_policies(real: Real) -> None:
    other = json.loads(json.dumps(POLICY))
    other["metadata"]["name"] = "testers"
    other["spec"] = {
        **other["spec"],
        "access": [],
        "identity": {"serviceAccount": {"namespace": "testing", "name": "tester"}},
    }
    real.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "testing"}}, other)
    role = ROLES.path(IMPERSONATOR, namespace="testing")
    until("the new identity may be impersonated", lambda: named(real, role) == ["tester"])
    until(
        "its account is made",
        lambda: real.api.find("/api/v1/namespaces/testing/serviceaccounts/tester") is not None,
    )
    real.api.delete(AGENT_POLICIES.path("testers"))
    until("it may not any more", lambda: real.api.find(role) is None)
    assert real.api.find("/api/v1/namespaces/testing/serviceaccounts/tester") is not None
    assert named(real, ROLES.path(IMPERSONATOR, namespace="agents")) == ["coder"]
    assert real.api.get(CLUSTER_ROLES.path(IMPERSONATOR))["rules"]


def named(real: Real, role: str) -> list[str]:
    rules = (real.api.find(role) or {}).get("rules") or []
    return [name for rule in rules for name in rule.get("resourceNames", [])]


def test_a_pending_request_expires_by_the_controller_alone(real: Real) -> None:
    soon = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 2))
    real.hold("short", expiresAt=soon)
    until("it has expired", lambda: real.status("short").get("phase") == "Expired")
    late = real.decide("short", "alice", "Approved", "oncall")
    assert late.returncode != 0
    with pytest.raises(RefusedError):
        real.as_account(HOME, CONTROLLER).merge(
            APPROVAL_REQUESTS.path("short", subresource="status"), {"status": {"phase": "Pending"}}
        )


def test_objects_carry_no_finalizers_and_no_annotations_of_the_operator(real: Real) -> None:
    for path in (AGENT_POLICIES.path(), APPROVAL_REQUESTS.path()):
        for obj in real.api.list(path).items:
            metadata = obj["metadata"]
            assert not metadata.get("finalizers")
            assert not [key for key in metadata.get("annotations") or {} if "kopf" in key]


# The programs


def test_a_renewed_certificate_is_served_without_a_restart(real: Real) -> None:
    """A new authority: the API server can only reach the webhook when the new certificate is served."""
    authority = new_authority("webhook-test-ca-2")
    pair = issue(authority, "webhook", hosts=("127.0.0.1",))
    later = time.time() + 10
    for file, content in (("tls.key", pair.key), ("tls.crt", pair.certificate)):
        path: Path = real.folder / file
        path.write_bytes(content)
        os.utime(path, (later, later))
    documents = json.loads(
        real.kubectl(
            "get", "validatingwebhookconfiguration,mutatingwebhookconfiguration", "-o", "json"
        ).stdout
    )
    bundle = authority.pair.certificate
    for item in documents["items"]:
        replace_bundle(real, item, bundle)
    real.hold("renewed")
    until(
        "the new certificate is trusted",
        lambda: real.decide("renewed", "alice", "Approved", "oncall").returncode == 0,
    )


def test_the_controller_changes_the_certificate_with_its_rights_alone(real: Real) -> None:
    """Every step in front of a webhook that is in use: the API server trusts it before and after each of them."""
    real.apply(*rbac_manifests(HOME, [Identity(CODER)], certificate_secret="chaperone-webhook-tls"))
    clock = [time.time()]
    keeper = keeper_for(real, clock, service="an-earlier-name")
    until("the right to keep the certificate is known", lambda: _kept(keeper))
    mount(real)
    until("the first certificate is trusted", lambda: approves(real, "certificate-1"))
    served = (real.folder / "tls.crt").read_bytes()
    keeper = keeper_for(real, clock, service="chaperone-webhook")
    for number in range(2, 6):
        keeper.keep()
        assert approves(real, f"certificate-{number}-before")
        mount(real)
        assert approves(real, f"certificate-{number}")
        clock[0] += 901
    assert (real.folder / "tls.crt").read_bytes() != served
    bundle = real.api.get(CONFIGURATIONS[0])["webhooks"][0]["clientConfig"]["caBundle"]
    assert base64.b64decode(bundle).count(b"BEGIN CERTIFICATE") == 1


def keeper_for(real: Real, clock: list[float], *, service: str) -> CertificateKeeper:
    settings = CertificateSettings(manage=True, service=service)
    return CertificateKeeper(
        real.as_account(HOME, CONTROLLER), settings, HOME, lambda: clock[0], on_this_machine
    )


def on_this_machine(names: tuple[str, ...], _now: float, _lifetime: float) -> Pair:
    """Here the webhook is reached by its address."""
    authority = new_authority(f"webhook-test-{time.time_ns()}")
    pair = issue(authority, "webhook", hosts=(*names, "127.0.0.1"))
    return Pair(pair.certificate, pair.key, authority.pair.certificate)


def _kept(keeper: CertificateKeeper) -> bool:
    try:
        keeper.keep()
    except RefusedError:
        return False
    return True


def mount(real: Real) -> None:
    """What a kubelet does with the Secret, a little later."""
    data = real.api.get(SECRETS.path("chaperone-webhook-tls", namespace=HOME))["data"]
    later = (real.folder / "tls.crt").stat().st_mtime + 10
    for key in ("tls.key", "tls.crt"):
        path = real.folder / key
        path.write_bytes(base64.b64decode(data[key]))
        os.utime(path, (later, later))


def approves(real: Real, name: str) -> bool:
    """Both webhooks of approvals answer, over connections of their own or old ones."""
    if real.kubectl("get", "apreq", name).returncode:
        real.hold(name)
    return real.decide(name, "alice", "Approved", "oncall").returncode == 0


def replace_bundle(real: Real, item: dict[str, Any], bundle: bytes) -> None:
    for webhook in item["webhooks"]:
        webhook["clientConfig"]["caBundle"] = base64.b64encode(bundle).decode()
    kind = f"{item['kind'].lower()}s"
    real.api.replace(f"/apis/admissionregistration.k8s.io/v1/{kind}/{item['metadata']['name']}", item)


def test_logs_hold_no_token_and_no_body(real: Real) -> None:
    for program in ("webhook", "controller"):
        text = (real.folder / f"{program}.log").read_text()
        assert text
        assert "eyJ" not in text
        assert "object.spec.replicas ==" not in text
