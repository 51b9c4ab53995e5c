"""Walk-throughs in docs are run: files that a page shows are written, its commands run, its output compared.

A fenced block takes part by its info string:

- `yaml file=NAME`: written to that file.
- `console run`: each line that starts with "$ " is run; the lines below it are what it has to print (both streams), where
  `...` stands for anything in a line, and a line of only `...` for any lines. `# exit 1` behind a command: its exit code.
- `console cluster=WHO`: the same, on a real cluster with WHO's kubeconfig.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from hack.stack.kubectl import KUBECTL

_FENCE = re.compile(r"^```(\S+)((?: \S+)*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_EXIT = re.compile(r"\s+# exit (\d+)$")


@dataclass(frozen=True)
class Block:
    """language and labels of its info string; line: where it begins."""

    language: str
    labels: Mapping[str, str]
    text: str
    line: int


@dataclass(frozen=True)
class Command:
    text: str
    expected: tuple[str, ...]
    code: int


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text()
    for found in _FENCE.finditer(text):
        labels = {key: value for key, _, value in (word.partition("=") for word in found[2].split())}
        yield Block(found[1], labels, found[3], text[: found.start()].count("\n") + 1)


def commands(block: Block) -> list[Command]:
    found: list[Command] = []
    for line in block.text.splitlines():
        if line.startswith("$ "):
            code = _EXIT.search(line)
            found.append(Command(_EXIT.sub("", line[2:]), (), int(code[1]) if code else 0))
        elif found:
            last = found.pop()
            found.append(Command(last.text, (*last.expected, line), last.code))
    return found


def write_files(page: Path, folder: Path) -> None:
    for block in blocks(page):
        if name := block.labels.get("file"):
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text)


def programs(folder: Path) -> Path:
    """A folder for PATH with our commands as the installed scripts would be, and kubectl."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("chaperone", "kubectl-chaperone"):
        script = folder / name
        script.write_text(f"#!{sys.executable}\nfrom chaperone.cli.app import main\n\nmain()\n")
        script.chmod(0o755)
    (folder / "kubectl").symlink_to(KUBECTL)
    return folder


def run(command: Command, folder: Path, environment: Mapping[str, str]) -> str:
    """Why it did not do what the page says; "" when it did."""
    done = subprocess.run(
        ["bash", "-c", command.text],
        check=False,
        cwd=folder,
        env=dict(environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
    )
    if done.returncode != command.code:
        return f"$ {command.text}\nexit code {done.returncode}, not {command.code}:\n{done.stdout}"
    if command.expected and not matches(command.expected, done.stdout):
        expected = "\n".join(command.expected)
        return f"$ {command.text}\nprinted:\n{done.stdout}\nthe page says:\n{expected}"
    return ""


def matches(expected: tuple[str, ...], printed: str) -> bool:
    """Several spaces count as one: columns are as wide as what stands in them."""
    pattern = ""
    for line in expected:
        words = " ".join(line.split())
        parts = ".*".join(re.escape(part) for part in words.split("..."))
        pattern += r"(?:.*\n)*?" if words == "..." else f"{parts}\n"
    shown = "".join(f"{' '.join(line.split())}\n" for line in printed.splitlines())
    return re.fullmatch(pattern, shown) is not None
