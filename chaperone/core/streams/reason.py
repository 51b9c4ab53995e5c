"""Why a stream ended, in the form that clients print: a `metav1.Status` on the error channel (v4 and later), or text."""

from __future__ import annotations

import orjson

from chaperone.core.status import status


def reason_bytes(text: str, version: int) -> bytes:
    """What goes on the error channel of a stream that is closed for this reason. version: of the channel protocol."""
    words = f"the gateway ended this stream: {text}"
    if version < 4:
        return words.encode()
    return orjson.dumps(status(403, words))
