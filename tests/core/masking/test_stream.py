"""No byte of a secret gets through a stream, wherever it is cut, and nothing else is changed."""

from __future__ import annotations

import base64
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chaperone.core.masking import rules
from chaperone.core.masking.hyperscan_engine import HyperscanDetector, compile_rules
from chaperone.core.masking.known import KnownValues
from chaperone.core.masking.placeholder import MARKER, Mint
from chaperone.core.masking.stream import HOLD, WINDOW, TextStream
from chaperone.core.masking.text_finder import KNOWN_RULE, TextFinder

MINT = Mint(b"0123456789abcdef")
KNOWN = "kn0wn-value-of-a-secret"
TOKEN = "ghp_" + "a1B2c3D4e5F6" * 3
JWT = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJub2JvZHkifQ.bm90LXNpZ25lZA"
KEY_LINES = [
    "-----BEGIN RSA PRIVATE KEY-----",
    "Proc-Type: 4,ENCRYPTED",
    "",
    "Tm90IGEga2V5LCBqdXN0IHRleHQgaW4gYmFzZTY0LCBsb25nIGVub3VnaCBmb3Ig",
    "YSBsaW5lIG9mIGEga2V5IHRoYXQgd291bGQgYmUgd3JhcHBlZCB0aGVyZSwgdG9v",
    "ZW5k",
    "-----END RSA PRIVATE KEY-----",
]
RULES = (*rules.own(), *(rule for rule in rules.foreign() if rule.name.startswith("github")))


@pytest.fixture(scope="module")
def detector() -> HyperscanDetector:
    return HyperscanDetector(RULES, compile_rules(RULES))


@pytest.fixture(scope="module")
def finder(detector: HyperscanDetector) -> TextFinder:
    known = KnownValues()
    known.add(KNOWN, f"{MARKER}known")
    return TextFinder(detector, MINT, known, uid="uid", path_class="log")


def streamed(finder: TextFinder, *pieces: bytes, keep_length: bool = False) -> bytes:
    stream = TextStream(finder, keep_length=keep_length)
    out = b"".join([stream.feed(piece) for piece in pieces])
    return out + stream.flush()


def cut(text: bytes, size: int) -> list[bytes]:
    return [text[start : start + size] for start in range(0, len(text), size)]


SECRETS = {
    "token": (f"cloning with {TOKEN} now", TOKEN),
    "assignment": ("level=info password=hunter2 user=me", "hunter2"),
    "yaml": ("password: hunter2", "hunter2"),
    "json line": ('{"level":"info","token":"n0t-a-token","n":1}', "n0t-a-token"),
    "environment": ("DB_PASSWORD=with spaces; and more", "with spaces; and more"),
    "jwt": (f"got {JWT}", JWT),
    "header": ("Authorization: Bearer n0t-a-token-at-all", "n0t-a-token-at-all"),
    "url": ("dial postgres://app:hunter2@db/app failed", "hunter2"),
    "known value": (f"read {KNOWN}!", KNOWN),
    "known value, base64": (
        base64.b64encode(b"x" + KNOWN.encode()).decode(),
        base64.b64encode(b"x" + KNOWN.encode())[4:-4].decode(),
    ),
    "known value, hex": (KNOWN.encode().hex(), KNOWN.encode().hex()),
}


@pytest.mark.parametrize(("line", "secret"), SECRETS.values(), ids=SECRETS)
@pytest.mark.parametrize("keep_length", [False, True])
def test_a_secret_is_masked_wherever_it_is_cut(
    finder: TextFinder, line: str, secret: str, keep_length: bool
) -> None:
    text = f"first line\n{line}\nlast line\n".encode()
    whole = streamed(finder, text, keep_length=keep_length)
    assert secret.encode() not in whole
    assert whole.startswith(b"first line\n")
    assert whole.endswith(b"\nlast line\n")
    for at in range(1, len(text)):
        assert streamed(finder, text[:at], text[at:], keep_length=keep_length) == whole
    assert streamed(finder, *cut(text, 1), keep_length=keep_length) == whole
    if keep_length:
        assert len(whole) == len(text)
    else:
        assert MARKER.encode() in whole


def test_what_is_clean_stays_as_it_is(finder: TextFinder) -> None:
    text = b"GET /healthz 200\n\xff\xfe not UTF-8 \x00\x00 \x1b[32mgreen\x1b[0m \xc3\xa4\r\nno end"
    assert streamed(finder, text) == text
    assert streamed(finder, *cut(text, 3), keep_length=True) == text


PIECES = st.sampled_from(
    [
        *(line.encode() + b"\n" for line, _ in SECRETS.values()),
        "\n".join(KEY_LINES).encode(),
        b"\n",
        b"\0",
        b"\r\n",
        b" ",
        b"\x1b[31m",
        b"\x1b]0;title\x07",
        b"\xff",
        "ä→".encode(),
        b"password=",
        b"hunter2",
        b"-----BEGIN PRIVATE KEY-----\n",
        b"-----END PRIVATE KEY-----",
        KEY_LINES[3].encode(),
        b"a" * 5_000,
        b"aB3/" * 4_500,
        b"token: " + b"aB3/" * 5_000,
        TOKEN.encode(),
    ]
)


@settings(max_examples=150, deadline=None)
@given(
    text=st.lists(PIECES | st.binary(max_size=8), max_size=14).map(b"".join),
    cuts=st.lists(st.floats(0, 1), max_size=6),
    keep_length=st.booleans(),
)
def test_the_result_does_not_depend_on_the_cuts(
    finder: TextFinder, text: bytes, cuts: list[float], keep_length: bool
) -> None:
    at = [0, *sorted(int(cut * len(text)) for cut in cuts), len(text)]
    pieces = [text[start:end] for start, end in pairwise(at)]
    whole = streamed(finder, text, keep_length=keep_length)
    assert streamed(finder, *pieces, keep_length=keep_length) == whole
    if keep_length:
        assert len(whole) == len(text)


@settings(max_examples=60, deadline=None)
@given(text=st.lists(PIECES | st.binary(max_size=8), max_size=10).map(b"".join))
def test_silence_at_any_place_loses_no_byte_and_keeps_the_length(finder: TextFinder, text: bytes) -> None:
    stream = TextStream(finder, keep_length=True)
    out = b""
    for piece in cut(text, 997):
        out += stream.feed(piece) + stream.idle()
    out += stream.flush()
    assert len(out) == len(text)
    assert TOKEN.encode() not in out


def test_a_secret_is_masked_wherever_silence_falls(finder: TextFinder) -> None:
    for line, secret in SECRETS.values():
        text = f"{line}\n".encode()
        for at in range(1, len(text)):
            stream = TextStream(finder)
            out = (
                stream.feed(text[:at])
                + stream.idle()
                + stream.idle()
                + stream.feed(text[at:])
                + stream.flush()
            )
            assert secret.encode() not in out
            assert secret.encode()[-8:] not in out


@pytest.mark.parametrize(
    "prompt",
    ["root@web-0:/# ", "$ ", "Continue? [y/N]", "mysql> ", ">>> ", "Downloading 45%", "ls", "login:"],
)
def test_a_prompt_is_shown_after_silence(finder: TextFinder, prompt: str) -> None:
    stream = TextStream(finder)
    assert stream.feed(b"line\n" + prompt.encode()) == b"line\n"
    assert stream.held == len(prompt)
    assert stream.idle() == prompt.encode()
    assert stream.held == 0
    assert stream.idle() == b""


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"see {TOKEN[:12]}", "see "),
        ("password=hunt", "password="),
        (f"read {KNOWN[:5]}", "read "),
        ("é and \x1b[3", "é and "),
        ("half a character \xc3", "half a character "),
        ("title \x1b]0;me@web", "title "),
        ("title \x1b]0;me@web\x1b", "title "),
    ],
)
def test_what_may_be_a_secret_waits_for_its_end(finder: TextFinder, text: str, shown: str) -> None:
    stream = TextStream(finder)
    raw = text.encode("latin-1") if "\xc3" in text else text.encode()
    assert stream.feed(raw) == b""
    assert stream.idle() == shown.encode("latin-1" if "\xc3" in text else "utf-8")
    assert stream.flush()


def test_what_was_shown_of_a_line_still_counts(finder: TextFinder) -> None:
    stream = TextStream(finder, keep_length=True)
    assert stream.feed(b"the password=") == b""
    assert stream.idle() == b"the password="
    assert stream.feed(b"hunter2\n") == b"*******\n"
    assert stream.feed(b"hunter2\n") == b"hunter2\n"


@pytest.mark.parametrize("prefix", ["", "2026-11-23T07:00:00.123456789Z ", "[pod/web-0/app] ", "  | "])
def test_a_private_key_is_masked_line_by_line(finder: TextFinder, prefix: str) -> None:
    text = "".join(f"{prefix}{line}\n" for line in ["before", *KEY_LINES, "after"]).encode()
    whole = streamed(finder, text)
    assert streamed(finder, *cut(text, 7)) == whole
    for line in KEY_LINES[3:6]:
        assert line.encode() not in whole
    assert f"{prefix}before\n".encode() in whole
    assert f"{prefix}after\n".encode() in whole
    assert KEY_LINES[-1].encode() in whole
    assert whole.count(prefix.encode()) >= 5 if prefix else True


def test_a_private_key_without_an_end_is_masked(finder: TextFinder) -> None:
    text = "\n".join([*KEY_LINES[:5], "$ echo done", "done"]).encode()
    whole = streamed(finder, text)
    assert KEY_LINES[4].encode() not in whole
    assert whole.endswith(b"$ echo done\ndone")


def test_a_private_key_without_a_begin_is_masked(finder: TextFinder) -> None:
    text = "\n".join([*KEY_LINES[4:], "after"]).encode()
    whole = streamed(finder, text, keep_length=True)
    assert KEY_LINES[4].encode() not in whole
    assert whole.endswith(b"-----END RSA PRIVATE KEY-----\nafter")


def test_lines_of_others_between_those_of_a_key_are_shown(finder: TextFinder) -> None:
    text = "\n".join(
        ["x", KEY_LINES[0], KEY_LINES[3], "GET /healthz 200", KEY_LINES[4], "GET / 200"]
    ).encode()
    whole = streamed(finder, text)
    assert b"GET /healthz 200" in whole
    assert KEY_LINES[4].encode() not in whole
    assert whole.endswith(b"GET / 200")


def test_a_key_ends_at_last(finder: TextFinder) -> None:
    body = KEY_LINES[3] + "\n"
    after = "GET /healthz 200\n" * 9 + body
    assert streamed(finder, f"x\n{KEY_LINES[0]}\n{after}".encode()).endswith(body.encode())
    endless = streamed(finder, f"x\n{KEY_LINES[0]}\n{body * 420}".encode())
    assert endless.endswith(body.encode())


def test_a_key_in_one_line_is_masked(finder: TextFinder) -> None:
    text = ("x\n" + "\\n".join(KEY_LINES) + " end\nnext\n").encode()
    whole = streamed(finder, text)
    assert KEY_LINES[3].encode() not in whole
    assert whole.endswith(b"-----END RSA PRIVATE KEY----- end\nnext\n")


def test_a_certificate_and_a_digest_are_shown(finder: TextFinder) -> None:
    text = (
        b"-----BEGIN CERTIFICATE-----\n"
        + KEY_LINES[3].encode()
        + b"\n-----END CERTIFICATE-----\n"
        + b"0f" * 32
        + b"\n"
    )
    assert streamed(finder, text) == text
    assert streamed(finder, b"0f" * 32 + b"\n") == b"0f" * 32 + b"\n"


def test_silence_inside_a_key_shows_nothing_of_it(finder: TextFinder) -> None:
    stream = TextStream(finder)
    stream.feed(f"x\n{KEY_LINES[0]}\n{KEY_LINES[3][:20]}".encode())
    assert stream.idle() == b""
    out = stream.feed(f"{KEY_LINES[3][20:]}\n$ ".encode()) + stream.idle()
    assert KEY_LINES[3][20:].encode() not in out
    assert out.endswith(b"\n$ ")


def test_escape_sequences_around_and_inside_a_secret_are_kept(finder: TextFinder) -> None:
    text = f"\x1b[1mTOKEN=\x1b[31m{TOKEN[:9]}\x1b[4m{TOKEN[9:]}\x1b[0m\n".encode()
    whole = streamed(finder, text, keep_length=True)
    assert whole == b"\x1b[1mTOKEN=\x1b[31m*********\x1b[4m" + b"*" * (len(TOKEN) - 9) + b"\x1b[0m\n"
    replaced = streamed(finder, text)
    assert TOKEN[9:].encode() not in replaced
    assert replaced.count(b"\x1b[") == 4


def test_nul_bytes_separate(finder: TextFinder) -> None:
    text = b"PATH=/bin\0API_TOKEN=n0t-a-token\0HOME=/root\0"
    assert streamed(finder, text, keep_length=True) == b"PATH=/bin\0API_TOKEN=***********\0HOME=/root\0"


def test_a_sequence_alone_between_two_ends_moves_no_mask(finder: TextFinder) -> None:
    text = f"x\nfirst\n\x1b[31m\0see {TOKEN} now\n".encode()
    assert streamed(finder, text, keep_length=True) == text.replace(TOKEN.encode(), b"*" * len(TOKEN))


def test_stars_stand_for_bytes(finder: TextFinder) -> None:
    assert (
        streamed(finder, "x password=hüntér2 ä".encode(), keep_length=True)
        == b"x password=********* " + "ä".encode()
    )


def test_bytes_that_are_no_text_do_not_hide_a_secret(finder: TextFinder) -> None:
    assert (
        streamed(finder, b"\xff\xfe password=hunter2 \xff", keep_length=True)
        == b"\xff\xfe password=******* \xff"
    )


def test_a_line_without_end_is_let_go_in_parts(finder: TextFinder) -> None:
    stream = TextStream(finder, keep_length=True)
    text = b"word " * 4_000 + b"password=hunter2 " + b"word " * 4_000
    out = b"".join([stream.feed(piece) for piece in cut(text, 1_000)])
    assert len(text) - len(out) <= WINDOW
    out += stream.flush()
    assert out == text.replace(b"hunter2", b"*******")


@pytest.mark.parametrize("words", [2_000, 6_000])
def test_a_long_line_among_short_ones_is_read_whole(finder: TextFinder, words: int) -> None:
    """Longer than what is cleared together; then longer than a window too."""
    text = b"short line\n" * 1_480 + b"word " * words + b"password=hunter2 " + b"word " * 500 + b"\nend\n"
    assert streamed(finder, text, keep_length=True) == text.replace(b"hunter2", b"*******")


def test_a_secret_without_end_is_masked_in_parts(finder: TextFinder) -> None:
    secret = b"aB3/" * (WINDOW // 2)
    text = b"token: " + secret + b" after\n"
    assert streamed(finder, text, keep_length=True) == b"token: " + b"*" * len(secret) + b" after\n"
    replaced = streamed(finder, text)
    assert secret[-HOLD:] not in replaced
    assert replaced.endswith(b" after\n")


def test_silence_in_a_secret_without_end_shows_nothing(finder: TextFinder) -> None:
    stream = TextStream(finder)
    stream.feed(b"token: " + b"aB3/" * WINDOW)
    assert stream.idle() == b""


def test_what_was_masked_is_counted_once(finder: TextFinder) -> None:
    stream = TextStream(finder)
    stream.feed(f"x password=hunter2 {KNOWN}\n".encode())
    stream.feed(b"y password=hunter2")
    stream.idle()
    stream.flush()
    assert stream.report.counts == {"assignment": 2, KNOWN_RULE: 1}


def test_a_placeholder_stays_as_it_is(finder: TextFinder) -> None:
    text = f"password={MINT.placeholder('a', 'b', 'c')}\n".encode()
    assert streamed(finder, text) == text


def test_equal_values_of_one_object_have_equal_placeholders(detector: HyperscanDetector) -> None:
    first, second = (TextFinder(detector, MINT, uid=uid) for uid in ("one", "two"))
    text = b"password=hunter2\n"
    assert streamed(first, text) == streamed(first, text)
    assert streamed(first, text) != streamed(second, text)


def test_what_was_found_can_be_remembered(detector: HyperscanDetector) -> None:
    seen: list[tuple[str, str, str]] = []
    finder = TextFinder(
        detector, MINT, note=lambda value, placeholder, rule: seen.append((value, placeholder, rule))
    )
    out = streamed(finder, b"x password=hunter2\ny password=name-of-something\n")
    assert [(value, rule) for value, _, rule in seen] == [("hunter2", "assignment")]
    assert seen[0][1].encode() in out
