"""Masking leaves alone what holds no secret: popular charts and operators, as a cluster stores them.

`-s` prints the rate of false positives.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

from chaperone import pattern_cache
from chaperone.core.masking import STANDARD, Detector, Masker, Mint, Place, Profile, Terms
from tests.core.masking.clean_corpus import Object, corpus, fingerprint
from tests.core.masking.clean_values import PUBLIC, Known, Sort

CORPUS = corpus()
MOST_ELSEWHERE = {Profile.STANDARD: 0.001, Profile.STRICT: 0.005}
"""Of the strings that are of no special sort. Strict errs on the side of hiding."""


@cache
def masker(profile: Profile) -> Masker:
    terms = STANDARD if profile is Profile.STANDARD else Terms(profile)
    return Masker(terms, detector(), Mint(b"k" * 32))


@cache
def detector() -> Detector:
    return pattern_cache.detector(None)


def place_of(item: Object) -> Place:
    group = item["apiVersion"].rpartition("/")[0]
    plural = item["kind"].lower() + ("es" if item["kind"].endswith("s") else "s")
    metadata = item["metadata"]
    return Place(group, plural.replace("policys", "policies"), metadata["namespace"], metadata["name"])


def differences(before: Any, after: Any, path: str = "") -> Iterator[tuple[str, Sort, str]]:
    """(path, sort, text before) of every string that is not what it was."""
    if isinstance(before, dict):
        assert list(before) == list(after), path
        for key, value in before.items():
            yield from differences(value, after[key], f"{path}.{key}")
    elif isinstance(before, list):
        assert len(before) == len(after), path
        for index, value in enumerate(before):
            yield from differences(value, after[index], f"{path}[{index}]")
    elif before != after:
        yield path, before.sort if isinstance(before, Known) else Sort.OTHER, before


def strings(value: Any) -> Iterator[Sort]:
    if isinstance(value, dict):
        for item in value.values():
            yield from strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from strings(item)
    elif isinstance(value, str):
        yield value.sort if isinstance(value, Known) else Sort.OTHER


@cache
def masked(project: str, profile: Profile) -> list[tuple[str, Sort, str]]:
    found: list[tuple[str, Sort, str]] = []
    for item in CORPUS[project]:
        copied = json.loads(json.dumps(item))
        masker(profile).document(copied, place_of(item))
        name = f"{item['kind']} {item['metadata']['name']}"
        found += [(f"{name} {path}", sort, text) for path, sort, text in differences(item, copied)]
    return found


def test_the_corpus_is_large_and_of_every_sort() -> None:
    assert len(CORPUS) >= 20
    counts = Counter(sort for items in CORPUS.values() for item in items for sort in strings(item))
    assert all(counts[sort] >= 10 for sort in PUBLIC if sort is not Sort.SEALED), counts
    assert counts[Sort.OTHER] > 5000


def test_the_corpus_is_the_same_every_time() -> None:
    assert fingerprint(corpus()) == fingerprint(CORPUS)


@pytest.mark.parametrize("profile", Profile)
@pytest.mark.parametrize("project", CORPUS)
def test_digests_uids_checksums_certificates_and_names_are_never_masked(
    project: str, profile: Profile
) -> None:
    assert [found for found in masked(project, profile) if found[1] in PUBLIC] == []


@pytest.mark.parametrize("profile", Profile)
def test_the_rest_is_left_alone_as_well(profile: Profile) -> None:
    found = [item for project in CORPUS for item in masked(project, profile) if item[1] is Sort.OTHER]
    total = sum(sort is Sort.OTHER for items in CORPUS.values() for item in items for sort in strings(item))
    print(f"\n{profile.value}: {len(found)} of {total} strings of {len(CORPUS)} projects masked by mistake")
    for path, _, text in found:
        print(f"  {path}: {text[:200]!r}")
    assert len(found) <= MOST_ELSEWHERE[profile] * total
