"""Running a short command to its end."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from hack.cluster.errors import TAIL_LINES, ClusterError


def run(
    argv: list[str],
    *,
    doing: str,
    remedy: str,
    seconds: float = 300,
    env: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> str:
    """Its standard output. Raises ClusterError saying what was being done and what to do about a failure."""
    try:
        done = subprocess.run(
            argv,
            check=False,
            capture_output=True,
            text=True,
            timeout=seconds,
            stdin=subprocess.DEVNULL,
            cwd=folder,
            env={**os.environ, **(env or {})},
        )
    except OSError as error:
        raise ClusterError(f"{doing}: cannot run {argv[0]}: {error.strerror}; {remedy}") from error
    except subprocess.TimeoutExpired as error:
        raise ClusterError(f"{doing}: {argv[0]} did not end within {seconds:.0f} s; {remedy}") from error
    if done.returncode:
        raise ClusterError(
            f"{doing}: {argv[0]} failed ({done.returncode}); {remedy}", _last(done.stderr or done.stdout)
        )
    return done.stdout


def _last(text: str) -> str:
    return "\n".join(text.strip().splitlines()[-TAIL_LINES:])
