"""One event is one line, whatever strangers put into it (OP-01)."""

from __future__ import annotations

import io
import json
import logging

import pytest

from gateway.logs import JsonLines


@pytest.fixture
def lines() -> tuple[logging.Logger, io.StringIO]:
    stream = io.StringIO()
    logger = logging.Logger("test")
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    logger.addHandler(handler)
    return logger, stream


@pytest.mark.parametrize("text", ["a\nb", "a\r\nb", "\x1b[31mred", "\u202eevil", "\x7f", "\u2028x", "\x00"])
def test_strange_text_stays_one_visible_line(lines: tuple[logging.Logger, io.StringIO], text: str) -> None:
    logger, stream = lines
    logger.warning("request", extra={"path": text})
    written = stream.getvalue()
    assert written.endswith("\n")
    assert written[:-1].isprintable()
    assert json.loads(written)["path"] == text


def test_fields_and_errors_are_in_the_line(lines: tuple[logging.Logger, io.StringIO]) -> None:
    logger, stream = lines
    try:
        int("why")
    except ValueError:
        logger.exception("failed", extra={"auditID": "1", "odd": object})
    line = json.loads(stream.getvalue())
    assert (line["level"], line["message"], line["auditID"]) == ("error", "failed", "1")
    assert "ValueError: invalid literal" in line["error"]


def test_endless_text_is_cut(lines: tuple[logging.Logger, io.StringIO]) -> None:
    logger, stream = lines
    logger.info("x" * 100_000, extra={"path": "y" * 100_000})
    assert len(stream.getvalue()) < 5000
