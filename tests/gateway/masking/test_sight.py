"""Several objects that are looked at together: what one of them shows masked is masked in all of them."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.pods import as_go, pod
from chaperone.core.masking import STANDARD, Place
from gateway.masking.engine import MaskingEngine
from gateway.masking.list_body import TOGETHER, ListBody
from gateway.masking.sight import Sight
from gateway.masking.splitting import PIECE

PODS = Place(resource="pods", namespace="dev")
RUN = ("issuer", "subject", "run")
SECRETS = [f"correct-horse-battery-{number}" for number in range(6)]


def sight(folder: Path) -> Sight:
    engine = MaskingEngine(b"k" * 32, folder)
    return Sight(
        engine.masker(STANDARD, RUN),
        PODS,
        clears=engine.clears(STANDARD, RUN, PODS),
        collect=engine.collect(RUN),
    )


def clean(number: int) -> dict[str, Any]:
    return pod(random.Random(number), 1)


def telling(secret: str) -> dict[str, Any]:
    """A pod that says by a name that this is one."""
    document = clean(1)
    document["spec"]["containers"][0]["env"].append({"name": "DB_PASSWORD", "value": secret})
    return document


def saying(secret: str, *, packed: bool = False) -> dict[str, Any]:
    """A pod that holds it where only its value tells that it is one."""
    document = clean(2)
    said = base64.b64encode(b"x" + secret.encode()).decode() if packed else secret
    document["status"]["message"] = f"said {said}"
    return document


def is_shown(out: bytes, secret: str) -> bool:
    return secret.encode() in out or base64.b64encode(b"x" + secret.encode())[4:-4] in out


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_value_is_masked_in_the_neighbours_of_its_object(
    patterns: Path, order: tuple[int, int], packed: bool
) -> None:
    pair = [telling(SECRETS[0]), saying(SECRETS[0], packed=packed)]
    items = [as_go(one) for one in (clean(3), pair[order[0]], clean(4), pair[order[1]], clean(5))]
    looked = sight(patterns)
    shown = looked.items(items)
    assert not is_shown(b"".join(shown), SECRETS[0])
    assert [shown[n] for n in (0, 2, 4)] == [items[n] for n in (0, 2, 4)]
    assert looked.counts == {"name-value": 1, "known-value": 1}


def test_what_is_learnt_from_what_was_known_is_known_as_well(patterns: Path) -> None:
    """The second is only looked at for the first's sake, and then tells of the third's."""
    second = saying(SECRETS[0])
    second["status"]["reason"] = "pass"
    second["metadata"]["annotations"]["note"] = f"{SECRETS[0]} {SECRETS[1]}"
    items = [as_go(one) for one in (saying(SECRETS[1]), second, telling(SECRETS[0]), telling(SECRETS[1]))]
    assert not any(is_shown(one, secret) for one in sight(patterns).items(items) for secret in SECRETS[:2])


def test_a_value_over_the_border_of_two_objects_is_none(patterns: Path) -> None:
    looked = sight(patterns)
    first, second = as_go({"metadata": {"name": "a"}}), as_go({"metadata": {"name": "b"}})
    looked.items([as_go(telling(f"{first[-8:].decode()},{second[:8].decode()}"))])
    assert looked.items([first, second]) == [first, second]


def test_objects_without_secrets_are_the_same_bytes(patterns: Path) -> None:
    items = [as_go(clean(number)) for number in range(20)]
    looked = sight(patterns)
    assert looked.items(items) == items
    assert looked.items([]) == []
    assert looked.counts == {}


def test_from_its_batch_on_a_value_is_never_shown(patterns: Path) -> None:
    """However a list is cut: an object that holds a value beside or behind one that tells it shows none of it."""
    make: dict[str, Callable[[str], dict[str, Any]]] = {
        "t": telling,
        "s": saying,
        "p": partial(saying, packed=True),
    }

    @settings(max_examples=25, deadline=None)
    @given(
        plan=st.lists(st.tuples(st.integers(0, 5), st.sampled_from("tspc")), min_size=4, max_size=60),
        size=st.integers(900, 3 * PIECE),
    )
    def check(plan: list[tuple[int, str]], size: int) -> None:
        items = [clean(n) if kind == "c" else make[kind](SECRETS[n]) for n, kind in plan]
        raw = as_go({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items})
        body = ListBody(sight(patterns))
        shown = b"".join([body.data(raw[at : at + size]) for at in range(0, len(raw), size)]) + body.end()
        known: set[int] = set()
        for (number, kind), item in zip(plan, json.loads(shown)["items"], strict=True):
            if kind == "t":
                known.add(number)
            assert not (number in known and kind != "c" and is_shown(as_go(item), SECRETS[number]))

    check()


def test_batches_are_looked_at_as_one_row(patterns: Path) -> None:
    rows = [
        [clean(1), saying(SECRETS[0])],
        [],
        [clean(2), telling(SECRETS[0]), telling(SECRETS[1])],
        [saying(SECRETS[1]), clean(3), saying(SECRETS[0], packed=True)],
    ]
    batches = [[as_go(one) for one in row] for row in rows]
    looked = sight(patterns)
    shown = looked.items(*batches)
    before = [item for batch in batches for item in batch]
    assert [index for index, item in enumerate(before) if item != shown[index]] == [1, 3, 4, 5, 7]
    assert not any(is_shown(b"".join(shown), secret) for secret in SECRETS[:2])
    assert looked.counts == {"name-value": 2, "known-value": 3}


def test_what_is_held_in_several_pieces_comes_whole(patterns: Path) -> None:
    """Some batches are masked together: none is lost at the end, wherever that is, and none stays behind for long."""
    for count in (1, 12, 24, 55, 90):
        items = [clean(number) for number in range(count)]
        raw = as_go({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items})
        body = ListBody(sight(patterns))
        shown = bytearray()
        for at in range(0, len(raw), PIECE):
            shown += body.data(raw[at : at + PIECE])
            assert at + PIECE - len(shown) <= TOGETHER + 2 * PIECE
        assert shown + body.end() == raw
