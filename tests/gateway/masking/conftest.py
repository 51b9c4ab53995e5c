"""Compiled patterns, once for all tests of masking on the data path."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def patterns(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for compiled patterns."""
    return tmp_path_factory.mktemp("patterns")
