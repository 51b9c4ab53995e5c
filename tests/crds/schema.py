"""Structural schemas, read: the part of OpenAPI v3 that our definitions use, as the API server validates it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

Schema = Mapping[str, Any]

CRDS = Path(__file__).parents[2] / "crds"
NAMES = ("agentpolicies", "approvalrequests", "agentsessions")

KEYWORDS = frozenset(
    {
        "type", "description", "properties", "required", "items", "enum", "pattern", "format", "default",
        "minLength", "maxLength", "minItems", "maxItems", "minProperties", "minimum", "maximum",
        "x-kubernetes-list-type", "x-kubernetes-list-map-keys", "nullable", "anyOf", "additionalProperties",
    }
)  # fmt: skip
TYPES: Mapping[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
}


@cache
def definition(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((CRDS / f"{name}.yaml").read_text())
    return loaded


def schema_of(name: str) -> Schema:
    schema: Schema = definition(name)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return schema


def walk(schema: Schema, path: str = "") -> Iterator[tuple[str, Schema]]:
    """Every schema below, with the path of its field; `[]` for the items of a list."""
    yield path, schema
    for name, field in schema.get("properties", {}).items():
        yield from walk(field, f"{path}.{name}" if path else name)
    if "items" in schema:
        yield from walk(schema["items"], f"{path}[]")
    if "additionalProperties" in schema:
        yield from walk(schema["additionalProperties"], f"{path}.*")


def errors(schema: Schema, value: object, path: str = "") -> list[str]:
    """What the API server would refuse or prune: the paths."""
    if not isinstance(value, TYPES[schema["type"]]) or (
        isinstance(value, bool) and schema["type"] != "boolean"
    ):
        return [path]
    found = [path] if not _holds(schema, value) else []
    if "anyOf" in schema and not any(_is_of(branch, value) for branch in schema["anyOf"]):
        found.append(path)
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        found += [f"{path}.{name}" for name in schema.get("required", ()) if name not in value]
        for name, item in value.items():
            below = f"{path}.{name}" if path else name
            if name == "metadata" and not path:
                continue
            field = properties.get(name, schema.get("additionalProperties"))
            found += errors(field, item, below) if field is not None else [below]
    if isinstance(value, list):
        for index, item in enumerate(value):
            found += errors(schema["items"], item, f"{path}[{index}]")
    return found


def _is_of(branch: Schema, value: Any) -> bool:
    """A branch of anyOf, which only says more of what `properties` describes: required fields, lists of words, and not."""
    fields = branch.get("properties", {})
    fits = all(name in value for name in branch.get("required", ())) and all(
        name not in value or value[name] in field["enum"] for name, field in fields.items()
    )
    return fits and not ("not" in branch and _is_of(branch["not"], value))


def _holds(schema: Schema, value: Any) -> bool:
    size = len(value) if isinstance(value, str | list | dict) else 0
    least = schema.get("minLength", schema.get("minItems", schema.get("minProperties", 0)))
    most = schema.get("maxLength", schema.get("maxItems", size))
    is_set = schema.get("x-kubernetes-list-type") == "set"
    return (
        least <= size <= most
        and ("enum" not in schema or value in schema["enum"])
        and ("pattern" not in schema or re.search(schema["pattern"], value) is not None)
        and not ("minimum" in schema and value < schema["minimum"])
        and not ("maximum" in schema and value > schema["maximum"])
        and not (is_set and any(item in value[:at] for at, item in enumerate(value)))
    )
