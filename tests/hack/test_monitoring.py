"""Dashboard and alerts: as written by their generator, and about metrics, labels and values that there are."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from gateway.metrics import GatewayMetrics
from hack import monitoring
from tests.webhook.fakes import World

NAME = re.compile(r"\bchaperone_[a-z_]+")
SELECTED = re.compile(r"(chaperone_[a-z_]+)\{([a-z]+)(=~|!=|=)\"([^\"]*)\"\}")
GROUPED = re.compile(r"by \(([a-z, ]+)\)")
FROM_SCRAPING = {"instance", "le"}


def exported() -> dict[str, dict[str, set[str]]]:
    """Values by label, of every sample that gateway and webhook export before anything has happened."""
    registry = CollectorRegistry()
    GatewayMetrics(registry)
    world = World()
    text = generate_latest(registry).decode() + world.app.test_client().get("/metrics").text
    found: dict[str, dict[str, set[str]]] = {}
    for family in text_string_to_metric_families(text):
        names = {f"{family.name}_total"} if family.type == "counter" else {family.name}
        if family.type == "histogram":
            names = {f"{family.name}_bucket"}
        for name in names:
            found.setdefault(name, {})
        for sample in family.samples:
            for label, value in sample.labels.items():
                found.setdefault(sample.name, {}).setdefault(label, set()).add(value)
    return found


def expressions() -> Iterator[str]:
    for _, _, _, queries in monitoring.PANELS:
        yield from queries.values()
    for _, expression, *_ in monitoring.ALERTS:
        yield expression


def test_the_files_are_as_generated() -> None:
    for name, content in monitoring.files().items():
        assert (monitoring.FOLDER / name).read_text() == content, "run python -m hack.monitoring"


@pytest.mark.parametrize("expression", list(expressions()))
def test_every_metric_is_exported(expression: str) -> None:
    known = exported()
    names = NAME.findall(expression)
    assert names
    for name in names:
        assert name in known, name
    for name, label, operator, value in SELECTED.findall(expression):
        if (values := known[name].get(label)) and operator == "=":
            assert value in values, f"{name} has no {label} {value}"


def test_titles_and_alerts_are_distinct_and_say_what_to_do() -> None:
    assert len({title for title, *_ in monitoring.PANELS}) == len(monitoring.PANELS)
    assert len({name for name, *_ in monitoring.ALERTS}) == len(monitoring.ALERTS)
    assert all(len(told) > 60 for *_, told in monitoring.ALERTS)
