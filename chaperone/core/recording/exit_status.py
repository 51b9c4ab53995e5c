"""The exit code in the `Status` that the API server sends on the error channel (apimachinery remotecommand, v4)."""

from __future__ import annotations

from typing import Any

import orjson

NON_ZERO = "NonZeroExitCode"


def exit_code(said: bytes) -> int | None:
    """0 for Success, the command's own for a failure that names it; None: it was not the command that ended it."""
    try:
        status: Any = orjson.loads(said)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(status, dict):
        return None
    if status.get("status") == "Success":
        return 0
    details = status.get("details")
    causes = details.get("causes") if isinstance(details, dict) else None
    if status.get("reason") != NON_ZERO or not isinstance(causes, list):
        return None
    told = [cause for cause in causes if isinstance(cause, dict) and cause.get("reason") == "ExitCode"]
    named = [str(cause.get("message")) for cause in told]
    return int(named[0]) if named and named[0].isdecimal() and len(named[0]) < 10 else None
