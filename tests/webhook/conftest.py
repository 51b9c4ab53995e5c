"""The real server of the tests that are marked `cluster`: started once for the folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hack.cluster import ClusterError, start, stop
from tests.webhook.real import Real, set_up


@pytest.fixture(scope="package")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Real]:
    folder: Path = tmp_path_factory.mktemp("real")
    try:
        cluster = start(folder / "cluster", node=False)
    except ClusterError as error:
        pytest.skip(f"no API server: {error}")
    try:
        with set_up(cluster, folder) as made:
            yield made
    finally:
        stop(cluster.directory)
