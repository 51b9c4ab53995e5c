"""What was masked once is found wherever it turns up again."""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from chaperone.core.masking.known import KnownValues
from chaperone.core.masking.known_forms import is_telling
from chaperone.core.masking.known_literals import literals
from chaperone.core.masking.known_tiers import Anchors, Compile, quick

VALUE = "s3cr&t/välue+with=all?"
PLACEHOLDER = "masked-aaaa"

Spell = Callable[[str], str]


def known(*values: str | bytes) -> KnownValues:
    found = KnownValues()
    for index, value in enumerate(values):
        found.add(value, f"masked-{index}")
    return found


def in_base64(prefix: bytes, url_safe: bool = False) -> Spell:
    encode = base64.urlsafe_b64encode if url_safe else base64.b64encode
    return lambda value: encode(prefix + value.encode() + b" and more").decode()


SPELLINGS: dict[str, Spell] = {
    "raw": lambda value: value,
    "base64 alone": lambda value: base64.b64encode(value.encode()).decode(),
    "base64 phase 0": in_base64(b""),
    "base64 phase 1": in_base64(b"xyz1"),
    "base64 phase 2": in_base64(b"xyz12"),
    "url-safe phase 1": in_base64(b"1", url_safe=True),
    "hex": lambda value: value.encode().hex(),
    "HEX": lambda value: value.encode().hex().upper(),
    "url": lambda value: quote(value, safe=""),
    "url, slash kept": quote,
    "url, lower case": lambda value: re.sub("%..", lambda match: match[0].lower(), quote(value, safe="")),
    "form": quote_plus,
    "json": json.dumps,
    "json as Go writes it": lambda value: json.dumps(value, ensure_ascii=False).replace("&", "\\u0026"),
}


@pytest.mark.parametrize("spell", SPELLINGS.values(), ids=SPELLINGS)
def test_a_value_is_found_in_every_form(spell: Spell) -> None:
    spelt = spell(VALUE)
    text = f"before {spelt} after"
    (span, *_) = known(VALUE).spans(text)
    assert span.placeholder == "masked-0"
    core = spelt.strip('"')
    left, _, right = text[: span.start], text[span.start : span.end], text[span.end :]
    if spell is SPELLINGS["raw"]:
        assert (left, right) == ("before ", " after")
    assert VALUE not in left + right
    assert core not in left + right


@settings(max_examples=200, deadline=None)
@given(value=st.binary(min_size=9, max_size=90), before=st.binary(max_size=7), after=st.binary(max_size=7))
def test_no_byte_of_a_value_is_left_in_base64(value: bytes, before: bytes, after: bytes) -> None:
    found = KnownValues()
    assume(value == value.strip() and found.add(value, PLACEHOLDER))
    text = base64.b64encode(before + value + after).decode()
    spans = found.spans(text)
    assert spans
    hidden = set().union(*(range(span.start, span.end) for span in spans))
    first, last = len(before) * 8 // 6, (len(before + value) * 8 - 1) // 6
    assert set(range(first, last + 1)) <= hidden


@settings(max_examples=100, deadline=None)
@given(
    values=st.lists(
        st.text(min_size=8, max_size=40).filter(lambda value: value == value.strip()), min_size=1, max_size=5
    ),
    around=st.text(max_size=20),
)
def test_every_value_that_is_worth_it_is_found(values: list[str], around: str) -> None:
    found = known(*values)
    for value in values:
        if is_telling(value.encode(errors="surrogatepass")):
            text = around + value + around
            spans = found.spans(text)
            start = text.index(value)
            assert any(span.start <= start and span.end >= start + len(value) for span in spans)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "short",
        "true",
        "postgres",
        "Production",
        "1234567",
        "orders",
        "orders-db.prod.svc.cluster.local",
        "https://example.com:8443/",
        "someone@example.com",
        "/var/run/secrets/token",
        "-----BEGIN CERTIFICATE-----\nTm90IGEgY2VydGlmaWNhdGU=\n-----END CERTIFICATE-----\n",
        "   \n",
    ],
)
def test_a_value_that_says_nothing_is_not_looked_for(value: str) -> None:
    found = KnownValues()
    assert not found.add(value, PLACEHOLDER)
    assert found.spans(f"x {value} y") == []
    assert len(found) == 0


@pytest.mark.parametrize(
    "value",
    [
        "hunter2",
        "12345678",
        "correct-horse",
        "Tr0ub4dor&3",
        "p@ssword",
        "changeme!",
        b"\xff\xfe\xfd\xfc\xfb\xfa",
    ],
)
def test_a_value_that_tells_is_looked_for(value: str | bytes) -> None:
    assert KnownValues().add(value, PLACEHOLDER)


def test_each_line_of_a_value_with_many_is_found() -> None:
    key = "-----BEGIN PRIVATE KEY-----\nTm90IGEga2V5LCBvbmx5IHRleHQ\nb2YgYSB0ZXN0IGNhc2U=\n-----END PRIVATE KEY-----"
    found = known(key)
    assert len(found.spans("log: b2YgYSB0ZXN0IGNhc2U=")) == 1
    assert found.spans("-----BEGIN PRIVATE KEY-----") == []


def test_of_a_file_of_settings_only_the_secrets_are_known() -> None:
    found = known(
        "apiVersion: v1\nkind: Configuration\nLOG_LEVEL=information\n- name: web-frontend\nauthentication\nPOSTGRES_DATABASE\n"
        "export DB_PASSWORD=hunter2-and-more\n  token: 'xyz-and-more'\nuser with words of a language\nTm90IGEga2V5LCBvbmx5"
    )
    harmless = (
        "apiVersion: v1",
        "kind: Configuration",
        "LOG_LEVEL=information",
        "- name: web-frontend",
        "authentication",
    )
    assert not [
        line
        for line in (*harmless, "POSTGRES_DATABASE", "user with words of a language")
        if found.spans(line)
    ]
    for line in ("export DB_PASSWORD=hunter2-and-more", "token: 'xyz-and-more'", "Tm90IGEga2V5LCBvbmx5"):
        assert found.spans(f"log: {line}"), line


def test_a_long_value_that_was_cut_short_is_masked_as_far_as_it_goes() -> None:
    value = "".join(f"{index:04x}" for index in range(0, 4000, 37))
    text = f"see {value[:300]}... for more"
    (span,) = known(value).spans(text)
    assert text[span.start : span.end] == value[:300]


def test_the_start_of_a_value_alone_is_not_enough() -> None:
    value = "".join(f"{index:04x}" for index in range(0, 4000, 37))
    assert known(value).spans(value[:100] + " something else") == []


def test_white_space_around_a_value_does_not_matter() -> None:
    assert known("hunter2-and-more\n").spans("is hunter2-and-more, yes")[0][:2] == (3, 19)


def test_the_first_placeholder_of_a_value_stays() -> None:
    found = KnownValues()
    assert found.add("hunter2-and-more", "masked-first")
    assert not found.add("hunter2-and-more", "masked-second")
    assert found.spans("hunter2-and-more")[0].placeholder == "masked-first"


def test_many_texts_are_read_at_once() -> None:
    found = known("hunter2-one", "hunter2-two")
    texts = ["", "ä hunter2-two", "none", "hunter2-one"]
    assert sorted((index, span.start, span.placeholder) for index, span in found.scan(texts)) == [
        (1, 2, "masked-1"),
        (3, 0, "masked-0"),
    ]


def test_raw_bytes_are_gated() -> None:
    found = known("hunter2-one")
    assert found.hits(b"\xff hunter2-one")
    assert not found.hits(b"\xff hunter2-on")
    assert not KnownValues().hits(b"hunter2-one")


def test_what_may_become_a_value_is_told() -> None:
    found = known("hunter2-one")
    for token in (b"hunt", b"password=hun", b"x:hunter2-o", b"aHVudGVyMi"):
        assert found.begins(token), token
    for token in (b"", b"hu", b"=hu", b"hint", b"unter2"):
        assert not found.begins(token), token


def test_nothing_is_known_at_first() -> None:
    assert KnownValues().spans("hunter2-one") == []


def test_the_oldest_values_are_forgotten_first() -> None:
    found = KnownValues(most_values=100)
    for index in range(300):
        found.add(f"value-number-{index:04}", f"masked-{index}")
        if index % 90 == 0:
            found.spans("settle")
    assert len(found) == 100
    assert found.spans("value-number-0299")
    assert not found.spans("value-number-0001")


def test_all_values_together_have_a_size() -> None:
    found = KnownValues(most_bytes=100)
    assert not found.add("x1" * 51, PLACEHOLDER)
    for index in range(5):
        assert found.add(f"{index}" + "x1" * 20, PLACEHOLDER)
    assert len(found) == 2


def test_values_come_while_others_look() -> None:
    found = KnownValues()
    failures: list[str] = []

    def add(worker: int) -> None:
        for index in range(150):
            value = f"value-{worker}-number-{index:04}"
            found.add(value, value)
            if not found.spans(f"see {value}"):
                failures.append(value)

    threads = [threading.Thread(target=add, args=(worker,)) for worker in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(found) == 450


# What is compiled later


class Pending:
    """Work that is done when the test says so."""

    def __init__(self) -> None:
        self.work: list[Callable[[], None]] = []

    def __call__(self, work: Callable[[], None]) -> None:
        self.work.append(work)

    def do(self) -> None:
        while self.work:
            self.work.pop(0)()


def numbered(index: int) -> str:
    return f"value-{index * 7919:07}-x"


def all_found(found: KnownValues, indexes: range) -> bool:
    return all(
        numbered(index) in {span.placeholder for span in found.spans(f"see {numbered(index)}!")}
        for index in indexes
    )


@pytest.mark.parametrize("engine", [quick, literals])
def test_many_values_are_all_found_while_they_come(engine: Compile) -> None:
    found = KnownValues(compiled=engine)
    for index in range(300):
        found.add(numbered(index), numbered(index))
        assert found.hits(numbered(index).encode())
        assert found.hits(numbered(index // 2).encode().hex().encode())
    assert all_found(found, range(300))
    assert not found.hits(b"value-0000001-x")


def test_values_are_found_before_and_while_and_after_they_are_compiled() -> None:
    later = Pending()
    during: list[bool] = []

    def slowly(anchors: Sequence[bytes]) -> Anchors:
        index = len(found)
        found.add(numbered(index), numbered(index))  # one more comes while these are compiled
        during.append(all_found(found, range(index + 1)))
        return literals(anchors)

    found = KnownValues(compiled=slowly, later=later)
    for index in range(200):
        found.add(numbered(index), numbered(index))
        found.spans("settle")
    assert later.work
    assert all_found(found, range(200))
    later.do()
    assert during
    assert all(during)
    assert all_found(found, range(200 + len(during)))


def test_what_does_not_compile_is_found_all_the_same() -> None:
    def refuses(_anchors: Sequence[bytes]) -> Anchors:
        raise ValueError

    found = KnownValues(compiled=refuses)
    for index in range(200):
        found.add(numbered(index), numbered(index))
        found.spans("settle")
    assert all_found(found, range(200))


def test_what_was_forgotten_while_it_waited_is_not_compiled() -> None:
    later = Pending()
    compiled: list[int] = []

    def counted(anchors: Sequence[bytes]) -> Anchors:
        compiled.append(len(anchors))
        if len(compiled) == 1:
            for index in range(1000, 1250):
                found.add(numbered(index), numbered(index))
        return quick(anchors)

    found = KnownValues(most_values=200, compiled=counted, later=later)
    for index in range(200):
        found.add(numbered(index), numbered(index))
        found.spans("settle")
    later.do()
    assert compiled
    assert len(found) == 200
    assert all_found(found, range(1050, 1250))
    later.do()
    assert all_found(found, range(1050, 1250))
    assert not found.spans(numbered(3))


def test_a_value_of_many_lines_is_found_by_each_of_them() -> None:
    lines = [f"kEy{index:05}Tm90IGEga2V5" for index in range(9000)]
    found = KnownValues(compiled=literals)
    found.add(numbered(0), numbered(0))
    found.add("\n".join(lines), PLACEHOLDER)
    assert all_found(found, range(1))
    found.add("\n".join(lines[::-1][:100]) + "\nmore", "masked-other")
    found.add(numbered(1), numbered(1))
    for line in (lines[0], lines[4321], lines[-1]):
        assert found.spans(f"log: {line}")
    assert all_found(found, range(2))


def test_values_come_while_others_look_and_compile() -> None:
    failures: list[int] = []
    with ThreadPoolExecutor(1) as pool:
        found = KnownValues(compiled=literals, later=pool.submit)

        def add(worker: int) -> None:
            for index in range(worker * 1000, worker * 1000 + 100):
                found.add(numbered(index), numbered(index))
                if not all_found(found, range(worker * 1000, index + 1, 13)) or not found.hits(
                    numbered(index).encode()
                ):
                    failures.append(index)

        threads = [threading.Thread(target=add, args=(worker,)) for worker in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failures == []
    assert all(all_found(found, range(worker * 1000, worker * 1000 + 100)) for worker in range(3))
