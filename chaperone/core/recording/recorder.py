"""What both forms of a recording share: the order of events, the clock, and the limit on their length."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from chaperone.core.recording.gathering import Gatherer, Said
from chaperone.core.recording.scene import Outcome, Scene


class Recorder(ABC):
    """Every method returns the lines to be written now, b"" for none. now: seconds on a clock that only goes forward.

    limit: bytes; what would make the recording longer is left out, and `truncated` is set. 0: no limit.
    """

    def __init__(self, scene: Scene, *, limit: int = 0) -> None:
        self.scene = scene
        self.truncated = False
        self.length = 0
        self._limit = limit
        self._begun = 0.0
        self._last = 0.0
        self._gatherer = Gatherer()

    # -- what its users call

    def header(self, now: float) -> bytes:
        """The first line; the time of every other is counted from now."""
        self._begun = now
        return self._counted(self._header())

    def output(self, source: str, data: bytes, now: float) -> bytes:
        """source: stdout or stderr."""
        return self._told(self._gatherer.add(source, data, self._clock(now)))

    def typed(self, data: bytes, now: float) -> bytes:
        return self._told(self._gatherer.add("stdin", data, self._clock(now)))

    def resized(self, columns: int, rows: int, now: float) -> bytes:
        """A client without a real terminal says 0 x 0; players cannot draw that, so the size stays as it was."""
        if columns < 1 or rows < 1:
            return b""
        return self._noted(self._resize(self._clock(now), columns, rows))

    def marked(self, text: str, now: float) -> bytes:
        """A word to whoever watches."""
        return self._noted(self._mark(self._clock(now), text))

    def pulse(self, now: float) -> bytes:
        """Nothing has come for long, and the stream goes on: whoever looks at the recording alone can tell."""
        return self._noted(self._pulse(self._clock(now)))

    def settle(self, now: float) -> bytes:
        """Nothing has come for a moment."""
        return self._told(self._gatherer.settle(self._clock(now)))

    def end(self, outcome: Outcome, now: float) -> bytes:
        """The last lines."""
        at = self._clock(now)
        rest = self._told(self._gatherer.end(at))
        return rest + self._counted(self._ending(at, outcome))

    @property
    def duration(self) -> float:
        """Seconds until the last event."""
        return self._last

    # -- how they are written

    @abstractmethod
    def _header(self) -> bytes: ...
    @abstractmethod
    def _said(self, said: Said) -> bytes: ...
    @abstractmethod
    def _resize(self, at: float, columns: int, rows: int) -> bytes: ...
    @abstractmethod
    def _mark(self, at: float, text: str) -> bytes: ...
    @abstractmethod
    def _pulse(self, at: float) -> bytes: ...
    @abstractmethod
    def _ending(self, at: float, outcome: Outcome) -> bytes: ...

    def _clock(self, now: float) -> float:
        """Seconds since the beginning; a clock that went back stands still."""
        self._last = max(self._last, round(now - self._begun, 6))
        return self._last

    def _told(self, everything: Sequence[Said]) -> bytes:
        return b"".join([self._limited(self._said(said)) for said in everything])

    def _noted(self, line: bytes) -> bytes:
        """After what was said before."""
        return self._told(self._gatherer.take()) + self._limited(line)

    def _limited(self, line: bytes) -> bytes:
        if self.truncated:
            return b""
        if self._limit and self.length + len(line) > self._limit:
            self.truncated = True
            line = self._mark(self._last, f"the recording ends here, at its limit of {self._limit} bytes")
        return self._counted(line)

    def _counted(self, line: bytes) -> bytes:
        self.length += len(line)
        return line
