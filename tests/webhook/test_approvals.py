"""A person's decision becomes a stamped review, or a refusal: through both webhooks, as the API server
calls them."""

from __future__ import annotations

import copy
from typing import Any

import jsonpatch
import pytest

from chaperone.core.access import build_access_request
from tests.webhook.fakes import NOW, World, policy_object
from tests.webhook.reviews import CODER, CONSOLE, CONTROLLER, GATEWAY, ask, review

DIGEST = "sha256:" + "b" * 64
STAMPED_AT = "1970-01-12T13:46:40Z"  # NOW
LATER = "1970-01-12T14:46:40Z"


def stored(
    phase: str = "Pending", *, required: int = 1, requester: str = "agent-1", **status: Any
) -> dict[str, Any]:
    """An ApprovalRequest for the deletion of namespace dev."""
    return {
        "apiVersion": "chaperone.dev/v1alpha1",
        "kind": "ApprovalRequest",
        "metadata": {"name": "it", "uid": "uid-1", "resourceVersion": "5"},
        "spec": {
            "requester": {"username": requester, "subject": "sub-1", "run": "run-1"},
            "request": {"verb": "delete", "resource": "namespaces", "namespace": "dev", "name": "dev"},
            "digest": DIGEST,
            "policy": {"name": "coders", "generation": 1},
            "required": required,
            "expiresAt": LATER,
        },
        "status": {"phase": phase, **status},
    }


def reviewed(
    username: str, decision: str = "Approved", digest: str = DIGEST, time: str = STAMPED_AT
) -> dict[str, str]:
    return {"username": username, "decision": decision, "digest": digest, "time": time}


class Server:
    """What an API server does with one update of a stored ApprovalRequest: mutate, validate, store or
    refuse."""

    def __init__(self, world: World, obj: dict[str, Any]) -> None:
        self.world = world
        self.obj = obj
        self.message = ""

    def write(
        self,
        new: dict[str, Any],
        user: str = "alice",
        *,
        subresource: str = "status",
        stamping: bool = True,
        **terms: Any,
    ) -> bool:
        """True when it was stored. stamping False: somebody has removed the mutating webhook."""
        new = copy.deepcopy(new)
        if stamping:
            answer = self._ask("/mutate-approval", new, user, subresource, terms)
            if not answer["allowed"]:
                return False
            new = jsonpatch.apply_patch(new, answer.get("patch", []))
        if subresource != "status":
            new["status"] = self.obj["status"]  # the server ignores it there
        if not self._ask("/validate-approval", new, user, subresource, terms)["allowed"]:
            return False
        self.obj = new
        return True

    def decide(self, decision: str = "Approved", user: str = "alice", **terms: Any) -> bool:
        """The gesture: one merge patch of status.decision."""
        return self.write({**self.obj, "status": {**self.obj["status"], "decision": decision}}, user, **terms)

    def _ask(
        self, path: str, new: dict[str, Any], user: str, subresource: str, terms: dict[str, Any]
    ) -> dict[str, Any]:
        body = review("approvalrequests", user=user, subresource=subresource, obj=new, old=self.obj, **terms)
        answer = ask(self.world.client, path, body)
        self.message = "" if answer["allowed"] else answer["status"]["message"]
        return answer


@pytest.fixture
def world() -> World:
    """alice and bob may approve in dev under policy coders, and so may a few who must not all the same."""
    made = World(policy_object(approval={"required": 1}))
    for user in ("alice", "bob", "agent-1", CODER, "sub-1"):
        made.cluster.may_approve.add((user, "coders", "dev"))
    return made


def test_one_patch_gives_a_stamped_review_and_the_phase(world: World) -> None:
    server = Server(world, stored())
    assert server.decide(), server.message
    status = server.obj["status"]
    assert status["reviews"] == [reviewed("alice")]
    assert status["phase"] == "Approved"
    assert "useBefore" in status
    assert "decision" not in status


def test_rbac_is_asked_for_this_policy_in_the_targets_namespace_with_all_that_the_user_is(
    world: World,
) -> None:
    extra = {"scopes": ["a"]}
    assert Server(world, stored()).decide(groups=("oncall",), extra=extra)
    asked = world.cluster.questions[0]
    assert asked["resourceAttributes"]["name"] == "coders"
    assert asked["resourceAttributes"]["namespace"] == "dev"
    assert (asked["user"], asked["groups"], asked["extra"]) == ("alice", ["oncall"], extra)


def test_two_people_are_two_reviews_and_one_person_is_one(world: World) -> None:
    """AP-07, AP-13."""
    server = Server(world, stored(required=2))
    assert server.decide()
    assert server.obj["status"]["phase"] == "Pending"
    assert not server.decide(groups=("team-a", "team-b"))
    assert "counts once" in server.message
    assert server.decide(user="bob")
    assert server.obj["status"]["phase"] == "Approved"
    assert [item["username"] for item in server.obj["status"]["reviews"]] == ["alice", "bob"]


def test_one_denial_ends_it(world: World) -> None:
    server = Server(world, stored(required=2))
    assert server.decide()
    assert server.decide("Denied", "bob")
    assert server.obj["status"]["phase"] == "Denied"
    assert not server.decide(user="carol")


@pytest.mark.parametrize(
    ("user", "terms"),
    [
        ("mallory", {}),  # RBAC says no
        ("agent-1", {}),  # the requester
        ("sub-1", {}),  # the person behind the requester
        (CODER, {}),  # an identity that a policy hands out
        ("alice", {"extra": {"chaperone.dev/run": ["run-1"]}}),  # forwarded by a gateway
        ("alice", {"groups": ("ai-agents",)}),  # an agent by the policy's own subjects
        ("", {}),
    ],
)
@pytest.mark.parametrize("stamping", [True, False])
def test_who_must_not_review_cannot(
    world: World, user: str, terms: dict[str, Any], *, stamping: bool
) -> None:
    """AP-06. Without the stamping webhook a review written by hand meets the same questions."""
    server = Server(world, stored())
    if stamping:
        assert not server.decide(user=user, **terms)
    else:
        forged: dict[str, Any] = {"phase": "Approved", "reviews": [reviewed(user)]}
        assert not server.write(stored(**forged), user, stamping=False, **terms)
    assert server.message


def test_the_policys_own_list_of_approvers_narrows(world: World) -> None:
    narrow = policy_object(approval={"approvers": {"groups": ["oncall"], "users": ["bob"]}})
    world.list_policies(narrow)
    assert not Server(world, stored()).decide()
    assert Server(world, stored()).decide(groups=("oncall",))
    assert Server(world, stored()).decide(user="bob")


@pytest.mark.parametrize(
    "forged",
    [
        {"reviews": [reviewed("bob")]},  # in somebody else's name
        {"reviews": [reviewed("alice", digest="sha256:" + "c" * 64)]},  # for other bytes
        {"reviews": [reviewed("alice"), reviewed("alice")]},
        {"reviews": [reviewed("alice"), reviewed("bob")]},
        {"reviews": [reviewed("alice", time="1970-01-01T00:00:00Z")]},
        {"reviews": [reviewed("alice", "Perhaps")]},
        {"reviews": "all of them"},
        {"reviews": [{}]},
        {"phase": "Approved"},
        {"phase": "Executing", "claimedBy": "alice"},
        {"phase": "Nonsense"},
        {"decision": "Approved"},
        {"decision": "Approved", "reviews": [reviewed("alice")]},
        {"decision": "Perhaps"},
        {"decision": ["Approved"]},
        {"decision": "Approved", "phase": "Approved"},
        {"useBefore": LATER},
    ],
)
@pytest.mark.parametrize("stamping", [True, False])
def test_a_forged_status_is_refused_with_and_without_the_stamping_webhook(
    world: World, forged: dict[str, Any], *, stamping: bool
) -> None:
    """AP-07. The one status that stamping repairs is a bare decision of a known word."""
    server = Server(world, stored())
    allowed = server.write(stored(**forged), stamping=stamping)
    assert allowed is (stamping and forged == {"decision": "Approved"})
    assert allowed or server.message


def test_a_review_by_hand_is_refused_even_when_it_says_what_the_stamp_would(world: World) -> None:
    server = Server(world, stored())
    by_hand = stored(required=1, phase="Approved", reviews=[reviewed("alice")])
    assert not server.write(by_hand)
    assert "status.decision" in server.message


def test_earlier_reviews_are_neither_changed_nor_removed(world: World) -> None:
    server = Server(world, stored(required=3, reviews=[reviewed("bob", "Approved")]))
    for reviews in ([], [reviewed("alice")], [reviewed("bob", "Denied"), reviewed("alice")]):
        assert not server.write(stored(required=3, reviews=reviews))


@pytest.mark.parametrize("subresource", ["", "status"])
def test_the_spec_never_changes(world: World, subresource: str) -> None:
    """AP-08, AP-09: on both paths, for everybody."""
    for user in ("alice", GATEWAY, CONTROLLER):
        server = Server(world, stored())
        assert not server.write(stored(requester="somebody"), user, subresource=subresource)


def test_a_decision_on_the_main_resource_is_refused_with_the_way_to_do_it(world: World) -> None:
    server = Server(world, stored())
    assert not server.decide(subresource="")
    assert "--subresource=status" in server.message


def test_labels_may_be_written_by_people(world: World) -> None:
    server = Server(world, stored())
    labelled = {**stored(), "metadata": {**stored()["metadata"], "labels": {"team": "a"}}}
    assert server.write(labelled, subresource="")


@pytest.mark.parametrize(
    ("user", "before", "after", "allowed"),
    [
        (
            GATEWAY,
            stored("Approved", reviews=[reviewed("a")], useBefore=LATER),
            {"phase": "Executing", "claimedBy": "g"},
            True,
        ),
        (
            GATEWAY,
            stored("Approved", reviews=[], useBefore=LATER),
            {"phase": "Executing", "claimedBy": "g"},
            False,
        ),
        (GATEWAY, stored("Pending"), {"phase": "Executing", "claimedBy": "g"}, False),
        (GATEWAY, stored("Pending"), {"phase": "Approved"}, False),
        (GATEWAY, stored("Pending"), {"phase": "Expired"}, False),
        (GATEWAY, stored("Executing", claimedBy="g"), {"phase": "Executed"}, True),
        (GATEWAY, stored("Executing", claimedBy="g"), {"phase": "Unknown"}, True),
        (GATEWAY, stored("Executed", claimedBy="g"), {"phase": "Executing"}, False),
        (GATEWAY, stored("Unknown", claimedBy="g"), {"phase": "Approved"}, False),
        (CONTROLLER, stored("Pending"), {"phase": "Expired"}, True),
        (CONTROLLER, stored("Approved"), {"phase": "Expired"}, True),
        (CONTROLLER, stored("Approved"), {"phase": "Executing", "claimedBy": "g"}, False),
        (CONTROLLER, stored("Denied"), {"phase": "Expired"}, False),
        (CONTROLLER, stored("Pending"), {"reviews": [reviewed("alice")]}, False),
        ("alice", stored("Pending"), {"phase": "Expired"}, False),
        (CODER, stored("Approved"), {"phase": "Executing", "claimedBy": "g"}, False),
    ],
)
def test_phases_move_by_their_own_accounts_only(
    world: World, *, user: str, before: dict[str, Any], after: dict[str, Any], allowed: bool
) -> None:
    """AP-09."""
    server = Server(world, before)
    done = server.write({**before, "status": {**before["status"], **after}}, user)
    assert done is allowed, server.message


@pytest.mark.parametrize(
    ("user", "allowed"), [(GATEWAY, True), (CONTROLLER, False), ("alice", False), (CODER, False)]
)
def test_only_the_gateway_makes_requests(world: World, user: str, allowed: bool) -> None:
    body = review("approvalrequests", "CREATE", user=user, obj={**stored(), "status": {}})
    assert ask(world.client, "/validate-approval", body)["allowed"] is allowed


@pytest.mark.parametrize(
    ("phase", "allowed"),
    [
        ("Pending", False),
        ("Approved", False),
        ("Executing", False),
        ("Denied", True),
        ("Executed", True),
        ("Unknown", True),
    ],
)
def test_only_what_has_ended_is_deleted(world: World, phase: str, allowed: bool) -> None:
    body = review("approvalrequests", "DELETE", user="admin", old=stored(phase))
    assert ask(world.client, "/validate-approval", body)["allowed"] is allowed


def test_every_version_and_an_unknown_operation_meet_the_same_rules(world: World) -> None:
    body = review(
        "approvalrequests", "UPDATE", version="v9", subresource="status", obj=stored("Approved"), old=stored()
    )
    assert not ask(world.client, "/validate-approval", body)["allowed"]
    assert not ask(world.client, "/validate-approval", review("approvalrequests", "CONNECT"))["allowed"]


def test_without_sure_knowledge_nobody_reviews(world: World) -> None:
    world.age_policies(world.settings.max_policy_age + 1)
    server = Server(world, stored())
    assert not server.decide()
    assert "policies" in server.message


def test_without_rbac_nobody_reviews(world: World) -> None:
    world.cluster.away = True
    assert not Server(world, stored()).decide()


def test_an_expired_request_is_not_decided_any_more(world: World) -> None:
    late = stored()
    late["spec"]["expiresAt"] = "1970-01-01T00:00:01Z"
    assert NOW > 1
    assert not Server(world, late).decide()


# Taking back


def persons(phase: str = "Pending") -> dict[str, Any]:
    """carol's request for access."""
    obj = stored(phase)
    obj["spec"] |= {"type": "Access", "requester": {"username": "carol"}}
    return obj


def test_who_asked_for_access_takes_it_back_without_the_rights_of_an_approver(world: World) -> None:
    for phase in ("Pending", "Approved"):
        server = Server(world, persons(phase))
        assert server.decide("Cancelled", "carol"), server.message
        assert server.obj["status"]["phase"] == "Cancelled"
        assert "decision" not in server.obj["status"]
        assert not server.decide("Cancelled", "carol")
        assert not server.decide("Approved", "alice")
    assert world.cluster.questions == []


def test_nobody_takes_back_for_another(world: World) -> None:
    server = Server(world, persons())
    assert not server.decide("Cancelled", "alice")
    assert "can be cancelled only by who has asked for it" in server.message
    held = Server(world, stored(requester="carol"))
    assert not held.decide("Cancelled", "carol")
    assert "through the gateway" in held.message
    lasting = Server(world, persons("Executing"))
    assert not lasting.decide("Cancelled", "carol")
    assert "is Executing" in lasting.message


def test_taking_back_by_hand_is_no_way_around_the_stamp(world: World) -> None:
    server = Server(world, persons())
    for status in ({"phase": "Cancelled"}, {"phase": "Cancelled", "reviews": [reviewed("carol")]}):
        new = {**server.obj, "status": {**server.obj["status"], **status}}
        for stamping in (True, False):
            assert not server.write(new, "carol", stamping=stamping)
    assert server.obj["status"]["phase"] == "Pending"
    assert not server.decide("Cancelled", "carol", stamping=False)
    assert "nothing was decided" in server.message


# A person asks for access


class Asking:
    """What an API server does with the creation of an ApprovalRequest: mutate, validate, store or refuse."""

    def __init__(self, *places: str) -> None:
        self.world = World(policy_object())
        self.world.cluster.may_request = {("bob", "coders", place) for place in places}
        self.message = ""

    def create(
        self, new: dict[str, Any], user: str = "bob", *, stamping: bool = True, **terms: Any
    ) -> dict[str, Any] | None:
        """As stored, None when it was refused."""
        new = copy.deepcopy(new)
        if stamping:
            answer = self._ask("/mutate-approval", new, user, terms)
            if not answer["allowed"]:
                return None
            new = jsonpatch.apply_patch(new, answer.get("patch", []))
        return new if self._ask("/validate-approval", new, user, terms)["allowed"] else None

    def _ask(self, path: str, new: dict[str, Any], user: str, terms: dict[str, Any]) -> dict[str, Any]:
        body = review("approvalrequests", "CREATE", user=user, obj=new, **terms)
        answer = ask(self.world.client, path, body)
        self.message = "" if answer["allowed"] else answer["status"]["message"]
        return answer


def access(**changes: Any) -> dict[str, Any]:
    fields: dict[str, Any] = {"role": "edit", "namespaces": ["dev"], "lasting": "30m", "policy": "coders"}
    obj = build_access_request(**{**fields, **changes})
    return {**obj, "metadata": {"name": "one", "uid": "uid-1"}}


def test_a_person_asks_for_access_in_their_own_name() -> None:
    asking = Asking("dev")
    stored_as = asking.create(access())
    assert stored_as is not None
    assert stored_as["spec"]["requester"]["username"] == "bob"
    assert stored_as["spec"]["access"]["identity"] == "bob"
    assert stored_as["spec"]["policy"]["generation"] == 1


def test_the_right_to_ask_is_asked_of_rbac_in_every_namespace() -> None:
    asking = Asking("dev")
    assert asking.create(access(namespaces=["dev", "test"])) is None
    assert "verb request on accessrequests.chaperone.dev 'coders' in namespace 'test'" in asking.message
    assert Asking("dev", "test").create(access(namespaces=["dev", "test"]))
    assert Asking("").create(access(namespaces=["dev", "test"]))
    assert Asking().create(access()) is None


def test_without_the_stamp_nothing_is_stored() -> None:
    asking = Asking("dev")
    assert asking.create(access(), stamping=False) is None
    stamped = asking.create(access())
    assert stamped is not None
    stamped["spec"]["access"]["identity"] = "alice"
    assert asking.create(stamped, stamping=False) is None
    assert "as it was stamped" in asking.message


def test_who_may_not_ask() -> None:
    asking = Asking("dev")
    asking.world.cluster.may_request.add((CODER, "coders", "dev"))
    assert asking.create(access(), CODER) is None
    assert "through the gateway" in asking.message
    assert asking.create(access(role="cluster-admin")) is None
    assert "never granted" in asking.message
    assert asking.create(access(), CONTROLLER) is None
    assert "gateway alone" in asking.message


def test_an_identity_that_a_broken_policy_hands_out_does_not_ask_either() -> None:
    asking = Asking("dev")
    both = {"serviceAccount": {"namespace": "agents", "name": "breaker"}, "user": "breaker"}
    asking.world.list_policies(policy_object(), policy_object("broken", identity=both))
    breaker = "system:serviceaccount:agents:breaker"
    asking.world.cluster.may_request.add((breaker, "coders", "dev"))
    assert asking.create(access(), breaker) is None
    assert "through the gateway" in asking.message


def test_people_make_no_other_request() -> None:
    asking = Asking("dev")
    assert asking.create(stored()) is None
    assert "gateway alone" in asking.message
    assert asking.create(stored(), GATEWAY) is not None


def test_nobody_asks_while_policies_are_not_known() -> None:
    asking = Asking("dev")
    stamped = asking.create(access())
    assert stamped is not None
    asking.world.age_policies(1_000)
    assert asking.create(access()) is None
    assert "not been confirmed" in asking.message
    assert asking.create(stamped, stamping=False) is None


def test_every_namespace_of_a_grant_needs_an_approver_of_its_own() -> None:
    asking = Asking("dev", "test")
    obj = asking.create(access(namespaces=["dev", "test"]))
    assert obj is not None
    world = asking.world
    server = Server(world, {**obj, "status": {"phase": "Pending"}})
    world.cluster.may_approve = {("alice", "coders", "dev")}
    assert not server.decide()
    assert "namespace 'test'" in server.message
    assert not server.decide(user="bob")
    assert "own requester" in server.message
    world.cluster.may_approve.add(("alice", "coders", "test"))
    assert server.decide()
    assert server.obj["status"]["phase"] == "Approved"


def test_only_the_controller_says_what_people_were_told() -> None:
    for user, allowed in (("alice", False), (GATEWAY, False), (CONTROLLER, True)):
        server = Server(World(policy_object()), stored())
        new = copy.deepcopy(server.obj)
        new["metadata"]["annotations"] = {"chaperone.dev/notified": "pending"}
        assert server.write(new, user, subresource="") is allowed


def on_behalf(server: Server, username: str, *, user: str = CONSOLE, **terms: Any) -> bool:
    person = {"username": username, "groups": ["oncall"]}
    status = {**server.obj["status"], "decision": "Approved", "onBehalfOf": person}
    return server.write({**server.obj, "status": status}, user, **terms)


def test_the_console_passes_on_a_decision_which_counts_as_the_persons(world: World) -> None:
    server = Server(world, stored(required=2))
    assert on_behalf(server, "alice"), server.message
    assert server.obj["status"]["reviews"] == [reviewed("alice")]
    assert not on_behalf(server, "alice"), "the same person twice"
    assert server.decide(user="bob"), server.message
    assert [entry["username"] for entry in server.obj["status"]["reviews"]] == ["alice", "bob"]


def test_through_the_console_nobody_may_more_than_by_himself(world: World) -> None:
    for person in ("carol", "agent-1", CODER, CONSOLE, "system:admin"):
        assert not on_behalf(Server(world, stored()), person), person
    assert not Server(world, stored()).decide(user=CONSOLE), "the console itself is nobody"


def test_nobody_but_the_console_speaks_for_others(world: World) -> None:
    for user in ("bob", GATEWAY, CONTROLLER):
        assert not on_behalf(Server(world, stored()), "alice", user=user)
        assert not on_behalf(Server(world, stored()), "alice", user=user, stamping=False)


def test_a_review_that_the_console_writes_itself_must_be_the_named_persons(world: World) -> None:
    server = Server(world, stored())
    status = {
        "phase": "Approved",
        "reviews": [reviewed("bob")],
        "onBehalfOf": {"username": "alice", "groups": []},
    }
    assert not server.write({**server.obj, "status": status}, CONSOLE, stamping=False)
