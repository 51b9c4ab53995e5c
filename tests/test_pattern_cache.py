"""Compiled patterns are kept, and whatever is wrong with what was kept, every pattern is there."""

from __future__ import annotations

from pathlib import Path

import pytest

from chaperone import pattern_cache
from chaperone.core.masking import hyperscan_engine
from chaperone.core.masking.fallback_engine import KeywordDetector
from chaperone.core.masking.rule import Rule
from chaperone.pattern_cache import detector, engine, file_name

RULES = (Rule("number", "no-[0-9]+", ("no-",)),)
OTHERS = (Rule("word", "word-[a-z]+", ("word-",)),)
TEXT = "see no-12"


@pytest.fixture
def compilations(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    times: list[int] = []

    def counted(rules: tuple[Rule, ...]) -> bytes:
        times.append(len(rules))
        return hyperscan_engine.compile_rules(rules)

    monkeypatch.setattr(pattern_cache, "compile_rules", counted)
    return times


def finds(rules: tuple[Rule, ...], folder: Path | None) -> bool:
    return [span.rule for span in engine(rules, folder).spans(TEXT)] == ["number"]


def test_the_second_start_compiles_nothing(tmp_path: Path, compilations: list[int]) -> None:
    folder = tmp_path / "new" / "cache"
    assert finds(RULES, folder)
    assert finds(RULES, folder)
    assert compilations == [1]


def test_the_file_is_ours_alone(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    engine(RULES, folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert [path.stat().st_mode & 0o777 for path in folder.iterdir()] == [0o600]


def test_without_a_folder_it_is_compiled_each_time(compilations: list[int]) -> None:
    assert finds(RULES, None)
    assert finds(RULES, None)
    assert compilations == [1, 1]


@pytest.mark.parametrize("damage", [b"", b"short", b"\0" * 4000])
def test_a_damaged_file_is_compiled_again(tmp_path: Path, compilations: list[int], damage: bytes) -> None:
    engine(RULES, tmp_path)
    (tmp_path / file_name(RULES)).write_bytes(damage)
    assert finds(RULES, tmp_path)
    assert finds(RULES, tmp_path)
    assert compilations == [1, 1]


def test_one_changed_byte_is_noticed(tmp_path: Path, compilations: list[int]) -> None:
    engine(RULES, tmp_path)
    path = tmp_path / file_name(RULES)
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(bytes(content))
    assert finds(RULES, tmp_path)
    assert compilations == [1, 1]


def test_a_whole_file_that_is_no_database_is_compiled_again(tmp_path: Path, compilations: list[int]) -> None:
    pattern_cache._keep(b"not a database", tmp_path, file_name(RULES))
    assert finds(RULES, tmp_path)
    assert compilations == [1]


def test_a_folder_that_others_may_write_is_not_trusted(tmp_path: Path, compilations: list[int]) -> None:
    engine(RULES, tmp_path)
    tmp_path.chmod(0o777)
    assert finds(RULES, tmp_path)
    assert compilations == [1, 1]


def test_a_folder_that_cannot_be_made_costs_only_time(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert finds(RULES, tmp_path / "file" / "cache")


def test_a_file_that_cannot_be_read_costs_only_time(tmp_path: Path, compilations: list[int]) -> None:
    (tmp_path / file_name(RULES)).mkdir()
    tmp_path.chmod(0o700)
    assert finds(RULES, tmp_path)


def test_each_rule_set_has_a_file_of_its_own(tmp_path: Path, compilations: list[int]) -> None:
    engine(RULES, tmp_path)
    engine(OTHERS, tmp_path)
    assert finds(RULES, tmp_path)
    assert compilations == [1, 1]


def test_a_change_of_what_is_compiled_is_another_file() -> None:
    assert file_name(RULES) == file_name((Rule("renamed", "no-[0-9]+", entropy=1.0),))
    assert file_name(RULES) != file_name((Rule("number", "no-[0-9]*"),))


def test_only_so_many_files_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pattern_cache, "MOST_FILES", 2)
    tmp_path.chmod(0o700)
    for index in range(4):
        engine((Rule("n", f"x{index}"),), tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def test_without_hyperscan_the_fallback_finds_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pattern_cache, "HAS_HYPERSCAN", False)
    assert isinstance(engine(RULES, None), KeywordDetector)
    assert finds(RULES, None)


def test_what_hyperscan_refuses_the_fallback_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_rules: object) -> bytes:
        raise ValueError("too big")

    monkeypatch.setattr(pattern_cache, "compile_rules", refuse)
    assert isinstance(engine(RULES, None), KeywordDetector)


def test_a_policy_adds_patterns_and_keys(tmp_path: Path) -> None:
    found = detector(tmp_path, ["acme-[0-9]{4}"], ["pin"]).spans("acme-1234 card_pin=zz99 password=hunter2")
    assert sorted((span.start, span.end) for span in found) == [(0, 9), (19, 23), (33, 40)]


def test_a_pattern_that_cannot_be_used_is_named() -> None:
    with pytest.raises(ValueError, match="masking pattern 0"):
        detector(None, ["("])
