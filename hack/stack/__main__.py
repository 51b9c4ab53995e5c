"""`python -m hack.stack up|down|status --dir DIR`: what `make up`, `make down` and `make status` call."""

import argparse
import sys
from pathlib import Path

from hack import cluster as clusters
from hack.cluster.errors import ClusterError
from hack.stack import programs, up
from hack.stack.layout import Layout


def main(arguments: list[str]) -> int:
    options = _parser().parse_args(arguments)
    try:
        return int(options.act(options))
    except ClusterError as error:
        print(f"stack: {error}", file=sys.stderr)
        if error.details:
            print(error.details, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stack: interrupted; make down cleans up", file=sys.stderr)
        return 130


def _up(options: argparse.Namespace) -> int:
    if options.kube and not options.kube.is_file():
        print(f"stack: KUBE={options.kube} is not a file; give the path of a kubeconfig", file=sys.stderr)
        return 2
    stack = up.start(options.dir, kube=options.kube, log=_say)
    shown = options.dir
    print(
        f"""
  admin     export KUBECONFIG={shown}/admin.kubeconfig
  agent     export KUBECONFIG={shown}/agent.kubeconfig     (through the gateway, {stack.gateway_url})
  approver  export KUBECONFIG={shown}/approver.kubeconfig
  kubectl   export PATH=$PWD/.venv/bin:$PATH

Next: be the agent:    .venv/bin/kubectl --kubeconfig {shown}/agent.kubeconfig delete namespace demo
      be the approver: .venv/bin/kubectl --kubeconfig {shown}/approver.kubeconfig get apreq
      read the audit:  .venv/bin/chaperone audit search --store {shown}/audit
      stop it:         make down"""
    )
    return 0


def _down(options: argparse.Namespace) -> int:
    up.stop(options.dir, log=_say)
    _say("stopped")
    return 0


def _status(options: argparse.Namespace) -> int:
    layout = Layout(options.dir.resolve())
    cluster, faults = clusters.status(layout.cluster)
    for name, pid in programs.running(layout).items():
        print(f"{name:<12} running  pid {pid}  log {layout.log(name)}")
    print(
        f"{'cluster':<12} {'well' if cluster and not faults else 'not well'}  {cluster.server if cluster else ''}"
    )
    for fault in faults:
        print(f"             {fault}")
    return 0 if cluster and not faults else 1


def _say(text: str) -> None:
    print(f"stack: {text}", flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m hack.stack", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="up|down|status")
    for name, act in (("up", _up), ("down", _down), ("status", _status)):
        command = commands.add_parser(name)
        command.set_defaults(act=act)
        command.add_argument("--dir", type=Path, default=Path(".local"), help="the stack's folder")
        if name == "up":
            command.add_argument("--kube", type=Path, help="kubeconfig of the cluster to use")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
