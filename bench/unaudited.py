"""A gateway that records nothing, for benchmarks alone: what is left when the audit is taken away is what it costs.

`python -m bench.unaudited --config FILE`. Neither makes records nor writes them; everything else is the gateway.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from gateway import __main__ as gateway
from gateway import worker
from gateway.recorded import Recorded


class NoAudit:
    """In the place of gateway.audit.AuditLog."""

    failure = ""
    depth = 0

    def __init__(self, *_: object) -> None:
        """Nothing to open."""

    def start(self) -> None: ...
    def write(self, record: Mapping[str, Any]) -> None: ...
    async def durable(self, record: Mapping[str, Any]) -> None: ...
    def reopen(self) -> None: ...
    async def close(self) -> None: ...


def no_record(*_: object) -> dict[str, Any]:
    return {}


def main(arguments: list[str]) -> int:
    worker.make_audit = NoAudit  # type: ignore[assignment]
    Recorded.record = no_record  # type: ignore[method-assign,assignment]
    Recorded.begun_record = no_record  # type: ignore[method-assign,assignment]
    return gateway.main(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
