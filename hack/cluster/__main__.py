"""The command line: up, down and status of the cluster of a folder."""

import argparse
import sys
import time
from pathlib import Path

from hack.cluster import Cluster, ClusterError, start, status, stop


def main(arguments: list[str] | None = None) -> int:
    """0 done, 1 failed; argparse itself ends with 2 on bad usage."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.command(options))
    except ClusterError as error:
        if error.details:
            print(error.details, file=sys.stderr)
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"error: {error}: check the disk and the permissions of {options.dir}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("error: interrupted; nothing is left running", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m hack.cluster", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    up = commands.add_parser("up", help="start a cluster, or say that it runs")
    origin = up.add_mutually_exclusive_group()
    origin.add_argument("--kube", type=Path, metavar="KUBECONFIG", help="use this cluster; start nothing")
    origin.add_argument("--kind", action="store_true", help="use or create a kind cluster (needs Docker)")
    up.add_argument("--no-node", action="store_true", help="control plane only, no pods")
    up.add_argument("--name", default="chaperone", help="name of the context, and of the kind cluster")
    up.set_defaults(command=_up)
    down = commands.add_parser("down", help="stop it and remove what it used, except its logs")
    down.set_defaults(command=_down)
    state = commands.add_parser("status", help="say whether it answers; exit code 1 if not")
    state.set_defaults(command=_status)
    for command in (up, down, state):
        command.add_argument("--dir", type=Path, required=True, help="the folder of the cluster")
    return parser


def _up(options: argparse.Namespace) -> int:
    began = time.monotonic()
    cluster = start(
        options.dir,
        kube=options.kube,
        node=not options.no_node,
        log=_say,
        name=options.name,
        kind=options.kind,
    )
    _say(f"ready after {time.monotonic() - began:.1f} s")
    _describe(cluster)
    return 0


def _down(options: argparse.Namespace) -> int:
    stop(options.dir, log=_say)
    _say(f"stopped; logs, if any, are in {options.dir / 'logs'}")
    return 0


def _status(options: argparse.Namespace) -> int:
    cluster, faults = status(options.dir)
    if cluster:
        _describe(cluster)
    for fault in faults:
        print(f"error: {fault}", file=sys.stderr)
    return 1 if faults else 0


def _describe(cluster: Cluster) -> None:
    print(f"server:   {cluster.server} ({cluster.version}{', not ours' if cluster.external else ''})")
    print(f"node:     {'yes' if cluster.has_node else 'no: ' + cluster.why_no_node}")
    print(f"use it:   export KUBECONFIG={cluster.admin_kubeconfig}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
