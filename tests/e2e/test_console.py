"""The console in a real browser: people log in, decide, watch a run and end it.

The pictures in docs/images are made here (CHAPERONE_PICTURES=docs/images).
"""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import termios
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from hack.browser import find_browser
from hack.stack import up
from hack.stack.kubectl import Kubectl
from tests.e2e.agents import Agents
from tests.e2e.waiting import until

pytestmark = pytest.mark.cluster

ALICE, CAROL = "alice@example.com", "carol@example.com"
DESK = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 844}

Login = Callable[..., Page]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    found = find_browser(os.environ, print)
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(
            executable_path=str(found.program),
            args=["--no-sandbox"],
            env={**os.environ, **found.environment},
        )
        yield made
        made.close()


@pytest.fixture
def login(stack: up.Stack, browser: Browser) -> Iterator[Login]:
    """`login(ALICE)`: a page on which this person has logged in. Whatever the browser complains of fails the test."""
    contexts, complaints = [], []

    def begin(person: str, *, path: str = "/", viewport: object = DESK, scheme: str = "light") -> Page:
        context = browser.new_context(ignore_https_errors=True, viewport=viewport, color_scheme=scheme)  # type: ignore[arg-type]
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "console", lambda message: complaints.append(message.text) if "Policy" in message.text else None
        )
        page.goto(f"{stack.console_url}{path}")
        page.get_by_role("link", name="Log in").click()
        page.get_by_role("button", name=person).click()
        page.wait_for_url(f"{stack.console_url}/**")
        return page

    yield begin
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture(scope="module")
def agent(agents: Agents) -> Kubectl:
    agents.govern(
        "browsing",
        access=[{"roleRef": {"kind": "ClusterRole", "name": "cluster-admin"}, "clusterWide": True}],
        rules=[
            {
                "name": "ask",
                "match": {"verbs": ["delete"], "resources": ["configmaps"]},
                "action": "RequireApproval",
            },
            {"name": "no", "match": {"resources": ["daemonsets"]}, "action": "Deny"},
            {"name": "rest", "match": {"verbs": ["*"]}, "action": "Allow"},
        ],
    )
    return agents.kubectl("browsing", run="run-in-the-browser")


@contextmanager
def held(agent: Kubectl, admin: Kubectl, name: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """(approval, kubectl) of a ConfigMap's deletion that waits for people."""
    admin.must("making a ConfigMap", "create", "configmap", name, "-n", "default", "--from-literal=a=b")
    waiting = subprocess.Popen(
        [*agent.command("delete", "configmap", name, "-n", "default")],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=agent.environment(),
    )
    try:
        yield until(f"the approval for {name}", lambda: approval_of(admin, name)), waiting
    finally:
        waiting.kill()
        waiting.wait()


def approval_of(admin: Kubectl, name: str) -> str:
    items = (admin.get("apreq") or {}).get("items", [])
    return next(
        (item["metadata"]["name"] for item in items if item["spec"].get("request", {}).get("name") == name),
        "",
    )


def refusal(agent: Kubectl) -> str:
    return agent.run("get", "configmaps", "-n", "default").stderr


def picture(page: Page, name: str) -> None:
    """Kept where CHAPERONE_PICTURES says; the docs show them."""
    if folder := os.environ.get("CHAPERONE_PICTURES"):
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


def test_an_approval_from_the_list_to_the_agents_success(
    agent: Kubectl, admin: Kubectl, login: Login
) -> None:
    page = login(ALICE)
    expect(page.get_by_role("heading", name="Approvals")).to_be_visible()
    with held(agent, admin, "console-approved") as (name, waiting):
        row = page.get_by_role("row").filter(has_text=name)
        expect(row).to_be_visible(timeout=15_000)  # without a reload
        picture(page, "console-approvals")
        row.get_by_role("link").click()
        expect(page.get_by_role("heading", name="What would change")).to_be_visible()
        picture(page, "console-approval")
        page.get_by_label("Reason").fill("looked at it <b>twice</b>")
        page.get_by_role("button", name="Approve").click()
        expect(page.get_by_role("status")).to_contain_text("you have approved")
        expect(page.get_by_text(f"Approved by {ALICE}")).to_contain_text("<b>twice</b>")
        output, _ = waiting.communicate(timeout=60)
    assert waiting.returncode == 0, output
    assert "deleted" in output
    reviews = (admin.get("apreq", name) or {})["status"]["reviews"]
    assert [(review["username"], review["decision"]) for review in reviews] == [(ALICE, "Approved")]


def test_a_denial_reaches_the_agent(agent: Kubectl, admin: Kubectl, login: Login) -> None:
    with held(agent, admin, "console-denied") as (name, waiting):
        page = login(ALICE, path=f"/approvals/{name}")
        page.get_by_label("Reason").fill("not today")
        page.get_by_role("button", name="Deny").click()
        expect(page.get_by_role("status")).to_contain_text("you have denied")
        output, _ = waiting.communicate(timeout=60)
    assert waiting.returncode == 1
    assert "not today" in output
    assert admin.run("get", "configmap", "console-denied", "-n", "default").returncode == 0


def test_somebody_without_rights_sees_and_does_nothing(
    stack: up.Stack, agent: Kubectl, admin: Kubectl, login: Login
) -> None:
    with held(agent, admin, "console-carol") as (name, _):
        page = login(CAROL, path=f"/approvals/{name}")
        expect(page.get_by_role("alert")).to_contain_text("you may not")
        for path in ("/approvals/", "/sessions/", "/audit/", "/policies/"):
            page.goto(f"{stack.console_url}{path}")
            expect(page.get_by_role("alert")).to_contain_text("403")


def test_a_run_is_watched_searched_for_and_ended(agents: Agents, agent: Kubectl, login: Login) -> None:
    run = f"run-to-be-ended-{uuid.uuid4().hex[:6]}"
    doomed = agents.kubectl("browsing", run=run)
    assert doomed.run("get", "configmaps", "-n", "default").returncode == 0
    assert doomed.run("get", "daemonsets", "-A").returncode == 1
    page = login(ALICE, path="/sessions/")
    row = page.get_by_role("row").filter(has_text=run)
    expect(row).to_be_visible(timeout=15_000)
    row.get_by_role("link").click()
    expect(page.get_by_text("daemonsets.apps")).to_be_visible()
    picture(page, "console-run")
    page.get_by_label("Reason").fill("it looks lost")
    page.get_by_role("button", name="End the run").click()
    expect(page.get_by_role("status")).to_contain_text("Ended")
    expect(page.get_by_text(f"by {ALICE}")).to_be_visible()
    refused = until("the run to be refused", lambda: refusal(doomed))
    assert "it looks lost" in refused
    assert agent.run("get", "configmaps", "-n", "default").returncode == 0, "another run of the same agent"


def test_the_audit_is_searched_by_run_and_verdict(stack: up.Stack, agent: Kubectl, login: Login) -> None:
    assert agent.run("get", "daemonsets", "-A").returncode == 1
    page = login(ALICE, path="/audit/")
    page.get_by_label("Run").fill("run-in-the-browser")
    page.get_by_label("Verdict").select_option("Deny")
    first = page.get_by_role("row").nth(1)

    def found() -> bool:
        page.get_by_role("button", name="Search").click()
        return first.is_visible()

    until("the record of a read, which nobody waits for", found)
    expect(first).to_contain_text("daemonsets.apps")
    picture(page, "console-audit")
    first.get_by_role("link").first.click()
    expect(page.locator("pre").first).to_contain_text("run-in-the-browser")
    page.goto(f"{stack.console_url}/audit/counts?span=1h")
    expect(page.locator("rect.bar-deny").first).to_be_visible()
    picture(page, "console-counts")


def test_what_a_run_changed_is_told_object_by_object(agents: Agents, admin: Kubectl, login: Login) -> None:
    run = f"run-that-changes-{uuid.uuid4().hex[:6]}"
    changing = agents.kubectl("browsing", run=run)
    admin.must(
        "making a ConfigMap", "create", "configmap", run, "-n", "default", "--from-literal=colour=green"
    )
    patch = '{"data":{"colour":"blue"}}'
    assert (
        changing.run("patch", "configmap", run, "-n", "default", "--type=merge", "-p", patch).returncode == 0
    )
    page = login(ALICE, path=f"/sessions/?find={run}")
    page.get_by_role("row").filter(has_text=run).get_by_role("link").click()
    page.get_by_role("link", name="What this run changed").click()
    expect(page.get_by_role("heading", name=f"configmaps default/{run}: changed")).to_be_visible()
    expect(page.locator("pre").first).to_contain_text("data.colour: green -> blue")
    picture(page, "console-changes")
    page.get_by_role("link", name="patch").click()
    expect(page.locator("pre").first).to_contain_text(run)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_and_a_keyboard(agent: Kubectl, login: Login, scheme: str) -> None:
    page = login(ALICE, path="/policies/browsing", viewport=PHONE, scheme=scheme)
    expect(page.get_by_role("heading", name="browsing")).to_be_visible()
    overflow = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert overflow == 0, "the page itself never scrolls sideways"
    picture(page, f"console-phone-{scheme}")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the page")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Policies").last).to_be_focused()


def test_a_recorded_terminal_plays(stack: up.Stack, agents: Agents, pod_namespace: str, login: Login) -> None:
    """`exec -it` through the gateway, then its replay in the browser: what the pod printed stands on the player."""
    run = f"run-with-a-terminal-{uuid.uuid4().hex[:6]}"
    agent = agents.kubectl("browsing", run=run)
    typed_in(
        agent,
        "exec",
        "-it",
        "shell",
        "-n",
        pod_namespace,
        "--",
        "sh",
        "-c",
        "echo seen-in-the-terminal; sleep 1; ls /",
    )
    page = login(ALICE, path=f"/audit/?run={run}")
    replay = page.get_by_role("link", name="Replay").first
    expect(replay).to_be_visible()
    replay.click()
    expect(page.get_by_text("are those in the audit record")).to_be_visible()
    player = page.locator("#player")
    expect(player.locator(".ap-term, .ap-terminal").first).to_be_visible(timeout=15_000)
    page.get_by_role("button", name="Play").click()
    expect(player).to_contain_text("seen-in-the-terminal", timeout=20_000)
    picture(page, "console-replay")


def typed_in(agent: Kubectl, *arguments: str) -> None:
    """Run kubectl with a terminal of its own, to its end."""
    main, side = pty.openpty()
    fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    process = subprocess.Popen(
        agent.command(*arguments), stdin=side, stdout=side, stderr=side, env=agent.environment()
    )
    os.close(side)
    try:
        while os.read(main, 65536):
            pass
    except OSError:  # how a terminal says that its other side is gone
        pass
    finally:
        os.close(main)
        assert process.wait(60) == 0
