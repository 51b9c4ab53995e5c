"""What this package raises when it cannot do what was asked."""

from pathlib import Path

TAIL_LINES = 25


class ClusterError(Exception):
    """One sentence naming the object, the cause and the remedy; `details` holds log lines, if any help."""

    def __init__(self, message: str, details: str = "") -> None:
        super().__init__(message)
        self.details = details
        if details:
            self.add_note(details)


def tail(log_file: Path, lines: int = TAIL_LINES) -> str:
    """The last lines of a log file, headed by its path; says so when it is missing or empty."""
    text = log_file.read_text(errors="replace") if log_file.exists() else ""
    last = text.splitlines()[-lines:] or ["(empty)"]
    return "\n".join([f"--- last lines of {log_file}", *last])
