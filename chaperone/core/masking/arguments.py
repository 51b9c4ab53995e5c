"""The words of a command: `--password x`, `--password=x`, `-p x`, `-px`, `NAME=x`. Each word is its own string here, so a
value goes on to the end of its word. What stands inside of one word (`sh -c "…"`) is read as a command line elsewhere.
"""

from __future__ import annotations

import re
from typing import Any

from chaperone.core.masking.keys import Naming, is_secret
from chaperone.core.masking.phrases import ARGUMENT, Hit
from chaperone.core.masking.placeholder import holds_placeholder
from chaperone.core.masking.programs import programs_in, secret_part
from chaperone.core.masking.scope import Frame
from chaperone.core.masking.values import is_harmless
from chaperone.core.masking.work import Work

_ASSIGNED = re.compile(r"(?P<key>-{0,2}[A-Za-z_][\w.\-/\[\]]*)=(?!=)")
_NEXT = re.compile(r",(?=[\w.\-\[\]]+=)")
_MOST_NAMES = 3
_SHORT = re.compile(r"-(?P<flag>[pPawuUk])(?P<glued>=?[\s\S]*)")
_SCRIPT_FLAG = re.compile(r"-[a-z]{0,4}c")
_USERS = frozenset({"--user", "--proxy-user", "--userpass", "--creds", "--credentials", "--auth", "-auth"})
_NAME_AND_SECRET = re.compile(r"(?!\d{1,9}:\d{1,9}\Z)[^\s:/]+:(?P<secret>[^\s/]\S*)")
_UNLIKE_WORDS = re.compile(r"(?=.*\d)(?=.*[A-Za-z]).{6,}|(?=.*[^\w.\-/:,=]).{4,}", re.DOTALL)


def mask_arguments(work: Work, words: list[Any], frame: Frame, program: Any = None) -> None:
    """program: the command that these are the arguments of, where it stands elsewhere."""
    texts = [word if isinstance(word, str) else "" for word in words]
    if not any("-" in text or "=" in text or ":" in text for text in texts):
        return
    flags: str | None = None
    for at in range(len(words)):
        text = words[at]
        if not isinstance(text, str) or not text or holds_placeholder(text):
            continue
        if text[0] == "-" and len(text) > 1:
            short = _SHORT.fullmatch(text)
            if short and not is_secret(work.judge(text[1:])):
                flags = programs_in([*texts, *_strings(program)]) if flags is None else flags
                _short(work, words, at, frame, short, known=short["flag"] in flags)
            else:
                _long(work, words, at, frame)
        if "=" in text and " " not in text.partition("=")[0] and not _is_script(texts, at):
            _assigned(work, words, at, frame)


def _is_script(texts: list[str], at: int) -> bool:
    """Whether a word is a command line for a shell: `sh -c "…"`."""
    return at > 0 and _SCRIPT_FLAG.fullmatch(texts[at - 1]) is not None


def _strings(words: Any) -> list[str]:
    return [word for word in words if isinstance(word, str)] if isinstance(words, list) else []


def _following(words: list[Any], at: int) -> str:
    """The word that a flag takes; "" when the next one is a flag, or none."""
    word = words[at + 1] if at + 1 < len(words) else ""
    return word if isinstance(word, str) and not word.startswith("--") else ""


def _long(work: Work, words: list[Any], at: int, frame: Frame) -> None:
    flag, value = words[at], _following(words, at)
    if "=" in flag or not value:
        return
    naming = work.judge(flag.lstrip("-"))
    if flag in _USERS and (matched := _NAME_AND_SECRET.fullmatch(value)):
        if not is_harmless(matched["secret"], password=True):
            work.hide_hits(words, at + 1, frame, [Hit(matched.start("secret"), len(value), ARGUMENT)])
    elif is_secret(naming) and not is_harmless(value, password=naming is Naming.PASSWORD):
        work.hide(words, at + 1, frame, ARGUMENT)


def _short(work: Work, words: list[Any], at: int, frame: Frame, short: re.Match[str], *, known: bool) -> None:
    """A flag of one letter, with its value in the same word or in the next one. known: the program is one that takes a
    secret there.
    """
    flag, glued = short["flag"], short["glued"]
    place, offset, value = (at, 2, glued) if glued else (at + 1, 0, _following(words, at))
    if glued.startswith("="):
        offset, value = 3, glued[1:]
    secret = secret_part(flag, value, glued=bool(glued)) if value else None
    if secret is None or not (known or (flag == "p" and _UNLIKE_WORDS.fullmatch(value))):
        return
    work.hide_hits(words, place, frame, [Hit(offset + secret[0], offset + secret[1], ARGUMENT)])


def _assigned(work: Work, words: list[Any], at: int, frame: Frame) -> None:
    """NAME=x, --name=x, and one inside the other: --from-literal=password=x."""
    text, start = words[at], 0
    for _ in range(_MOST_NAMES):
        matched = _ASSIGNED.match(text, start)
        if matched is None:
            return
        naming = work.judge(matched["key"].lstrip("-"))
        start = matched.end()
        if is_secret(naming):
            end = _value_end(words, at, start)
            if end > start and not is_harmless(text[start:end], password=naming is Naming.PASSWORD):
                work.hide_hits(words, at, frame, [Hit(start, end, ARGUMENT)])
            return


def _value_end(words: list[Any], at: int, start: int) -> int:
    """Where a value ends: with its word, but for `--set a=x,b=y`."""
    text = words[at]
    before = words[at - 1] if at else ""
    listed = text.startswith("--set") or (isinstance(before, str) and before.startswith("--set"))
    following = _NEXT.search(text, start) if listed else None
    return following.start() if following else len(text)
