"""Several documents that are masked together: the same as one after another, and no value of one is shown in another."""

from __future__ import annotations

import base64
import copy
import gzip
import hashlib
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chaperone.core.masking import Masker, Place, SecretPlace, Terms, UnmaskableError, is_placeholder
from chaperone.core.masking.known import KnownValues
from chaperone.core.masking.masker import MOST_TOGETHER
from tests.core.masking.engine import MINT, FewForms, custom

THINGS = Place("example.com", "things", "dev")
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
TELLING = (0, 2, 7)
"""Parts by which a value becomes known: on the walk, by the words around it, inside of a text."""
LETTERS = "QYLPMN5HFIR7XZ"


class Run:
    """A masker with what it knows, and all that was told, in its order."""

    def __init__(self) -> None:
        self.told: list[SecretPlace] = []
        self.known = KnownValues()
        self.masker = Masker(Terms(), FewForms(), MINT, self.known)

    def collect(self, found: SecretPlace) -> None:
        self.told.append(found)
        self.known.add(found.value, found.placeholder)

    def one_by_one(self, documents: list[Any]) -> list[Any]:
        return [self.masker.document(one, THINGS, collect=self.collect) for one in documents]

    def together(self, documents: list[Any]) -> list[Any]:
        return self.masker.documents(documents, THINGS, collect=self.collect)


def secret(number: int) -> str:
    """None begins like another: what was cut short is found too."""
    digest = hashlib.sha256(b"%d" % number).hexdigest()
    return f"{digest[:10]}-Horse-{digest[10:18]}"


def aws(number: int) -> str:
    return "AKIA" + "".join(LETTERS[number // 14**at % 14] for at in range(16))


def packed(text: str) -> str:
    """Where only taking it apart shows what it holds."""
    return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode()


def telling(value: str) -> dict[str, Any]:
    return custom({"env": [{"name": "DB_PASSWORD", "value": value}]})


def saying(value: str) -> dict[str, Any]:
    return custom({"message": f"said {value}, and went"})


def part(kind: int, value: int) -> dict[str, Any]:
    """Something of a spec or of metadata, by which a value is a secret, or is only said."""
    text = secret(value)
    nested = json.dumps({"spec": {"password": text, "note": f"{aws(value)} is the key"}})
    parts: list[dict[str, Any]] = [
        {"env": [{"name": "DB_PASSWORD", "value": text}]},
        {"message": f"said {text}, and went"},
        {"message": f"password={text}", "reason": f"for {aws(value)}"},
        {"key": f"{aws(value)}"},
        {"blob": packed(f"token={text}")},
        {"blob": packed(f"nothing but {text} in it")},
        {"blob": base64.b64encode(f"it says {text} there".encode()).decode()},
        {"config": f"# password: {text}\nname: a\npassword: {text}x\n"},
        {"annotations": {LAST_APPLIED: nested}},
        {"labels": {"a": aws(value), aws(value): "b"}},
        {"managedFields": [{"fieldsV1": {f'k:{{"name":"{text}"}}': {}}}]},
        {"message": f"\u65e5\u672c {text} \u00e9"},
        {"openAPIV3Schema": {"description": f"{aws(value)}, {text}"}},
    ]
    return parts[kind]


@st.composite
def batches(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Objects of which each holds its own values, and those of some before it."""
    documents = []
    for number in range(draw(st.integers(1, MOST_TOGETHER + 4))):
        document = custom({}, uid=f"u-{number // 2}")
        own = draw(st.sampled_from(TELLING))
        more = draw(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 3)), max_size=3))
        for kind, back in [*more, (own, 0)]:
            for name, value in part(kind, max(0, number - back)).items():
                inside = "metadata" if name in ("labels", "annotations", "managedFields") else "spec"
                document[inside][name] = value
        documents.append(document)
    return documents


@settings(max_examples=200, deadline=None)
@given(batches())
def test_together_is_the_same_as_one_by_one(documents: list[dict[str, Any]]) -> None:
    first, second = Run(), Run()
    shown, shown_together = copy.deepcopy(documents), copy.deepcopy(documents)
    reports, together = first.one_by_one(shown), second.together(shown_together)
    assert (second.told, together, shown_together) == (first.told, reports, shown)
    assert len(first.known) == len(second.known)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 3)), max_size=MOST_TOGETHER))
def test_what_one_shows_masked_no_other_shows(plan: list[tuple[bool, int]]) -> None:
    """In whichever order they stand."""
    documents = [(telling if tells else saying)(secret(number)) for tells, number in plan]
    Run().together(documents)
    told = {secret(number) for tells, number in plan if tells}
    assert [value for value in told if value in json.dumps(documents)] == []


def test_what_is_packed_is_opened_with_all_that_was_found_before() -> None:
    """The first value is found by the words before it, so not on the walk; the second by what the first one told."""
    documents = [
        custom({"message": f"password={secret(1)}"}),
        custom({"blob": packed(f"so {secret(1)} it is")}),
    ]
    Run().together(documents)
    assert is_placeholder(documents[1]["spec"]["blob"])


def test_what_is_packed_is_opened_with_all_that_stands_before_it() -> None:
    document = custom({"password": secret(1), "blob": packed(f"so {secret(1)} it is")})
    Run().together([document])
    assert is_placeholder(document["spec"]["blob"])


def test_each_is_masked_for_itself() -> None:
    documents = [telling(secret(1)), custom({}), telling(secret(1))]
    documents[2]["metadata"]["uid"] = "u-2"
    run = Run()
    assert [report.counts for report in run.together(documents)] == [{"name-value": 1}, {}, {"name-value": 1}]
    assert len({found.placeholder for found in run.told}) == 2


def test_what_the_agent_submitted_stays_in_all() -> None:
    run = Run()
    documents = [telling(secret(1)), telling(secret(2))]
    echo = run.masker.submitted(telling(secret(1)), THINGS)
    run.masker.documents(documents, THINGS, echo=echo, collect=run.collect)
    assert secret(1) in json.dumps(documents[0])
    assert secret(2) not in json.dumps(documents[1])


def test_a_text_that_no_engine_takes_hides_nothing_in_the_others() -> None:
    documents = [
        telling(secret(1)),
        custom({"message": f"\ud800 and {aws(2)}"}),
        saying(secret(1)),
        saying(aws(2)),
    ]
    Run().together(documents)
    shown = repr(documents)
    assert "\\ud800 and masked-" in shown
    assert secret(1) not in shown
    assert aws(2) not in shown


def test_none_are_masked_to_none() -> None:
    assert Run().together([]) == []


def test_one_that_cannot_be_masked_is_told_of_all() -> None:
    deep: Any = {"a": "b"}
    for _ in range(3000):
        deep = {"a": deep}
    for wrong in (deep, "a text", None, 3):
        with pytest.raises(UnmaskableError):
            Run().together([telling(secret(1)), wrong, telling(secret(2))])


def test_what_was_masked_before_one_that_cannot_be_is_known() -> None:
    deep: Any = {"a": "b"}
    for _ in range(3000):
        deep = {"a": deep}
    run = Run()
    with pytest.raises(UnmaskableError):
        run.together([telling(secret(1)), {"password": secret(2), "deep": deep}])
    assert [found.value for found in run.told] == [secret(1), secret(2)]
