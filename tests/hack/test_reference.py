"""docs/reference.md is complete and up to date."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from chaperone.settings.loading import describe
from hack import reference


def test_the_page_is_what_would_be_written() -> None:
    assert reference.PAGE.read_text() == reference.page(), "run: .venv/bin/python -m hack.reference"


@pytest.mark.parametrize("program", reference.PROGRAMS)
def test_every_setting_says_what_it_means(program: str) -> None:
    assert [path for path, _, text in describe(reference.PROGRAMS[program]) if not text.strip()] == []


@pytest.mark.parametrize("path", sorted((reference.ROOT / "crds").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_field_says_what_it_means(path: Path) -> None:
    definition = yaml.safe_load(path.read_text())
    schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    assert [
        name for name, field in reference.fields(schema) if not field.get("description", "").strip()
    ] == []
