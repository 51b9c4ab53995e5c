"""Answers to dry runs that try values in masked fields: nothing in their numbers says whether a value was right.

A dry run counts up `metadata.generation` where the object would change, and keeps it where it would not. So the agent is
shown the numbers of the live object either way.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.http.body_filter import BodyFilter
from gateway.http.framing import Header
from gateway.http.upstream import UpstreamError
from gateway.masking import json_text

TELLING = ("generation", "managedFields", "resourceVersion")
"""Fields of the metadata that differ by whether the object would."""
MOST_BYTES = 8 * 1024 * 1024
"""Of one answer; an object has three."""


class SteadyFilter:
    """Implements gateway.http.body_filter.BodyFilter around another one. metadata: of the live object, as the agent may
    see it."""

    def __init__(self, inner: BodyFilter, metadata: Mapping[str, Any]) -> None:
        self._inner = inner
        self._metadata = metadata
        self._code = 0
        self._body: list[bytes] = []

    @property
    def live(self) -> bool:
        return False

    @property
    def patience(self) -> float:
        return 0.0

    @property
    def counts(self) -> Mapping[str, int]:
        return self._inner.counts

    def ask(self, headers: list[Header]) -> list[Header]:
        """As an object: the columns of a Table may show any number."""
        kept = [header for header in self._inner.ask(headers) if header[0].lower() != b"accept"]
        return [*kept, (b"Accept", b"application/json")]

    def head(self, code: int, headers: list[Header]) -> list[Header]:
        self._code = code
        return self._inner.head(code, headers)

    def data(self, piece: bytes) -> bytes:
        self._body.append(piece)
        if sum(map(len, self._body)) > MOST_BYTES:
            raise UpstreamError("the answer is larger than what can be looked at, so it is withheld")
        return b""

    def idle(self) -> bytes:
        return b""

    def cut(self) -> bytes:
        return b""

    def end(self) -> bytes:
        body = b"".join(self._body)
        if self._code < 300:
            body = self._steadied(body)
        return self._inner.data(body) + self._inner.end()

    def tell(self, *, whole: bool) -> list[Header]:
        return self._inner.tell(whole=whole)

    def _steadied(self, body: bytes) -> bytes:
        document = json_text.read(body)
        if not isinstance(document, dict) or not isinstance(document.get("metadata"), dict):
            raise UpstreamError("the answer to the dry run is no object, so it is withheld")
        kept = {key: value for key, value in document["metadata"].items() if key not in TELLING}
        document["metadata"] = kept | {key: self._metadata[key] for key in TELLING if key in self._metadata}
        return json_text.write(document)


def steady(chosen: BodyFilter | None, metadata: Mapping[str, Any] | None) -> BodyFilter | None:
    """The filter of one answer. metadata: None where its numbers may be shown."""
    return chosen if chosen is None or metadata is None else SteadyFilter(chosen, metadata)
