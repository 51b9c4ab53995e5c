"""What a body filter does when it does nothing, for filters of tests to build on."""

from __future__ import annotations

from gateway.http.framing import Header


class PassingFilter:
    """Everything as it is. live, patience, counts: as a test sets them."""

    def __init__(self) -> None:
        self.live = False
        self.patience = 0.0
        self.counts: dict[str, int] = {}

    def ask(self, headers: list[Header]) -> list[Header]:
        return list(headers)

    def head(self, code: int, headers: list[Header]) -> list[Header]:
        return headers

    def data(self, piece: bytes) -> bytes:
        return piece

    def idle(self) -> bytes:
        return b""

    def cut(self) -> bytes:
        return b""

    def end(self) -> bytes:
        return b""

    def tell(self, *, whole: bool) -> list[Header]:
        return [(b"X-Whole", b"yes" if whole else b"no")]
