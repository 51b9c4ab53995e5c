"""The words of a command, each a string of its own."""

from __future__ import annotations

from typing import Any

import pytest

from tests.core.masking.engine import spec_of

CASES: list[tuple[list[str], str]] = [
    (["--password", "hunter2"], "hunter2"),
    (["--password=hunter2 and more"], "hunter2 and more"),
    (["-password", "hunter2"], "hunter2"),
    (["--db.password=a,b"], "a,b"),
    (["--token", "-abc"], "-abc"),
    (["-p", "S3cret1"], "S3cret1"),
    (["-pS3cret1"], "S3cret1"),
    (["-p=S3cret1"], "S3cret1"),
    (["mysql", "-phunter"], "hunter"),
    (["redis-cli", "-a", "hunter"], "hunter"),
    (["curl", "-u", "bob:hunter2"], "hunter2"),
    (["curl", "-ubob:hunter2"], "hunter2"),
    (["--user", "bob:hunter2"], "hunter2"),
    (["-H", "Authorization: Bearer abc1"], "abc1"),
    (["-H", "X-Api-Key: abc1"], "abc1"),
    (["-e", "DB_PASSWORD=hunter2 x"], "hunter2 x"),
    (["--from-literal=password=hunter2"], "hunter2"),
    (["--set", "auth.password=hunter2,a=b"], "hunter2"),
    (["sh", "-c", "PGPASSWORD=hunter2 psql"], "hunter2"),
    (["sh", "-ec", "echo; mysql -phunter2 x"], "hunter2"),
    (["postgres://u:hunter2@h/x"], "hunter2"),
    (["--header=Authorization: Bearer abcdefg1"], "abcdefg1"),
]


@pytest.mark.parametrize(("words", "secret"), CASES)
@pytest.mark.parametrize("field", ["args", "command", "anything"])
def test_the_secret_goes_and_the_rest_stays(words: list[str], secret: str, field: str) -> None:
    after = spec_of({field: words})[field]
    assert len(after) == len(words)
    for word, was in zip(after, words, strict=True):
        before, _, behind = was.partition(secret)
        if secret in was:
            assert secret not in word
            assert word.startswith(before)
            assert word.endswith(behind)
        else:
            assert word == was


CLEAN: list[list[Any]] = [
    ["--leader-elect=true", "--v=2", "--port", "8080"],
    ["--password-file", "/etc/x", "--token-ttl=15m", "--secret-name=db"],
    ["--password", "--verbose"],
    ["--password"],
    ["--password", ""],
    ["--token=$(TOKEN)", "--password", "${PASSWORD}"],
    ["mkdir", "-p", "/data/x"],
    ["cp", "-p", "source", "target"],
    ["run", "-p", "8080:80", "-p", "53:53/udp"],
    ["-u", "1000:1000"],
    ["--user", "1000:1000"],
    ["--user", "bob"],
    ["--user", "bob:$(PASSWORD)"],
    ["-uroot"],
    ["-u", "bob:hunter2x"],
    ["a=b=c=d=password"],
    ["-", "x=1"],
    ["=x"],
    ["secrets", "get"],
    ["-p", 7, None, "x=y"],
    ["-P", "abc1234"],
]


@pytest.mark.parametrize("words", CLEAN)
def test_ordinary_words_stay(words: list[Any]) -> None:
    assert spec_of({"args": words})["args"] == words


def test_the_program_may_stand_in_the_command() -> None:
    container = {"command": ["mysql"], "args": ["-phunter", "-h", "db"]}
    after = spec_of(container)
    assert after["args"][0].startswith("-pmasked-")
    assert after["args"][1:] == ["-h", "db"]
    assert spec_of({"command": "mysql", "args": ["-phunter"]})["args"] == ["-phunter"]
