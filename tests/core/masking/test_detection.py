"""The rules find what they are for, and both engines find the same."""

from __future__ import annotations

import threading
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chaperone.core.masking import rules
from chaperone.core.masking.detection import Detector, Span, Together
from chaperone.core.masking.fallback_engine import KeywordDetector
from chaperone.core.masking.hyperscan_engine import HyperscanDetector, compile_rules
from chaperone.core.masking.rule import MOST_FINDS, Rule, compiled, finds
from tests.core.masking.rule_examples import matching_text

OWN = [(rule, *rules.examples()[rule.name]) for rule in rules.own()]
NAMES = [rule.name for rule in rules.own()]
ALL_TEXTS = [text for _, found, missed in OWN for text in (*found, *missed)]


@pytest.fixture(scope="module")
def compiled_rules() -> bytes:
    return compile_rules(rules.built_in())


@pytest.fixture(scope="module")
def engines(compiled_rules: bytes) -> tuple[HyperscanDetector, KeywordDetector]:
    return HyperscanDetector(rules.built_in(), compiled_rules), KeywordDetector(rules.built_in())


def found_by(rule: Rule, text: str) -> list[str]:
    raw = text.encode()
    return [raw[start:end].decode() for start, end in finds(rule, raw)]


def secrets(detector: Detector, text: str) -> set[str]:
    return {text[span.start : span.end] for span in detector.spans(text)}


def test_there_are_more_than_two_hundred_forms_each_with_a_name_of_its_own() -> None:
    names = [rule.name for rule in rules.built_in()]
    assert len(names) > 400
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(("rule", "texts"), [(rule, found) for rule, found, _ in OWN], ids=NAMES)
def test_an_own_rule_finds_its_examples(rule: Rule, texts: list[str]) -> None:
    assert texts
    for text in texts:
        assert found_by(rule, text), text


@pytest.mark.parametrize(("rule", "texts"), [(rule, missed) for rule, _, missed in OWN], ids=NAMES)
def test_an_own_rule_leaves_what_only_looks_alike(rule: Rule, texts: list[str]) -> None:
    assert texts
    for text in texts:
        assert not found_by(rule, text), text


@pytest.mark.parametrize("rule", rules.foreign(), ids=lambda rule: rule.name)
def test_a_foreign_rule_finds_what_its_pattern_describes(rule: Rule) -> None:
    random = Random(rule.name)
    texts = [f" {' '.join(rule.context)} api key {matching_text(rule.pattern, random)} " for _ in range(20)]
    assert any(found_by(rule, text) for text in texts)


def test_both_engines_find_the_same_in_every_example(
    engines: tuple[HyperscanDetector, KeywordDetector],
) -> None:
    fast, plain = engines
    for text in ALL_TEXTS:
        assert sorted(fast.spans(text)) == sorted(plain.spans(text)), text


def test_both_engines_find_the_same_in_what_the_patterns_describe(
    engines: tuple[HyperscanDetector, KeywordDetector],
) -> None:
    fast, plain = engines
    random = Random(7)
    texts = [
        random.choice(["", "x=", '"', "\n"]) + matching_text(rule.pattern, random)
        for rule in rules.built_in() * 3
    ]
    assert sorted(fast.scan(texts)) == sorted(plain.scan(texts))
    assert len({span.rule for _, span in fast.scan(texts)}) > 350


PIECES = st.sampled_from(
    [
        *ALL_TEXTS,
        "\n",
        " ",
        '"',
        "=",
        ": ",
        "password",
        "TOKEN=",
        "é",
        "\ud800",
        "\0",
        "ghp_",
        "eyJ",
        "://u:p@h",
        "\\n",
    ]
)


@settings(max_examples=300, deadline=None)
@given(texts=st.lists(st.lists(PIECES | st.text(max_size=12), max_size=6).map("".join), max_size=5))
def test_both_engines_find_the_same_in_any_text(
    engines: tuple[HyperscanDetector, KeywordDetector], texts: list[str]
) -> None:
    fast, plain = engines
    assert sorted(fast.scan(texts)) == sorted(plain.scan(texts))


@settings(max_examples=200, deadline=None)
@given(texts=st.lists(PIECES | st.text(max_size=12), max_size=8))
def test_texts_that_are_scanned_together_are_read_alone(
    engines: tuple[HyperscanDetector, KeywordDetector], texts: list[str]
) -> None:
    fast, _ = engines
    alone = [(index, span) for index, text in enumerate(texts) for span in fast.spans(text)]
    assert sorted(fast.scan(texts)) == sorted(alone)


@settings(max_examples=200, deadline=None)
@given(text=st.lists(PIECES | st.text(max_size=12), max_size=4).map("".join))
def test_the_gate_never_misses_what_stands_there_without_escapes(
    engines: tuple[HyperscanDetector, KeywordDetector], text: str
) -> None:
    raw = text.encode(errors="surrogatepass")
    for engine in engines:
        assert engine.hits(raw) or not engine.spans(text)


@pytest.mark.parametrize("rule", [rule for rule in rules.built_in() if rule.gate], ids=lambda rule: rule.name)
def test_what_is_searched_first_is_wherever_the_rule_finds_something(rule: Rule) -> None:
    chance = Random(11)
    gate = compiled("(?m)" + rule.gate.replace(r"\z", "$"))
    texts = [matching_text(rule.pattern, chance) for _ in range(100)]
    found = [text for text in texts if compiled(rule.pattern).search(text.encode())]
    assert len(found) > 10 or rule.gate in rule.pattern
    assert [text for text in found if not gate.search(text.encode())] == []


def test_a_clean_text_is_no_hit(engines: tuple[HyperscanDetector, KeywordDetector]) -> None:
    for engine in engines:
        assert not engine.hits(b'{"kind":"Pod","metadata":{"name":"web-0"},"status":{"phase":"Running"}}')


def test_nothing_is_found_in_no_texts(engines: tuple[HyperscanDetector, KeywordDetector]) -> None:
    for engine in engines:
        assert engine.scan([]) == []
        assert engine.scan(["", ""]) == []


def test_long_repeats_hide_nothing_from_hyperscan(engines: tuple[HyperscanDetector, KeywordDetector]) -> None:
    """Vectorscan 5.4.12 lost the second header here while an upper bound of 40 stood in one of the rule's alternatives."""
    fast, _ = engines
    texts = [
        'proxy-authorization\\\\"  =  hDQAu4Ml',
        '"bearer==64el1LBMr886f2W',
        "=job-token  =   [WgdLHUjPU",
        "x",
    ]
    assert "secret-header" in {span.rule for index, span in fast.scan(texts) if index == 2}


def test_offsets_count_characters_not_bytes(engines: tuple[HyperscanDetector, KeywordDetector]) -> None:
    text = "пароль → password=hunter2 ✓"
    for engine in engines:
        assert secrets(engine, text) == {"hunter2"}


def test_many_threads_use_one_detector(engines: tuple[HyperscanDetector, KeywordDetector]) -> None:
    fast, _ = engines
    found: list[list[Span]] = []
    threads = [
        threading.Thread(target=lambda: found.extend(fast.spans("a password=hunter2 b") for _ in range(200)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 800
    assert all([(span.start, span.end) for span in spans] == [(11, 18)] for spans in found)


def test_several_detectors_are_one() -> None:
    added = rules.of_policy(["acme-[0-9]{6}"], ["pin"])
    both = Together([KeywordDetector(rules.own()), HyperscanDetector(added, compile_rules(added))])
    text = "acme-123456 cardPin: x7x7 password=hunter2 spinner=none"
    assert secrets(both, text) == {"acme-123456", "x7x7", "hunter2"}
    assert {index for index, _ in both.scan(["nothing", text])} == {1}
    assert both.hits(b"see acme-123456")
    assert not both.hits(b"see acme")


def test_the_secret_of_a_policy_pattern_is_its_first_group() -> None:
    (rule,) = rules.of_policy(["id=([a-z]+)-[0-9]+"], [])
    assert found_by(rule, "id=abc-12") == ["abc"]


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("", "is empty"),
        ("(", "no RE2 pattern"),
        ("(?<=a)b", "no RE2 pattern"),
        ("a*", "would mask everything"),
        ("x" * 1001, "at most 1000"),
        ("((a{0,100}){0,100}){0,100}b", "no RE2 pattern"),
    ],
)
def test_a_policy_pattern_that_cannot_be_used_is_named(pattern: str, words: str) -> None:
    with pytest.raises(ValueError, match=f"masking pattern 1: .*{words}"):
        rules.of_policy(["fine", pattern], [])


def test_rules_that_hyperscan_refuses_are_named_as_what_they_are() -> None:
    with pytest.raises(ValueError, match="do not compile"):
        compile_rules([Rule("bad", "(")])


def test_a_text_with_endless_finds_is_masked_to_its_end() -> None:
    rule = Rule("digit", "[0-9]", exact=True)
    spans = list(finds(rule, b"1" * (MOST_FINDS + 50)))
    assert spans[-1] == (MOST_FINDS, MOST_FINDS + 50)


def test_the_end_of_a_token_is_masked_with_it() -> None:
    rule = Rule("short", "tok_[a-z]{4}")
    assert found_by(rule, "tok_abcdefg/h= next") == ["tok_abcdefg/h="]


def test_two_tokens_with_one_separator_are_both_found() -> None:
    rule = Rule("framed", r"(?:^|\s)(k[0-9]{3})(?:\s|$)", exact=True)
    assert found_by(rule, "k123 k456 k789") == ["k123", "k456", "k789"]


def test_a_rule_without_a_group_masks_its_whole_match_and_an_empty_one_nothing() -> None:
    assert found_by(Rule("whole", "k[0-9]+", exact=True), "k12") == ["k12"]
    assert found_by(Rule("empty", "k()z?", group=1, exact=True), "kz") == []


def test_a_rule_may_ask_for_a_word_elsewhere_in_the_text() -> None:
    rule = Rule("with-context", "SK[0-9]{4}", context=("twilio",))
    assert found_by(rule, "Twilio: SK1234") == ["SK1234"]
    assert found_by(rule, "other: SK1234") == []


def test_every_keyword_of_an_own_rule_stands_in_each_match() -> None:
    for rule, texts, _ in OWN:
        for text in texts:
            match = compiled(rule.pattern).search(text.encode())
            assert any(word.encode() in match[0].lower() for word in rule.keywords), (rule.name, text)
