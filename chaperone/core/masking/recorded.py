"""Objects as an audit record may hold them: what a write asked for, what it found, what it left.

Masked for whoever reads records, not for the agent: also what the agent wrote itself. The parts of an object that a patch
consists of do not always say what they are (the value of an environment variable stands without its name), so a patch is
masked with the object that it patches beside it; where that is not known, nothing of the patch is recorded.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from chaperone.core.body import Media
from chaperone.core.masking.masker import Masker
from chaperone.core.masking.place import Path, Place, SecretPlace
from chaperone.core.masking.placeholder import encoded
from chaperone.core.masking.restoring import Write
from chaperone.core.masking.restoring_patches import malformed, merged, outcome
from chaperone.core.masking.restoring_places import mapped
from chaperone.core.masking.restoring_search import copied

MIN_PART = 6
"""Characters of a value that is replaced wherever it stands in a text; a shorter one only where it is the whole."""
WITHOUT_OBJECT = (
    "the object that it patches could not be read, so it is not known which of its values are secret"
)
INAPPLICABLE = (
    "it cannot be applied to the object as it was read, so it is not known which of its values are secret"
)
MALFORMED = "it is not what its content type says"
MANY = "it has too many operations to be looked through for secrets"
MOST_OPERATIONS = 64
_NEEDS_OBJECT = frozenset({Media.JSON_PATCH, Media.MERGE_PATCH, Media.STRATEGIC_MERGE_PATCH})


class UnrecordableError(Exception):
    """Why an object is not recorded, in words that hold nothing of it."""


def recorded_state(document: Mapping[str, Any], place: Place, masker: Masker) -> dict[str, Any]:
    """An object as it was, without its managedFields. Raises UnmaskableError."""
    metadata = document.get("metadata")
    state: dict[str, Any] = copied(document)
    if isinstance(metadata, dict) and "managedFields" in metadata:
        del state["metadata"]["managedFields"]
    masker.document(state, place)
    return state


def recorded_body(write: Write, live: Mapping[str, Any] | None, masker: Masker) -> Any:
    """The body of a write: an object, or the operations of a JSON patch. live: the object that it is for, None where it
    is not there or not known. Raises UnrecordableError, UnmaskableError."""
    if malformed(write.media, write.body):
        raise UnrecordableError(MALFORMED)
    body = copied(write.body)
    secrets = _secrets(write, live, masker) if write.media in _NEEDS_OBJECT else {}
    if isinstance(body, list):
        return [_operation(each, secrets, write.place, masker) for each in body]
    body = mapped(body, partial(_without, secrets))
    masker.document(body, write.place)
    return body


def _operation(
    operation: dict[str, Any], secrets: Mapping[str, str], place: Place, masker: Masker
) -> dict[str, Any]:
    if "value" not in operation:
        return operation
    shown: dict[str, Any] = mapped({"value": operation["value"]}, partial(_without, secrets))
    masker.document(shown, place)
    return operation | shown


def _secrets(write: Write, live: Mapping[str, Any] | None, masker: Masker) -> dict[str, str]:
    """What is masked in the object before and after the patch, each in the forms in which it may stand in a body: what is
    shown in its stead, the longest first."""
    if live is None:
        raise UnrecordableError(WITHOUT_OBJECT)
    found: dict[str, str] = {}
    for document in (live, *_patched(write, live)):
        for place in masker.secret_places(document, write.place):
            found.update(_forms(place))
    return dict(sorted(found.items(), key=lambda pair: -len(pair[0])))


def _patched(write: Write, live: Mapping[str, Any]) -> Iterator[Any]:
    """The object as each value of the patch is seen in it once. As far as that can be told without the schema: the lists
    of a strategic merge patch name their items themselves."""
    if write.media is not Media.JSON_PATCH:
        yield merged(live, write.body)
        return
    if len(write.body) > MOST_OPERATIONS:
        raise UnrecordableError(MANY)
    for steps in _stages(write.body):
        made = outcome(write.media, steps, dict(live))
        if not isinstance(made.document, dict):
            raise UnrecordableError(INAPPLICABLE)
        yield made.document


def _stages(operations: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """All operations; and those up to one that takes away again what one before it has written. What is only tested for
    is looked at as if it were written."""
    for at, operation in enumerate(operations):
        before = operations[:at]
        if operation["op"] == "test":
            yield [*before, operation | {"op": "replace"}]
        elif any(_takes_away(operation, earlier) for earlier in before):
            yield before
    yield operations


def _takes_away(operation: dict[str, Any], earlier: dict[str, Any]) -> bool:
    written = f"{earlier['path']}/"
    return any(
        written.startswith(f"{path}/")
        for path in (operation["path"], operation.get("from"))
        if path is not None
    )


def _forms(place: SecretPlace) -> Iterator[tuple[str, str]]:
    raw = place.value if isinstance(place.value, bytes) else place.value.encode(errors="surrogatepass")
    yield base64.b64encode(raw).decode(), encoded(place.placeholder)
    if isinstance(place.value, str):
        yield place.value, place.placeholder


def _without(secrets: Mapping[str, str], text: str, _path: Path) -> str:
    shown = secrets.get(text)
    if shown is not None:
        return shown
    for value, placeholder in secrets.items():
        if len(value) < MIN_PART:
            break
        text = text.replace(value, placeholder)
    return text
