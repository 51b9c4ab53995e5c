"""`python -m hack.demo --dir DIR [--kube KUBECONFIG]`. Exit code 0 only when every step did what it should."""

import argparse
import sys
from pathlib import Path

from hack.cluster.errors import ClusterError
from hack.demo import screen, story, watched
from hack.demo.stage import Story
from hack.stack import up


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m hack.demo", description=__doc__)
    parser.add_argument("--dir", type=Path, default=Path(".local"))
    parser.add_argument("--kube", type=Path)
    options = parser.parse_args(arguments)
    try:
        stack = up.start(options.dir, kube=options.kube, log=lambda text: print(f"demo: {text}", flush=True))
        wrong = story.tell(stack)
    except ClusterError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    print()
    if wrong:
        print(screen.paint("31", f"demo: {len(wrong)} step(s) went wrong: {'; '.join(wrong)}"))
        return 1
    print(screen.paint("32", "demo: every step did what it should."))
    _next(options.dir, stack.console_url, watched.session_of(Story(stack), up.AGENT[2]))
    return 0


def _next(folder: Path, console: str, session: str) -> None:
    print(
        f"""
The stack is still running. What to try next:
  look at the run    {console}/sessions/{session}
                     (the certificate is the stack's own; log in as {up.APPROVER}, no password)
  be the agent       .venv/bin/kubectl --kubeconfig {folder}/agent.kubeconfig get pods -n demo
  be the approver    .venv/bin/kubectl --kubeconfig {folder}/approver.kubeconfig get apreq
  change the policy  .venv/bin/kubectl --kubeconfig {folder}/admin.kubeconfig edit agentpolicy coding-agents
  read the audit     .venv/bin/chaperone audit search --store {folder}/audit
  write your own     docs/examples/coding-agents.yaml is the policy you saw at work
  stop everything    make down"""
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
