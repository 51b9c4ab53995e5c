"""What ends a command early. Both are shown as one sentence, never as a traceback."""

from __future__ import annotations


class WrongUsageError(Exception):
    """The command line, or a file that it names, cannot be used as it stands. Exit code 2."""


class FailedError(Exception):
    """What was asked was refused, or did not work. Exit code 1."""
