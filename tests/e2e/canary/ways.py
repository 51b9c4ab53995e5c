"""The ways in which a client reads a cluster. Each gives back what the client showed or kept; what crossed the wire is the
tap's to tell."""

from __future__ import annotations

import os
import select
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from hack.stack.kubectl import KUBECTL, Kubectl

SECONDS = 90.0
"""For a command. One that has not ended by then has failed; one that watches has nothing to show."""
AFTER = 3.0
"""Seconds for which a command that watches goes on once it has shown something masked."""
MASKS = (b"masked-", b"bWFza2Vk", b"********")
Env = Mapping[str, str]
NOTHING: Env = {}


class Expect(Enum):
    """What makes a way worth its time: that something was masked in it, that it went through, or that it was refused."""

    MASKED = "masked"
    DONE = "done"
    REFUSED = "refused"
    EITHER = "either"


@dataclass(frozen=True)
class Reader:
    """An agent's tools. folder: empty, for what a way writes; namespace: of the canaries."""

    kubectl: Kubectl
    namespace: str
    folder: Path
    programs: Mapping[str, Path] = field(default_factory=dict)

    def run(
        self, command: list[str], stdin: str = "", *, env: Env = NOTHING, watches: bool = False
    ) -> tuple[int, bytes]:
        """Exit code and all output. watches: it does not end by itself, and is ended when it has shown enough; its code is
        then 0."""
        environment = {**self.kubectl.environment(), **self.homes(), **env}
        process = subprocess.Popen(
            command,
            env=environment,
            cwd=self.folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        if watches:
            return _watched(process)
        try:
            output, _ = process.communicate(stdin.encode(), timeout=SECONDS)
        finally:
            process.kill()
        return process.returncode, output

    def homes(self) -> dict[str, str]:
        folder = str(self.folder)
        return {"HELM_CACHE_HOME": folder, "HELM_CONFIG_HOME": folder, "HELM_DATA_HOME": folder}

    def files(self) -> bytes:
        """All that a way has written."""
        kept = b""
        for path in sorted(self.folder.rglob("*")):
            with suppress(OSError):
                kept += path.read_bytes() if path.is_file() else b""
        return kept


def _watched(process: subprocess.Popen[bytes]) -> tuple[int, bytes]:
    """What it shows until AFTER the first masked text."""
    assert process.stdout
    shown, end, masked = b"", time.monotonic() + SECONDS, False
    while (left := end - time.monotonic()) > 0 and process.poll() is None:
        if select.select([process.stdout], [], [], left)[0]:
            shown += os.read(process.stdout.fileno(), 1 << 16)
        if not masked and any(mask in shown for mask in MASKS):
            masked, end = True, time.monotonic() + AFTER
    code = process.poll() or 0
    process.terminate()
    rest, _ = process.communicate(timeout=30)
    return code, shown + rest


Act = Callable[[Reader], tuple[int, bytes]]


@dataclass(frozen=True)
class Way:
    name: str
    act: Act
    expect: Expect = Expect.MASKED


def kubectl(
    line: str, expect: Expect = Expect.MASKED, *, name: str = "", env: Env = NOTHING, watches: bool = False
) -> Way:
    """One line as typed; {ns} is the namespace."""

    def act(reader: Reader) -> tuple[int, bytes]:
        words = [word.replace("{ns}", reader.namespace) for word in split(line)]
        return reader.run([str(KUBECTL), *words], env=env, watches=watches)

    return Way(name or f"kubectl {line}", act, expect)


def old_kubectl(line: str, expect: Expect = Expect.MASKED, *, env: Env = NOTHING) -> Way:
    def act(reader: Reader) -> tuple[int, bytes]:
        words = [word.replace("{ns}", reader.namespace) for word in split(line)]
        return reader.run([str(reader.programs["kubectl-1.20"]), *words], env=env)

    return Way(f"kubectl-1.20 {line}", act, expect)


def helm(version: str, line: str, expect: Expect = Expect.MASKED) -> Way:
    def act(reader: Reader) -> tuple[int, bytes]:
        words = [word.replace("{ns}", reader.namespace) for word in split(line)]
        return reader.run([str(reader.programs[f"helm-{version}"]), *words])

    return Way(f"helm-{version} {line}", act, expect)


def split(line: str) -> list[str]:
    """Words, where single quotes hold a word together; braces of templates stay."""
    words, quoted = [""], False
    for character in line:
        if character == "'":
            quoted = not quoted
        elif character == " " and not quoted:
            words.append("")
        else:
            words[-1] += character
    return [word for word in words if word]
