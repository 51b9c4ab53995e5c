"""The whole life of access grants against an API server in a dictionary: what is bound, when, and that nothing is left."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from chaperone.core.access import Rights, agents_spec, build_access_request, read_rights
from chaperone.core.approval import Phase, read
from chaperone.core.guard import Writer, check_update
from chaperone.core.identity import Caller
from chaperone.core.policy import Policy, compile_policy
from chaperone.core.timestamp import rfc3339
from chaperone.kube.errors import RefusedError
from chaperone.kube.official import (
    AGENT_POLICIES,
    APPROVAL_REQUESTS,
    CLUSTER_ROLES,
    NAMESPACES,
    ROLE_BINDINGS,
    ROLES,
    Obj,
)
from chaperone.settings.controller import ControllerSettings, ManagedSettings
from controller.grants import grant_label, next_step
from controller.lifetimes import NEVER, attention
from controller.reconciliation import Reconciler
from tests.controller.fakes import FakeCluster
from tests.controller.objects import policy_object
from tests.controller.test_reconciliation import cluster_with

NOW = 10_000.0
HALF_AN_HOUR = 1800.0
EDIT = {
    "metadata": {"name": "edit"},
    "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["create"]}],
}
CALLER = Caller(issuer="https://issuer", subject="agent-1", username="agent-1", run="run-1")
NAME = "access-1"


class World:
    """A cluster with one policy, two namespaces and the role edit; every write of an approval passes the guard."""

    def __init__(self) -> None:
        self.now = NOW
        self.cluster = GuardedCluster(self)
        for path, obj in cluster_with(policy_object(), namespaces=("dev", "test", "agents")).objects.items():
            self.cluster.put(path, obj)
        self.cluster.put(CLUSTER_ROLES.path("edit"), EDIT)
        self.settings = ControllerSettings()

    def policy(self) -> Policy:
        compiled = compile_policy(self.cluster.objects[AGENT_POLICIES.path("coders")])
        assert isinstance(compiled, Policy)
        return compiled

    def ask(self, name: str = NAME, **access: Any) -> None:
        """An approved request for access."""
        rights = read_rights(
            {
                "roleRef": {"kind": "ClusterRole", "name": "edit"},
                "namespaces": ["dev", "test"],
                "duration": "30m",
                **access,
            }
        )
        assert isinstance(rights, Rights)
        spec = agents_spec(rights, CALLER, self.policy(), reason="", now=NOW)
        review = {"username": "alice", "decision": "Approved", "digest": spec["digest"], "time": rfc3339(NOW)}
        status = {"phase": "Approved", "reviews": [review], "useBefore": rfc3339(NOW + 600)}
        path = APPROVAL_REQUESTS.path(name)
        created = {"name": name, "uid": f"uid-{name}", "creationTimestamp": rfc3339(NOW)}
        self.cluster.put(path, {"metadata": created, "spec": spec, "status": status})

    def resync(self) -> None:
        """As after a restart: nothing is remembered."""
        Reconciler(self.cluster, self.settings, lambda: self.now).resync()

    def look_at(self, name: str = NAME) -> None:
        Reconciler(self.cluster, self.settings, lambda: self.now).look_at(name)

    def approval(self, name: str = NAME) -> Obj:
        return self.cluster.objects[APPROVAL_REQUESTS.path(name)]

    def phase(self, name: str = NAME) -> str:
        return str(self.approval(name)["status"]["phase"])

    def failure(self) -> str:
        assert self.phase() == "Failed"
        (found,) = [item for item in self.approval()["status"]["conditions"] if item["type"] == "Failed"]
        return f"{found['reason']}: {found['message']}"

    def revoke(self) -> None:
        obj = copy.deepcopy(self.approval())
        obj["status"]["phase"] = "Denied"
        self.cluster.put(APPROVAL_REQUESTS.path(NAME), obj)

    def bindings(self) -> dict[str, Obj]:
        """By namespace."""
        return {
            path.split("/")[5]: obj
            for path, obj in self.cluster.objects.items()
            if "/rolebindings/chaperone-grant-" in path
        }


class GuardedCluster(FakeCluster):
    """Refuses what the webhook would refuse the controller."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world
        self.busy = False

    def create(self, path: str, obj: Any) -> Obj:
        if self.busy:
            raise RefusedError(f"POST {path}", 429, "TooManyRequests", "come again")
        return super().create(path, obj)

    def merge(self, path: str, patch: Any) -> Obj:
        before = self.objects.get(path.removesuffix("/status"))
        stored = super().merge(path, patch)
        if "/approvalrequests/" in path and before is not None:
            now = self._world.now
            refusal = check_update(before, stored, Writer.CONTROLLER, "c", now, subresource="status")
            assert refusal == ""
        return stored


@pytest.fixture
def world() -> World:
    return World()


def test_an_approved_request_is_bound_in_its_namespaces_and_nowhere_else(world: World) -> None:
    world.ask()
    world.resync()
    assert world.phase() == "Executing"
    assert set(world.bindings()) == {"dev", "test"}
    binding = world.bindings()["dev"]
    assert binding["kind"] == "RoleBinding"
    assert binding["roleRef"] == {
        "apiGroup": "rbac.authorization.k8s.io",
        "kind": "ClusterRole",
        "name": "edit",
    }
    assert binding["subjects"] == [{"kind": "ServiceAccount", "namespace": "agents", "name": "coder"}]
    assert binding["metadata"]["labels"]["chaperone.dev/grant"] == NAME
    expiry = rfc3339(NOW + HALF_AN_HOUR)
    assert binding["metadata"]["annotations"]["chaperone.dev/expires-at"] == expiry
    assert binding["metadata"]["ownerReferences"][0]["uid"] == f"uid-{NAME}"
    grant = world.approval()["status"]["grant"]
    assert grant["expiresAt"] == expiry
    assert [item["namespace"] for item in grant["bindings"]] == ["dev", "test"]


def test_one_look_is_enough_to_begin_and_to_end(world: World) -> None:
    world.ask()
    world.look_at()
    assert set(world.bindings()) == {"dev", "test"}
    world.now += HALF_AN_HOUR
    world.look_at()
    assert world.bindings() == {}
    assert world.phase() == "Executed"


def test_it_ends_with_its_time_and_says_when(world: World) -> None:
    world.ask()
    world.resync()
    world.now += HALF_AN_HOUR - 1
    world.resync()
    assert set(world.bindings()) == {"dev", "test"}
    world.now += 1
    world.resync()
    assert world.bindings() == {}
    assert world.phase() == "Executed"
    assert world.approval()["status"]["grant"] == {
        "expiresAt": rfc3339(NOW + HALF_AN_HOUR),
        "bindings": [],
        "endedAt": rfc3339(world.now),
    }


def test_a_quiet_pass_writes_nothing(world: World) -> None:
    world.ask()
    world.resync()
    world.cluster.writes.clear()
    world.resync()
    assert world.cluster.writes == []


def test_a_denial_afterwards_takes_it_back(world: World) -> None:
    world.ask()
    world.resync()
    world.revoke()
    world.look_at()
    assert world.bindings() == {}
    assert world.phase() == "Denied"
    assert world.approval()["status"]["grant"]["bindings"] == []
    world.cluster.writes.clear()
    world.resync()
    assert world.cluster.writes == []


def test_a_crash_between_the_record_and_the_bindings(world: World) -> None:
    world.ask()
    world.cluster.refuse = lambda verb, path: _crash(verb == "create" and "chaperone-grant-" in path)
    with pytest.raises(KeyboardInterrupt):
        world.resync()
    assert world.phase() == "Executing"
    assert world.bindings() == {}
    world.cluster.refuse = lambda _verb, _path: ""
    world.resync()
    assert set(world.bindings()) == {"dev", "test"}


def test_a_crash_between_unbinding_and_the_last_word(world: World) -> None:
    world.ask()
    world.resync()
    world.now += HALF_AN_HOUR
    world.cluster.refuse = lambda verb, path: _crash(verb == "patch" and "/approvalrequests/" in path)
    with pytest.raises(KeyboardInterrupt):
        world.resync()
    assert world.bindings() == {}
    world.cluster.refuse = lambda _verb, _path: ""
    world.resync()
    assert world.phase() == "Executed"


def test_down_while_it_ended(world: World) -> None:
    """Nobody was there at the time, nor when the approval was deleted by force."""
    world.ask()
    world.ask("access-2")
    world.resync()
    assert len(world.bindings()) == 2
    world.now += 86_400
    del world.cluster.objects[APPROVAL_REQUESTS.path("access-2")]
    world.resync()
    assert world.bindings() == {}


def test_bindings_without_a_living_grant_are_removed(world: World) -> None:
    for name, marks in (
        ("a", {"annotations": {"chaperone.dev/grant-name": "gone"}}),
        ("b", {}),
    ):
        metadata = {"name": name, "namespace": "dev", "labels": {"chaperone.dev/grant": "x"}, **marks}
        world.cluster.put(ROLE_BINDINGS.path(name, namespace="dev"), {"metadata": metadata})
    world.cluster.put(
        ROLE_BINDINGS.path("c", namespace="dev"), {"metadata": {"name": "c", "namespace": "dev"}}
    )
    world.resync()
    left = [path for path in world.cluster.objects if "/namespaces/dev/rolebindings/" in path]
    assert left == [ROLE_BINDINGS.path("c", namespace="dev")]


def test_a_copy_of_a_binding_in_another_namespace_does_not_live(world: World) -> None:
    world.ask(namespaces=["dev"])
    world.resync()
    stolen = copy.deepcopy(world.bindings()["dev"])
    stolen["metadata"]["namespace"] = "test"
    world.cluster.put(ROLE_BINDINGS.path(stolen["metadata"]["name"], namespace="test"), stolen)
    world.resync()
    assert set(world.bindings()) == {"dev"}


def test_what_was_changed_by_hand_is_put_right(world: World) -> None:
    world.ask()
    world.resync()
    binding = world.bindings()["dev"]
    path = ROLE_BINDINGS.path(binding["metadata"]["name"], namespace="dev")
    world.cluster.put(path, {**binding, "subjects": [{"kind": "User", "name": "eve"}]})
    del world.cluster.objects[path.replace("/dev/", "/test/")]
    world.resync()
    assert set(world.bindings()) == {"dev", "test"}
    assert world.bindings()["dev"]["subjects"] == binding["subjects"]


def test_a_persons_grant_is_bound_to_the_user(world: World) -> None:
    world.ask()
    obj = world.approval()
    obj["spec"]["access"]["identity"] = "bob"
    world.resync()
    assert world.bindings()["dev"]["subjects"] == [
        {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "bob"}
    ]


class TestFailure:
    """With the reason in a condition, and without a binding."""

    def begin(self, world: World, why: str) -> None:
        world.resync()
        assert why in world.failure()
        assert world.bindings() == {}

    def test_the_policy_has_changed(self, world: World) -> None:
        world.ask()
        changed = policy_object()
        changed["metadata"]["generation"] = 2
        world.cluster.put(AGENT_POLICIES.path("coders"), changed)
        self.begin(world, "PolicyChanged: AgentPolicy coders")

    def test_the_policy_does_not_compile(self, world: World) -> None:
        world.ask()
        world.cluster.put(AGENT_POLICIES.path("coders"), policy_object(subjects=[]))
        self.begin(world, "PolicyChanged")

    def test_the_namespace_is_missing(self, world: World) -> None:
        world.ask(namespaces=["nowhere"])
        self.begin(world, "NamespaceMissing: namespace nowhere")

    def test_the_namespace_is_going(self, world: World) -> None:
        world.ask()
        world.cluster.put(NAMESPACES.path("test"), {"metadata": {"name": "test", "deletionTimestamp": "x"}})
        self.begin(world, "NamespaceMissing: namespace test")

    def test_the_role_is_missing(self, world: World) -> None:
        world.ask(roleRef={"kind": "ClusterRole", "name": "none"})
        self.begin(world, "NotGrantable: ClusterRole none does not exist")

    def test_the_role_is_in_one_namespace_only(self, world: World) -> None:
        world.cluster.put(
            ROLES.path("tester", namespace="dev"), {"metadata": {"name": "tester"}, "rules": []}
        )
        world.ask(roleRef={"kind": "Role", "name": "tester"})
        self.begin(world, "Role tester in namespace test does not exist")

    def test_the_role_can_grow(self, world: World) -> None:
        powerful = {"metadata": {"name": "edit"}, "rules": [{"resources": ["roles"], "verbs": ["escalate"]}]}
        world.cluster.put(CLUSTER_ROLES.path("edit"), powerful)
        world.ask()
        self.begin(world, 'ClusterRole edit holds the verb "escalate"')

    def test_the_role_is_never_granted(self, world: World) -> None:
        world.ask(roleRef={"kind": "ClusterRole", "name": "cluster-admin"})
        self.begin(world, "never granted")

    def test_the_controller_may_not_bind_the_role(self, world: World) -> None:
        world.ask()
        world.cluster.refuse = lambda verb, path: (
            "not yours to give" if verb == "create" and "/test/rolebindings/" in path else ""
        )
        self.begin(world, "RoleNotBindable: RoleBinding test/")
        assert "verb bind" in world.failure()

    def test_the_request_cannot_be_read(self, world: World) -> None:
        world.ask()
        world.approval()["spec"]["access"]["namespaces"] = ["*"]
        self.begin(world, "Unreadable")

    def test_the_policy_goes_while_it_lasts(self, world: World) -> None:
        world.ask()
        world.resync()
        world.cluster.put(AGENT_POLICIES.path("coders"), policy_object(subjects=[]))
        world.resync()
        assert world.phase() == "Executing"
        del world.cluster.objects[AGENT_POLICIES.path("coders")]
        self.begin(world, "PolicyGone")


def test_an_api_server_that_is_busy_fails_nothing(world: World) -> None:
    world.ask()
    world.cluster.busy = True
    world.resync()
    assert world.phase() == "Executing"
    assert world.bindings() == {}
    world.cluster.busy = False
    world.resync()
    assert set(world.bindings()) == {"dev", "test"}


def test_a_namespace_that_goes_takes_its_binding_along(world: World) -> None:
    world.ask()
    world.resync()
    for path in list(world.cluster.objects):
        if (
            path == NAMESPACES.path("test")
            or path.startswith(f"{NAMESPACES.path('test')}/")
            or "/test/" in path
        ):
            del world.cluster.objects[path]
    world.resync()
    assert set(world.bindings()) == {"dev"}
    assert world.phase() == "Executing"


def test_too_late_begins_nothing(world: World) -> None:
    world.ask()
    world.now += 600
    world.resync()
    assert world.phase() == "Expired"
    assert world.bindings() == {}


def test_switched_off(world: World) -> None:
    world.settings = ControllerSettings(managed=ManagedSettings(grants=False))
    world.ask()
    world.resync()
    assert world.phase() == "Approved"


def test_when_it_wants_to_be_looked_at(world: World) -> None:
    world.ask()
    assert attention(read(world.approval()), 0) == 0.0
    world.resync()
    assert attention(read(world.approval()), 0) == NOW + HALF_AN_HOUR
    world.revoke()
    assert attention(read(world.approval()), 0) == 0.0
    world.look_at()
    assert attention(read(world.approval()), 0) == NEVER
    request = read({**world.approval(), "spec": {**world.approval()["spec"], "type": "Request"}})
    assert attention(request, 0) == NEVER
    assert next_step(request, NOW).value == "nothing"
    assert request.phase is Phase.DENIED


def test_a_long_name_is_a_label_all_the_same() -> None:
    assert grant_label("short") == "short"
    long = grant_label("x" * 200)
    assert len(long) == 63
    assert grant_label("x" * 201) != long


def _crash(now: bool) -> str:
    if now:
        raise KeyboardInterrupt
    return ""


def test_the_example_in_the_docs_asks_for_what_it_says() -> None:
    page = (Path(__file__).parents[2] / "docs" / "grants.md").read_text()
    obj = yaml.safe_load(page.split("```yaml\n")[1].partition("```")[0])
    asked = build_access_request(
        role="edit", namespaces=["dev"], lasting="30m", policy="coding-agents", reason="the release is broken"
    )
    assert obj == asked
