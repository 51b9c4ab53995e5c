"""Bringing the whole stack up and down, in the order in which the parts need each other."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from chaperone.kube.rbac import CONSOLE, CONTROLLER, GATEWAY, WEBHOOK
from hack import cluster as clusters
from hack.cluster.errors import ClusterError
from hack.cluster.pki import write_private
from hack.stack import configs, objects, people, pki, ports, programs
from hack.stack.kubectl import Kubectl
from hack.stack.layout import NAMESPACE, ROOT, Layout
from hack.stack.programs import Program

Log = Callable[[str], None]
APPROVER = "alice@example.com"
SECOND_APPROVER = "bob@example.com"
PEOPLE = {
    APPROVER: (objects.APPROVERS,),
    SECOND_APPROVER: (objects.APPROVERS,),
    "carol@example.com": (),
}
"""Who can log in to the console; carol has no rights."""
AGENT = ("demo-agent", ("ai-agents",), "run-0001")
AGENT_LIFE = "86400"


@dataclass(frozen=True)
class Stack:
    """A running stack."""

    layout: Layout
    cluster: clusters.Cluster
    ports: Mapping[str, int]

    @property
    def admin(self) -> Kubectl:
        return Kubectl(self.layout.admin_kubeconfig)

    @property
    def gateway_url(self) -> str:
        return f"https://127.0.0.1:{self.ports['gateway']}"

    @property
    def webhook_url(self) -> str:
        return f"https://127.0.0.1:{self.ports['webhook']}"

    @property
    def console_url(self) -> str:
        return configs.console_url(self.ports)

    @property
    def metrics_url(self) -> str:
        return f"http://127.0.0.1:{self.ports['gateway-health']}/metrics"

    def program(self, name: str) -> Program:
        return programs_of(self.layout, self.ports)[name]


def start(directory: Path, *, kube: Path | None = None, kind: bool = False, log: Log = print) -> Stack:
    """The stack of a folder; what runs already is left running. Raises ClusterError saying what to do."""
    began = time.monotonic()
    layout = Layout(directory.resolve())
    cluster = clusters.start(layout.cluster, kube=kube, kind=kind, log=log)
    write_private(layout.admin_kubeconfig, cluster.admin_kubeconfig.read_bytes())
    pki.ensure(layout)
    stack = Stack(layout, cluster, ports.ensure(layout))
    _prepare(stack, log)
    _start_programs(stack, log)
    _write_urls(stack)
    _settle(stack, log)
    log(f"the stack is up after {time.monotonic() - began:.0f} s")
    return stack


def stop(directory: Path, *, log: Log = print) -> None:
    """End everything that `start` began. A cluster of the user keeps its objects, but not our webhooks."""
    layout = Layout(directory.resolve())
    cluster = clusters.status(layout.cluster)[0] if layout.admin_kubeconfig.exists() else None
    if cluster is not None and cluster.external:
        log(f"removing our webhook configurations from {cluster.server}; our other objects stay there")
        objects.remove_webhooks(Kubectl(layout.admin_kubeconfig))
    programs.stop_all(layout, log)
    clusters.stop(layout.cluster, log=log)


def programs_of(layout: Layout, numbers: Mapping[str, int]) -> dict[str, Program]:
    """Every program of a stack, in the order of starting."""
    issuer = pki.server_files(layout, "issuer")
    serve = ("--dir", str(layout.issuer), "--port", str(numbers["issuer"]))
    certificate = ("--cert", str(issuer.certificate), "--key", str(issuer.key))
    people_of_it = tuple(
        word for name, groups in PEOPLE.items() for word in ("--person", f"{name}={','.join(groups)}")
    )
    known = [
        Program(
            "issuer",
            (str(ROOT / "hack" / "issuer.py"), "serve", *serve, *certificate, *people_of_it),
            f"{configs.issuer_url(numbers)}/.well-known/openid-configuration",
        ),
        _program(layout, "webhook", f"https://127.0.0.1:{numbers['webhook']}/readyz"),
        _program(layout, "controller", f"http://127.0.0.1:{numbers['controller-health']}/healthz"),
        _program(layout, "gateway", f"http://127.0.0.1:{numbers['gateway-health']}/readyz"),
        _program(layout, "console", f"{configs.console_url(numbers)}/healthz"),
    ]
    return {program.name: program for program in known}


def _program(layout: Layout, name: str, health: str) -> Program:
    return Program(name, ("-m", name, "--config", str(layout.config(name))), health)


def _prepare(stack: Stack, log: Log) -> None:
    """Everything that the programs read when they start."""
    log("applying custom resource definitions and roles")
    objects.apply_kinds(stack.admin)
    objects.apply_rights(stack.admin)
    accounts = (("gateway", GATEWAY), ("controller", CONTROLLER), ("webhook", WEBHOOK), ("console", CONSOLE))
    for program, account in accounts:
        people.write_account(stack.admin, stack.layout.kubeconfig(program), account)
    configs.write_all(stack.layout, stack.ports, external=stack.cluster.external)


def _start_programs(stack: Stack, log: Log) -> None:
    known = programs_of(stack.layout, stack.ports)
    log(f"starting {', '.join(known)} (logs in {stack.layout.directory / 'logs'})")
    for program in known.values():
        programs.start(stack.layout, program)
    programs.wait_well(stack.layout, known["webhook"])
    objects.apply_webhooks(stack.admin, stack.layout, stack.webhook_url, stack.cluster.version)
    for program in known.values():
        programs.wait_well(stack.layout, program)


def _settle(stack: Stack, log: Log) -> None:
    """The example policy, and the kubeconfigs of the agent and the approver."""
    objects.apply_example(stack.admin)
    layout = stack.layout
    subject, groups, run = AGENT
    people.write_agent(
        layout,
        layout.agent_kubeconfig,
        stack.gateway_url,
        subject=subject,
        groups=groups,
        run=run,
        arguments=(
            "--issuer-url",
            configs.issuer_url(stack.ports),
            "--agent",
            subject,
            "--expires-in",
            AGENT_LIFE,
        ),
    )
    people_of = ((layout.approver_kubeconfig, APPROVER), (layout.second_approver_kubeconfig, SECOND_APPROVER))
    for path, person in people_of:
        if not path.exists() or not stack.cluster.external:
            _write_approver(stack, path, person, log)
    wait_for_agent(layout.agent_kubeconfig, "/api/v1/namespaces")


def _write_approver(stack: Stack, path: Path, person: str, log: Log) -> None:
    """A person where the cluster signs client certificates, otherwise a service account of that name."""
    try:
        people.write_person(stack.admin, path, person, [objects.APPROVERS])
    except ClusterError as error:
        account = person.partition("@")[0]
        log(f"{error}; the approver is the service account {NAMESPACE}/{account} instead")
        metadata = {"name": account, "namespace": NAMESPACE}
        made = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}
        stack.admin.apply("making the approver's account", [made, objects.approver_binding(account)])
        people.write_account(stack.admin, path, account)


def wait_for_agent(kubeconfig: Path, path: str, seconds: float = 60) -> None:
    """Until the policy is bound and the gateway may impersonate: the agent's first request must succeed."""
    agent = Kubectl(kubeconfig)
    deadline = time.monotonic() + seconds
    while (done := agent.run("get", "--raw", path)).returncode:
        if time.monotonic() > deadline:
            raise ClusterError(
                f"GET {path} with {kubeconfig} still fails after {seconds:.0f} s: {done.stderr.strip()};"
                " see the logs of gateway and controller"
            )
        time.sleep(0.2)


def _write_urls(stack: Stack) -> None:
    urls = {
        "GATEWAY_URL": stack.gateway_url,
        "ISSUER_URL": configs.issuer_url(stack.ports),
        "WEBHOOK_URL": stack.webhook_url,
        "CONSOLE_URL": stack.console_url,
        "METRICS_URL": stack.metrics_url,
    }
    stack.layout.urls.write_text("".join(f"{name}={url}\n" for name, url in urls.items()))
