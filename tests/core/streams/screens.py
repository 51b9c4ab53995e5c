"""A screen for tests: masks one word, holds back what may be its beginning. The length stays the same."""

from __future__ import annotations

SECRET = b"hunter2secret"


class WordScreen:
    """Implements conversation.Screen."""

    def __init__(self) -> None:
        self._held = b""
        self.flushed = 0

    def feed(self, data: bytes) -> bytes:
        text = (self._held + data).replace(SECRET, b"*" * len(SECRET))
        keep = next((size for size in range(len(SECRET) - 1, 0, -1) if text.endswith(SECRET[:size])), 0)
        self._held = text[len(text) - keep :] if keep else b""
        return text[: len(text) - keep]

    def idle(self) -> bytes:
        """A beginning of less than four bytes may be shown."""
        if len(self._held) >= 4:
            return b""
        return self.flush()

    def flush(self) -> bytes:
        self.flushed += 1
        held, self._held = self._held, b""
        return held
