"""Writes docs/reference.md: every setting of every program and every field of every kind, from their own sources.

`python -m hack.reference` writes it; a test fails when it is not what this would write.
"""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from chaperone.settings.console import ConsoleSettings
from chaperone.settings.controller import ControllerSettings
from chaperone.settings.gateway import GatewaySettings
from chaperone.settings.loading import describe
from chaperone.settings.webhook import WebhookSettings

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "reference.md"
PROGRAMS = {
    "gateway": GatewaySettings,
    "webhook": WebhookSettings,
    "controller": ControllerSettings,
    "console": ConsoleSettings,
}


def page() -> str:
    """The whole page, Markdown."""
    lines = [
        "# Reference",
        "",
        "Written by `python -m hack.reference` from the settings classes and the CustomResourceDefinitions.",
    ]
    for program, kind in PROGRAMS.items():
        lines += ["", f"## Settings of the {program}", "", f"`python -m {program} --config FILE` (YAML)", ""]
        lines += ["| setting | default | meaning |", "|---|---|---|"]
        lines += [
            f"| `{path}` | {_code(default)} | {_cell(text)} |" for path, default, text in describe(kind)
        ]
    for path in sorted((ROOT / "crds").glob("*.yaml")):
        lines += _kind(yaml.safe_load(path.read_text()))
    return "\n".join(lines) + "\n"


def _kind(definition: Mapping[str, Any]) -> list[str]:
    names = definition["spec"]["names"]
    version = definition["spec"]["versions"][0]
    schema = version["schema"]["openAPIV3Schema"]
    title = (
        f"## {names['kind']} (`{names['shortNames'][0]}`, {definition['spec']['group']}/{version['name']})"
    )
    rows = [
        f"| `{path}` | {_type(field)} | {_cell(field.get('description', ''))} |"
        for path, field in fields(schema)
    ]
    return [
        "",
        title,
        "",
        _cell(schema.get("description", "")),
        "",
        "| field | type | meaning |",
        "|---|---|---|",
        *rows,
    ]


def fields(schema: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(path, schema) of every field below spec and status, depth first."""
    for name, field in schema.get("properties", {}).items():
        if not prefix and name not in ("spec", "status"):
            continue
        path = f"{prefix}{name}"
        yield path, field
        yield from fields(field, f"{path}.")
        yield from fields(field.get("items", {}), f"{path}[].")
        yield from fields(field.get("additionalProperties", {}), f"{path}.*.")


def _type(field: Mapping[str, Any]) -> str:
    kind = str(field.get("type", "any"))
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    return f"list of {field['items'].get('type', 'any')}" if kind == "array" else kind


def _code(text: str) -> str:
    return text if text in ("none", "required") else f"`{text}`"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page())
    print(f"reference: wrote {PAGE.relative_to(ROOT)}")
    sys.exit(0)
